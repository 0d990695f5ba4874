import numpy as np
import pytest

from llm_action.modeling.skeleton_layouts import LAYOUTS, get_layout, layouts_with, map_joints

COUNTS = {
    "ntu25": 25,
    "kinect20": 20,
    "kinect20_utd": 20,
    "kinect20_msr": 20,
    "coco17": 17,
    "openpose18": 18,
    "mediapipe33": 33,
    "smarthome13": 13,
    "kinect15": 15,
}


def numbered(layout: str, channels: int = 3) -> np.ndarray:
    """(2 persons, 4 frames, joints, channels) of distinct numbers."""
    count = COUNTS[layout]
    return np.arange(2 * 4 * count * channels, dtype=np.float32).reshape(2, 4, count, channels)


def test_the_joint_counts_are_the_official_ones():
    assert {name: layout.num_joints for name, layout in LAYOUTS.items()} == COUNTS


@pytest.mark.parametrize("name", COUNTS)
def test_each_layout_is_one_tree_with_mirrored_sides(name):
    layout = get_layout(name)
    assert len(set(layout.joints)) == len(layout.joints) == len(layout.parents)
    assert layout.parents.count(-1) == 1
    for joint in range(layout.num_joints):
        steps = 0
        while joint != layout.root:
            joint, steps = layout.parents[joint], steps + 1
            assert steps < layout.num_joints, "a cycle"
    twin = {**dict(layout.left_right), **{right: left for left, right in layout.left_right}}
    for joint, joint_name in enumerate(layout.joints):
        assert (joint in twin) == joint_name.startswith(("left_", "right_"))
        parent = layout.parents[joint]
        if joint in twin and parent >= 0:
            assert layout.parents[twin[joint]] == twin.get(parent, parent)
    for left, right in layout.left_right:
        assert layout.joints[left].removeprefix("left_") == layout.joints[right].removeprefix("right_")


def test_ntu_bones_are_those_of_the_published_graph():
    # 1-based pairs as in ST-GCN and its successors, hand tips and thumbs aside
    published = [
        (1, 2),
        (2, 21),
        (3, 21),
        (4, 3),
        (5, 21),
        (6, 5),
        (7, 6),
        (8, 7),
        (9, 21),
        (10, 9),
        (11, 10),
        (12, 11),
    ]
    published += [(13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18), (20, 19)]
    bones = {frozenset(bone) for bone in get_layout("ntu25").bones if max(bone) < 21}
    assert bones == {frozenset((a - 1, b - 1)) for a, b in published}


def test_coco_order_is_the_published_one():
    assert get_layout("coco17").joints[:7] == (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    )  # fmt: skip
    assert get_layout("coco17").left_right == tuple((i, i + 1) for i in range(1, 16, 2))


def test_mapping_between_orders_of_one_sensor_moves_joints_by_name():
    joints = numbered("kinect20_msr")
    mapped = map_joints(joints, "kinect20_msr", "kinect20")
    np.testing.assert_array_equal(mapped[..., 3, :], joints[..., 19, :])  # head
    np.testing.assert_array_equal(mapped[..., 4, :], joints[..., 0, :])  # left shoulder
    np.testing.assert_array_equal(mapped[..., 11, :], joints[..., 12, :])  # right hand
    np.testing.assert_array_equal(map_joints(mapped, "kinect20", "kinect20_msr"), joints)


@pytest.mark.parametrize("source", COUNTS)
@pytest.mark.parametrize("target", COUNTS)
def test_mapping_copies_shared_joints_and_loses_only_faces(source, target):
    joints = numbered(source, channels=2)
    mapped = map_joints(joints, source, target)
    assert mapped.shape == (2, 4, COUNTS[target], 2)
    assert mapped.dtype == np.float32
    for position, name in enumerate(get_layout(target).joints):
        if name in get_layout(source).joints:
            np.testing.assert_array_equal(mapped[..., position, :], joints[..., get_layout(source).index(name), :])
        elif np.isnan(mapped[..., position, :]).any():
            assert any(part in name for part in ("eye", "ear", "mouth"))


def test_absent_joints_are_derived_from_their_neighbours():
    coco = get_layout("coco17")
    joints = numbered("coco17")
    mapped = map_joints(joints, "coco17", "ntu25")
    hips = (joints[..., 11, :] + joints[..., 12, :]) / 2
    shoulders = (joints[..., 5, :] + joints[..., 6, :]) / 2
    np.testing.assert_allclose(mapped[..., 0, :], hips)
    np.testing.assert_allclose(mapped[..., 20, :], shoulders)
    np.testing.assert_allclose(mapped[..., 1, :], (hips + shoulders) / 2)
    np.testing.assert_array_equal(mapped[..., 7, :], joints[..., coco.index("left_wrist"), :])
    np.testing.assert_array_equal(mapped[..., 19, :], joints[..., coco.index("right_ankle"), :])


def test_a_derived_joint_falls_back_frame_by_frame():
    joints = numbered("coco17")
    joints[0, 1, 3] = np.nan  # the left ear is hidden in one frame
    head = map_joints(joints, "coco17", "kinect20")[..., 3, :]
    np.testing.assert_allclose(head[0, 0], (joints[0, 0, 3] + joints[0, 0, 4]) / 2)
    np.testing.assert_array_equal(head[0, 1], joints[0, 1, 0])  # the nose


def test_mapping_to_the_same_layout_gives_a_copy():
    joints = numbered("kinect15")
    mapped = map_joints(joints, "kinect15", "kinect15")
    mapped[:] = 0
    assert joints.max() > 0


def test_errors_name_what_is_known():
    with pytest.raises(ValueError, match=r"ntu24.*ntu25 \(25 joints\)"):
        get_layout("ntu24")
    with pytest.raises(ValueError, match=r"17, channels.*'coco17'.*\(4, 25, 3\)"):
        map_joints(np.zeros((4, 25, 3)), "coco17", "ntu25")
    with pytest.raises(ValueError, match="no joint 'tail'"):
        get_layout("ntu25").index("tail")
    assert layouts_with(20) == ["kinect20", "kinect20_utd", "kinect20_msr"]
    assert layouts_with(19) == []


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_body_parts_divide_the_joints(layout):
    parts = layout.body_parts
    assert sorted(joint for joints in parts.values() for joint in joints) == list(range(layout.num_joints))
    assert list(parts) == ["trunk", "left arm", "right arm", "left leg", "right leg"]
    twins = dict(layout.left_right)
    for limb, first in (("arm", "shoulder"), ("leg", "hip")):
        assert layout.index(f"left_{first}") in parts[f"left {limb}"]
        assert {twins[joint] for joint in parts[f"left {limb}"]} == set(parts[f"right {limb}"])
    assert {layout.joints[joint].split("_")[0] for joint in parts["left arm"]} == {"left"}
