"""Random versions of a sequence: what each change does, by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from llm_action.config.sections import Augmentation
from llm_action.datasets.augmentation import augment, warped

NOTHING = {field.name: 0 for field in dataclasses.fields(Augmentation)} | {"shortest_crop": 1}


def walk(frames: int = 33, joints: int = 4, persons: int = 2) -> np.ndarray:
    """Every joint at the frame's number."""
    return np.tile(np.arange(frames, dtype=np.float64)[None, :, None, None], (persons, 1, joints, 3))


def augmented(persons: np.ndarray, seed: int = 0, frames: int = 33, **settings) -> np.ndarray:
    ranges = Augmentation(**{**NOTHING, **settings})
    return augment(persons, ranges, frames, np.random.default_rng(seed))


def test_nothing_switched_on_changes_nothing():
    np.testing.assert_array_equal(augmented(walk()), walk().astype(np.float32))


def test_a_warp_by_hand():
    given = warped(np.array([10.0, 11, 12, 13, 14]), np.array([0.0, 0.5]))
    # way + 0.5 sin(2 pi way) / (2 pi) at the quarters: 0, 1/4 + 0.0796, 1/2, 3/4 - 0.0796, 1
    np.testing.assert_allclose(given, 10 + 4 * np.array([0, 0.25 + 0.25 / np.pi, 0.5, 0.75 - 0.25 / np.pi, 1]))
    slow_end = warped(np.linspace(0, 4, 5), np.array([0.5, 0.0]))
    np.testing.assert_allclose(slow_end[2], 4 * (0.5 + 0.5 / np.pi))  # faster first, slower afterwards
    assert (np.diff(slow_end)[:-1] > np.diff(slow_end)[1:]).all()


def test_the_pace_stays_within_its_range_and_the_ends_stay():
    paces = []
    for seed in range(50):
        time = augmented(walk(), seed, speed=0.6)[0, :, 0, 0]
        assert time[0] == 0 and time[-1] == pytest.approx(32, abs=1e-4)
        paces.append(np.diff(time))
    assert 0.4 - 1e-3 < np.min(paces) < 0.6 and 1.4 < np.max(paces) < 1.6 + 1e-3


@pytest.mark.parametrize("speed", (1.0, -0.1))
def test_what_cannot_be_is_refused(speed):
    with pytest.raises(ValueError, match="speed: expected"):
        Augmentation(speed=speed)
