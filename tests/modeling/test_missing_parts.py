"""Hips and legs never seen, and recordings that move with the body, beside the same motion seen whole."""

import numpy as np
import pytest

from llm_action.datasets.synthetic.sequences import perform_action
from llm_action.modeling.missing_parts import moves_with_the_body
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_normalization import SkeletonNormalizer
from llm_action.modeling.skeleton_sequence import SkeletonSequence

NTU = get_layout("ntu25")
KINECT = get_layout("kinect20")


def normalized(joints: np.ndarray) -> np.ndarray:
    """(frames, 20, 3) as a model sees it."""
    return SkeletonNormalizer("kinect20").normalize(SkeletonSequence(joints, "ntu25"))[0]


def recording(action: str) -> np.ndarray:
    return perform_action(action, subject=2, camera=1)[0].astype(np.float64)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one - other) ** 2).sum(axis=-1).mean()))


def without(joints: np.ndarray, *parts: str) -> np.ndarray:
    joints = joints.copy()
    joints[:, [number for number, joint in enumerate(NTU.joints) if any(part in joint for part in parts)]] = np.nan
    return joints


@pytest.mark.parametrize("flat", [False, True])
def test_legs_never_seen_stand(flat):
    joints = recording("waving a hand")
    if flat:
        joints = joints[..., :2] * [1, -1]
    found, whole = normalized(without(joints, "knee", "ankle", "foot")), normalized(joints)
    np.testing.assert_allclose(found[:, KINECT.index("head")], whole[:, KINECT.index("head")], atol=0.2)
    assert apart(found, whole) < 0.25
    for side in ("left", "right"):
        hip, knee, ankle, foot = (found[:, KINECT.index(f"{side}_{j}")] for j in ("hip", "knee", "ankle", "foot"))
        assert (hip[:, 1] > knee[:, 1] + 0.5).all() and (knee[:, 1] > ankle[:, 1] + 0.5).all()
        assert flat or (foot[:, 2] < ankle[:, 2] - 0.1).all()  # toes to the front


def test_a_shin_never_seen_hangs_from_the_knee():
    joints = without(recording("sitting down"), "ankle", "foot")
    found = normalized(joints)
    below = found[:, KINECT.index("left_knee")] - found[:, KINECT.index("left_ankle")]
    np.testing.assert_allclose(below[:, 1], np.linalg.norm(below, axis=-1), rtol=0.1)


@pytest.mark.parametrize("action", ["sitting down", "squatting", "picking up an object", "waving a hand"])
@pytest.mark.parametrize("centre", ["hip_center", "spine"])
def test_what_moves_with_the_body_is_put_on_the_floor(action, centre):
    joints = recording(action)
    relative = joints - joints[:, [NTU.index(centre)]]
    assert apart(normalized(relative), normalized(joints)) < 0.1


@pytest.mark.parametrize("geometry", [1, 2])
def test_older_models_see_what_they_were_trained_on(geometry):
    older = SkeletonNormalizer("kinect20", geometry=geometry)
    joints = recording("squatting")
    (found,) = older.normalize(SkeletonSequence(without(joints, "knee", "ankle", "foot"), "ntu25"))
    assert np.ptp(found[:, [KINECT.index("left_knee"), KINECT.index("left_foot")]], axis=1).max() < 1e-5
    (relative,) = older.normalize(SkeletonSequence(joints - joints[:, :1], "ntu25"))
    hips = relative[:, KINECT.index("hip_center")]
    assert np.abs(hips - hips[0]).max() < 1e-4


def test_a_gap_in_the_feet_does_not_matter():
    joints = recording("squatting")
    relative = joints - joints[:, :1]
    relative[10:20, NTU.index("left_foot")] = np.nan
    assert apart(normalized(relative), normalized(joints)) < 0.1


def test_the_second_person_goes_the_way_of_the_first():
    scene = perform_action("pushing another person", subject=2, camera=1).astype(np.float64)
    relative = scene - scene[:1, :, :1]
    found, whole = (
        SkeletonNormalizer("kinect20").normalize(SkeletonSequence(joints, "ntu25")) for joints in (relative, scene)
    )
    assert min(apart(found, order) for order in (whole, whole[::-1])) < 0.3


def test_hips_that_sway_a_little_are_not_an_origin():
    landmarks = KINECT.index("hip_center"), KINECT.index("left_foot")
    body = np.zeros((50, 20, 3)) + np.arange(20)[:, None]
    body[:, landmarks[1], 1] += np.linspace(0, 5, 50)
    assert moves_with_the_body(body)
    swaying = body + np.random.default_rng(0).normal(0, 0.05, (50, 20, 3))
    assert not moves_with_the_body(swaying)
    standing = np.repeat(body[:1], 50, axis=0)
    assert not moves_with_the_body(standing)
