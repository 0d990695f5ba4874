"""Calibration against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import binom

from llm_action.evaluation.calibration import (
    BINS,
    calibration_errors,
    calibration_metrics,
    error_by_chance,
    fitted_temperature,
    tempered,
)
from llm_action.evaluation.metrics import classification_metrics


def two_classes(confidences, predicted=0) -> np.ndarray:
    """Log-probabilities of two classes, `confidences` of the predicted one."""
    shares = np.stack([np.asarray(confidences), 1 - np.asarray(confidences)], 1)
    return np.log(shares if predicted == 0 else shares[:, ::-1])


def test_bins_of_equal_mass_by_hand():
    # sorted: 0.5 wrong, 0.6 right | 0.8 right, 0.9 wrong
    confidences, correct = np.array([0.9, 0.5, 0.8, 0.6]), np.array([[False, False, True, True]])
    gaps = abs(1.1 - 1), abs(1.7 - 1)
    np.testing.assert_allclose(calibration_errors(confidences, correct, bins=2), [sum(gaps) / 4])
    np.testing.assert_allclose(calibration_errors(confidences, correct, bins=1), [abs(2.8 - 2) / 4])
    # fewer sequences than bins: each is a bin
    np.testing.assert_allclose(calibration_errors(confidences, correct), [(0.5 + 0.4 + 0.2 + 0.9) / 4])


def test_likelihood_and_error_by_hand():
    posterior = two_classes([0.9, 0.8, 0.6])
    metrics = calibration_metrics(posterior, np.array([0, 1, 0]))
    assert metrics["negative_log_likelihood"] == pytest.approx(-(math.log(0.9) + math.log(0.2) + math.log(0.6)) / 3)
    assert metrics["calibration_error"] == pytest.approx((0.1 + 0.8 + 0.4) / 3)


def test_chance_is_that_of_a_binomial():
    """All confidences alike: each bin's error is that of so many draws of a coin of that bias."""
    each, share = 6, 0.8
    draws = np.arange(each + 1)
    expected = (binom.pmf(draws, each, share) * abs(draws / each - share)).sum()
    # overconfident at 0.99: the temperature that makes the confidence the accuracy is found whatever it was
    assert error_by_chance(two_classes([0.99] * (each * BINS)), share) == pytest.approx(expected, abs=0.005)
    assert error_by_chance(two_classes([0.99] * 90), 1.0) == pytest.approx(0, abs=1e-6)


def test_a_calibrated_classifier_is_near_chance_and_an_overconfident_one_is_not():
    rng = np.random.default_rng(3)
    confidences = rng.uniform(0.5, 1, 3000)
    targets = (rng.random(3000) > confidences).astype(int)
    calibrated = calibration_metrics(two_classes(confidences), targets)
    assert calibrated["calibration_error"] == pytest.approx(calibrated["calibration_error_by_chance"], abs=0.01)
    sure = calibration_metrics(two_classes(np.full(3000, 0.999)), targets)
    assert sure["calibration_error"] == pytest.approx(0.999 - (targets == 0).mean(), abs=1e-3)
    assert sure["negative_log_likelihood"] > calibrated["negative_log_likelihood"]


def test_the_same_figures_each_time():
    posterior, targets = two_classes([0.9, 0.7, 0.6, 0.8]), np.array([0, 1, 0, 0])
    assert calibration_metrics(posterior, targets) == calibration_metrics(posterior, targets)


def test_metrics_have_them_of_log_probabilities_alone():
    posterior, targets = two_classes([0.9, 0.7]), np.array([0, 1])
    assert "calibration_error" not in classification_metrics(posterior, targets, ["a", "b"])
    metrics = classification_metrics(posterior, targets, ["a", "b"], posterior=True)
    assert metrics["calibration_error"] == pytest.approx((0.1 + 0.7) / 2)
    logits = np.array([[0.0, -np.inf], [1.0, -np.inf]])
    with pytest.raises(ValueError, match=r"expected log-probabilities, got rows that sum to 1\.\.2\.72"):
        classification_metrics(logits, targets, ["a", "b"], posterior=True)


def test_the_temperature_that_made_scores_too_sure_is_found():
    """Classes are drawn from a posterior; what is then said is sharper, or flatter, by a known power."""
    rng = np.random.default_rng(0)
    true = log_softmax(rng.normal(size=(20_000, 6)) * 1.5, axis=1)
    targets = np.array([rng.choice(6, p=row) for row in np.exp(true)])
    for power in (0.5, 1.0, 3.0):
        said = log_softmax(power * true, axis=1)
        assert fitted_temperature(said, targets) == pytest.approx(power, rel=0.05)
        np.testing.assert_allclose(tempered(said, power), true, atol=1e-9)


def test_of_a_classifier_without_mistakes_nothing_is_fitted():
    scores = np.log(np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert fitted_temperature(scores, np.array([0, 1])) == 1.0
