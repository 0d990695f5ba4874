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
    array, scores = joints(1, 4, 20, 3), np.random.default_rng(1).uniform(0.5, 1, (1, 4, 20))
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
        (joints(4, 19, 3), "ntu25", r"got 19.*layouts with 19 joints: none"),
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


def test_zeros_are_missing_and_empty_ends_are_cut():
    array = joints(2, 9, 25, 3) + 5
    array[1] = 0
    array[0, :2] = 0
    array[0, 8] = 0
    array[0, 4, 7] = 0
    sequence = SkeletonSequence(array, "ntu25", scores=np.ones((2, 9, 25)))
    assert sequence.joints.shape == (1, 6, 25, 3)
    assert sequence.scores.shape == (1, 6, 25)
    assert sequence.first_frame == 2
    assert np.argwhere(np.isnan(sequence.joints).any(axis=-1)).tolist() == [[0, 2, 7]]
    assert any("never seen" in note for note in sequence.notes)
    assert any("2 at the start and 1 at the end" in note for note in sequence.notes)


def test_empty_frames_in_between_are_kept():
    array = joints(9, 25, 3) + 5
    array[4] = np.nan
    sequence = SkeletonSequence(array, "ntu25")
    assert (sequence.num_frames, sequence.first_frame, sequence.notes) == (9, 0, ())


def test_a_root_that_is_the_origin_is_a_place():
    array = joints(9, 25, 3)
    array[:, 0] = 0
    assert np.isfinite(SkeletonSequence(array, "ntu25").joints).all()
    away = array + np.array([0, 0, 30])
    away[:, 0] = 0
    assert np.isnan(SkeletonSequence(away, "ntu25").joints[0, :, 0]).all()


def test_joints_of_low_score_are_missing():
    scores = np.full((4, 25), 0.9)
    scores[1, 3], scores[2, 5] = 0.29, 0.31
    sequence = SkeletonSequence(joints(4, 25, 3), "ntu25", scores=scores)
    assert np.argwhere(np.isnan(sequence.joints).any(axis=-1)).tolist() == [[0, 1, 3]]
    again = sequence.to_layout("kinect20").to_layout("ntu25")
    assert np.isnan(again.joints[0, 1, 3]).all()


def test_scores_that_are_all_alike_say_nothing():
    sequence = SkeletonSequence(joints(4, 25, 3), "ntu25", scores=np.zeros((4, 25)))
    assert sequence.scores is None
    assert np.isfinite(sequence.joints).all()
    assert "all scores are 0" in sequence.notes[0]


def test_a_hand_is_no_body():
    with pytest.raises(ValueError, match="'hand21' and 'ntu25' have no seen joint in common"):
        SkeletonSequence(joints(4, 21, 3), "hand21").to_layout("ntu25")
