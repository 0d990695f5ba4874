"""BVH motion capture: `HIERARCHY` (a tree of bones with offsets) and `MOTION` (Euler angles and places a frame).

Joints are placed by forward kinematics: rotations in the file's own order of channels, each about the axes turned so
far; a bone's position channels take the place of its offset. Joints are known by name (Mixamo, CMU, 3ds Max, Unreal,
Xsens, Rokoko, Bandai-Namco ...: `joint_names`), hips and spine also by where they hang in the tree; they come in the
layout bandai22, NaN where the file has none. Centimetres, inches, millimetres or metres: the unit in which the legs
are nearest to a person's. y up, unless heads are over feet along z. fps from `Frame Time`. One person, no scores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import bad_file, plain_rows
from .joint_names import standard_joints
from .options import ReadOptions

LAYOUT = "bandai22"
_LEG = 0.8  # metres from hip to ankle
# Metres a unit; the last is that of CMU's recordings (their length 0.45 in inches).
_UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "1/0.45 inches": 0.0254 / 0.45}
_CUT_SHORT = "the file is likely cut short or damaged: fetch it again"


@dataclass
class _Bone:
    name: str
    parent: int
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    channels: list[str] = field(default_factory=list)


def is_bvh(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("HIERARCHY")


def read_bvh(path: Path, text: str, options: ReadOptions) -> SkeletonRecording:
    """Layout bandai22, or the layout of one's own that is asked for, if the bones bear its joints' names.

    Raises:
        ValueError: no BVH, a file cut short, or too few bones with known names.
    """
    bones, values, frame_time = _parse(path, text)
    places = forward_kinematics(bones, values)
    names = [bone.name for bone in bones]
    fps = round(1 / frame_time, 3) if frame_time > 0 else None
    if options.layout is not None and (wanted := get_layout(options.layout)).name != LAYOUT:
        absent = [joint for joint in wanted.joints if joint not in names]
        if absent:
            raise ValueError(
                f"expected bones named like the joints of layout {wanted.name!r}, found none for {', '.join(absent)}; "
                "leave layout out and convert with .to_layout(...), or name the joints as the file does"
            )
        joints = places[:, [names.index(joint) for joint in wanted.joints]]
        recording = SkeletonRecording(joints[None], wanted.name, fps=fps)
    else:
        recording = SkeletonRecording(_in_layout(path, bones, places)[None], LAYOUT, fps=fps)
    _find_unit_and_up(recording, bones, places)
    return recording


def _parse(path: Path, text: str) -> tuple[list[_Bone], np.ndarray, float]:
    """The bones, (frames, channels) values, seconds a frame."""
    head, found, tail = re.split(r"\bMOTION\b", text, maxsplit=1)[0], "MOTION" in text, text.partition("MOTION")[2]
    match = re.match(r"\s*Frames:\s*(\d+)\s+Frame Time:\s*(\S+)", tail, re.IGNORECASE)
    if not found or match is None:
        raise bad_file(path, "HIERARCHY and MOTION with Frames and Frame Time (BVH)", "no MOTION", _CUT_SHORT)
    bones = _parse_tree(path, head)
    num_channels = sum(len(bone.channels) for bone in bones)
    try:
        values, frame_time = _numbers(tail[match.end() :]), float(match[2])
    except ValueError as error:
        raise bad_file(path, "numbers behind Frame Time (BVH)", str(error), _CUT_SHORT) from None
    num_frames = int(match[1])
    if num_frames == 0 or num_channels == 0 or values.size != num_frames * num_channels:
        expected = f"{num_frames} frames of {num_channels} numbers (BVH)"
        raise bad_file(path, expected, f"{values.size} numbers", _CUT_SHORT)
    return bones, values.reshape(num_frames, num_channels), frame_time


def _numbers(text: str) -> np.ndarray:
    """All numbers of a text, float64; those of a row a frame are read faster."""
    if (rows := plain_rows(text.replace(" \n", "\n"), " ")) is not None:
        return rows.ravel()
    try:
        return np.loadtxt(text.splitlines(), np.float64, comments=None).ravel()
    except ValueError:
        return np.array(text.split(), np.float64)


def _parse_tree(path: Path, head: str) -> list[_Bone]:
    bones: list[_Bone] = []
    stack: list[int] = []  # -1 stands for an end site, which has an offset only
    lines = iter(head.splitlines())
    current = -1
    try:
        for line in lines:
            words = line.split()
            if not words or words[0] == "HIERARCHY":
                continue
            keyword = words[0].upper()
            if keyword in ("ROOT", "JOINT"):
                current = len(bones)
                bones.append(_Bone(" ".join(words[1:]).rstrip("{").strip(), stack[-1] if stack else -1))
            elif keyword == "END":
                current = -1
            elif keyword == "OFFSET":
                if stack[-1] >= 0:
                    bones[stack[-1]].offset = np.array(words[1:4], np.float64)
            elif keyword == "CHANNELS":
                bones[stack[-1]].channels = [word.lower() for word in words[2 : 2 + int(words[1])]]
            if words[-1].endswith("{"):
                stack.append(current)
            if keyword == "}":
                stack.pop()
    except (IndexError, ValueError) as error:
        raise bad_file(path, "a tree of bones (BVH)", f"{type(error).__name__}: {error}", _CUT_SHORT) from None
    known = {f"{axis}{kind}" for axis in "xyz" for kind in ("position", "rotation")}
    strange = {channel for bone in bones for channel in bone.channels} - known
    if not bones or stack or strange:
        found = f"channels {sorted(strange)}" if strange else "open brackets" if stack else "no bone"
        raise bad_file(path, "a tree of bones with rotations and positions (BVH)", found, _CUT_SHORT)
    return bones


def forward_kinematics(bones: list[_Bone], values: np.ndarray) -> np.ndarray:
    """(frames, bones, 3) places of the bones' origins, from (frames, channels) degrees and lengths."""
    turns, shifts = _local(bones, values)
    for number, bone in enumerate(bones):  # from here on against the ground
        if bone.parent >= 0:
            above = turns[bone.parent]
            shifts[number] = shifts[bone.parent] + (above * shifts[number]).sum(axis=1)
            turns[number] = (above[:, :, None] * turns[number]).sum(axis=1)
    return np.ascontiguousarray(shifts.transpose(2, 0, 1))


