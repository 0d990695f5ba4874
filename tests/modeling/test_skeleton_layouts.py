import json

import numpy as np
import pytest

from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.skeleton_layouts import LAYOUTS, SkeletonLayout, get_layout, layouts_with, map_joints

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
    "body25": 25,
    "halpe26": 26,
    "human36m17": 17,
    "smpl22": 22,
    "smpl24": 24,
    "azure32": 32,
    "wholebody133": 133,
    "bandai22": 22,
    "hand21": 21,
}
BODIES = [name for name in COUNTS if name != "hand21"]


def numbered(layout: str, channels: int = 3) -> np.ndarray:
    """(2 persons, 4 frames, joints, channels) of distinct numbers."""
    count = COUNTS[layout]
    return np.arange(2 * 4 * count * channels, dtype=np.float32).reshape(2, 4, count, channels)


def test_the_joint_counts_are_the_official_ones():
    assert {name: LAYOUTS[name].num_joints for name in COUNTS} == COUNTS


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


@pytest.mark.parametrize("source", BODIES)
@pytest.mark.parametrize("target", BODIES)
def test_mapping_copies_shared_joints_and_loses_only_faces(source, target):
    joints = numbered(source, channels=2)
    mapped = map_joints(joints, source, target)
    assert mapped.shape == (2, 4, COUNTS[target], 2)
    assert mapped.dtype == np.float32
    for position, name in enumerate(get_layout(target).joints):
        if name in get_layout(source).joints:
            np.testing.assert_array_equal(mapped[..., position, :], joints[..., get_layout(source).index(name), :])
        elif np.isnan(mapped[..., position, :]).any():
            assert any(part in name for part in ("eye", "ear", "mouth", "face", "_hand_"))


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


@pytest.mark.parametrize("layout", [get_layout(name) for name in BODIES], ids=lambda layout: layout.name)
def test_body_parts_divide_the_joints(layout):
    parts = layout.body_parts
    assert sorted(joint for joints in parts.values() for joint in joints) == list(range(layout.num_joints))
    assert list(parts) == ["trunk", "left arm", "right arm", "left leg", "right leg"]
    twins = dict(layout.left_right)
    for limb, first in (("arm", "shoulder"), ("leg", "hip")):
        assert layout.index(f"left_{first}") in parts[f"left {limb}"]
        assert {twins[joint] for joint in parts[f"left {limb}"]} == set(parts[f"right {limb}"])
    assert {layout.joints[joint].split("_")[0] for joint in parts["left arm"]} == {"left"}


def test_published_orders_of_the_estimators():
    """Spot checks of places that the tools' own documents number."""
    assert get_layout("body25").index("hip_center") == 8
    assert get_layout("body25").joints[19:] == (
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    )  # fmt: skip
    assert get_layout("halpe26").joints[17:20] == ("head_top", "neck", "hip_center")
    assert get_layout("human36m17").joints[8:12] == ("shoulder_center", "nose", "head_top", "left_shoulder")
    assert get_layout("smpl22").joints[12:16] == ("neck", "left_collar", "right_collar", "head")
    assert get_layout("azure32").joints[26:] == (
        "head", "nose", "left_eye", "left_ear", "right_eye", "right_ear",
    )  # fmt: skip
    whole = get_layout("wholebody133")
    assert whole.joints[:17] == get_layout("coco17").joints
    assert (whole.joints[91], whole.joints[112]) == ("left_hand_wrist", "right_hand_wrist")
    assert whole.joints[95] == "left_hand_thumb_tip"
    mirrored = dict(whole.left_right)
    assert mirrored[23 + 45] == 23 + 36, "the outer corners of the eyes are twins"
    assert get_layout("hand21").joints[8] == "index_tip"


LOOSE = {"name": "eight_points", "joints": [f"p{number}" for number in range(8)]}


def test_loose_points_hang_on_the_first():
    layout = SkeletonLayout.from_dict(LOOSE)
    assert layout.parents == (-1, *[0] * 7)
    assert layout.left_right == ()
    assert layout.body_parts == {"trunk": tuple(range(8))}
    assert layout.standard == (None,) * 8


def test_half_a_body_by_names_maps_by_standard_joint(tmp_path):
    path = tmp_path / "upper.json"
    content = {
        "name": "upper_test",
        "joints": ["Kopf", "SchulterL", "SchulterR", "HandL", "HandR"],
        "parents": {"SchulterL": "Kopf", "SchulterR": "Kopf", "HandL": "SchulterL", "HandR": "SchulterR"},
        "left_right": [["SchulterL", "SchulterR"], [3, 4]],
        "root": "Kopf",
        "standard": {"Kopf": "head", "SchulterL": "left_shoulder", "SchulterR": "right_shoulder",
                     "HandL": "left_wrist", "HandR": "right_wrist"},
    }  # fmt: skip
    path.write_text(json.dumps(content))
    layout = get_layout(path)
    assert get_layout("upper_test") is layout
    assert get_layout(SkeletonLayout.from_dict(json.loads(json.dumps(layout.to_dict())))) is layout
    assert layout.left_right == ((1, 2), (3, 4))
    joints = np.arange(2 * 5 * 3, dtype=np.float32).reshape(2, 5, 3)
    mapped = map_joints(joints, "upper_test", "kinect20")
    np.testing.assert_array_equal(mapped[:, get_layout("kinect20").index("left_hand")], joints[:, 3])
    np.testing.assert_array_equal(map_joints(joints, "upper_test", "upper_test"), joints)
    assert np.isnan(mapped[:, get_layout("kinect20").index("left_knee")]).all()


def test_a_configuration_carries_a_layout_of_one_s_own(tmp_path):
    layout = get_layout({**LOOSE, "name": "carried"})
    ActionVQVAEConfig(layout="carried").save_pretrained(tmp_path)
    del LAYOUTS["carried"]
    assert ActionVQVAEConfig.from_pretrained(tmp_path).layout == "carried"
    assert get_layout("carried") == layout
    assert ActionVQVAEConfig().own_layout is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": None}, "name and joints|different names|iterable"),
        ({"joints": ["a", "a"]}, "different names"),
        ({"parents": [-1, 0]}, "a parent a joint"),
        ({"parents": [1, 0, *[0] * 6]}, "exactly one root"),
        ({"parents": [-1, 2, 1, *[0] * 5]}, "own ancestor"),
        ({"parents": ["p9", *[0] * 7]}, "'p9'"),
        ({"left_right": [["p1", "p2"], ["p2", "p3"]]}, "each joint once"),
        ({"standard": {"p1": "nase"}}, "nase.*left_wrist"),
        ({"root": "p1", "parents": [-1, *[0] * 7]}, "exactly one root"),
        ({"bones": []}, "'bones'"),
        ({"name": "ntu25"}, "another name"),
    ],
)
def test_a_faulty_layout_is_explained(change, message):
    content = {**LOOSE, **change}
    with pytest.raises((ValueError, TypeError), match=message):
        get_layout(content)


def test_a_missing_or_broken_layout_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="check the path"):
        get_layout(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json.*JSON"):
        get_layout(str(tmp_path / "broken.json"))
