"""Joint names, bones and left/right pairs of every skeleton layout, and mapping between layouts by joint name.

The built-in layouts share one snake_case vocabulary of standard joints; left and right are the person's own. Joint
orders follow the sensors' and data sets' own documents; which joint stands in for an absent one is this project's
choice (`_STAND_INS`). A layout of one's own comes as a JSON file, a mapping or a `SkeletonLayout` (`get_layout`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .layout_catalogue import BUILT_IN


@dataclass(frozen=True)
class SkeletonLayout:
    """One skeleton's joints and the tree they form.

    Attributes:
        name: key in `LAYOUTS`.
        joints: joint names, in the order of the data.
        parents: index of each joint's parent, -1 for the root; exactly one root.
        left_right: pairs (index of a left joint, index of its right twin), for mirroring.
        description: where the layout comes from.
        standard: which standard joint each joint is ("left_wrist", "hip_center", ...), None where it is none of them.
            Mapping to another layout goes by these names. Left out: the joints' own names.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    left_right: tuple[tuple[int, int], ...]
    description: str = ""
    standard: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.standard:
            object.__setattr__(self, "standard", self.joints)

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
        """Joint indices of the trunk (with the head), the arms (from the shoulder) and the legs (from the hip).

        Joints that are no standard joints belong to the trunk.
        """
        parts: dict[str, list[int]] = {part: [] for part in ("trunk", "left arm", "right arm", "left leg", "right leg")}
        for index, joint in enumerate(self.standard):
            side, _, rest = (joint or "").partition("_")
            limb = next((limb for limb, joints in _LIMB_JOINTS.items() if rest.startswith(joints)), None)
            parts[f"{side} {limb}" if side in ("left", "right") and limb else "trunk"].append(index)
        return {part: tuple(joints) for part, joints in parts.items() if joints}

    def index(self, joint: str) -> int:
        """Position of a joint by name; ValueError naming the layout's joints when it has no such joint."""
        if joint not in self.joints:
            raise ValueError(f"layout {self.name!r} has no joint {joint!r}; its joints are {', '.join(self.joints)}")
        return self.joints.index(joint)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return {
            "name": self.name,
            "joints": list(self.joints),
            "parents": list(self.parents),
            "left_right": [list(pair) for pair in self.left_right],
            "root": self.joints[self.root],
            "standard": list(self.standard),
            "description": self.description,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SkeletonLayout:
        """A layout of one's own from plain values.

        Args:
            content: `name` and `joints` (names, in the order of the data), and where wanted

                - `parents`: a joint each, by name or index, null or -1 for the root. Left out, all joints hang on the
                  root: loose points.
                - `left_right`: pairs (left, right) by name or index. Left out: joints named alike but for a first
                  "left_" and "right_".
                - `root`: the joint without a parent, by name or index. Left out: the one that `parents` says, or else
                  the first joint.
                - `standard`: which standard joint each is: a list with null for none, or a mapping from joint to
                  standard joint. Left out: joints that bear a standard joint's name are that joint.
                - `description`.

        Raises:
            ValueError: missing or contradictory values, each named.
        """
        unknown = set(content) - {"name", "joints", "parents", "left_right", "root", "standard", "description"}
        if unknown or not {"name", "joints"} <= set(content):
            found = ", ".join(map(repr, content)) or "nothing"
            raise ValueError(
                "expected a layout with the keys name and joints (and if wanted parents, left_right, root, standard, "
                f"description), found {found}"
            )
        name = str(content["name"])
        about = f"layout {name!r}"
        joints = tuple(str(joint) for joint in content["joints"])
        if not joints or len(set(joints)) < len(joints):
            raise ValueError(f"{about}: expected one or more joints with different names, got {list(joints)}")
        parents = _parents_of_own(about, joints, content.get("parents"), content.get("root"))
        pairs = content.get("left_right")
        if pairs is None:
            pairs = [
                (joint, joint.replace("left_", "right_", 1))
                for joint in joints
                if joint.startswith("left_") and joint.replace("left_", "right_", 1) in joints
            ]
        flat = [_index_of(about, joints, joint) for pair in pairs for joint in pair]
        if any(len(pair) != 2 for pair in pairs) or len(set(flat)) < len(flat):
            raise ValueError(f"{about}: expected left_right as pairs (left, right), each joint once, got {pairs}")
        left_right = tuple(zip(flat[::2], flat[1::2]))
        standard = _standard_of_own(about, joints, content.get("standard"))
        return cls(name, joints, parents, left_right, str(content.get("description", "")), standard)


def _index_of(about: str, joints: Sequence[str], joint: Any) -> int:
    """Index of a joint given by name or index."""
    if isinstance(joint, str) and joint in joints:
        return joints.index(joint)
    if isinstance(joint, int) and not isinstance(joint, bool) and 0 <= joint < len(joints):
        return joint
    raise ValueError(f"{about}: expected one of its {len(joints)} joints by name or index, got {joint!r}")


def _parents_of_own(about: str, joints: Sequence[str], parents: Any, root: Any) -> tuple[int, ...]:
    if parents is None:
        top = 0 if root is None else _index_of(about, joints, root)
        return tuple(-1 if joint == top else top for joint in range(len(joints)))
    if isinstance(parents, Mapping):
        parents = [parents.get(joint) for joint in joints]
    if len(parents) != len(joints):
        raise ValueError(f"{about}: expected a parent a joint ({len(joints)}), got {len(parents)}")
    found = tuple(-1 if parent in (None, -1) else _index_of(about, joints, parent) for parent in parents)
    if found.count(-1) != 1 or (root is not None and found[_index_of(about, joints, root)] != -1):
        tops = [joint for joint, parent in zip(joints, found) if parent == -1]
        raise ValueError(f"{about}: expected exactly one root, the joint without a parent, got {tops} (root: {root!r})")
    for joint in range(len(joints)):
        seen: set[int] = set()
        while joint >= 0:
            if joint in seen:
                raise ValueError(f"{about}: expected a tree, but {joints[joint]!r} is its own ancestor")
            seen.add(joint)
            joint = found[joint]
    return found


def _standard_of_own(about: str, joints: Sequence[str], standard: Any) -> tuple[str | None, ...]:
    if standard is None:
        return tuple(joint if joint in STANDARD_JOINTS else None for joint in joints)
    if isinstance(standard, Mapping):
        strange = set(standard) - set(joints)
        if strange:
            raise ValueError(f"{about}: standard names joints that the layout has not: {sorted(strange)}")
        standard = [standard.get(joint) for joint in joints]
    names = [name for name in standard if name is not None]
    strange = {name for name in names if name not in STANDARD_JOINTS}
    if len(standard) != len(joints) or strange or len(set(names)) < len(names):
        problem = f"unknown: {sorted(map(str, strange))}" if strange else f"got {list(standard)}"
        known = ", ".join(sorted(STANDARD_JOINTS))
        raise ValueError(
            f"{about}: expected standard as one standard joint or null a joint ({len(joints)}), each at most once; "
            f"{problem}; standard joints: {known}"
        )
    return tuple(standard)


_LIMB_JOINTS = {
    "arm": ("shoulder", "elbow", "wrist", "hand", "thumb", "index", "pinky"),
    "leg": ("hip", "knee", "ankle", "foot", "heel", "big_toe", "small_toe"),
}


def _built_in(name: str, joints: str, parent_of: dict[str, str], description: str) -> SkeletonLayout:
    names = tuple(joints.split())
    parents = tuple(names.index(parent_of[joint]) if joint in parent_of else -1 for joint in names)
    left_right = tuple(
        (index, names.index(joint.replace("left_", "right_", 1)))
        for index, joint in enumerate(names)
        if joint.startswith("left_")
    )
    standard = (None,) * len(names) if name == "hand21" else names  # a hand has no joint of the body's vocabulary
    return SkeletonLayout(name, names, parents, left_right, description, standard)


# All layouts known: the built-in ones, and those of one's own that were registered.
LAYOUTS: dict[str, SkeletonLayout] = {layout.name: _built_in(*layout) for layout in BUILT_IN}
STANDARD_JOINTS = frozenset(joint for layout in LAYOUTS.values() for joint in layout.standard if joint is not None)

# What stands in for a joint the source layout lacks: alternatives in order of preference, each the mean of its joints.
_STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {
    "hip_center": (("left_hip", "right_hip"),),
    "shoulder_center": (("left_shoulder", "right_shoulder"), ("neck",)),
    "spine": (("spine2",), ("hip_center", "shoulder_center")),
    "spine1": (("spine", "hip_center"), ("hip_center", "shoulder_center")),
    "spine2": (("spine",),),
    "spine3": (("chest",), ("spine", "shoulder_center")),
    "chest": (("spine3",), ("spine", "shoulder_center")),
    "neck": (("shoulder_center",),),
    "head": (("left_ear", "right_ear"), ("nose", "head_top"), ("nose",), ("head_top",)),
    "head_top": (("head",),),
    "nose": (("head",),),
    "root": (("hip_center",),),
}
_SIDE_STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {
    "*_hand": (("*_index", "*_pinky"), ("*_wrist",)),
    "*_wrist": (("*_hand",),),
    "*_hand_tip": (("*_index",), ("*_hand",)),
    "*_index": (("*_hand_tip",), ("*_hand",)),
    "*_pinky": (("*_hand",),),
    "*_thumb": (("*_hand",),),
    "*_foot": (("*_foot_index",), ("*_big_toe",), ("*_ankle",)),
    "*_foot_index": (("*_foot",),),
    "*_big_toe": (("*_foot",),),
    "*_small_toe": (("*_foot",),),
    "*_ankle": (("*_foot",),),
    "*_heel": (("*_ankle",),),
    "*_clavicle": (("*_collar",), ("shoulder_center", "*_shoulder")),
    "*_collar": (("*_clavicle",),),
}
for _side in ("left", "right"):
    for _joint, _alternatives in _SIDE_STAND_INS.items():
        _STAND_INS[_joint.replace("*", _side)] = tuple(
            tuple(part.replace("*", _side) for part in parts) for parts in _alternatives
        )


def get_layout(layout: str | os.PathLike[str] | Mapping[str, Any] | SkeletonLayout) -> SkeletonLayout:
    """A layout by name, or one's own, which is registered under its name for this process.

    Args:
        layout: the name of a built-in or registered layout; the path of a `.json` file or a mapping as
            `SkeletonLayout.from_dict` takes it; or a `SkeletonLayout`.

    Raises:
        FileNotFoundError: there is no such JSON file.
        ValueError: an unknown name (the message lists the known ones), a description that is no layout, or a name that
            another layout bears.
    """
    if isinstance(layout, SkeletonLayout):
        return _registered(layout)
    if isinstance(layout, Mapping):
        return _registered(SkeletonLayout.from_dict(layout))
    name = os.fspath(layout)
    if name in LAYOUTS:
        return LAYOUTS[name]
    if name.lower().endswith(".json"):
        return _registered(_read_layout(Path(name)))
    known = ", ".join(f"{layout.name} ({layout.num_joints} joints)" for layout in LAYOUTS.values())
    raise ValueError(
        f"unknown skeleton layout {name!r}; known layouts: {known}; or pass the path of a JSON with name and joints"
    )


def _read_layout(path: Path) -> SkeletonLayout:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such layout file; check the path")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a layout as JSON, found broken JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object with name and joints, found {type(content).__name__}")
    try:
        return SkeletonLayout.from_dict({"name": path.stem, **content})
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error!s:.1000}") from None


