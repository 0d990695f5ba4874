"""Joint names, bones and left/right pairs of every skeleton layout, and mapping between layouts by joint name.

All layouts share one snake_case vocabulary of joints; left and right are the person's own. Joint orders follow the
sensors' and data sets' own documents; which joint stands in for an absent one is this project's choice (`_STAND_INS`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SkeletonLayout:
    """One skeleton's joints and the tree they form.

    Attributes:
        name: key in `LAYOUTS`.
        joints: joint names, in the order of the data.
        parents: index of each joint's parent, -1 for the root; exactly one root.
        left_right: pairs (index of a left joint, index of its right twin), for mirroring.
        description: where the layout comes from.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    left_right: tuple[tuple[int, int], ...]
    description: str

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def root(self) -> int:
        """Index of the joint without a parent."""
        return self.parents.index(-1)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(joint, parent) index pairs, the root left out."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if parent >= 0)

    @property
    def body_parts(self) -> dict[str, tuple[int, ...]]:
        """Joint indices of the trunk (with the head), the arms (from the shoulder) and the legs (from the hip)."""
        parts: dict[str, list[int]] = {part: [] for part in ("trunk", "left arm", "right arm", "left leg", "right leg")}
        for index, joint in enumerate(self.joints):
            side, _, rest = joint.partition("_")
            limb = next((limb for limb, joints in _LIMB_JOINTS.items() if rest.startswith(joints)), None)
            parts[f"{side} {limb}" if side in ("left", "right") and limb else "trunk"].append(index)
        return {part: tuple(joints) for part, joints in parts.items() if joints}

    def index(self, joint: str) -> int:
        """Position of a joint by name; ValueError naming the layout's joints when it has no such joint."""
        if joint not in self.joints:
            raise ValueError(f"layout {self.name!r} has no joint {joint!r}; its joints are {', '.join(self.joints)}")
        return self.joints.index(joint)


def _layout(name: str, joints: str, parent_of: dict[str, str], description: str) -> SkeletonLayout:
    names = tuple(joints.split())
    parents = tuple(names.index(parent_of[joint]) if joint in parent_of else -1 for joint in names)
    left_right = tuple(
        (index, names.index(joint.replace("left_", "right_", 1)))
        for index, joint in enumerate(names)
        if joint.startswith("left_")
    )
    return SkeletonLayout(name, names, parents, left_right, description)


def _both_sides(parent_of: dict[str, str]) -> dict[str, str]:
    """The same bones for 'left_' and 'right_': '*' stands for the side."""
    return {
        joint.replace("*", side): parent.replace("*", side)
        for side in ("left", "right")
        for joint, parent in parent_of.items()
    }


