"""Where the camera stands, how large a body is and how often it was seen change nothing of what a model reads."""

from __future__ import annotations

import numpy as np
import pytest

from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.skeleton_geometry import (
    about_vertical,
    body_scale,
    facing_rotation,
    heading,
    reference_body,
    up_direction,
    upright_rotation,
)
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_normalization import interpolated
from llm_action.modeling.skeleton_sequence import SkeletonSequence

LAYOUT = get_layout("kinect20")
STANDING = reference_body("kinect20")


def rotation(pitch: float = 0, roll: float = 0, yaw: float = 0) -> np.ndarray:
    """Degrees: turned about the vertical, then seen by a camera that looks down and leans."""
    p, r = np.radians([pitch, roll])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    lean = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return lean @ nod @ about_vertical(np.radians(yaw))


def performed(action: str) -> SkeletonSequence:
    from llm_action.datasets.synthetic.sequences import perform_action

    return SkeletonSequence(perform_action(action, subject=1).astype(np.float32), "ntu25", 30.0)


def features(sequence: SkeletonSequence, joints: np.ndarray) -> np.ndarray:
    output = SkeletonFeatureExtractor()([SkeletonSequence(joints, sequence.layout, sequence.fps)])
    return output["skeletons"][0][output["person_mask"][0]]


def posed(**places: tuple[float, float, float]) -> np.ndarray:
    """(1, 4, 20, 3) the reference body with some joints elsewhere."""
    body = STANDING.copy()
    for joint, place in places.items():
        body[LAYOUT.index(joint)] = place
    return np.repeat(body[None, None], 4, axis=1)


@pytest.mark.parametrize("action", ("waving a hand", "shaking hands", "kicking"))
@pytest.mark.parametrize("camera", ((0, 0, 137), (25, 0, 0), (0, 10, 20), (0, -10, -90), (20, 10, 170), (-15, 5, 60)))
@pytest.mark.parametrize("unit", (1, 1000))
def test_the_camera_and_the_unit_change_nothing(action, camera, unit):
    sequence = performed(action)
    seen = unit * (sequence.joints @ rotation(*camera).T + np.array([0.3, -0.8, 3.1]))
    np.testing.assert_allclose(features(sequence, seen), features(sequence, sequence.joints), atol=1e-3)


@pytest.mark.parametrize("pace", (0.5, 2))
def test_frames_a_second_change_hardly_anything(pace):
    sequence = performed("waving a hand")
    last = sequence.num_frames - 1
    seen = interpolated(sequence.joints, np.linspace(0, last, round(pace * last) + 1))
    difference = np.linalg.norm(features(sequence, seen) - features(sequence, sequence.joints), axis=-1)
    assert difference.mean() < 0.03  # torso lengths


def test_a_person_who_bends_now_and_then_is_turned_by_the_frames_in_between():
    bent = posed()
    upper = [joint for joint in range(20) if STANDING[joint, 1] > 0]
    body = np.repeat(posed(), 3, axis=1)
    body[0, :5, upper] = (bent[0, :1, upper] @ rotation(pitch=80).T).repeat(5, axis=1)
    up = up_direction(body @ rotation(pitch=20).T)
    assert np.degrees(np.arccos(up @ rotation(pitch=20)[:, 1])) < 2


def test_a_person_who_sits_is_turned_by_the_trunk():
    knees = {f"{side}_knee": (x, 0.0, -0.85) for side, x in (("left", -0.33), ("right", 0.33))}
    ankles = {
        f"{side}_{joint}": (x, -0.85, -0.85)
        for side, x in (("left", -0.33), ("right", 0.33))
        for joint in ("ankle", "foot")
    }
    up = up_direction(posed(**knees, **ankles) @ rotation(pitch=15, roll=5).T)
    np.testing.assert_allclose(up, rotation(pitch=15, roll=5)[:, 1], atol=0.02)