def _local(bones: list[_Bone], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns (bones, 3, 3, frames) and shifts (bones, 3, frames) against the parent; frames last, for speed."""
    tracks = np.ascontiguousarray(values.T)
    turns = np.zeros((len(bones), 3, 3, len(values)))
    turns[:, range(3), range(3)] = 1
    shifts = np.repeat(np.array([bone.offset for bone in bones])[..., None], len(values), axis=-1)
    first = np.cumsum([0, *(len(bone.channels) for bone in bones)])
    for channels in {tuple(bone.channels) for bone in bones}:
        alike = np.array([number for number, bone in enumerate(bones) if tuple(bone.channels) == channels])
        turn = turns[alike]
        for place, channel in enumerate(channels):
            track, axis = tracks[first[alike] + place], "xyz".index(channel[0])
            if channel.endswith("position"):
                shifts[alike, axis] = track
            else:
                one, other = turn[:, :, (axis + 1) % 3], turn[:, :, (axis + 2) % 3]
                cos, sin = (function(np.radians(track))[:, None] for function in (np.cos, np.sin))
                turn[:, :, (axis + 1) % 3], turn[:, :, (axis + 2) % 3] = (
                    one * cos + other * sin,
                    other * cos - one * sin,
                )
        turns[alike] = turn
    return turns, shifts


def _in_layout(path: Path, bones: list[_Bone], places: np.ndarray) -> np.ndarray:
    """(frames, 22, 3), NaN for joints that the file has not."""
    layout = get_layout(LAYOUT)
    names = [bone.name for bone in bones]
    found = {joint: number for number, joint in enumerate(standard_joints(names)) if joint is not None}
    for side in ("left", "right"):
        if f"{side}_collar" in found:
            found.setdefault(f"{side}_clavicle", found[f"{side}_collar"])
        if f"{side}_big_toe" in found:
            found.setdefault(f"{side}_foot", found[f"{side}_big_toe"])
    _place_trunk(bones, found)
    limbs = [f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "elbow", "wrist", "hip", "knee")]
    absent = [joint for joint in limbs if joint not in found]
    if len(absent) > 2:
        remedy = "pass layout= the JSON of a layout of your own whose joints bear the bones' names"
        raise bad_file(path, f"bones of a person (none is known as {', '.join(absent)})", ", ".join(names), remedy)
    joints = np.full((len(places), layout.num_joints, 3), np.nan)
    for number, joint in enumerate(layout.joints):
        if joint in found:
            joints[:, number] = places[:, found[joint]]
    return joints


def _ancestors(bones: list[_Bone], number: int) -> list[int]:
    """A bone and those above it, root last."""
    chain = [number]
    while bones[chain[-1]].parent >= 0:
        chain.append(bones[chain[-1]].parent)
    return chain


def _place_trunk(bones: list[_Bone], found: dict[str, int]) -> None:
    """Hips where the legs meet; spine and chest where the way from there to the neck is 0.4 and 0.7 gone."""
    if {"left_hip", "right_hip"} <= found.keys():
        right = set(_ancestors(bones, found["right_hip"]))
        meeting = next((one for one in _ancestors(bones, found["left_hip"]) if one in right), None)
        if meeting is not None:
            if found.get("root") == meeting:
                del found["root"]
            found["hip_center"] = meeting
    if "neck" not in found and {"left_shoulder", "right_shoulder"} <= found.keys():
        right = set(_ancestors(bones, found["right_shoulder"]))
        meeting = next((one for one in _ancestors(bones, found["left_shoulder"]) if one in right), None)
        if meeting is not None and meeting != found.get("hip_center"):
            found["neck"] = meeting
    if not {"hip_center", "neck"} <= found.keys():
        return
    chain = _ancestors(bones, found["neck"])
    if found["hip_center"] not in chain:
        return
    chain = chain[: chain.index(found["hip_center"]) + 1][::-1]
    way = np.cumsum([0.0, *(np.linalg.norm(bones[one].offset) for one in chain[1:])])
    between = dict(zip(chain[1:-1], way[1:-1] / max(way[-1], 1e-9)))
    for joint in ("spine", "chest"):
        found.pop(joint, None)
    if between:
        found["spine"] = min(between, key=lambda one: abs(between[one] - 0.4))
        above = {one: share for one, share in between.items() if share > between[found["spine"]]}
        if above:
            found["chest"] = min(above, key=lambda one: abs(above[one] - 0.7))


def _find_unit_and_up(recording: SkeletonRecording, bones: list[_Bone], places: np.ndarray) -> None:
    """Scales to metres by the legs' length, and says which axis points up."""
    names = [bone.name for bone in bones]
    found = {joint: number for number, joint in enumerate(standard_joints(names)) if joint is not None}
    lengths = [
        np.median(np.linalg.norm(places[:, found[f"{side}_{joint}"]] - places[:, found[f"{side}_{above}"]], axis=-1))
        for side in ("left", "right")
        for joint, above in (("knee", "hip"), ("ankle", "knee"))
        if {f"{side}_{joint}", f"{side}_{above}"} <= found.keys()
    ]
    if len(lengths) == 4 and (leg := sum(lengths) / 2) > 0:
        unit = min(_UNITS, key=lambda name: abs(np.log(leg * _UNITS[name] / _LEG)))
        recording.joints = recording.joints * _UNITS[unit]
        recording.notes.append(f"lengths taken as {unit}: legs of {leg * _UNITS[unit]:.2f} m")
    else:
        recording.joints = recording.joints * 0.01
        recording.notes.append("lengths taken as centimetres, the usual unit of BVH")
    recording.unit, recording.up = "m", "y"
    if {"head", "left_ankle", "right_ankle"} <= found.keys():
        feet = (places[:, found["left_ankle"]] + places[:, found["right_ankle"]]) / 2
        upwards = np.median(places[:, found["head"]] - feet, axis=0)
        if upwards[2] > 0.8 * np.linalg.norm(upwards) and upwards[2] > 2 * abs(upwards[1]):
            recording.up = "z"
