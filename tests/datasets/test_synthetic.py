"""The synthetic data set: reproducible, split as promised, and moved as human bodies move."""

import numpy as np
import pytest

from llm_action.datasets import row_to_sequence
from llm_action.datasets.synthetic.sequences import (
    LABELS,
    PROTOCOLS,
    build_synthetic,
    generate_sequence,
    perform_action,
)
from llm_action.modeling.skeleton_layouts import get_layout

LAYOUT = get_layout("ntu25")
TWO_PERSONS = ("shaking hands", "pushing another person")
STANDING = (
    "drinking water",
    "making a phone call",
    "putting on a hat",
    "waving a hand",
    "clapping hands",
    "checking the time on a watch",
    "bowing",
    "picking up an object",
)
SUBJECTS = range(1, 9)


def joint(joints, name):
    return joints[..., LAYOUT.index(name), :]


def distance(joints, first, second):
    return np.linalg.norm(joint(joints, first) - joint(joints, second), axis=-1)


def nearest_hand(joints, name):
    """Smallest distance of either hand to a joint of the same person, over the whole sequence."""
    return min(distance(joints, f"{side}_hand", name).min() for side in ("left", "right"))


@pytest.fixture(scope="module")
def table():
    return build_synthetic(subjects=4)


# --- the table


def test_default_table_has_one_row_a_combination(table):
    assert len(table) == 20 * 4 * 3
    assert table.features["label"].names == list(LABELS) and len(set(LABELS)) == 20
    assert set(PROTOCOLS) <= set(table.column_names)
    assert len(set(table["name"])) == len(table)


def test_rows_become_sequences_again(table):
    for index in (0, 100, len(table) - 1):
        row = table[index]
        sequence = row_to_sequence(row)
        assert list(sequence.joints.shape) == row["shape"]
        assert sequence.layout == "ntu25" and sequence.fps == 30
        again = generate_sequence(LABELS[row["label"]], row["subject"], row["camera"], 1)
        np.testing.assert_array_equal(sequence.joints, again.joints)


@pytest.mark.parametrize(("protocol", "column"), [("cross_subject", "subject"), ("cross_view", "camera")])
def test_protocols_share_no_subject_or_view(table, protocol, column):
    groups = {split: set() for split in ("train", "test")}
    for split, value in zip(table[protocol], table[column], strict=True):
        groups[split].add(value)
    assert groups["train"] and groups["test"]
    assert not groups["train"] & groups["test"]
    for split in groups:
        rows = [label for label, part in zip(table["label"], table[protocol], strict=True) if part == split]
        assert set(rows) == set(range(20))


def test_cross_subject_halves_are_equal(table):
    assert table["cross_subject"].count("train") == table["cross_subject"].count("test")


def test_same_coordinates_same_bytes_in_any_order():
    wanted = [("kicking", 3, 1, 2), ("shaking hands", 1, 3, 1), ("drinking water", 2, 2, 1)]
    forwards = {key: generate_sequence(*key).joints.tobytes() for key in wanted}
    backwards = {key: generate_sequence(*key).joints.tobytes() for key in reversed(wanted)}
    assert forwards == backwards


@pytest.mark.parametrize(
    "other", [("kicking", 2, 1, 1, 0), ("kicking", 1, 2, 1, 0), ("kicking", 1, 1, 2, 0), ("kicking", 1, 1, 1, 1)]
)
def test_subject_view_repetition_and_seed_all_matter(other):
    first, second = generate_sequence("kicking", 1, 1, 1).joints, generate_sequence(*other).joints
    assert first.shape != second.shape or not np.allclose(first, second, atol=0.05, equal_nan=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("flying", 1, 1, 1), "drinking water"),
        (("kicking", 1, 4, 1), "camera"),
        (("kicking", 0, 1, 1), "subject"),
        (("kicking", 1, 1, 0), "repetition"),
    ],
)
def test_unknown_coordinates_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate_sequence(*arguments)


