"""Recordings too long for one label: still ends are cut, the rest is a doubt, and what is short enough is untouched."""

from __future__ import annotations

import numpy as np
import pytest

from llm_action.datasets.synthetic.sequences import perform_action
from llm_action.modeling.recording_length import of_one_action
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SkeletonSequence

FPS = 30


def standing_around(seconds: float, noise: float = 0.003) -> tuple[SkeletonSequence, slice]:
    """A kick between so many seconds of standing still, and the frames of the kick."""
    kick = perform_action("kicking", 2, camera=1)[0].astype(np.float64)
    still = [np.repeat(frame[None], round(seconds * FPS), axis=0) for frame in (kick[0], kick[-1])]
    joints = np.concatenate([still[0], kick, still[1]])
    joints += np.random.default_rng(0).normal(0, noise, joints.shape)
    return SkeletonSequence(joints, "ntu25", FPS), slice(len(still[0]), len(still[0]) + len(kick))


def test_still_ends_of_a_recording_that_is_too_long_are_cut(recwarn):
    sequence, kick = standing_around(4)
    length = (kick.stop - kick.start) / FPS
    cut = of_one_action(sequence, 64, longest=length)
    assert not recwarn.list
    assert abs(cut.first_frame - kick.start) < FPS and abs(cut.num_frames / FPS - length) < 1
    np.testing.assert_array_equal(cut.joints, sequence.joints[:, cut.first_frame : cut.first_frame + cut.num_frames])
    assert "in which nobody moves, are left out" in cut.notes[-1]
    assert of_one_action(sequence, 64, longest=20) is sequence and of_one_action(sequence, 64) is sequence


def test_what_is_too_long_without_them_is_left_and_said():
    kicks, _ = standing_around(0)
    often = SkeletonSequence(np.concatenate([kicks.joints] * 3, axis=1), "ntu25", FPS)
    with pytest.warns(RecordingWarning, match="learned from recordings of up to 2.0 s; what is done in turn, or again"):
        assert of_one_action(often, 64, longest=2.0) is often
    sequence, _ = standing_around(4)
    with pytest.warns(RecordingWarning, match="it lasts"):
        assert of_one_action(sequence, 64, longest=3.0, whole=True) is sequence
    frozen = SkeletonSequence(np.repeat(sequence.joints[:, :1], 300, axis=1), "ntu25", FPS)
    with pytest.warns(RecordingWarning, match="it lasts 10.0 s"):
        assert of_one_action(frozen, 64, longest=3.0) is frozen
    with pytest.warns(RecordingWarning, match=r"it lasts 60.0 s at 30 frames a second \(pass fps=\)"):
        of_one_action(SkeletonSequence(np.repeat(sequence.joints[:, :1], 1800, axis=1), "ntu25"), 64)


def test_the_second_person_counts():
    sequence, kick = standing_around(4)
    bystander = np.repeat(sequence.joints[:, :1], sequence.num_frames, axis=1) + 1.5
    both = SkeletonSequence(np.concatenate([bystander, sequence.joints]), "ntu25", FPS)
    cut = of_one_action(both, 64, longest=(kick.stop - kick.start) / FPS)
    assert cut.num_persons == 2 and abs(cut.first_frame - kick.start) < FPS
