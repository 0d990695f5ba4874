"""What training writes down of the recordings that a model learns from: how long the longest are."""

from __future__ import annotations

import numpy as np
import pytest

from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.training.familiarity import longest_of


def lasting(seconds: float, fps: float | None = 30.0) -> SkeletonSequence:
    joints = np.random.default_rng(0).normal(size=(round(seconds * (fps or 30)), 20, 3))
    return SkeletonSequence(joints, "kinect20", fps)


def test_the_longest_but_one_in_200():
    usual = [lasting(seconds) for seconds in np.linspace(1, 4, 40)]
    assert longest_of(usual) == pytest.approx(4, abs=0.1)
    assert longest_of([*(usual * 10), lasting(60)]) == pytest.approx(4, abs=0.1)


def test_recordings_without_a_rate_say_nothing():
    known, unknown = [lasting(2), lasting(3)], [lasting(9, fps=None)]
    assert longest_of([*known, *unknown]) == pytest.approx(3, abs=0.1)
    assert longest_of([*known, *(unknown * 2)]) == 0 and longest_of([]) == 0