_LIMB_JOINTS = {
    "arm": ("shoulder", "elbow", "wrist", "hand", "thumb", "index", "pinky"),
    "leg": ("hip", "knee", "ankle", "foot", "heel"),
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

_LAYOUT_LIST = (
    _layout(
        "ntu25",
        "hip_center spine neck head "
        "left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow right_wrist right_hand "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot "
        "shoulder_center left_hand_tip left_thumb right_hand_tip right_thumb",
        _KINECT2_BONES,
        "Kinect v2, 25 joints: NTU RGB+D 60 and 120, PKU-MMD",
    ),
    _layout(
        "kinect20",
        "hip_center spine shoulder_center head "
        "left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow right_wrist right_hand "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot",
        _KINECT1_BONES,
        "Kinect v1, 20 joints in the order of the Kinect SDK: Northwestern-UCLA",
    ),
    _layout(
        "kinect20_utd",
        "head shoulder_center spine hip_center "
        "left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow right_wrist right_hand "
        "left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot",
        _KINECT1_BONES,
        "Kinect v1, 20 joints in the order of UTD-MHAD",
    ),
    _layout(
        "kinect20_msr",
        "left_shoulder right_shoulder shoulder_center spine left_hip right_hip hip_center left_elbow right_elbow "
        "left_wrist right_wrist left_hand right_hand left_knee right_knee left_ankle right_ankle left_foot right_foot "
        "head",
        _KINECT1_BONES,
        "Kinect-like depth camera, 20 joints in the order of MSR-Action3D",
    ),
    _layout(
        "coco17",
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
        "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
        _both_sides(_LIMBS | _FACE | {"*_shoulder": "nose", "*_hip": "*_shoulder"}),
        "COCO keypoints: most 2D pose estimators, UAV-Human",
    ),
    _layout(
        "openpose18",
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
        "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear",
        _both_sides(_LIMBS | _FACE | {"nose": "neck", "*_shoulder": "neck", "*_hip": "neck"}),
        "OpenPose COCO model, 18 joints: Kinetics-Skeleton",
    ),
    _layout(
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
    _layout(
        "smarthome13",
        "right_ankle left_ankle right_knee left_knee right_hip left_hip "
        "right_wrist left_wrist right_elbow left_elbow right_shoulder left_shoulder head",
        _both_sides(_LIMBS | {"*_shoulder": "head", "*_hip": "*_shoulder"}),
        "LCR-Net, 13 joints: Toyota Smarthome",
    ),
    _layout(
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
)

LAYOUTS: dict[str, SkeletonLayout] = {layout.name: layout for layout in _LAYOUT_LIST}

# What stands in for a joint the source layout lacks: alternatives in order of preference, each the mean of its joints.
_STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {
    "hip_center": (("left_hip", "right_hip"),),
    "shoulder_center": (("left_shoulder", "right_shoulder"), ("neck",)),
    "spine": (("hip_center", "shoulder_center"),),
    "neck": (("shoulder_center",),),
    "head": (("left_ear", "right_ear"), ("nose",)),
    "nose": (("head",),),
}
_SIDE_STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {
    "*_hand": (("*_index", "*_pinky"), ("*_wrist",)),
    "*_wrist": (("*_hand",),),
    "*_hand_tip": (("*_index",), ("*_hand",)),
    "*_index": (("*_hand_tip",), ("*_hand",)),
    "*_pinky": (("*_hand",),),
    "*_thumb": (("*_hand",),),
    "*_foot": (("*_foot_index",), ("*_ankle",)),
    "*_foot_index": (("*_foot",),),
    "*_ankle": (("*_foot",),),
    "*_heel": (("*_ankle",),),
}
for _side in ("left", "right"):
    for _joint, _alternatives in _SIDE_STAND_INS.items():
        _STAND_INS[_joint.replace("*", _side)] = tuple(
            tuple(part.replace("*", _side) for part in parts) for parts in _alternatives
        )


def get_layout(name: str) -> SkeletonLayout:
    """The layout of that name; ValueError listing the known names otherwise."""
    if name not in LAYOUTS:
        known = ", ".join(f"{layout.name} ({layout.num_joints} joints)" for layout in LAYOUTS.values())
        raise ValueError(f"unknown skeleton layout {name!r}; known layouts: {known}")
    return LAYOUTS[name]


def layouts_with(num_joints: int) -> list[str]:
    """Names of the layouts that have this many joints."""
    return [layout.name for layout in LAYOUTS.values() if layout.num_joints == num_joints]


def map_joints(joints: np.ndarray, source: str, target: str) -> np.ndarray:
    """Re-order joints from one layout to another by joint name.

    A joint of the target that the source has is copied. One that it lacks is derived from its neighbours (hip centre =
    mean of the hips, hand = wrist, head = mean of the ears or nose, ...; this project's choice), frame by frame from
    the first alternative that is not NaN, and is NaN where none can be had.

    Args:
        joints: (..., joints of the source, channels), any unit.
        source, target: layout names.

    Returns:
        (..., joints of the target, channels), a new array of the same floating type.

    Raises:
        ValueError: unknown layout, or a joint axis that does not fit the source layout.
    """
    source_layout, target_layout = get_layout(source), get_layout(target)
    joints = np.asarray(joints)
    if not np.issubdtype(joints.dtype, np.floating):
        joints = joints.astype(np.float32)
    if joints.ndim < 2 or joints.shape[-2] != source_layout.num_joints:
        raise ValueError(
            f"expected joints of shape (..., {source_layout.num_joints}, channels) for layout {source!r}, "
            f"got {joints.shape}; pass the layout the array is in"
        )
    if source == target:
        return joints.copy()
    index = {joint: position for position, joint in enumerate(source_layout.joints)}
    return np.stack([_place_joint(joint, joints, index, ()) for joint in target_layout.joints], axis=-2)


def _place_joint(name: str, joints: np.ndarray, index: dict[str, int], above: tuple[str, ...]) -> np.ndarray:
    """(..., channels) of one joint; `above` holds the joints that wait for this one, so that none waits for itself."""
    if name in index:
        return joints[..., index[name], :]
    place = np.full((*joints.shape[:-2], joints.shape[-1]), np.nan, dtype=joints.dtype)
    for parts in _STAND_INS.get(name, ()):
        if set(parts) & {name, *above}:
            continue
        candidate = np.mean([_place_joint(part, joints, index, (*above, name)) for part in parts], axis=0)
        place = np.where(np.isnan(place), candidate, place)
    return place