@pytest.mark.parametrize("sizes", [{"subjects": 1}, {"cameras": 4}, {"cameras": 0}, {"repetitions": 0}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match=next(iter(sizes))):
        build_synthetic(**sizes)


# --- camera and sensor


def test_camera_coordinates_are_those_of_a_kinect():
    for subject in SUBJECTS:
        joints = np.nanmean(generate_sequence("bowing", subject, 2, 1).joints[0, :5], axis=0)
        assert joint(joints, "head")[1] > joint(joints, "left_hip")[1] + 0.3
        assert joint(joints, "left_shoulder")[0] < joint(joints, "right_shoulder")[0]
        assert 1.5 < np.nanmean(joints[:, 2]) < 5.0


def test_views_see_the_person_from_either_side():
    left, right = [], []
    for subject in SUBJECTS:
        for camera, seen in ((1, left), (3, right)):
            joints = generate_sequence("bowing", subject, camera, 1).joints[0, :10]
            across = np.nanmean(joint(joints, "left_shoulder") - joint(joints, "right_shoulder"), axis=0)
            seen.append(np.degrees(np.arctan2(across[2], -across[0])))
    assert abs(abs(np.mean(left) - np.mean(right)) - 90) < 15


def test_joints_go_missing_hands_and_feet_most():
    lost = np.zeros(25)
    for action in LABELS:
        for subject in SUBJECTS:
            lost += np.isnan(generate_sequence(action, subject, 1, 1).joints[..., 0]).sum((0, 1))
    assert lost.sum() > 0
    extremities = [LAYOUT.index(f"{side}_{part}") for side in ("left", "right") for part in ("hand", "foot", "wrist")]
    trunk = [LAYOUT.index(name) for name in ("hip_center", "spine", "neck", "head", "left_hip", "right_hip")]
    assert lost[extremities].sum() > 1.5 * lost[trunk].sum()


def test_sensor_noise_is_millimetres_and_correlated_in_time():
    """A bone's length is constant, so its changes are noise of both ends."""
    changes, steps = [], []
    for subject in SUBJECTS:
        joints = generate_sequence("waving a hand", subject, 2, 1).joints[0]
        length = distance(joints, "hip_center", "spine")
        length = length[np.isfinite(length)]
        changes.append(length.std())
        steps.append(np.diff(length).std())
    # one axis of two joints: sqrt(2) times the noise of one coordinate
    assert 0.006 < np.mean(changes) < 0.016
    assert np.mean(steps) < 1.2 * np.mean(changes)  # sqrt(2) if independent


# --- bodies


@pytest.mark.parametrize("action", LABELS)
def test_motion_is_finite_smooth_and_keeps_bone_lengths(action):
    for subject in (1, 2, 3):
        joints = perform_action(action, subject)
        assert np.isfinite(joints).all()
        bones = np.stack([np.linalg.norm(joints[:, :, a] - joints[:, :, b], axis=-1) for a, b in LAYOUT.bones], -1)
        assert np.ptp(bones, axis=1).max() < 1e-6
        assert bones.min() > 0.01
        speed = np.linalg.norm(np.diff(joints, axis=1), axis=-1).max() * 30
        assert speed < 20  # metres a second, a hand that throws


@pytest.mark.parametrize("action", LABELS)
def test_number_of_persons(action):
    assert len(perform_action(action, 1)) == (2 if action in TWO_PERSONS else 1)


def test_stature_differs_and_is_human():
    heights = [joint(perform_action("bowing", subject), "head")[0, 0, 1] for subject in range(1, 25)]
    assert 1.3 < min(heights) < 1.5 and 1.65 < max(heights) < 1.9  # the head joint is below the crown


def test_both_hands_are_dominant_somewhere():
    sides = set()
    for subject in range(1, 17):
        joints = perform_action("waving a hand", subject)[0]
        sides.add(joint(joints, "left_hand")[:, 1].max() > joint(joints, "right_hand")[:, 1].max())
    assert sides == {True, False}


@pytest.mark.parametrize("action", LABELS)
def test_knees_bend_forward(action):
    """Seen along the line of the hips, the knee is never behind the straight line from hip to ankle."""
    for subject in (1, 4):
        joints = perform_action(action, subject)
        across = joint(joints, "left_hip") - joint(joints, "right_hip")
        for side in ("left", "right"):
            thigh = joint(joints, f"{side}_knee") - joint(joints, f"{side}_hip")
            leg = joint(joints, f"{side}_ankle") - joint(joints, f"{side}_hip")
            # left is x, down the leg is -y: their forward normal is leg x across
            forward = np.cross(leg, across)
            forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
            assert (thigh * forward).sum(-1).min() > -0.02


@pytest.mark.parametrize("action", LABELS)
def test_elbows_do_not_fold_flat_and_arms_stay_out_of_the_neck(action):
    for subject in (1, 4):
        joints = perform_action(action, subject)
        for side in ("left", "right"):
            upper = joint(joints, f"{side}_elbow") - joint(joints, f"{side}_shoulder")
            lower = joint(joints, f"{side}_wrist") - joint(joints, f"{side}_elbow")
            cosine = (upper * lower).sum(-1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(lower, axis=-1)
            assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 153
            assert distance(joints, f"{side}_elbow", "neck").min() > 0.12


def test_resting_elbows_bend_forward():
    for subject in SUBJECTS:
        joints = perform_action("sitting down", subject)[0, 0]  # before it begins; facing +z
        for side in ("left", "right"):
            assert joint(joints, f"{side}_wrist")[2] > joint(joints, f"{side}_elbow")[2]


@pytest.mark.parametrize("action", STANDING)
def test_feet_stand_still_on_the_floor(action):
    for subject in SUBJECTS:
        joints = perform_action(action, subject)[0]
        for side in ("left", "right"):
            foot, ankle = joint(joints, f"{side}_foot"), joint(joints, f"{side}_ankle")
            assert np.ptp(foot, axis=0).max() < 0.01
            assert foot[:, 1].min() > 0 and foot[:, 1].max() < 0.05 and ankle[:, 1].max() < 0.12


@pytest.mark.parametrize("action", LABELS)
def test_nobody_sinks_into_the_floor(action):
    for subject in SUBJECTS:
        joints = perform_action(action, subject)
        assert joints[..., 1].min() > -0.03
        assert joint(joints, "left_foot")[..., 1].min() > 0.01


# --- what makes each action that action


@pytest.mark.parametrize("subject", SUBJECTS)
class TestActions:
    def test_drinking_brings_a_hand_before_the_mouth(self, subject):
        joints = perform_action("drinking water", subject)[0]
        assert nearest_hand(joints, "head") < 0.20
        side = min(("left", "right"), key=lambda side: distance(joints, f"{side}_hand", "head").min())
        frame = distance(joints, f"{side}_hand", "head").argmin()
        offset = joint(joints, f"{side}_hand")[frame] - joint(joints, "head")[frame]
        assert offset[2] > 0.05 and abs(offset[0]) < 0.10  # in front, in the middle (the person faces +z)

    def test_phone_goes_to_the_ear(self, subject):
        joints = perform_action("making a phone call", subject)[0]
        side = min(("left", "right"), key=lambda side: distance(joints, f"{side}_hand", "head").min())
        near = distance(joints, f"{side}_hand", "head") < 0.22
        assert near.sum() > 15
        outward = (joint(joints, f"{side}_hand") - joint(joints, "head"))[near, 0] * (1 if side == "left" else -1)
        assert np.median(outward) > 0.04

    def test_hat_goes_on_top(self, subject):
        joints = perform_action("putting on a hat", subject)[0]
        above = [(joint(joints, f"{side}_hand") - joint(joints, "head"))[:, 1].max() for side in ("left", "right")]
        assert max(above) > 0.10

    def test_waving_goes_to_and_fro(self, subject):
        joints = perform_action("waving a hand", subject)[0]
        side = max(("left", "right"), key=lambda side: joint(joints, f"{side}_hand")[:, 1].max())
        hand = joint(joints, f"{side}_hand")
        raised = hand[:, 1] > joint(joints, "shoulder_center")[:, 1] - 0.05
        turns = np.diff(np.sign(np.diff(hand[raised, 0]))) != 0
        assert turns.sum() >= 4

    def test_clapping_meets_again_and_again(self, subject):
        gap = distance(perform_action("clapping hands", subject)[0], "left_hand", "right_hand")
        meetings = np.flatnonzero((gap[1:-1] < 0.1) & (gap[1:-1] <= gap[:-2]) & (gap[1:-1] < gap[2:]))
        assert len(meetings) >= 4

    def test_jump_leaves_the_floor(self, subject):
        joints = perform_action("jumping up", subject)[0]
        assert np.minimum(joint(joints, "left_foot"), joint(joints, "right_foot"))[:, 1].max() > 0.10

    def test_kick_lifts_one_foot_forward(self, subject):
        joints = perform_action("kicking", subject)[0]
        lifts = sorted(joint(joints, f"{side}_foot")[:, 1].max() for side in ("left", "right"))
        assert lifts[0] < 0.05 and lifts[1] > 0.2
        assert max(joint(joints, f"{side}_foot")[:, 2].max() for side in ("left", "right")) > 0.4

    def test_picking_up_reaches_down(self, subject):
        joints = perform_action("picking up an object", subject)[0]
        lowest = min(joint(joints, f"{side}_hand")[:, 1].min() for side in ("left", "right"))
        assert lowest < 0.28

    def test_sitting_ends_low_and_standing_up_ends_high(self, subject):
        sits = joint(perform_action("sitting down", subject)[0], "hip_center")[:, 1]
        stands = joint(perform_action("standing up", subject)[0], "hip_center")[:, 1]
        assert sits[-1] < 0.75 * sits[0]
        assert stands[0] < 0.75 * stands[-1]

    def test_turning_ends_the_other_way_round(self, subject):
        joints = perform_action("turning around", subject)[0]
        across = joint(joints, "left_shoulder") - joint(joints, "right_shoulder")
        assert across[0, 0] > 0.2 and across[-1, 0] < -0.2

    def test_arms_stretch_above_the_head(self, subject):
        joints = perform_action("stretching arms up", subject)[0]
        for side in ("left", "right"):
            assert (joint(joints, f"{side}_hand") - joint(joints, "head"))[:, 1].max() > 0.2

    def test_hands_shake(self, subject):
        first, second = perform_action("shaking hands", subject)
        gaps = [
            np.linalg.norm(joint(first, hand) - joint(second, hand), axis=-1) for hand in ("left_hand", "right_hand")
        ]
        assert max((gap < 0.12).sum() for gap in gaps) > 12

    def test_pushing_touches_and_moves_the_other(self, subject):
        persons = perform_action("pushing another person", subject)
        moved = [np.abs(joint(person, "hip_center") - joint(person, "hip_center")[0])[:, 0].max() for person in persons]
        assert min(moved) > 0.1
        gaps = [
            np.linalg.norm(joint(me, f"{side}_hand_tip") - joint(you, "shoulder_center"), axis=-1).min()
            for me, you in (persons, persons[::-1])
            for side in ("left", "right")
        ]
        assert min(gaps) < 0.30

    @pytest.mark.parametrize("action", TWO_PERSONS)
    def test_two_persons_face_each_other_and_keep_apart(self, subject, action):
        first, second = perform_action(action, subject)
        assert np.linalg.norm(joint(first, "spine") - joint(second, "spine"), axis=-1).min() > 0.45
        assert np.linalg.norm(joint(first, "head") - joint(second, "head"), axis=-1).min() > 0.30
        for me, you in ((first, second), (second, first)):
            across = (joint(me, "left_shoulder") - joint(me, "right_shoulder"))[0]
            forward = np.cross(across, [0, 1, 0])
            towards = joint(you, "spine")[0] - joint(me, "spine")[0]
            assert forward @ towards > 0.5 * np.linalg.norm(forward) * np.linalg.norm(towards)
