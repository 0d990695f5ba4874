"""Classification metrics of action recognition: accuracies, confusions, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from llm_action.evaluation.calibration import calibration_metrics

MOST_CONFUSED_PAIRS = 10
_ROUNDING = 1e-3  # of a sum of probabilities


def classification_metrics(
    scores: np.ndarray, targets: np.ndarray, labels: list[str], posterior: bool = False
) -> dict[str, Any]:
    """The metrics of one protocol, as a dict that `json.dumps` takes.

    Args:
        scores: (sequences, classes) floats, the higher the likelier: log-likelihoods, probabilities or logits; -inf is
            allowed, NaN is not.
        targets: (sequences,) integers, the true class of each sequence.
        labels: the class names, in the order of the score columns.
        posterior: whether the scores are log-probabilities, whose calibration is measured.

    Returns a dict of
        n: number of sequences.
        top1, top5: part (0..1) of the sequences whose true class is the first, or among the first five. Of equal scores
            the class with the lower index comes first, so a model that says nothing earns nothing by ties.
        mean_class_accuracy: mean over the classes that occur in `targets` of their top-1 accuracy, the metric of Toyota
            Smarthome.
        per_class: {label: accuracy}, None for a class that does not occur.
        confusion: (classes, classes) counts, row the true class, column the predicted one.
        most_confused: up to 10 of {"true", "predicted", "count", "rate"}, most counts first; rate is the part of the
            true class's sequences.
        predicted: (sequences,) the first class of each.
        labels: the class names, as given.
        negative_log_likelihood, calibration_error, calibration_error_by_chance: with `posterior`, see
            `calibration_metrics`.

    Raises ValueError if shapes, targets, labels or scores are not as above.
    """
    scores, targets = _checked(np.asarray(scores), np.asarray(targets), labels, posterior)
    ranking = np.argsort(-scores, axis=1, kind="stable")
    predictions = ranking[:, 0]

    classes = len(labels)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (targets, predictions), 1)
    occurrences = confusion.sum(axis=1)
    accuracies = [confusion[c, c] / occurrences[c] if occurrences[c] else None for c in range(classes)]

    return {
        "n": len(targets),
        "top1": float((predictions == targets).mean()),
        "top5": float((ranking[:, :5] == targets[:, None]).any(axis=1).mean()),
        "mean_class_accuracy": float(np.mean([a for a in accuracies if a is not None])),
        "per_class": {
            label: None if accuracy is None else float(accuracy)
            for label, accuracy in zip(labels, accuracies, strict=True)
        },
        "confusion": confusion.tolist(),
        "most_confused": _most_confused(confusion, labels),
        "predicted": predictions.tolist(),
        "labels": list(labels),
        **(calibration_metrics(scores, targets) if posterior else {}),
    }


def _most_confused(confusion: np.ndarray, labels: list[str]) -> list[dict[str, Any]]:
    mistakes = confusion * (1 - np.eye(len(labels), dtype=confusion.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_CONFUSED_PAIRS]
    pairs = [divmod(int(flat), len(labels)) for flat in order]
    return [
        {
            "true": labels[true],
            "predicted": labels[predicted],
            "count": int(mistakes[true, predicted]),
            "rate": float(mistakes[true, predicted] / confusion[true].sum()),
        }
        for true, predicted in pairs
        if mistakes[true, predicted]
    ]


def _checked(
    scores: np.ndarray, targets: np.ndarray, labels: list[str], posterior: bool
) -> tuple[np.ndarray, np.ndarray]:
    if scores.ndim != 2 or scores.shape[1] != len(labels):
        raise ValueError(f"scores: expected shape (sequences, {len(labels)}), a column each label, got {scores.shape}")
    if targets.shape != scores.shape[:1]:
        raise ValueError(f"targets: expected shape {scores.shape[:1]}, one for each row of scores, got {targets.shape}")
    if scores.size == 0:
        raise ValueError("scores: expected at least one sequence and one label, got none; is the split empty?")
    if not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets: expected integer class indices, got {targets.dtype}")
    if targets.min() < 0 or targets.max() >= len(labels):
        raise ValueError(f"targets: expected 0..{len(labels) - 1}, got {targets.min()}..{targets.max()}")
    if len(set(labels)) != len(labels):
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        raise ValueError(f"labels: expected distinct names, got {repeated} more than once")
    if not np.issubdtype(scores.dtype, np.number) or np.issubdtype(scores.dtype, np.complexfloating):
        raise ValueError(f"scores: expected real numbers, got {scores.dtype}")
    nan_rows = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(nan_rows):
        raise ValueError(f"scores: expected numbers, got NaN in {len(nan_rows)} rows, the first row {nan_rows[0]}")
    if posterior and not np.allclose(sums := np.exp(scores.astype(np.float64)).sum(1), 1, atol=_ROUNDING):
        raise ValueError(f"scores: expected log-probabilities, got rows that sum to {sums.min():.3g}..{sums.max():.3g}")
    return scores.astype(np.float64), targets.astype(np.int64)
