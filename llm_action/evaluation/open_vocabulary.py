"""Choosing how the readings of `llm_action.modeling.open_vocabulary` are weighed, and accuracy among all labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from llm_action.modeling.open_vocabulary import READINGS, Scores, Weights


def choose_weights(
    scores: Scores, references: Scores, targets: np.ndarray, seen: np.ndarray, default: Weights
) -> Weights:
    """The weights that do best on classes held out of training: of the readings and the calibration those of the best
    top-1 among the held-out classes, then the penalty of the best harmonic mean. Of equals the nearest to the default.

    Args:
        scores, references: see `Weights.combine`.
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool, the classes trained on; the others were held out.
    """
    taught = [name for name in READINGS if name in scores and getattr(default, name) > 0]
    unseen, held_out = np.flatnonzero(~seen), ~seen[targets]
    among_unseen = {name: found[held_out][:, unseen] for name, found in scores.items()}
    of_unseen = {name: found[:, unseen] for name, found in references.items()}

    def zero_shot(weights: Weights) -> float:
        return float((unseen[weights.combine(among_unseen, of_unseen).argmax(1)] == targets[held_out]).mean())

    best = max(_grid(taught, default), key=zero_shot)

    def harmonic(weights: Weights) -> float:
        return generalised(weights.combine(scores, references, seen), targets, seen)["harmonic_mean"]

    margins = best.combine(scores, references)
    largest = float(np.ptp(margins, axis=1).max())
    penalties = np.linspace(0, largest, 101).tolist()
    return max((replace(best, seen_penalty=penalty) for penalty in penalties), key=harmonic)


def _grid(taught: list[str], default: Weights) -> Iterator[Weights]:
    yield default
    for calibration in (1.0, 0.5, 0.0):
        for values in itertools.product((1.0, 0.5, 0.25, 0.0), repeat=len(taught)):
            if 1.0 in values:  # only ratios matter
                yield replace(default, calibration=calibration, **dict(zip(taught, values, strict=True)))


def generalised(scores: np.ndarray, targets: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Accuracy among all labels, of sequences of seen and of unseen classes, and the harmonic mean of the two.

    Args:
        scores: (sequences, labels).
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool.
    """
    right, of_seen = scores.argmax(1) == targets, seen[targets]
    known, new = float(right[of_seen].mean()), float(right[~of_seen].mean())
    return {"seen": known, "unseen": new, "harmonic_mean": 2 * known * new / (known + new) if known + new else 0.0}