def _registered(layout: SkeletonLayout) -> SkeletonLayout:
    known = LAYOUTS.setdefault(layout.name, layout)
    if replace(known, description="") != replace(layout, description=""):
        raise ValueError(f"layout {layout.name!r} is known with other joints or bones; give yours another name")
    return known


def own_layout(layout: str) -> dict[str, Any] | None:
    """What a configuration keeps of a layout that other processes do not know; None of a built-in one."""
    known = get_layout(layout)
    return None if any(known.name == built_in.name for built_in in BUILT_IN) else known.to_dict()


def layouts_with(num_joints: int) -> list[str]:
    """Names of the layouts that have this many joints."""
    return [layout.name for layout in LAYOUTS.values() if layout.num_joints == num_joints]


def map_joints(joints: np.ndarray, source: str, target: str) -> np.ndarray:
    """Re-order joints from one layout to another by standard joint.

    A joint of the target that the source has is copied. One that it lacks is derived from its neighbours (hip centre =
    mean of the hips, hand = wrist, head = mean of the ears or nose, ...; this project's choice), frame by frame from
    the first alternative that is not NaN, and is NaN where none can be had.

    Args:
        joints: (..., joints of the source, channels), any unit.
        source, target: layouts, see `get_layout`. Joints that are no standard joints are only kept within one layout.

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
    if source_layout == target_layout:
        return joints.copy()
    index = {joint: position for position, joint in enumerate(source_layout.standard) if joint is not None}
    mapped = np.take(joints, [0 if joint is None else index.get(joint, 0) for joint in target_layout.standard], axis=-2)
    for position, joint in enumerate(target_layout.standard):
        if joint not in index:
            mapped[..., position, :] = _place_joint(joint, joints, index, ())
    return mapped


def _place_joint(name: str | None, joints: np.ndarray, index: dict[str, int], above: tuple[str, ...]) -> np.ndarray:
    """(..., channels) of one joint; `above` holds the joints that wait for this one, so that none waits for itself."""
    if name in index:
        return joints[..., index[name], :]
    place = np.full((*joints.shape[:-2], joints.shape[-1]), np.nan, dtype=joints.dtype)
    if name is None:
        return place
    for parts in _STAND_INS.get(name, ()):
        if set(parts) & {name, *above}:
            continue
        candidate = np.mean([_place_joint(part, joints, index, (*above, name)) for part in parts], axis=0)
        place = np.where(np.isnan(place), candidate, place)
    return place