def test_a_body_without_legs_is_turned_by_what_is_seen():
    legs = {  # a joint never seen is where its parent is
        f"{side}_{joint}": tuple(STANDING[LAYOUT.index(f"{side}_hip")])
        for side in ("left", "right")
        for joint in ("knee", "ankle", "foot")
    }
    body = posed(**legs) @ rotation(pitch=20).T
    np.testing.assert_allclose(up_direction(body), rotation(pitch=20)[:, 1], atol=0.02)
    assert body_scale(body[0]) == pytest.approx(1, abs=0.02)


def test_somebody_who_lies_is_not_stood_up_but_turned_with_the_one_who_stands():
    lying, standing = posed() @ rotation(pitch=90).T, posed() + np.array([2.0, 0, 0])
    assert up_direction(lying) is None
    np.testing.assert_array_equal(upright_rotation(lying), np.eye(3))
    both = np.concatenate([lying, standing]) @ rotation(pitch=10).T
    np.testing.assert_allclose(upright_rotation(both) @ rotation(pitch=10), np.eye(3), atol=0.05)


def test_flat_recordings_are_not_turned_upright():
    sequence = performed("waving a hand")
    flat = sequence.joints[..., :2] * np.array([100, -100], np.float32)
    assert (features(sequence, flat)[..., 2] == 0).all()
    leaning = flat @ rotation(roll=10)[:2, :2].T.astype(np.float32)
    # the front is turned to the back, which leans the other way
    upright = features(sequence, leaning)[..., :2] @ rotation(roll=10)[:2, :2]
    np.testing.assert_allclose(upright, features(sequence, flat)[..., :2], atol=1e-3)


def test_a_picture_of_the_front_and_one_of_the_back_read_alike():
    """Right lies along +x of what a model reads, in a picture of somebody's front it is on the left."""
    sequence = performed("waving a hand")
    picture = sequence.joints[..., :2] * np.array([100, -100], np.float32)
    mirror = picture * np.array([-1, 1], np.float32)  # which of the two shows the front, the joints' names say
    layout = get_layout(sequence.layout)
    for seen in (picture, mirror):
        normalized = features(sequence, seen)[0]
        across = normalized[:, layout.index("right_shoulder")] - normalized[:, layout.index("left_shoulder")]
        assert across[:, 0].mean() > 0
    np.testing.assert_allclose(features(sequence, picture), features(sequence, mirror), atol=1e-5)


def test_the_reference_body_is_no_mirror_image():
    """Right, up and the way the toes point make the hand that people's do: right x up is backwards."""
    right = STANDING[LAYOUT.index("right_shoulder")] - STANDING[LAYOUT.index("left_shoulder")]
    up = STANDING[LAYOUT.index("head")]
    toes = STANDING[LAYOUT.index("right_foot")] - STANDING[LAYOUT.index("right_ankle")]
    assert np.cross(right, up) @ toes < 0
    np.testing.assert_allclose(facing_rotation(STANDING[None]), np.eye(3), atol=1e-6)


def test_heading_of_a_person_who_turns():
    yaws = np.linspace(0, 2 * np.pi, 25)[:-1]
    turning = np.stack([STANDING @ about_vertical(yaw).T for yaw in yaws])
    given = heading(turning)
    expected = np.stack([-np.sin(yaws), -np.cos(yaws)], axis=-1)
    np.testing.assert_allclose(given / np.linalg.norm(given, axis=-1, keepdims=True), expected, atol=1e-6)


def test_a_model_says_which_geometry_it_was_trained_with(tmp_path):
    extractor = SkeletonFeatureExtractor()
    extractor.save_pretrained(tmp_path)
    assert SkeletonFeatureExtractor.from_pretrained(tmp_path).geometry == 3
    saved = {name: value for name, value in extractor.to_dict().items() if name != "geometry"}
    assert SkeletonFeatureExtractor.from_dict(saved).geometry == 1  # saved before there were versions
    with pytest.raises(ValueError, match="geometry 1 to 3, got 4.*update"):
        SkeletonFeatureExtractor(geometry=4)
