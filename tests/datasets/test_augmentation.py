"""Random versions of a sequence: what each change does, by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from llm_action.config.sections import Augmentation, OnTrial
from llm_action.datasets.augmentation import augment, warped

NOTHING = {field.name: 0 for field in dataclasses.fields(Augmentation)} | {"shortest_crop": 1}


def walk(frames: int = 33, joints: int = 4, persons: int = 2) -> np.ndarray:
    """Every joint at the frame's number."""
    return np.tile(np.arange(frames, dtype=np.float64)[None, :, None, None], (persons, 1, joints, 3))


def augmented(
    persons: np.ndarray, seed: int = 0, frames: int = 33, joint_dropout: float = 0.0, **settings
) -> np.ndarray:
    ranges = Augmentation(**{**NOTHING, **settings})
    return augment(persons, ranges, frames, np.random.default_rng(seed), joint_dropout)


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


def test_a_lost_joint_moves_in_a_straight_line():
    persons = np.random.default_rng(1).normal(size=(2, 33, 4, 3))
    given = augmented(persons, joint_dropout=1.0)
    for person in range(2):
        for joint in range(4):
            track, before = given[person, :, joint], persons[person, :, joint].astype(np.float32)
            changed = np.flatnonzero((np.abs(track - before) > 1e-5).any(1))
            if len(changed) == 0:  # lost between two neighbouring frames: nothing to see
                continue
            first, last = changed[0] - 1, changed[-1] + 1
            assert (np.diff(changed) == 1).all()
            line = np.linspace(before[first], before[last], last - first + 1)
            np.testing.assert_allclose(track[first : last + 1], line, atol=1e-5)
    assert (given != persons.astype(np.float32)).any()


def test_as_many_joints_are_lost_as_asked():
    persons = np.random.default_rng(1).normal(size=(1, 64, 20, 3))
    lost = [(augmented(persons, seed, 64, joint_dropout=0.25) != persons.astype(np.float32)) for seed in range(100)]
    share = np.mean([changed.any((1, 3)) for changed in lost])
    assert share == pytest.approx(0.25 * (1 - 3 / 64), abs=0.03)  # of 64 x 64 pairs of frames 190 have none between


@pytest.mark.parametrize(
    ("section", "settings"),
    [(Augmentation, {"speed": 1.0}), (Augmentation, {"speed": -0.1}), (OnTrial, {"joint_dropout": 1.5})],
    ids=str,
)
def test_what_cannot_be_is_refused(section, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}: expected"):
        section(**settings)
