"""What the feature extractor undoes (place, size, direction, length of a recording) and what it keeps."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE, ActionVQVAEConfig
from llm_action.modeling.skeleton_layouts import LAYOUTS, get_layout, map_joints
from llm_action.modeling.skeleton_normalization import resample
from llm_action.modeling.skeleton_sequence import SkeletonSequence


@pytest.fixture(scope="module")
def waving() -> SkeletonSequence:
    from llm_action.datasets.synthetic.sequences import perform_action

    return SkeletonSequence(perform_action("waving a hand", subject=1).astype(np.float32), "ntu25", 30.0)


@pytest.fixture(scope="module")
def shaking_hands() -> SkeletonSequence:
    from llm_action.datasets.synthetic.sequences import perform_action

    return SkeletonSequence(perform_action("shaking hands", subject=1).astype(np.float32), "ntu25", 30.0)


def changed(sequence: SkeletonSequence, joints: np.ndarray) -> SkeletonSequence:
    return SkeletonSequence(joints, sequence.layout, sequence.fps)


def turned(joints: np.ndarray, degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return joints @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32).T


def features(sequence: SkeletonSequence, **settings) -> np.ndarray:
    """(persons, frames, joints, 3) of the persons there are."""
    output = SkeletonFeatureExtractor(**settings)([sequence])
    return output["skeletons"][0][output["person_mask"][0]]


@pytest.mark.parametrize("degrees", (-170, -45, 30, 90))
def test_the_camera_direction_does_not_matter(waving, shaking_hands, degrees):
    for sequence in (waving, shaking_hands):
        other = changed(sequence, turned(sequence.joints, degrees))
        np.testing.assert_allclose(features(other), features(sequence), atol=2e-4)


def test_without_align_facing_the_direction_is_kept(waving):
    plain = features(waving, align_facing=False)
    other = features(changed(waving, turned(waving.joints, 40)), align_facing=False)
    np.testing.assert_allclose(other, turned(plain, 40), atol=2e-4)
    assert np.abs(other - plain).max() > 0.1


def test_place_and_size_do_not_matter(waving, shaking_hands):
    for sequence in (waving, shaking_hands):
        other = changed(sequence, 1.7 * sequence.joints + np.array([0.4, -0.9, 3.2], np.float32))
        np.testing.assert_allclose(features(other), features(sequence), atol=2e-4)


def test_units_are_torso_lengths_from_the_hips_mean_place(waving):
    layout = get_layout("kinect20")
    person = SkeletonFeatureExtractor().normalize(waving)[0]
    hips, neck = person[:, layout.index("hip_center")], person[:, layout.index("shoulder_center")]
    np.testing.assert_allclose(hips.mean(0), 0, atol=1e-5)
    assert np.median(np.linalg.norm(neck - hips, axis=-1)) == pytest.approx(
        1, abs=0.15
    )  # of a body with bones like the reference's
    across = person[0, layout.index("right_shoulder")] - person[0, layout.index("left_shoulder")]
    assert across[0] > 0 and abs(across[2]) < 0.2 * across[0]  # faces along one direction, right at the larger x


def test_frames_are_interpolated_linearly(waving):
    extractor = SkeletonFeatureExtractor(num_frames=37)
    plain = extractor.normalize(waving)
    moments = np.linspace(0, waving.num_frames - 1, 37)
    given = features(waving, num_frames=37)
    for joint, channel in ((0, 1), (7, 0), (19, 2)):
        expected = np.interp(moments, np.arange(waving.num_frames), plain[0, :, joint, channel])
        np.testing.assert_allclose(given[0, :, joint, channel], expected, atol=1e-5)


def test_a_part_of_the_time_is_interpolated_linearly():
    track = np.random.default_rng(0).normal(size=11)
    given = resample(track.reshape(1, 11, 1, 1), 5, 0.25, 0.9)
    np.testing.assert_allclose(given.ravel(), np.interp(np.linspace(2.5, 9.0, 5), np.arange(11), track))


def test_flat_recordings_get_depth_zero_and_the_y_axis_up(waving):
    pixels = waving.joints[..., :2] * np.array([100, -100], np.float32) + 300
    given = features(changed(waving, pixels), align_facing=False)
    flat = waving.joints * np.array([1, 1, 0], np.float32)
    np.testing.assert_allclose(given, features(changed(waving, flat), align_facing=False), atol=1e-3)
    assert np.isfinite(given).all() and (given[..., 2] == 0).all()


def test_missing_joints_are_filled(waving):
    joints = waving.joints.copy()
    wrist = get_layout("ntu25").index("left_wrist")
    joints[:, 10:14, wrist] = np.nan
    filled = features(changed(waving, joints), num_frames=waving.num_frames)
    whole = features(waving, num_frames=waving.num_frames)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(np.delete(filled, np.s_[10:14], axis=1), np.delete(whole, np.s_[10:14], axis=1))
    mapped = get_layout("kinect20").index("left_wrist")
    between = np.linspace(whole[0, 9, mapped], whole[0, 14, mapped], 6)[1:-1]
    np.testing.assert_allclose(filled[0, 10:14, mapped], between, atol=1e-5)


def test_the_most_active_person_comes_first(waving):
    still = np.repeat(waving.joints[:, :1] + np.array([1.0, 0, 0], np.float32), waving.num_frames, axis=1)
    alone = features(waving)[0]
    for joints in ([still, waving.joints], [waving.joints, still]):
        given = features(changed(waving, np.concatenate(joints)))
        assert len(given) == 2
        np.testing.assert_allclose(given[0], alone, atol=1e-6)
    only = SkeletonFeatureExtractor(max_persons=1)([changed(waving, np.concatenate([still, waving.joints]))])
    assert only["skeletons"].shape[1] == 1 and only["person_mask"].all()
    np.testing.assert_allclose(only["skeletons"][0, 0], alone, atol=1e-6)


def test_absent_persons_are_zeros(waving, shaking_hands):
    output = SkeletonFeatureExtractor()([waving, shaking_hands], return_tensors="pt")
    assert output["person_mask"].tolist() == [[True, False], [True, True]]
    assert output["skeletons"].shape == (2, 2, 64, 20, 3) and str(output["skeletons"].dtype) == "torch.float32"
    assert (output["skeletons"][0, 1] == 0).all()


def test_one_frame_of_one_person_is_valid(waving):
    given = features(changed(waving, waving.joints[:, :1]))
    assert given.shape == (1, 64, 20, 3) and np.isfinite(given).all()
    np.testing.assert_allclose(given, np.repeat(given[:, :1], 64, axis=1))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "hand21"])
def test_every_layout_is_read_by_a_kinect20_model(waving, layout):
    sequence = waving.to_layout(layout)
    given, full = features(sequence), features(waving)
    assert given.shape == full.shape and np.isfinite(given).all()
    elbows = [get_layout("kinect20").index(f"{side}_elbow") for side in ("left", "right")]
    motion = given[0][:, elbows] - given[0][:1, elbows]
    expected = full[0][:, elbows] - full[0][:1, elbows]
    assert np.corrcoef(motion.ravel(), expected.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_can_be_the_model_s_own(waving, layout):
    extractor = SkeletonFeatureExtractor(layout=layout, num_frames=8)
    hand = layout == "hand21"  # has no shoulders and hips to turn it by
    sequence = some_hand() if hand else waving.to_layout(layout)
    other = changed(sequence, 2 * (sequence.joints if hand else turned(sequence.joints, 50)) + 1)
    skeletons = extractor([sequence, other], return_tensors="pt")["skeletons"][:, 0]
    assert np.isfinite(skeletons.numpy()).all()
    np.testing.assert_allclose(skeletons[1], skeletons[0], atol=5e-4)
    if hand:
        np.testing.assert_allclose(skeletons[0].mean(axis=(0, 1)), 0, atol=0.02)  # frames were resampled after that
        away = np.linalg.norm(skeletons[0] - skeletons[0].mean(axis=1, keepdims=True), axis=-1)
        np.testing.assert_allclose(away.mean(), 1, atol=0.1)
    else:
        own = map_joints(skeletons[:1].numpy(), layout, "kinect20")
        hips = own[0, :, get_layout("kinect20").index("hip_center")]
        np.testing.assert_allclose(hips.mean(0), 0, atol=0.01)
    vqvae = ActionVQVAE(ActionVQVAEConfig(layout=layout, num_frames=8, hidden_size=16, num_heads=2, num_layers=1))
    assert vqvae.eval().decode(vqvae.encode(skeletons)).shape == skeletons.shape


def some_hand() -> SkeletonSequence:
    rng = np.random.default_rng(0)
    hand = rng.normal(size=(1, 21, 3)) + 0.1 * rng.normal(size=(12, 21, 3)).cumsum(axis=0)
    return SkeletonSequence(hand.astype(np.float32), "hand21")


def test_somebody_without_hips_keeps_place_and_size(waving):
    """A desk hides hips and legs: the torso's length and the hips' place follow from shoulders and arms."""
    joints = waving.joints.copy()
    names = get_layout("ntu25").joints
    hidden = [n for n, joint in enumerate(names) if joint.endswith(("hip", "knee", "ankle", "foot")) or "hip" in joint]
    joints[:, :, [*hidden, names.index("spine")]] = np.nan
    whole, half = features(waving)[0], features(changed(waving, joints))[0]
    arms = [get_layout("kinect20").index(f"{side}_{part}") for side in ("left", "right") for part in ("elbow", "wrist")]
    assert np.linalg.norm(whole[:, arms] - half[:, arms], axis=-1).mean() < 0.35  # torso lengths


OWN = {"name": "upper4", "joints": ["skull", "l", "r", "hand"], "left_right": [["l", "r"]],
       "standard": {"skull": "head", "l": "left_shoulder", "r": "right_shoulder", "hand": "right_wrist"}}  # fmt: skip


def test_a_layout_of_one_s_own_is_kept_with_the_extractor(tmp_path):
    """A fresh process, which never heard of the layout, loads it."""
    SkeletonFeatureExtractor(layout=OWN, num_frames=8).save_pretrained(tmp_path)
    code = (
        "from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor as E; import numpy as np;"
        "from llm_action import SkeletonSequence as S;"
        f"e = E.from_pretrained({str(tmp_path)!r});"
        "s = S(np.random.default_rng(0).normal(size=(5, 4, 3)), 'upper4');"
        "print(e.layout, np.isfinite(e([s])['skeletons']).all())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["upper4", "True"]


def test_saved_and_loaded(tmp_path, waving):
    extractor = SkeletonFeatureExtractor("ntu25", num_frames=12, max_persons=1, align_facing=False)
    extractor.save_pretrained(tmp_path)
    loaded = SkeletonFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == extractor.to_dict()
    np.testing.assert_array_equal(loaded([waving])["skeletons"], extractor([waving])["skeletons"])


def test_an_unknown_layout_lists_the_known_ones():
    with pytest.raises(ValueError, match="octopus8.*kinect20"):
        SkeletonFeatureExtractor(layout="octopus8")
