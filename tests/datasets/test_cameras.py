"""Cameras for models of two dimensions: a pinhole's formula, and the errors asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from llm_action.config.sections import Augmentation, Cameras
from llm_action.datasets.augmentation import augment
from llm_action.datasets.cameras import camera_rotation, errors, filmed, filming, lost_joints, picture_of
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

KINECT = get_layout("kinect20")
EXACT = Cameras(yaw=0, pitch=0, roll=0, nearest=6, farthest=6, offset=0, drift=0, jitter=0, lost=0)
TRUNK = [KINECT.index(joint) for joint in ("head", "shoulder_center", "spine", "hip_center", "left_hip", "right_hip")]


@pytest.fixture(scope="module")
def waving() -> SkeletonSequence:
    return generate_sequence("waving a hand", subject=1, camera=2, repetition=1).to_layout("kinect20")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_camera_s_picture_by_hand(rng):
    persons = rng.normal(size=(2, 5, 20, 3))
    x, y, z = np.moveaxis(persons, -1, 0)
    # six torso lengths before the origin, looking along z; recordings have x to the camera's left
    expected = np.stack([-6 * x / (6 + z), 6 * y / (6 + z)], axis=-1)
    np.testing.assert_allclose(picture_of(persons, KINECT, EXACT, rng), expected)


def test_a_camera_turns_within_its_ranges(rng):
    cameras = Cameras(yaw=1.0, pitch=0.3, roll=0.0)
    turns = np.array([camera_rotation(cameras, rng) for _ in range(300)])
    np.testing.assert_allclose(turns @ turns.swapaxes(1, 2), np.tile(np.eye(3), (300, 1, 1)), atol=1e-12)
    # without roll the camera's left-right axis stays level, and its up leans by the pitch
    yaw, pitch = np.arctan2(turns[:, 0, 2], turns[:, 0, 0]), np.arccos(turns[:, 1, 1])
    np.testing.assert_allclose(turns[:, 0, 1], 0, atol=1e-12)
    assert 0.9 < np.abs(yaw).max() <= 1.0 and 0.27 < pitch.max() <= 0.3
    assert abs(np.mean(yaw)) < 0.15


def test_errors_are_as_large_as_asked_for(rng):
    shape = (40, 64, 20, 2)
    nothing = {"offset": 0, "drift": 0, "jitter": 0}
    constant = errors(shape, Cameras(**{**nothing, "offset": 0.07}), rng)
    assert np.ptp(constant, axis=1).max() == 0 and constant.std() == pytest.approx(0.07, rel=0.05)
    jitter = errors(shape, Cameras(**{**nothing, "jitter": 0.02}), rng)
    assert np.diff(jitter, axis=1).std() == pytest.approx(0.02 * np.sqrt(2), rel=0.05)
    drift = errors(shape, Cameras(**{**nothing, "drift": 0.03}), rng)
    assert np.diff(drift, axis=1).std() < 0.03 / 8 < 0.015 < drift.std() < 0.03


def test_limbs_are_lost_for_the_share_of_time_asked_for(rng):
    lost = np.concatenate([lost_joints((1, 90, 20), KINECT, Cameras(lost=0.12), rng) for _ in range(400)])
    wrist, elbow, knee = (KINECT.index(f"left_{joint}") for joint in ("wrist", "elbow", "knee"))
    assert not lost[..., TRUNK].any()
    for joint in (wrist, knee):
        assert 0.07 < lost[..., joint].mean() < 0.14  # spells overlap, and some begin before the recording
    assert (lost[..., wrist] == lost[..., elbow]).all() and (lost[..., wrist] != lost[..., knee]).any()


def test_a_model_of_two_dimensions_sees_no_depth_and_placed_persons(waving, rng):
    extractor = SkeletonFeatureExtractor(dimensions=2)
    film = filming(extractor)
    persons = extractor.normalize_in_space(waving)
    assert np.ptp(persons[..., 2]) > 0.2
    seen = augment(persons, Augmentation(), 64, rng, film=film)
    assert seen.shape == (1, 64, 20, 3) and not seen[..., 2].any()
    plain = dataclasses.replace(Augmentation(), scale=0, stretch=0, noise=0)
    hips = augment(persons, plain, 64, rng, film=film)[0, :, KINECT.index("hip_center")]
    np.testing.assert_allclose(hips.mean(0), 0, atol=1e-5)
    assert filming(SkeletonFeatureExtractor()) is None


def test_a_recording_as_a_pose_estimator_finds_it(waving, rng):
    torso = SkeletonFeatureExtractor().torso_length(waving)
    pixels = filmed(waving, torso, EXACT, rng)
    assert pixels.joints.shape == (*waving.joints.shape[:3], 2)
    height = pixels.joints[0, 0, :, 1]
    assert height[KINECT.index("head")] < height[KINECT.index("left_ankle")]  # rows grow downwards
    across = pixels.joints[0, 0, :, 0]
    assert across[KINECT.index("right_shoulder")] < across[KINECT.index("left_shoulder")]  # faces the camera
    noisy = filmed(waving, torso, Cameras(lost=0.9), rng)
    assert np.isnan(noisy.joints).any()
