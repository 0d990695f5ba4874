"""How far probabilities are from the shares of correct answers.

Expected calibration error with bins of equal mass (Nguyen and O'Connor, EMNLP 2015). Its value is above 0 by chance
alone, so it stands beside what a perfectly calibrated classifier of that accuracy and size shows (this project's
choice).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_softmax

BINS = 15
_DRAWS = 1000
_SEED = 0
_COLDEST, _HOTTEST = -5.0, 10.0  # natural logarithms of the temperatures searched


def calibration_metrics(log_posterior: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The calibration of log-probabilities (sequences, classes) for true classes (sequences,).

    Returns a dict of
        negative_log_likelihood: mean over the sequences, in nats.
        calibration_error: expected calibration error of the first class, 0..1, in 15 bins of equal mass.
        calibration_error_by_chance: its expectation for a perfectly calibrated classifier of the same size and, in
            expectation, the same accuracy.
    """
    correct = log_posterior.argmax(1) == targets
    return {
        "negative_log_likelihood": float(-log_posterior[np.arange(len(targets)), targets].mean()),
        "calibration_error": float(calibration_errors(np.exp(log_posterior.max(1)), correct[None])[0]),
        "calibration_error_by_chance": error_by_chance(log_posterior, float(correct.mean())),
    }


def fitted_temperature(log_posterior: np.ndarray, targets: np.ndarray) -> float:
    """The temperature at which log-probabilities (sequences, classes) have the least negative log-likelihood.

    Of sequences that are all right it would be 0; it is then 1: nothing says that the classifier is too unsure.
    """
    if (log_posterior.argmax(1) == targets).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(-tempered(log_posterior, np.exp(log_temperature))[np.arange(len(targets)), targets].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(_COLDEST, _HOTTEST), method="bounded").x))


def tempered(log_posterior: np.ndarray, temperature: float) -> np.ndarray:
    """Log-probabilities (sequences, classes) divided by a temperature, normalised again."""
    return log_softmax(log_posterior / temperature, axis=1)


def calibration_errors(confidences: np.ndarray, correct: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(draws,) expected calibration errors: the mean gap between confidence and accuracy over bins of equal mass.

    Args:
        confidences: (sequences,) probabilities of the first class.
        correct: (draws, sequences) whether it is the true one.
        bins: their number; fewer sequences get a bin each.
    """
    order = np.argsort(confidences, kind="stable")
    gaps = (confidences - correct)[:, order]
    parts = np.array_split(gaps, min(bins, len(confidences)), axis=1)
    return sum(np.abs(part.sum(1)) for part in parts) / len(confidences)


def error_by_chance(log_posterior: np.ndarray, accuracy: float) -> float:
    """The mean calibration error of 1,000 seeded draws in which every probability is the truth.

    The posteriors are raised to the power that makes their mean confidence the accuracy, a temperature, so that they
    stay as unequal among each other as they are. An accuracy out of the reach of any temperature gets the nearest.
    """

    def confidences(log_temperature: float) -> np.ndarray:
        scaled = (log_posterior - log_posterior.max(1, keepdims=True)) / np.exp(log_temperature)
        return 1 / np.exp(scaled).sum(1)

    def excess(log_temperature: float) -> float:
        return float(confidences(log_temperature).mean()) - accuracy

    if excess(_COLDEST) <= 0:
        temperature = _COLDEST
    elif excess(_HOTTEST) >= 0:
        temperature = _HOTTEST
    else:
        temperature = brentq(excess, _COLDEST, _HOTTEST)
    calibrated = confidences(temperature)
    correct = np.random.default_rng(_SEED).random((_DRAWS, len(calibrated))) < calibrated
    return float(calibration_errors(calibrated, correct).mean())
