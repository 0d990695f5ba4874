"""Long recordings: which action is done when, by windows that a made-up scorer knows the truth about."""

from __future__ import annotations

import numpy as np
import pytest

from llm_action.modeling.segmentation import ScoreWindows, Segmentation, each_person, segments
from llm_action.modeling.skeleton_sequence import SkeletonSequence

LABELS = ("wave", "nothing", "kick")
FPS = 30.0


def still(frames: int, persons: int = 1) -> np.ndarray:
    """Upright bodies whose first joint says the frame's number in z and the person's number in y."""
    joints = np.random.default_rng(0).normal(size=(1, 1, 20, 3)).repeat(persons, 0).repeat(frames, 1) * [0.1, 1, 1]
    joints[:, :, 0, 2] = np.arange(1, frames + 1)
    joints[:, :, 0, 1] = np.arange(1, persons + 1)[:, None]
    return joints


class Oracle:
    """Knows what is done from when to when: the more a window shares with an action, the surer it is of its name."""

    def __init__(self, actions: dict[int, list[tuple[float, float, str]]]):
        self.actions, self.most, self.longest = actions, 0, 0

    def __call__(self, windows: list[SkeletonSequence]) -> np.ndarray:
        self.most = max(self.most, len(windows))
        scores = np.full((len(windows), len(LABELS)), 0.02)
        for row, window in zip(scores, windows, strict=True):
            self.longest = max(self.longest, window.num_frames)
            first, last = window.joints[0, [0, -1], 0, 2] - 1
            person = int(window.joints[0, 0, 0, 1]) - 1
            best, label = 0.0, "wave"
            for start, end, name in self.actions[person]:
                inside = max(0.0, min(end * FPS, last) - max(start * FPS, first))
                share = inside / (end * FPS - start * FPS + last - first - inside)
                if share > best:
                    best, label = share, name
            row[LABELS.index(label)] += best**2
            row[LABELS.index("nothing")] += 0.2
        return np.log(scores / scores.sum(1, keepdims=True))


def found(joints: np.ndarray, oracle: ScoreWindows, **settings) -> list:
    recording = SkeletonSequence(joints, "kinect20", FPS)
    return sorted(segments(recording, oracle, LABELS, Segmentation(**settings)), key=lambda one: one.start)


def test_actions_of_every_person_are_found_where_they_are_and_nothing_elsewhere():
    actions = {0: [(2, 4, "wave"), (8, 9.5, "kick")], 1: [(5, 7, "wave")]}
    result = found(still(400, 2), Oracle(actions))
    assert [(one.label, one.person) for one in result] == [("wave", 0), ("wave", 1), ("kick", 0)]
    for one, (start, end) in zip(result, [(2, 4), (5, 7), (8, 9.5)], strict=True):
        assert abs(one.peak - (start + end) / 2) < 0.15
        assert abs(one.start - start) < 0.5 and abs(one.end - end) < 0.5
        assert one.frames == tuple(round(FPS * moment) for moment in (one.start, one.end, one.peak))
        assert 0.4 < one.score <= 1


def test_repetitions_without_a_pause_are_told_apart():
    actions = [(2 + 2 * number, 4 + 2 * number, "wave") for number in range(5)]
    result = found(still(450), Oracle({0: actions}), lengths=(1.5, 2.0))
    assert [one.label for one in result] == ["wave"] * 5
    assert np.allclose([one.peak for one in result], [3, 5, 7, 9, 11], atol=0.15)


def test_repetitions_of_what_is_nearly_sure_all_along_are_told_apart():
    def score(windows: list[SkeletonSequence]) -> np.ndarray:
        middles = np.array([window.joints[0, [0, -1], 0, 2].mean() - 1 for window in windows]) / FPS
        doubt = np.exp(-4 - 1.5 * np.cos(np.pi * middles))  # between e^-2.5 and e^-5.5, least at 2, 4, 6 ... s
        return np.log(np.stack([1 - doubt, doubt / 2, doubt / 2], axis=1))

    peaks = [one.peak for one in found(still(330), score) if 1 < one.peak < 9]
    assert np.allclose(peaks, [2, 4, 6, 8], atol=0.2)


def test_what_is_done_elsewhere_in_the_recording_changes_nothing():
    quiet = found(still(300), Oracle({0: [(2, 4, "wave")]}))
    busy = found(still(1500), Oracle({0: [(2, 4, "wave"), *((10 + 2 * n, 11.5 + 2 * n, "kick") for n in range(15))]}))
    assert quiet == busy[:1] and len(busy) == 16


def test_times_count_from_the_recordings_first_frame_even_if_nobody_is_seen_at_first():
    joints = still(400)
    joints[:, :60] = np.nan
    joints[:, 200:290] = np.nan
    result = found(joints, Oracle({0: [(3, 5, "wave"), (10.2, 12, "kick")]}))
    assert [one.label for one in result] == ["wave", "kick"]
    assert abs(result[0].peak - 4) < 0.15 and abs(result[1].peak - 11.1) < 0.2


def test_windows_are_scored_some_at_a_time_and_never_longer_than_asked_for():
    short, long = Oracle({0: []}), Oracle({0: []})
    assert found(still(600), short) == found(still(6000), long) == []
    assert short.most == long.most < 100 and long.longest <= 3 * FPS + 1


def test_persons_are_taken_apart_and_noise_is_left_out():
    joints = still(100, 3)
    joints[2, 5:] = np.nan  # a flicker
    people = each_person(SkeletonSequence(joints, "kinect20", FPS))
    assert [person.num_persons for person in people] == [1, 1]
    assert [person.joints[0, 0, 0, 1] for person in people] == [1, 2]


def test_settings_and_scores_that_make_no_sense_are_refused():
    for wrong in ({"lengths": ()}, {"hop": 0}, {"threshold": 1}, {"dip": 0}, {"smoothing": -1}):
        with pytest.raises(ValueError, match="Expected"):
            Segmentation(**wrong)
    recording = SkeletonSequence(still(60), "kinect20", FPS)
    with pytest.raises(ValueError, match=r"\(windows, labels\)"):
        list(segments(recording, lambda windows: np.zeros((len(windows), 2)), LABELS))
