"""The one door: whatever a recording came in, the same motion leaves it, and doubts are said once."""

from __future__ import annotations

import warnings

import numpy as np
import pandas
import pytest
import torch

from llm_action.datasets import row_to_sequence, sequence_to_row
from llm_action.datasets.synthetic.sequences import perform_action
from llm_action.modeling.skeleton_recording import (
    RecordingWarning,
    SkeletonRecording,
    is_several,
    recording_from_array,
    recording_of,
)
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.skeleton_stream import FrameBuffer
from llm_action.skeleton_io import read_skeleton


@pytest.fixture(scope="module")
def joints() -> np.ndarray:
    """(frames, 25, 3) metres, y up."""
    return perform_action("waving a hand", 2, camera=1)[0].astype(np.float32)


def doubts(function) -> tuple[object, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordingWarning)
        found = function()
    return found, [str(one.message) for one in caught if issubclass(one.category, RecordingWarning)]


@pytest.mark.parametrize("kind", ["array", "objects", "frame", "tensor", "lists", "mapping", "file"])
def test_all_doors_are_one(joints, kind, tmp_path):
    from llm_action.modeling.processing_llm_ar import LlmArProcessor

    written = (joints * [-1000, -1000, 1000]).transpose(2, 0, 1)  # millimetres, y down, channels first
    np.save(tmp_path / "wave.npy", written)
    given = {
        "array": written,
        "objects": written.astype(object),
        "frame": pandas.DataFrame(written.transpose(1, 2, 0).reshape(joints.shape[0], -1)),
        "tensor": torch.from_numpy(written),
        "lists": written.tolist(),
        "mapping": {"joints": written},
        "file": tmp_path / "wave.npy",
    }[kind]
    processor = LlmArProcessor.__new__(LlmArProcessor)
    sequence, said = doubts(lambda: processor._inferred(given, None, None, {}))
    assert not said and sequence.layout == "ntu25"
    np.testing.assert_allclose(sequence.joints[0], joints, atol=1e-4)
    assert kind == "frame" or any("CTV" in note for note in sequence.notes)
    assert not is_several(given) and any("mm" in note for note in sequence.notes)


def test_none_is_a_missing_joint(joints):
    written = joints.astype(object)
    written[3:9, 7] = None
    for given in (written, written.tolist(), {"joints": written.tolist()}):
        assert not is_several(given)
        sequence = recording_of(given, "ntu25")
        assert np.isnan(sequence.joints[0, 3:9, 7]).all() and np.isnan(sequence.joints).any(-1).sum() == 6
    assert not is_several([[[None, None, None]]]) and is_several([None, joints])
    with pytest.raises(ValueError, match="numeric array"):
        recording_of(np.array([[object()]]))


def test_what_is_stated_stays_and_is_contradicted(joints):
    sequence, said = doubts(recording_from_array(-joints, "ntu25", up="y", mirrored=False).to_sequence)
    np.testing.assert_array_equal(sequence.joints[0], -joints)
    (message,) = said
    assert "up=y" in message and message.split(": ", 1)[1] in " ".join(sequence.notes)
    far, said = doubts(SkeletonRecording(joints[None] * 1000, "ntu25", up="y", unit="m").to_sequence)
    np.testing.assert_array_equal(far.joints[0], joints * 1000)
    assert "unit=m" in said[0]


def test_rows_of_tables_and_sequences_are_trusted(joints):
    upside_down = SkeletonSequence(-joints, "ntu25")
    row = sequence_to_row(upside_down, "a", 0, 0, 0, {})
    from llm_action.modeling.processing_llm_ar import LlmArProcessor

    processor = LlmArProcessor.__new__(LlmArProcessor)
    for given in (row, upside_down, row_to_sequence(row)):
        sequence, said = doubts(lambda given=given: processor.read(given))
        assert not said
        np.testing.assert_array_equal(sequence.joints[0], -joints)


def test_a_stack_of_recordings_is_no_scene(joints):
    stack = np.stack([perform_action("waving a hand", subject)[0][:60] for subject in range(2, 7)])
    with pytest.raises(ValueError, match=r"5 recordings.*list\(array\)"):
        recording_from_array(stack, "ntu25").to_sequence()
    apart = np.stack([joints, joints + np.array([1.5, 0, 0]), joints + np.array([3, 0, 0])])
    assert recording_from_array(apart, "ntu25").to_sequence().num_persons == 3


def test_a_stream_is_understood_from_its_first_window(joints):
    buffer = FrameBuffer(32, 8, None, "ntu25")
    wanted = joints.copy()
    wanted[5, 7] = np.nan
    for number, frame in enumerate(joints[:40] * np.float32(-1) * [1, 1, -1]):
        frame[7] = 0 if number == 5 else frame[7]
        buffer.add(frame)
        if buffer.due:
            window = buffer.take()
            first = window.end - 32
            np.testing.assert_allclose(window.sequence.joints[0], wanted[first : window.end], atol=1e-5)
    assert window.end == 40


def test_low_scores_of_a_stream_are_missing(joints):
    pixels = np.concatenate([joints[..., :2] * [300, -300] + [900, 700], np.full((*joints.shape[:2], 1), 0.9)], axis=-1)
    pixels[3, 7] = [5000, 5000, 0.05]
    buffer = FrameBuffer(16, 8, "ntu25", "ntu25")
    for frame in pixels[:16]:
        buffer.add(frame)
    sequence = buffer.take().sequence
    assert np.isnan(sequence.joints[0, 3, 7]).all() and np.isnan(sequence.joints[0, :, :, 0]).sum() == 1


def test_scores_and_names_of_the_file_are_kept(joints, tmp_path):
    np.savez(tmp_path / "wave.npz", joints=joints, layout="ntu25", scores=np.full(joints.shape[:2], 0.9), fps=30)
    sequence = read_skeleton(tmp_path / "wave.npz")
    assert (sequence.name, sequence.fps, sequence.scores.shape) == ("wave", 30.0, (1, *joints.shape[:2]))
