"""Intervals of the differences between a table's rows, by the paired bootstrap over the test sequences (Efron, 1979).

They say how much a difference owes to the choice of test sequences. What another seed of training changes is averaged,
not resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import ArrayLike

RESAMPLES = 2000
COVERAGE = 0.95
_SEED = 0


def correctness(predicted: Sequence[int], table: Dataset) -> list[int]:
    """1 for each of a table's sequences whose predicted class is the true one, else 0."""
    return (np.array(predicted) == np.array(table["label"])).astype(int).tolist()


def paired_bootstrap(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of the mean of `first` minus that of `second`, from 2,000 seeded resamples.

    Args:
        first, second: (sequences,) of the same sequences in the same order.

    Raises:
        ValueError: of different lengths, or empty.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if len(first) != len(second) or not len(first):
        raise ValueError(f"expected as many sequences in both, 1 or more, got {len(first)} and {len(second)}")
    differences = first - second
    rng, outside = np.random.default_rng(_SEED), 50 * (1 - COVERAGE)
    means = [differences[rng.integers(len(differences), size=len(differences))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [outside, 100 - outside])
    return float(low), float(high)


def differences_to_best(summaries: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The name of the row of the best top-1, and how the others differ from it.

    Args:
        summaries: of `measured_rows`; those without `correct` are left out.

    Returns:
        The name, and for each other row name, difference (its top-1 minus the best), low and high. ("", []) of fewer
        than two rows.
    """
    rows = {one["name"]: np.array(one["correct"], float) for one in summaries if "correct" in one}
    if len(rows) < 2:
        return "", []
    best = max(rows, key=lambda name: rows[name].mean())
    found = []
    for name, correct in rows.items():
        if name != best:
            low, high = paired_bootstrap(correct, rows[best])
            difference = float(correct.mean() - rows[best].mean())
            found.append({"name": name, "difference": difference, "low": low, "high": high})
    return best, found


def difference_lines(best: str, differences: list[dict[str, Any]]) -> list[str]:
    """The differences as a Markdown table, in points; no lines without any."""
    lines = [f"| row | top-1 minus {best}'s, points | 95 % interval |", "|---|---|---|"]
    for one in differences:
        low, middle, high = (100 * one[name] for name in ("low", "difference", "high"))
        lines.append(f"| {one['name']} | {middle:+.1f} | {low:+.1f} to {high:+.1f} |")
    return lines if differences else []
