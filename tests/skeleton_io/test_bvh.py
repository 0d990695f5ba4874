"""BVH against a second forward kinematics, written joint by joint with scipy's rotations."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.skeleton_io import read_skeleton


def places_by_scipy(text: str) -> dict[str, np.ndarray]:
    """Places (frames, 3) of every joint, recursively, in the file's unit."""
    tokens = re.findall(r"\S+", text)
    position = tokens.index("ROOT")
    motion = tokens.index("MOTION")
    num_frames = int(tokens[motion + 2])
    values = np.array(tokens[motion + 6 :], float).reshape(num_frames, -1)
    places: dict[str, np.ndarray] = {}
    column = 0

    def joint(at: int, above: tuple[Rotation, np.ndarray]) -> int:
        nonlocal column
        name, end_site = tokens[at + 1], tokens[at] == "End"
        at += 3
        assert tokens[at] == "OFFSET"
        shift = np.tile(np.array(tokens[at + 1 : at + 4], float), (num_frames, 1))
        at += 4
        turn = Rotation.identity(num_frames)
        if tokens[at] == "CHANNELS":
            count = int(tokens[at + 1])
            channels = tokens[at + 2 : at + 2 + count]
            order = "".join(channel[0] for channel in channels if channel.endswith("rotation"))
            angles = [values[:, column + n] for n, channel in enumerate(channels) if channel.endswith("rotation")]
            for number, channel in enumerate(channels):
                if channel.endswith("position"):
                    shift[:, "XYZ".index(channel[0])] = values[:, column + number]
            turn = Rotation.from_euler(order, np.stack(angles, axis=1), degrees=True)  # capitals: intrinsic
            column += count
            at += 2 + count
        here = above[1] + above[0].apply(shift)
        if not end_site:
            places[name] = here
        while tokens[at] != "}":
            at = joint(at, (above[0] * turn, here))
        return at + 1

    joint(position, (Rotation.identity(num_frames), np.zeros((num_frames, 3))))
    return places


MIXAMO = {
    "hip_center": "mixamorig:Hips", "spine": "mixamorig:Spine", "chest": "mixamorig:Spine1", "neck": "mixamorig:Neck",
    "head": "mixamorig:Head", "clavicle": "mixamorig:*Shoulder", "shoulder": "mixamorig:*Arm",
    "elbow": "mixamorig:*ForeArm", "wrist": "mixamorig:*Hand", "hip": "mixamorig:*UpLeg", "knee": "mixamorig:*Leg",
    "ankle": "mixamorig:*Foot", "foot": "mixamorig:*ToeBase",
}  # fmt: skip
STYLES = {
    "mixamo": MIXAMO,
    "cmu": {joint: name.removeprefix("mixamorig:") for joint, name in MIXAMO.items()},
    "rokoko": {**{joint: name.removeprefix("mixamorig:") for joint, name in MIXAMO.items()}, "hip": "*Thigh",
               "knee": "*Shin", "foot": "*Toe"},
    "xsens": {"hip_center": "Hips", "spine": "Chest", "chest": "Chest3", "neck": "Neck", "head": "Head",
              "clavicle": "*Collar", "shoulder": "*Shoulder", "elbow": "*Elbow", "wrist": "*Wrist", "hip": "*Hip",
              "knee": "*Knee", "ankle": "*Ankle", "foot": "*Toe"},
    "unreal": {"hip_center": "pelvis", "spine": "spine_01", "chest": "spine_02", "neck": "neck_01", "head": "head",
               "clavicle": "clavicle_%", "shoulder": "upperarm_%", "elbow": "lowerarm_%", "wrist": "hand_%",
               "hip": "thigh_%", "knee": "calf_%", "ankle": "foot_%", "foot": "ball_%"},
    "biped": {"hip_center": "Bip01_Pelvis", "spine": "Bip01_Spine", "chest": "Bip01_Spine1", "neck": "Bip01_Neck",
              "head": "Bip01_Head", "clavicle": "Bip01_%_Clavicle", "shoulder": "Bip01_%_UpperArm",
              "elbow": "Bip01_%_Forearm", "wrist": "Bip01_%_Hand", "hip": "Bip01_%_Thigh", "knee": "Bip01_%_Calf",
              "ankle": "Bip01_%_Foot", "foot": "Bip01_%_Toe0"},
    "smpl": {"hip_center": "Pelvis", "spine": "Spine1", "chest": "Spine2", "neck": "Neck", "head": "Head",
             "clavicle": "%_Collar", "shoulder": "%_Shoulder", "elbow": "%_Elbow", "wrist": "%_Wrist", "hip": "%_Hip",
             "knee": "%_Knee", "ankle": "%_Ankle", "foot": "%_Foot"},
}  # fmt: skip
OFFSETS = {  # metres from the parent; of paired joints the left one
    "spine": ("hip_center", (0, 0.18, 0)), "chest": ("spine", (0, 0.16, 0)), "neck": ("chest", (0, 0.14, 0)),
    "head": ("neck", (0, 0.12, 0.02)), "clavicle": ("chest", (0.04, 0.1, 0)), "shoulder": ("clavicle", (0.12, 0.02, 0)),
    "elbow": ("shoulder", (0.28, 0, 0)), "wrist": ("elbow", (0.26, 0, 0)), "hip": ("hip_center", (0.1, -0.05, 0)),
    "knee": ("hip", (0, -0.4, 0)), "ankle": ("knee", (0, -0.4, 0)), "foot": ("ankle", (0, -0.05, 0.14)),
}  # fmt: skip


