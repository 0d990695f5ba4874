"""What an array of joints means, asked of synthetic recordings written the way that other tools write them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from llm_action.datasets.synthetic.sequences import perform_action
from llm_action.modeling.person_tracking import track_persons
from llm_action.modeling.plausibility import measure_body, measure_orientation, torso_unit
from llm_action.modeling.recording_conventions import Interpretation, infer_conventions
from llm_action.modeling.skeleton_cleaning import mark_missing
from llm_action.modeling.skeleton_layouts import LAYOUTS, SkeletonLayout, get_layout, map_joints
from llm_action.modeling.skeleton_sequence import SkeletonSequence

NTU = get_layout("ntu25")
ACTIONS = ("waving a hand", "kicking", "bowing", "sitting down", "walking in place")


def recording(action: str = "waving a hand", subject: int = 2) -> np.ndarray:
    """(frames, 25, 3) metres, y up, right-handed."""
    return perform_action(action, subject, camera=1)[0].astype(np.float64)


def as_layout(joints: np.ndarray, layout: str) -> np.ndarray:
    return map_joints(joints, "ntu25", layout)


def pixels(joints: np.ndarray) -> np.ndarray:
    """(frames, joints, 2) in a picture of 1920 x 1080, y down, seen from 25 degrees to the side."""
    turned = joints[..., 0] * np.cos(0.4) + joints[..., 2] * np.sin(0.4)
    flat = np.stack([turned, -joints[..., 1]], axis=-1)
    return (flat - np.nanmean(flat, axis=(0, 1))) * 250 + [960, 540]


def same_motion(found: np.ndarray, wanted: np.ndarray, tolerance: float = 0.02) -> bool:
    """Whether joints (frames, joints, 3) are the same up to place, size and a turn about the vertical."""
    found, wanted = (joints.astype(np.float64) - np.nanmean(joints, axis=(0, 1)) for joints in (found, wanted))
    across = np.nansum(found[..., 0] * wanted[..., 0] + found[..., 2] * wanted[..., 2])
    along = np.nansum(found[..., 2] * wanted[..., 0] - found[..., 0] * wanted[..., 2])
    cos, sin = np.cos(np.arctan2(along, across)), np.sin(np.arctan2(along, across))
    turned = np.stack(
        [found[..., 0] * cos + found[..., 2] * sin, found[..., 1], found[..., 2] * cos - found[..., 0] * sin], axis=-1
    )
    size = np.nansum(turned * wanted) / np.nansum(turned**2)
    return bool(size > 0 and np.sqrt(np.nansum((turned * size - wanted) ** 2) / np.nansum(wanted**2)) < tolerance)


def said(result: Interpretation) -> str:
    return " ".join((*result.notes, *result.warnings, result.refusal))


def padded_channels_first(joints: np.ndarray) -> np.ndarray:
    out = np.zeros((3, max(300, len(joints)), 25, 2))
    out[:, : len(joints), :, 0] = joints.transpose(2, 0, 1)
    return out


def two_rows(joints: np.ndarray) -> np.ndarray:
    return np.stack([joints, np.zeros_like(joints)], axis=1)


AXES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "CTVM": padded_channels_first,
    "NCTVM": lambda joints: padded_channels_first(joints)[None],
    "TMVC": two_rows,
    "CTV": lambda joints: joints.transpose(2, 0, 1),
    "VCT": lambda joints: joints.transpose(1, 2, 0),
    "T(CV)": lambda joints: joints.transpose(0, 2, 1).reshape(len(joints), -1),
    "T(VC)": lambda joints: joints.reshape(len(joints), -1),
    "T(MVC)": lambda joints: two_rows(joints).reshape(len(joints), -1),
    "MTVC": lambda joints: joints[None],
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("axes", AXES)
def test_the_order_of_axes_is_found(axes: str, action: str):
    joints = recording(action)
    result = infer_conventions(AXES[axes](joints), LAYOUTS)
    assert result.verdict == "right", said(result)
    assert result.conventions.axes == axes and result.conventions.layout == "ntu25"
    assert same_motion(SkeletonSequence(result.joints, "ntu25").joints[0], joints)


def test_the_order_of_axes_is_taken_as_stated():
    joints = recording()
    result = infer_conventions(joints.transpose(2, 0, 1), LAYOUTS, axes="CTV", layout="ntu25")
    assert result.verdict == "right" and not result.notes
    wrong = infer_conventions(joints, LAYOUTS, axes="CTV", layout="ntu25")
    assert wrong.verdict == "refused" and "CTV" in wrong.refusal
    with pytest.raises(ValueError, match="CTVM"):
        infer_conventions(joints, LAYOUTS, axes="XYZ")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("layout", ["kinect20", "kinect20_utd", "kinect20_msr", "ntu25", "coco17", "mediapipe33"])
def test_the_layout_is_told_by_the_bones(layout: str, action: str):
    joints = as_layout(recording(action), layout)
    result = infer_conventions(joints[None], LAYOUTS)
    assert result.verdict == "right", said(result)
    assert result.conventions.layout == layout and layout in said(result)


_HUMAN36M_JOINTS = (
    "hip_center right_hip right_knee right_ankle left_hip left_knee left_ankle spine shoulder_center nose head "
    "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist"
)
HUMAN36M = SkeletonLayout(
    "human36m17",
    tuple(_HUMAN36M_JOINTS.split()),
    (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    ((4, 1), (5, 2), (6, 3), (11, 14), (12, 15), (13, 16)),
    "",
)


def human36m(joints: np.ndarray) -> np.ndarray:
    names = {**{joint: joint for joint in HUMAN36M.joints}, "nose": "head"}
    return np.stack([joints[:, NTU.index(names[joint])] for joint in HUMAN36M.joints], axis=1)


def test_one_count_and_two_layouts():
    layouts = LAYOUTS | {"human36m17": HUMAN36M}
    joints = human36m(recording())
    result = infer_conventions(joints, layouts)
    assert result.verdict == "right" and result.conventions.layout == "human36m17"
    contradicted = infer_conventions(joints, layouts, layout="coco17")
    assert contradicted.verdict == "refused"
    assert "layout=human36m17" in contradicted.refusal
    others = {name: layout for name, layout in LAYOUTS.items() if name != "human36m17"}
    alone = infer_conventions(joints, others)
    assert alone.verdict == "refused" and "layout=" in alone.refusal


@pytest.mark.parametrize("layout", ["kinect15", "jhmdb15"])
def test_fifteen_joints_are_told_apart_by_bones(layout):
    result = infer_conventions(as_layout(recording("walking in place"), layout), LAYOUTS)
    assert result.verdict != "refused" and result.conventions.layout == layout


def test_layouts_that_both_fit_are_named():
    twin = SkeletonLayout("twin25", NTU.joints, NTU.parents, NTU.left_right, "")
    result = infer_conventions(recording(), LAYOUTS | {"twin25": twin})
    assert result.verdict == "refused"
    assert all(word in result.refusal for word in ("ntu25", "twin25", "layout="))


def test_a_wrong_order_of_joints_is_no_body():
    shuffled = recording()[:, np.random.default_rng(0).permutation(25)]
    result = infer_conventions(shuffled, LAYOUTS, layout="ntu25")
    assert result.verdict == "refused" and "ntu25" in result.refusal


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("layout", "said_to_be"), [("kinect20", "kinect20_utd"), ("kinect20_utd", "kinect20")])
def test_a_layout_that_is_not_the_stated_one_is_said(layout: str, said_to_be: str, action: str):
    result = infer_conventions(as_layout(recording(action), layout), LAYOUTS, layout=said_to_be)
    assert result.verdict == "doubtful" and f"fit {layout} better" in said(result)


@pytest.mark.parametrize("action", ACTIONS)
def test_y_down_turns_two_axes(action: str):
    joints = recording(action)
    result = infer_conventions(joints * [-1, -1, 1], LAYOUTS, layout="ntu25")
    assert result.verdict == "right" and result.conventions.up == "-y"
    assert same_motion(result.joints[0], joints)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("flipped", [[1, 1, -1], [-1, 1, 1], [1, -1, 1]])
def test_left_handed_axes_are_mirrored_and_that_is_said(flipped: list[int], action: str):
    joints = recording(action)
    result = infer_conventions(joints * flipped, LAYOUTS, layout="ntu25")
    assert result.verdict == "doubtful" and result.conventions.mirrored and "mirrored=" in said(result)
    assert same_motion(result.joints[0], joints)
    settled = infer_conventions(joints * flipped, LAYOUTS, layout="ntu25", mirrored=True)
    assert settled.verdict == "right" and same_motion(settled.joints[0], joints)
    contradicted = infer_conventions(joints * flipped, LAYOUTS, layout="ntu25", mirrored=False)
    assert contradicted.verdict == "doubtful"


def test_hands_alone_only_raise_a_doubt():
    joints = as_layout(recording("kicking"), "smarthome13")
    assert infer_conventions(joints, LAYOUTS, layout="smarthome13").verdict == "right"
    joints = as_layout(recording("waving a hand"), "smarthome13") * [1, 1, -1]
    result = infer_conventions(joints, LAYOUTS, layout="smarthome13")
    assert result.verdict == "doubtful" and not result.conventions.mirrored and "mirrored=" in said(result)


@pytest.mark.parametrize("action", ACTIONS)
def test_z_up_is_answered_and_said(action: str):
    joints = recording(action)
    z_up = np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1)
    result = infer_conventions(z_up, LAYOUTS, layout="ntu25")
    assert result.verdict == "doubtful" and result.conventions.up == "z" and "up=" in said(result)
    assert same_motion(result.joints[0], joints)
    stated = infer_conventions(z_up, LAYOUTS, layout="ntu25", up="z")
    assert stated.verdict == "right" and same_motion(stated.joints[0], joints)


def turned_over(joints: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Turned about the x axis by an angle a frame, radians."""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y, z = np.moveaxis(joints, -1, 0)
    return np.stack([x, y * cos - z * sin, y * sin + z * cos], axis=-1)


