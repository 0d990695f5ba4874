"""Metrics against a brute-force oracle written with plain loops."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llm_action.evaluation.metrics import classification_metrics


def oracle(scores, targets, labels):
    """Ranks by sorting (-score, index) pairs in Python and counts by hand."""
    ranked = [sorted(range(len(labels)), key=lambda c, row=row: (-row[c], c)) for row in scores.tolist()]
    confusion = [[0] * len(labels) for _ in labels]
    for order, target in zip(ranked, targets.tolist()):
        confusion[target][order[0]] += 1
    per_class = {}
    for c, label in enumerate(labels):
        hits = [order[0] == c for order, target in zip(ranked, targets.tolist()) if target == c]
        per_class[label] = sum(hits) / len(hits) if hits else None
    seen = [accuracy for accuracy in per_class.values() if accuracy is not None]
    return {
        "n": len(ranked),
        "top1": sum(o[0] == t for o, t in zip(ranked, targets)) / len(ranked),
        "top5": sum(t in o[:5] for o, t in zip(ranked, targets)) / len(ranked),
        "mean_class_accuracy": sum(seen) / len(seen),
        "per_class": per_class,
        "confusion": confusion,
    }


@pytest.mark.parametrize("classes", [1, 2, 5, 12])
@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_a_brute_force_count(classes, ties):
    generator = np.random.default_rng(classes)
    scores = generator.normal(size=(83, classes))
    if ties:
        scores = scores.round()
    targets = generator.integers(0, max(1, classes - 1), size=83)  # the last class never occurs
    labels = [f"action {c}" for c in range(classes)]

    metrics = classification_metrics(scores, targets, labels)

    expected = oracle(scores, targets, labels)
    for key in ("n", "confusion"):
        assert metrics[key] == expected[key]
    for key in ("top1", "top5", "mean_class_accuracy", "per_class"):
        assert metrics[key] == pytest.approx(expected[key], nan_ok=False)
    assert metrics["labels"] == labels


def test_most_confused_pairs_are_the_largest_off_diagonal_counts():
    # wave: 1 right, 3 taken for clap; clap: 2 right, 1 taken for throw; throw: all right.
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    predictions = np.array([0, 1, 1, 1, 1, 1, 2, 2])
    metrics = classification_metrics(np.eye(3)[predictions], targets, ["wave", "clap", "throw"])
    assert metrics["most_confused"] == [
        {"true": "wave", "predicted": "clap", "count": 3, "rate": 0.75},
        {"true": "clap", "predicted": "throw", "count": 1, "rate": pytest.approx(1 / 3)},
    ]
    assert metrics["confusion"] == [[1, 3, 0], [0, 2, 1], [0, 0, 1]]


def test_json_round_trip_with_log_likelihoods_of_any_float_width():
    scores = np.array([[-1.0, -np.inf], [-2.0, -0.5]], dtype=np.float32)
    metrics = classification_metrics(scores, np.array([0, 1], dtype=np.int32), ["sit down", "stand up"])
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["top1"] == 1.0 and metrics["most_confused"] == []


def test_a_model_without_an_opinion_earns_nothing_by_ties():
    metrics = classification_metrics(np.zeros((4, 10)), np.array([9, 8, 7, 6]), [str(c) for c in range(10)])
    assert metrics["top1"] == metrics["top5"] == 0.0


@pytest.mark.parametrize(
    ("scores", "targets", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 1]), ["a", "b"], r"shape \(sequences, 2\).*got \(2, 3\)"),
        (np.zeros(3), np.array([0]), ["a", "b", "c"], r"got \(3,\)"),
        (np.zeros((2, 2)), np.array([0]), ["a", "b"], r"targets: expected shape \(2,\)"),
        (np.zeros((0, 2)), np.zeros(0, int), ["a", "b"], "is the split empty"),
        (np.zeros((2, 2)), np.array([0, 2]), ["a", "b"], r"expected 0\.\.1, got 0\.\.2"),
        (np.zeros((2, 2)), np.array([0, -1]), ["a", "b"], r"expected 0\.\.1"),
        (np.zeros((2, 2)), np.array([0.0, 1.0]), ["a", "b"], "integer class indices"),
        (np.zeros((2, 2)), np.array([0, 1]), ["a", "a"], r"\['a'\] more than once"),
        (np.array([[0, 1], [np.nan, 0]]), np.array([0, 1]), ["a", "b"], "NaN in 1 rows, the first row 1"),
        (np.array([["x", "y"]]), np.array([0]), ["a", "b"], "expected real numbers"),
    ],
)
def test_bad_input_is_an_error_that_says_what_came(scores, targets, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(scores, targets, labels)
