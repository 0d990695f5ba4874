import numpy as np
import pytest

from llm_action.modeling.skeleton_sequence import SkeletonSequence


def joints(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def test_sizes_and_types():
    sequence = SkeletonSequence(joints(2, 7, 25, 3), "ntu25", fps=30, scores=np.ones((2, 7, 25)), name="clip")
    assert (sequence.num_persons, sequence.num_frames, sequence.num_joints) == (2, 7, 25)
    assert sequence.joints.dtype == sequence.scores.dtype == np.float32
    assert sequence.fps == 30.0


def test_three_axes_are_one_person():
    array = joints(7, 17, 2)
    sequence = SkeletonSequence(array, "coco17", scores=np.ones((7, 17)))
    assert sequence.joints.shape == (1, 7, 17, 2)
    assert sequence.scores.shape == (1, 7, 17)
    np.testing.assert_allclose(sequence.joints[0], array, rtol=1e-6)


def test_one_frame_of_one_person_from_lists():
    assert SkeletonSequence(joints(1, 13, 3).tolist(), "smarthome13").num_frames == 1


def test_the_given_array_is_not_touched_and_infinity_is_missing():
    array = joints(1, 3, 25, 3).astype(np.float32)
    array[0, 1, 2, 0] = np.inf
    sequence = SkeletonSequence(array, "ntu25")
    assert np.isnan(sequence.joints[0, 1, 2, 0])
    assert np.isinf(array[0, 1, 2, 0])
    sequence.joints[:] = 0
    assert array[0, 0, 0, 0] != 0


def test_to_layout_takes_scores_along():
    array, scores = joints(1, 4, 20, 3), np.random.default_rng(1).random((1, 4, 20))
    mapped = SkeletonSequence(array, "kinect20", 30, scores, "clip").to_layout("coco17")
    assert (mapped.layout, mapped.fps, mapped.name) == ("coco17", 30.0, "clip")
    np.testing.assert_allclose(mapped.joints[0, :, 9], array[0, :, 6], rtol=1e-6)  # left wrist
    np.testing.assert_allclose(mapped.scores[0, :, 9], scores[0, :, 6], rtol=1e-6)
    assert np.isnan(mapped.joints[0, :, 1]).all()  # a Kinect sees no left eye
    assert (mapped.scores[0, :, 1] == 0).all()


@pytest.mark.parametrize(
    ("array", "layout", "message"),
    [
        (joints(4, 17, 3), "ntu25", r"25 joints.*'ntu25', got 17.*coco17"),
        (joints(4, 21, 3), "ntu25", r"got 21.*layouts with 21 joints: none"),
        (joints(25, 3), "ntu25", r"persons, frames, joints.*got \(25, 3\)"),
        (joints(4, 25, 4), "ntu25", r"got \(4, 25, 4\)"),
        (joints(2, 0, 25, 3), "ntu25", r"at least one person and one frame.*\(2, 0, 25, 3\)"),
        (joints(0, 4, 25, 3), "ntu25", "at least one person"),
        (joints(4, 25, 3) * np.nan, "ntu25", "no joint was seen"),
        (joints(4, 25, 3), "ntu24", "unknown skeleton layout 'ntu24'"),
        ("nonsense", "ntu25", "numeric array"),
    ],
)
def test_bad_joints(array, layout, message):
    with pytest.raises(ValueError, match=message) as error:
        SkeletonSequence(array, layout, name="clip7")
    assert str(error.value).startswith("clip7: ")


def test_bad_scores_and_fps():
    with pytest.raises(ValueError, match=r"scores of shape \(1, 4, 25\)"):
        SkeletonSequence(joints(4, 25, 3), "ntu25", scores=np.ones((4, 24)))
    for fps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="fps above 0"):
            SkeletonSequence(joints(4, 25, 3), "ntu25", fps=fps)