def write_bvh(path, style="mixamo", order="ZXY", scale=100.0, z_up=False, frames=9, seed=0):
    rng = np.random.default_rng(seed)
    names, count = STYLES[style], 0
    lines = ["HIERARCHY"]

    def bone(joint: str, side: str, depth: int) -> None:
        nonlocal count
        name = (
            names[joint]
            .replace("*", side.capitalize())
            .replace("%", side[:1] if style == "unreal" else side[:1].upper())
        )
        offset = np.array(OFFSETS.get(joint, ("", (0, 0, 0)))[1]) * ([-1, 1, 1] if side == "right" else 1) * scale
        offset = offset[[0, 2, 1]] * [1, -1, 1] if z_up else offset
        pad = "\t" * depth
        channels = [f"{axis}rotation" for axis in order]
        channels = ["Xposition", "Yposition", "Zposition", *channels] if not depth else channels
        count += len(channels)
        offset_text = " ".join(map(str, offset))
        lines.extend([f"{pad}{'JOINT' if depth else 'ROOT'} {name}", pad + "{", f"{pad}\tOFFSET {offset_text}"])
        lines.append(f"{pad}\tCHANNELS {len(channels)} {' '.join(channels)}")
        children = [child for child, (parent, _) in OFFSETS.items() if parent == joint]
        for child in children:
            paired = child in ("clavicle", "hip")
            for part in ("left", "right") if paired else (side,):
                bone(child, part, depth + 1)
        if not children:
            lines.extend([f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0 0 0", pad + "\t}"])
        lines.append(pad + "}")

    bone("hip_center", "", 0)
    values = rng.uniform(-25, 25, size=(frames, count))
    values[:, :3] = (np.array([0, 0, 0.9]) if z_up else np.array([0, 0.9, 0])) * scale + rng.normal(
        size=(frames, 3)
    ) * 0.1 * scale
    lines += ["MOTION", f"Frames: {frames}", "Frame Time: 0.0083333"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in values]
    path.write_text("\n".join(lines) + "\n")
    return path


def expected_joints(path, style, metres):
    layout, names = get_layout("bandai22"), STYLES[style]
    places = places_by_scipy(path.read_text())
    expected = np.full((len(next(iter(places.values()))), 22, 3), np.nan)
    for number, joint in enumerate(layout.joints):
        side, _, rest = joint.partition("_")
        key = rest if side in ("left", "right") else joint
        if key in names:
            letter = side[:1] if style == "unreal" else side[:1].upper()
            expected[:, number] = places[names[key].replace("*", side.capitalize()).replace("%", letter)] * metres
    return expected


@pytest.mark.parametrize("style", STYLES)
def test_joint_names_of_many_rigs(tmp_path, style):
    path = write_bvh(tmp_path / "clip.bvh", style)
    sequence = read_skeleton(path)
    assert (sequence.layout, round(sequence.fps)) == ("bandai22", 120)
    np.testing.assert_allclose(sequence.joints[0], expected_joints(path, style, 0.01), atol=1e-5)


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "ZXZ"])
def test_any_order_of_angles(tmp_path, order):
    path = write_bvh(tmp_path / "clip.bvh", order=order)
    np.testing.assert_allclose(read_skeleton(path).joints[0], expected_joints(path, "mixamo", 0.01), atol=1e-5)