def test_who_lies_is_doubted_and_never_refused_and_who_falls_is_right():
    joints = recording("walking in place")
    lying = turned_over(joints, np.full(len(joints), np.pi / 2))
    for options in ({}, {"up": "y"}):
        assert infer_conventions(lying, LAYOUTS, layout="ntu25", **options).verdict == "doubtful"
    assert same_motion(infer_conventions(lying, LAYOUTS, layout="ntu25", up="y").joints[0], lying)
    falling = turned_over(joints, np.clip(np.linspace(-1, 2, len(joints)), 0, 1) * np.pi / 2)
    result = infer_conventions(falling, LAYOUTS, layout="ntu25")
    assert result.verdict == "right" and same_motion(result.joints[0], falling)


@pytest.mark.parametrize("whole", [1, 100])
def test_a_score_is_no_depth(whole):
    flat = pixels(as_layout(recording(), "coco17"))
    scores = np.random.default_rng(0).uniform(0.6, 1, flat.shape[:2])
    scored = np.concatenate([flat, whole * scores[..., None]], axis=-1)
    scored[:, 3] = 0
    result = infer_conventions(scored, LAYOUTS, layout="coco17")
    assert result.verdict == "right" and result.conventions.channels == "xys"
    assert result.joints.shape[3] == 2 and np.isnan(result.joints[:, :, 3]).all()
    np.testing.assert_allclose(result.joints[0, :, 5:], flat[:, 5:], rtol=1e-5)
    np.testing.assert_allclose(result.scores[0, :, 5:], scores[:, 5:], rtol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("apart", [False, True], ids=["channel", "apart"])
def test_scores_may_be_percentages(dimensions, apart):
    joints = recording() if dimensions == 3 else pixels(recording())
    shares = np.random.default_rng(0).uniform(0.4, 1, joints.shape[:2]).round(2)
    shares[5:9, 7] = 0.12
    shares[20] *= 0.1
    given = {"scores": 100 * shares[None]} if apart else {}
    array = joints if apart else np.concatenate([joints, 100 * shares[..., None]], axis=-1)
    result = infer_conventions(array, LAYOUTS, layout="ntu25", up="y" if dimensions == 3 else None, **given)
    assert result.verdict == "right" and result.joints.shape[3] == dimensions
    np.testing.assert_allclose(result.scores[0], shares, rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(result.joints[0]).any(-1), shares < 0.3)
    sequence = SkeletonSequence(joints, "ntu25", scores=100 * shares)
    np.testing.assert_allclose(sequence.scores[0], shares, rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(sequence.joints[0]).any(-1), shares < 0.3)
    if not apart:
        one_frame = result.conventions.applied(array[None, 20:21])
        assert np.isnan(one_frame).all(), "a frame of a stream, in which nothing is sure"


def test_a_depth_in_metres_beside_pixels_is_no_percentage():
    joints = recording()
    depth = 2.7 + joints[..., 2:] - joints[..., 2:].mean()
    depth += np.random.default_rng(0).normal(0, 0.1, depth.shape)  # as unsteady as scores
    result = infer_conventions(np.concatenate([pixels(joints), depth], axis=-1), LAYOUTS, layout="ntu25")
    assert result.verdict == "doubtful" and result.joints.shape[3] == 2
    np.testing.assert_allclose(result.joints[0], pixels(joints), rtol=1e-5)


def test_what_is_hardly_ever_sure_is_no_score():
    joints = recording("sitting down")
    inside = (joints - joints.min((0, 1))) / np.ptp(joints) * [1, 1, 0.3]  # a depth in another unit, below 0.3
    assert infer_conventions(inside, LAYOUTS, layout="ntu25").conventions.channels == "xyz"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("flat", [False, True])
def test_frames_out_of_order_are_said(action, flat):
    joints = pixels(recording(action)) if flat else recording(action)
    assert "out of order" not in said(infer_conventions(joints, LAYOUTS, layout="ntu25"))
    assert "out of order" not in said(infer_conventions(joints[::3], LAYOUTS, layout="ntu25")), "10 frames a second"
    shuffled = joints[np.random.default_rng(0).permutation(len(joints))]
    assert "out of order" in said(infer_conventions(shuffled, LAYOUTS, layout="ntu25"))
    still = joints[:1] + np.random.default_rng(0).normal(0, 0.002 * np.ptp(joints[0]), (60, 1, joints.shape[2]))
    assert "out of order" not in said(infer_conventions(still, LAYOUTS, layout="ntu25")), "nobody moves"


def test_joints_that_tremble_are_said():
    joints, rng = recording(), np.random.default_rng(0)
    for noise, trembles in ((0.01, False), (0.05, True)):
        for given in (joints, pixels(joints) / 250):
            noisy = given + rng.normal(0, noise, given.shape)
            unit = {} if given.shape[2] == 3 else {"unit": "px"}
            assert ("tremble" in said(infer_conventions(noisy, LAYOUTS, layout="ntu25", **unit))) == trembles
    shaking = joints.copy()
    shaking[:, get_layout("ntu25").joints.index("right_hand")] += rng.normal(0, 0.2, (len(joints), 3))
    assert "tremble" not in said(infer_conventions(shaking, LAYOUTS, layout="ntu25")), "one joint does not"


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_hand_never_seen_is_said(side):
    joints = recording()
    lost = [number for number, joint in enumerate(NTU.joints) if joint.startswith(side) and "hand" in joint]
    lost += [NTU.joints.index(f"{side}_wrist"), NTU.joints.index(f"{side}_elbow")]
    joints[:, lost] = 0
    result = infer_conventions(joints, LAYOUTS, layout="ntu25")
    assert result.verdict == "doubtful" and f"The {side} hand is never seen" in said(result)
    joints[40, lost] = recording()[40, lost]
    assert "is never seen" not in said(infer_conventions(joints, LAYOUTS, layout="ntu25"))


def test_more_numbers_a_joint_than_a_place_are_told_apart_from_joints():
    turned = np.concatenate([recording(), np.tile([0.0, 0, 0, 1], (*recording().shape[:2], 1))], axis=-1)
    assert "7 numbers a joint" in infer_conventions(turned, LAYOUTS, layout="ntu25").refusal


@pytest.mark.parametrize("numbers", ["frames", "joints", "seconds"])
def test_a_fourth_channel_that_counts_is_no_score(numbers):
    joints = recording()
    frames, count = joints.shape[:2]
    channel = {"frames": np.arange(frames)[:, None], "joints": np.arange(count), "seconds": np.full(1, 60.0)}[numbers]
    array = np.concatenate([joints, np.broadcast_to(channel, (frames, count))[..., None]], axis=-1)
    result = infer_conventions(array[:90], LAYOUTS, layout="ntu25")
    assert result.verdict == "refused" and "a fourth that is a score" in result.refusal


def test_a_depth_is_no_score():
    joints = recording() / 4 + [0.5, 0.5, 0.0]
    joints[..., 2] += 0.5 - joints[..., 2].mean()
    assert joints[..., 2].min() > 0 and joints[..., 2].max() < 1
    assert infer_conventions(joints, LAYOUTS, layout="ntu25").conventions.channels == "xyz"
    in_pixels = (joints - joints.min((0, 1))) * 300  # 0..100 of depth
    in_pixels[..., 2] *= 100 / in_pixels[..., 2].max()
    assert infer_conventions(in_pixels, LAYOUTS, layout="ntu25").conventions.channels == "xyz"


def test_pixels_are_right_and_shares_of_a_picture_are_doubted():
    flat = pixels(as_layout(recording(), "coco17"))
    assert infer_conventions(flat, LAYOUTS, layout="coco17").verdict == "right"
    shares = flat / [1920, 1080]
    result = infer_conventions(shares, LAYOUTS, layout="coco17")
    assert result.verdict == "doubtful" and "image_size=(width, height)" in said(result)
    stated = infer_conventions(shares, LAYOUTS, layout="coco17", unit="image", image_size=(1920, 1080))
    assert stated.verdict == "right"
    np.testing.assert_allclose(stated.joints[0], flat, rtol=1e-5)


def test_screen_coordinates_with_a_depth_say_so():
    joints = as_layout(recording("kicking"), "kinect20_msr")
    depth = 3 - (joints[..., 2:] - joints[..., 2:].mean())
    screen = np.concatenate(
        [160 + joints[..., :1] * 285 / depth, 120 - joints[..., 1:2] * 285 / depth, depth * 1e3], -1
    )
    result = infer_conventions(screen, LAYOUTS, layout="kinect20_msr", axes="TVC")
    assert result.verdict != "right" and "unit=px" in said(result)
    flat = infer_conventions(screen, LAYOUTS, layout="kinect20_msr", axes="TVC", unit="px")
    assert flat.verdict == "right" and flat.joints.shape[3] == 2


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", ["range", "deviation"])
def test_axes_scaled_each_by_itself_are_said_and_undone(kind: str, action: str):
    joints = recording(action)
    size = np.ptp(joints, axis=(0, 1)) if kind == "range" else joints.std(axis=(0, 1))
    scaled = (joints - joints.min(axis=(0, 1))) / size
    result = infer_conventions(scaled, LAYOUTS, layout="ntu25")
    assert result.verdict != "right" and "unit" in said(result)
    even = (joints - joints.min(axis=(0, 1))) / size.max()
    assert infer_conventions(even, LAYOUTS, layout="ntu25").verdict == "right"


def test_pixels_with_a_depth_in_metres_are_two_dimensional_and_that_is_said():
    joints = as_layout(recording(), "coco17")
    deep = np.concatenate([pixels(joints), 3 - joints[..., 2:]], axis=-1)
    result = infer_conventions(deep, LAYOUTS, layout="coco17")
    assert result.verdict == "doubtful" and result.joints.shape[3] == 2 and "one unit" in said(result)
    np.testing.assert_allclose(result.joints[0], pixels(joints), rtol=1e-5)


def test_units_are_read_and_reported():
    joints = recording()
    for factor, unit in ((1, "m"), (1000, "mm"), (100, "cm")):
        result = infer_conventions(joints * factor, LAYOUTS, layout="ntu25")
        assert result.verdict == "right" and result.conventions.unit == unit
        np.testing.assert_allclose(result.joints[0], joints, rtol=1e-4, atol=1e-5)


def test_nothing_there_is_refused():
    frames = np.random.default_rng(0)
    for nothing, word in (
        (np.zeros((1, 60, 25, 3)), "nobody"),
        (np.full((1, 60, 25, 3), np.nan), "nobody"),
        (np.full((1, 60, 25, 3), 1.3), "one point"),
        (frames.normal(size=(1, 60, 25, 3)), "no body"),
        (frames.uniform(0, 500, size=(1, 60, 25, 2)), ""),
        (np.zeros((1, 0, 25, 3)), "empty"),
    ):
        result = infer_conventions(nothing, LAYOUTS, layout="ntu25")
        assert result.verdict == "refused" and word in result.refusal
    frozen = infer_conventions(np.repeat(recording()[:1], 60, axis=0), LAYOUTS, layout="ntu25")
    assert frozen.verdict == "doubtful" and "one pose" in said(frozen)


def test_half_a_body_is_a_body():
    desk = as_layout(recording(), "coco17")
    desk[:, 11:] = np.nan
    for joints in (desk, pixels(desk)):
        result = infer_conventions(joints, LAYOUTS, layout="coco17")
        assert result.verdict == "doubtful" and len(result.warnings) == 1 and "hips" in said(result)


def test_legs_never_seen_are_doubted_where_the_layout_has_some():
    legless = as_layout(recording(), "coco17")
    legless[:, 13:] = np.nan
    for joints in (legless, pixels(legless)):
        result = infer_conventions(joints, LAYOUTS, layout="coco17")
        assert result.verdict == "doubtful" and len(result.warnings) == 1 and "legs" in said(result)
    half = get_layout({"name": "half", "joints": get_layout("coco17").joints[:13]})
    assert "legs" not in said(infer_conventions(legless[:, :13], {"half": half}, layout="half"))
    once = as_layout(recording(), "coco17")
    once[1:, 13:] = np.nan
    assert "legs" not in said(infer_conventions(once, LAYOUTS, layout="coco17"))


def test_many_recordings_in_one_array_are_not_one():
    for persons in (1, 2):
        result = infer_conventions(np.stack([[recording()] * persons] * 2), LAYOUTS)
        assert result.verdict == "refused" and "as a list" in result.refusal


def test_a_layout_that_only_its_count_chose_is_doubted():
    hand = SkeletonLayout("hand21", tuple(f"point_{k}" for k in range(21)), (-1, *range(20)), (), "")
    joints = recording()[:, :21]
    assert infer_conventions(joints, {"hand21": hand}).verdict != "right"
    still = joints[:1] + np.arange(30)[:, None, None] * 0.01
    assert infer_conventions(still, {"hand21": hand}, layout="hand21").verdict == "right"


def test_every_mark_of_missing_joints_is_found():
    joints = recording()
    gone = np.random.default_rng(0).uniform(size=joints.shape[:2]) < 0.2
    for mark, options in ((0.0, {}), (-1.0, {}), (-7.0, {"missing": -7.0})):
        marked = joints.copy()
        marked[gone] = mark
        result = infer_conventions(marked, LAYOUTS, layout="ntu25", **options)
        assert result.verdict == "right" and (np.isnan(result.joints[0, ..., 0]) == gone).all()


def test_a_root_at_the_origin_is_not_missing():
    joints = recording()
    centred = (joints - joints[:, :1])[None]
    assert not mark_missing(centred, NTU)[1] and not np.isnan(centred).any()
    spine = (joints - joints[:, 1:2])[None]
    assert not mark_missing(spine, NTU)[1] and not np.isnan(spine).any()
    lost = np.random.default_rng(0).uniform(size=joints.shape[:2]) < 0.2
    lost[:, 0] = False
    gappy = np.where(lost[..., None], 0, joints - joints[:, :1])[None]
    mark_missing(gappy, NTU)
    np.testing.assert_array_equal(np.isnan(gappy[0, ..., 0]), lost)
    centred[0, :10] = 0
    mark_missing(centred, NTU)
    assert np.isnan(centred[0, :10]).all() and not np.isnan(centred[0, 10:]).any()


def test_padding_that_was_centred_shows_nobody():
    joints = recording()
    padded = np.concatenate([joints, np.zeros((20, 25, 3))]) - joints[0, 0]
    result = infer_conventions(padded, LAYOUTS, layout="ntu25")
    assert result.verdict == "right" and "nobody" in said(result)
    assert SkeletonSequence(result.joints, "ntu25").num_frames == len(joints)


def test_scores_take_joints_out():
    joints = recording()[None]
    scores = np.ones(joints.shape[:3])
    far = joints.copy()
    far[0, ::3, 6] += 50
    scores[0, ::3, 6] = 0.01
    result = infer_conventions(far, LAYOUTS, layout="ntu25", scores=scores)
    assert result.verdict == "right" and np.isnan(result.joints[0, ::3, 6]).all()
    alike, notes = mark_missing(joints.copy(), NTU, np.zeros(joints.shape[:3]))
    assert alike is None and "not used" in notes[0]


def test_the_unit_comes_from_what_was_seen():
    joints = recording()[None]
    torso, _ = torso_unit(joints, NTU)
    hips = [NTU.index(joint) for joint in ("left_hip", "right_hip", "hip_center")]
    mostly_gone = joints.copy()
    mostly_gone[0, 10:][:, hips] = np.nan
    assert torso_unit(mostly_gone, NTU)[0] == pytest.approx(torso, rel=0.1)
    mostly_gone[:, :, hips] = np.nan
    unit, told = torso_unit(mostly_gone, NTU)
    assert told == "shoulders and arms" and unit == pytest.approx(torso, rel=0.2)
    assert np.isnan(torso_unit(np.full_like(joints, np.nan), NTU)[0])


def test_a_person_with_a_new_row_in_each_frame_is_one_person():
    joints = recording()
    rows = np.full((len(joints), *joints.shape), np.nan)
    rows[np.arange(len(joints)), np.arange(len(joints))] = joints
    tracks, _, changed = track_persons(rows, 0.45)
    assert changed == len(joints) - 1
    np.testing.assert_array_equal(tracks, joints[None])


def test_persons_who_swap_rows_are_told_apart():
    one, other = recording(), recording("kicking", 4) + np.array([1.2, 0, 0])
    frames = min(len(one), len(other))
    rows = np.stack([one[:frames], other[:frames]])
    unmixed, _, changed = track_persons(rows, 0.45)
    assert not changed
    np.testing.assert_array_equal(unmixed, rows)
    swap = np.random.default_rng(0).uniform(size=frames) < 0.5
    swap[0] = False
    rows[:, swap] = rows[::-1][:, swap]
    np.testing.assert_array_equal(track_persons(rows, 0.45)[0], np.stack([one[:frames], other[:frames]]))


def test_persons_in_turn_are_said():
    joints = recording()
    half = len(joints) // 2
    rows = np.stack([joints, joints + np.array([3.0, 0, 0])])
    assert infer_conventions(rows, LAYOUTS, layout="ntu25").verdict == "right"
    rows[0, half:] = 0
    rows[1, :half] = 0
    result = infer_conventions(rows, LAYOUTS, layout="ntu25")
    assert result.verdict == "doubtful" and "one after the other" in said(result) and "each_person" in said(result)


def test_a_recording_that_moves_with_the_body_is_noted():
    joints = recording("sitting down")
    relative = joints - joints[:, :1]
    result = infer_conventions(relative, LAYOUTS, layout="ntu25")
    assert result.verdict == "right" and "moves with the body" in said(result)
    pair = np.stack([relative, recording("sitting down", 4)[: len(relative)]])
    pair[1] -= pair[1][:, :1]
    assert "relative to their own body" in said(infer_conventions(pair, LAYOUTS, layout="ntu25"))


def test_measures_do_not_depend_on_place_size_or_turn():
    joints = recording()
    turned = joints @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] * 37 + 5
    plain, moved = measure_body(joints, NTU), measure_body(turned, NTU)
    assert moved.strangeness == pytest.approx(plain.strangeness, rel=1e-6)
    assert moved.unit == pytest.approx(37 * plain.unit, rel=1e-6)
    assert measure_orientation(joints, NTU).toes > 0 > measure_orientation(joints * [1, 1, -1], NTU).toes


@pytest.mark.real_data
def test_clean_recordings_are_right(data_root):
    from llm_action.skeleton_io import read_skeleton

    files = [
        *sorted((data_root / "ntu_samples").glob("*.skeleton")),
        *sorted((data_root / "utd_mhad" / "skeleton").glob("a*_s1_t1_*.mat")),
        *sorted((data_root / "nw_ucla" / "all_sqe").glob("a*_s01_e00_v01.json")),
    ]
    assert files
    for path in files:
        sequence = read_skeleton(path)
        result = infer_conventions(
            sequence.joints, LAYOUTS, layout=sequence.layout, axes="MTVC", up="y", unit="m", mirrored=False
        )
        assert result.verdict == "right", f"{path.name}: {said(result)}"
