"""Paired bootstrap intervals against what the binomial and the normal distribution say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from llm_action.experiments.intervals import difference_lines, differences_to_best, paired_bootstrap


def test_one_that_is_always_right_against_one_that_is_not():
    """The mean of a resample is binomial: its quantiles are known."""
    right = np.array([1] * 80 + [0] * 20)
    low, high = paired_bootstrap(np.ones(100), right)
    expected = binom.ppf([0.025, 0.975], 100, 0.2) / 100
    assert [low, high] == pytest.approx(expected, abs=0.011)


def test_pairs_count_not_the_rows_alone():
    """Two of 50 % that agree everywhere are equal; two that agree nowhere differ by chance as a normal says."""
    half = np.array([0, 1] * 200)
    assert paired_bootstrap(half, half) == (0, 0)
    low, high = paired_bootstrap(half, 1 - half)
    assert [low, high] == pytest.approx([-1.96 / 20, 1.96 / 20], abs=0.01)
    assert paired_bootstrap(half, 1 - half) == (low, high)


def test_bad_input():
    with pytest.raises(ValueError, match="as many sequences in both, 1 or more, got 2 and 3"):
        paired_bootstrap([1, 0], [1, 0, 1])
    with pytest.raises(ValueError, match="got 0 and 0"):
        paired_bootstrap([], [])


def test_the_best_row_and_how_far_the_others_are():
    rows = [
        {"name": "a", "correct": [1.0, 0.0, 0.0, 0.0]},
        {"name": "failed", "error": "needs aeon"},
        {"name": "b", "correct": [1.0, 1.0, 1.0, 0.5]},
        {"name": "kept without", "metrics": {}},
    ]
    best, (difference,) = differences_to_best(rows)
    assert best == "b" and difference["name"] == "a" and difference["difference"] == pytest.approx(-0.625)
    assert -1 <= difference["low"] < -0.625 < difference["high"] <= 0
    head, _, line = difference_lines(best, [difference])
    assert head == "| row | top-1 minus b's, points | 95 % interval |"
    assert line.startswith("| a | -62.5 | -")
    assert differences_to_best(rows[:2]) == ("", []) and difference_lines("", []) == []
