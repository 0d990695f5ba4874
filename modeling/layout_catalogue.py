"""The built-in layouts: joints in the order of the data, and the bone from each joint to its parent.

Orders follow the sensors' and data sets' own documents. All bodies share one vocabulary of standard joints; left and
right are the person's own.
"""

from __future__ import annotations

from typing import NamedTuple


class _Layout(NamedTuple):
    name: str
    joints: str  # names, in the order of the data
    parent_of: dict[str, str]  # by joint name; may name bones of other layouts
    description: str


def _both_sides(parent_of: dict[str, str]) -> dict[str, str]:
    """The same bones for 'left_' and 'right_': '*' stands for the side."""
    return {
        joint.replace("*", side): parent.replace("*", side)
        for side in ("left", "right")
        for joint, parent in parent_of.items()
    }


_LIMBS = {"*_elbow": "*_shoulder", "*_wrist": "*_elbow", "*_knee": "*_hip", "*_ankle": "*_knee"}
_FACE = {"*_eye": "nose", "*_ear": "*_eye"}
_KINECT1_BONES = _both_sides(
    _LIMBS
    | {
        "spine": "hip_center",
        "shoulder_center": "spine",
        "head": "shoulder_center",
        "*_shoulder": "shoulder_center",
        "*_hand": "*_wrist",
        "*_hip": "hip_center",
        "*_foot": "*_ankle",
    }
)
_KINECT2_BONES = _KINECT1_BONES | _both_sides(
    {"neck": "shoulder_center", "head": "neck", "*_hand_tip": "*_hand", "*_thumb": "*_wrist"}
)

_FEET = {"*_big_toe": "*_ankle", "*_small_toe": "*_ankle", "*_heel": "*_ankle"}
_COCO_BONES = _both_sides(_LIMBS | _FACE | {"*_shoulder": "nose", "*_hip": "*_shoulder"})
_COCO_JOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_OPENPOSE_BONES = _both_sides(_LIMBS | _FACE | {"nose": "neck", "*_shoulder": "neck"})
_SMPL_BONES = _both_sides(
    _LIMBS
    | {
        "*_hip": "hip_center",
        "spine1": "hip_center",
        "spine2": "spine1",
        "spine3": "spine2",
        "*_foot": "*_ankle",
        "neck": "spine3",
        "head": "neck",
        "*_collar": "spine3",
        "*_shoulder": "*_collar",
        "*_hand": "*_wrist",
    }
)
_SMPL_JOINTS = (
    "hip_center left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 "
    "left_foot right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist"
)
_FINGERS = {
    "thumb": ("cmc", "mcp", "ip", "tip"),
    **dict.fromkeys(("index", "middle", "ring", "pinky"), ("mcp", "pip", "dip", "tip")),
}


def _hand_bones(prefix: str = "") -> dict[str, str]:
    """Parents of the finger joints of one hand, wrist first; the names begin with the prefix."""
    bones: dict[str, str] = {}
    for finger, parts in _FINGERS.items():
        chain = [f"{prefix}wrist", *(f"{prefix}{finger}_{part}" for part in parts)]
        bones |= dict(zip(chain[1:], chain))
    return bones


def _face_joints() -> list[str]:
    """The 68 face points of iBUG 300-W in their order: point n and its mirror image bear the lower of both numbers."""
    sums = [(range(17), 16), (range(17, 27), 43), (range(31, 36), 66), (range(48, 55), 102), (range(55, 60), 114)]
    sums += [(range(60, 65), 124), (range(65, 68), 132)]  # jaw, brows, nostrils, lips: upper and lower rim, inside
    twins = {point: total - point for points, total in sums for point in points}
    for right, left in zip((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46)):  # eyes
        twins |= {right: left, left: right}
    names = []
    for point in range(68):
        twin = twins.get(point, point)
        from_left = point in range(55, 60) or point in range(65, 68)  # lower rims run back from the person's left
        side = "" if twin == point else "right_" if (point < twin) != from_left else "left_"
        names.append(f"{side}face_{min(point, twin)}")
    return names