@pytest.mark.parametrize(("scale", "metres", "name"), [
    (1, 1, "metres"), (100, 0.01, "centimetres"), (1000, 0.001, "millimetres"), (1 / 0.0254, 0.0254, "inches"),
])  # fmt: skip
def test_units_are_told_by_the_legs(tmp_path, scale, metres, name):
    path = write_bvh(tmp_path / "clip.bvh", scale=scale)
    sequence = read_skeleton(path)
    np.testing.assert_allclose(sequence.joints[0], expected_joints(path, "mixamo", metres), atol=1e-4)
    assert any(f"taken as {name}" in note for note in sequence.notes)


def test_z_up_is_turned(tmp_path):
    path = write_bvh(tmp_path / "clip.bvh", z_up=True)
    expected = expected_joints(path, "mixamo", 0.01)
    turned = np.stack([expected[..., 0], expected[..., 2], -expected[..., 1]], axis=-1)
    sequence = read_skeleton(path)
    np.testing.assert_allclose(sequence.joints[0], turned, atol=1e-5)
    assert any("z pointed up" in note for note in sequence.notes)


def test_a_layout_of_one_s_own_names_the_bones(tmp_path):
    path = write_bvh(tmp_path / "clip.bvh")
    own = {"name": "arm_of_bvh", "joints": ["mixamorig:RightArm", "mixamorig:RightForeArm", "mixamorig:RightHand"]}
    sequence = read_skeleton(path, layout=own)
    assert sequence.joints.shape == (1, 9, 3, 3)
    places = places_by_scipy(path.read_text())
    np.testing.assert_allclose(sequence.joints[0, :, 2], places["mixamorig:RightHand"] * 0.01, atol=1e-5)
    with pytest.raises(ValueError, match="none for nose"):
        read_skeleton(path, layout="coco17")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "no MOTION|cut short"),
        (lambda text: text[:-40], "9 frames of .* numbers"),
        (lambda text: text.replace("Frames: 9", "Frames: 8"), "8 frames"),
        (lambda text: text.replace("Zrotation", "Wrotation"), "wrotation"),
        (lambda text: re.sub(r"mixamorig:\w+", "bone", text), "bones of a person.*layout="),
        (lambda text: text.replace("}", "", 1), "open brackets|tree of bones"),
        (lambda text: "HIERARCHY\nMOTION\n", "no MOTION"),
    ],
)
def test_damaged_files_are_explained(tmp_path, change, message):
    path = write_bvh(tmp_path / "clip.bvh")
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as error:
        read_skeleton(path)
    assert str(path) in str(error.value)


@pytest.mark.real_data
def test_real_files(data_root):
    paths = sorted((data_root / "bvh_samples").glob("*.bvh"))
    if not paths:
        pytest.skip("bvh_samples is not in the data folder")
    assert len(paths) == 16
    layout, forwards = get_layout("bandai22"), []
    names = (
        "joint_Root Hips Spine Chest Neck Head Shoulder_L UpperArm_L LowerArm_L Hand_L Shoulder_R UpperArm_R "
        "LowerArm_R Hand_R UpperLeg_L LowerLeg_L Foot_L Toes_L UpperLeg_R LowerLeg_R Foot_R Toes_R"
    )
    for path in paths:
        sequence = read_skeleton(path)
        assert (sequence.layout, round(sequence.fps)) == ("bandai22", 30)
        places = places_by_scipy(path.read_text())
        expected = np.stack([places[name] for name in names.split(" ")], axis=1) * 0.01
        expected[(expected == 0).all(axis=-1)] = np.nan  # joint_Root lies in the origin
        np.testing.assert_allclose(sequence.joints[0], expected, atol=2e-5, err_msg=path.name)
        joint = {name: sequence.joints[0, :, layout.index(name)] for name in layout.joints}
        feet = (joint["left_ankle"] + joint["right_ankle"]) / 2
        up = joint["head"] - feet
        right = joint["right_hip"] - joint["left_hip"]
        toes = joint["left_foot"] + joint["right_foot"] - joint["left_ankle"] - joint["right_ankle"]
        assert 0.9 < np.median(up[:, 1]) < 1.7, "some bow"
        forwards.append(np.sum(np.cross(up, right) * toes, axis=1) > 0)
    assert np.mean(np.concatenate(forwards)) > 0.9, "right-handed: toes where up x right is"