def _wholebody() -> _Layout:
    hands = {side: [f"{side}_hand_wrist", *_hand_bones(f"{side}_hand_")] for side in ("left", "right")}
    feet = "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel"
    joints = [*_COCO_JOINTS.split(), *feet.split(), *_face_joints(), *hands["left"], *hands["right"]]
    parent_of = _COCO_BONES | _both_sides(_FEET) | dict.fromkeys(_face_joints(), "nose")
    for side in ("left", "right"):
        parent_of |= {f"{side}_hand_wrist": f"{side}_wrist"} | _hand_bones(f"{side}_hand_")
    return _Layout(
        "wholebody133", " ".join(joints), parent_of, "COCO-WholeBody: 17 body, 6 foot, 68 face, 2 x 21 hand joints"
    )


BUILT_IN = (
    _Layout(
        "ntu25",
        "hip_center spine neck head "
        "left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow right_wrist right_hand "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot "
        "shoulder_center left_hand_tip left_thumb right_hand_tip right_thumb",
        _KINECT2_BONES,
        "Kinect v2, 25 joints: NTU RGB+D 60 and 120, PKU-MMD",
    ),
    _Layout(
        "kinect20",
        "hip_center spine shoulder_center head "
        "left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow right_wrist right_hand "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot",
        _KINECT1_BONES,
        "Kinect v1, 20 joints in the order of the Kinect SDK: Northwestern-UCLA",
    ),
    _Layout(
        "kinect20_utd",
        "head shoulder_center spine hip_center "
        "left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow right_wrist right_hand "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot",
        _KINECT1_BONES,
        "Kinect v1, 20 joints in the order of UTD-MHAD",
    ),
    _Layout(
        "kinect20_msr",
        "left_shoulder right_shoulder shoulder_center spine left_hip right_hip hip_center left_elbow right_elbow "
        "left_wrist right_wrist left_hand right_hand left_knee right_knee left_ankle right_ankle left_foot right_foot "
        "head",
        _KINECT1_BONES,
        "Kinect-like depth camera, 20 joints in the order of MSR-Action3D",
    ),
    _Layout(
        "coco17",
        _COCO_JOINTS,
        _COCO_BONES,
        "COCO keypoints: most 2D pose estimators, UAV-Human",
    ),
    _Layout(
        "openpose18",
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
        "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear",
        _OPENPOSE_BONES | _both_sides({"*_hip": "neck"}),
        "OpenPose COCO model, 18 joints: Kinetics-Skeleton",
    ),
    _Layout(
        "mediapipe33",
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
        "left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
        "left_pinky right_pinky left_index right_index left_thumb right_thumb "
        "left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel right_heel "
        "left_foot_index right_foot_index",
        _both_sides(
            _LIMBS
            | {
                "*_eye_inner": "nose",
                "*_eye": "*_eye_inner",
                "*_eye_outer": "*_eye",
                "*_ear": "*_eye_outer",
                "*_mouth": "nose",
                "*_shoulder": "nose",
                "*_hip": "*_shoulder",
                "*_pinky": "*_wrist",
                "*_index": "*_wrist",
                "*_thumb": "*_wrist",
                "*_heel": "*_ankle",
                "*_foot_index": "*_heel",
            }
        ),
        "MediaPipe / BlazePose landmarks",
    ),
    _Layout(
        "smarthome13",
        "right_ankle left_ankle right_knee left_knee right_hip left_hip "
        "right_wrist left_wrist right_elbow left_elbow right_shoulder left_shoulder head",
        _both_sides(_LIMBS | {"*_shoulder": "head", "*_hip": "*_shoulder"}),
        "LCR-Net, 13 joints: Toyota Smarthome",
    ),
    _Layout(
        "kinect15",
        "head neck spine left_shoulder left_elbow left_hand right_shoulder right_elbow right_hand "
        "left_hip left_knee left_foot right_hip right_knee right_foot",
        _both_sides(
            {
                "neck": "spine",
                "head": "neck",
                "*_shoulder": "neck",
                "*_elbow": "*_shoulder",
                "*_hand": "*_elbow",
                "*_hip": "spine",
                "*_knee": "*_hip",
                "*_foot": "*_knee",
            }
        ),
        "OpenNI / NiTE, 15 joints (its torso is called spine here): SBU Kinect Interaction",
    ),
    _Layout(
        "body25",
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist hip_center "
        "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear "
        "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
        _OPENPOSE_BONES | {"hip_center": "neck"} | _both_sides(_FEET | {"*_hip": "hip_center"}),
        "OpenPose BODY_25",
    ),
    _Layout(
        "halpe26",
        f"{_COCO_JOINTS} head_top neck hip_center "
        "left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel",
        _OPENPOSE_BONES | {"hip_center": "neck", "head_top": "nose"} | _both_sides(_FEET | {"*_hip": "hip_center"}),
        "Halpe full body, 26 joints: AlphaPose, RTMPose",
    ),
    _Layout(
        "human36m17",
        "hip_center right_hip right_knee right_ankle left_hip left_knee left_ankle spine shoulder_center nose head_top "
        "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist",
        _both_sides(
            _LIMBS
            | {
                "*_hip": "hip_center",
                "spine": "hip_center",
                "shoulder_center": "spine",
                "nose": "shoulder_center",
                "head_top": "nose",
                "*_shoulder": "shoulder_center",
            }
        ),
        "Human3.6M, 17 joints in the order of VideoPose3D",
    ),
    _Layout("smpl22", _SMPL_JOINTS, _SMPL_BONES, "SMPL body without hands, 22 joints: HumanML3D, AMASS"),
    _Layout("smpl24", f"{_SMPL_JOINTS} left_hand right_hand", _SMPL_BONES, "SMPL body, 24 joints"),
    _Layout(
        "azure32",
        "hip_center spine chest neck "
        "left_clavicle left_shoulder left_elbow left_wrist left_hand left_hand_tip left_thumb "
        "right_clavicle right_shoulder right_elbow right_wrist right_hand right_hand_tip right_thumb "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot "
        "head nose left_eye left_ear right_eye right_ear",
        _both_sides(
            _LIMBS
            | _FACE
            | {
                "spine": "hip_center",
                "chest": "spine",
                "neck": "chest",
                "head": "neck",
                "nose": "head",
                "*_clavicle": "chest",
                "*_shoulder": "*_clavicle",
                "*_hand": "*_wrist",
                "*_hand_tip": "*_hand",
                "*_thumb": "*_wrist",
                "*_hip": "hip_center",
                "*_foot": "*_ankle",
            }
        ),
        "Azure Kinect, 32 joints",
    ),
    _wholebody(),
    _Layout(
        "bandai22",
        "root hip_center spine chest neck head "
        "left_clavicle left_shoulder left_elbow left_wrist right_clavicle right_shoulder right_elbow right_wrist "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot",
        _both_sides(
            _LIMBS
            | {
                "root": "hip_center",
                "spine": "hip_center",
                "chest": "spine",
                "neck": "chest",
                "head": "neck",
                "*_clavicle": "chest",
                "*_shoulder": "*_clavicle",
                "*_hip": "hip_center",
                "*_foot": "*_ankle",
            }
        ),
        "Motion capture, 22 joints in the order of the Bandai-Namco Research Motiondataset's BVH files",
    ),
    _Layout(
        "hand21",
        " ".join(["wrist", *_hand_bones()]),
        _hand_bones(),
        "One hand, 21 joints in the order of MediaPipe Hands; no joint is a body's",
    ),
)
