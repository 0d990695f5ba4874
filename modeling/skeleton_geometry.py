"""Where a recording's camera stood, undone: upright, facing, centred, in torso lengths (this project's choices)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .skeleton_layouts import get_layout

GEOMETRY_VERSION = 3
"""Of what normalising does, which a model keeps.

1 is `normalize_geometry_1`. Before 3, legs that are never seen lay at the hips, and recordings that move with the body
stayed there (`missing_parts`); 2 and 3 are the same for whole bodies in a room.
"""

_LANDMARKS = get_layout("kinect20")  # has the joints that place, size and turn a person
_STEEPEST_TILT = 45.0  # degrees; cameras are tilted less, people who lie are tilted more
_STANDING = 0.85  # head to ankles, as a share of the bones between them
_SHORTEST = 1e-4
_FACING_FRAMES = 8
# the bones between head and ankles; those of the legs count half, for there are two
_CHAIN = [
    ("head", "shoulder_center"),
    ("shoulder_center", "hip_center"),
    *((f"{side}_hip", f"{side}_knee") for side in ("left", "right")),
    *((f"{side}_knee", f"{side}_ankle") for side in ("left", "right")),
]
_CHAIN_STARTS, _CHAIN_ENDS = ([_LANDMARKS.index(bone[end]) for bone in _CHAIN] for end in (0, 1))
_CHAIN_SHARES = np.array([1, 1, 0.5, 0.5, 0.5, 0.5])


def normalize_geometry(
    persons: np.ndarray, landmarks: np.ndarray, unit: float, align_facing: bool = True
) -> np.ndarray:
    """Persons upright, facing along -z on average, around the first person's hips, in torso lengths.

    One rotation, one translation and one scale for the whole recording, so that what persons do relative to each other
    and how a person turns stays.

    Args:
        persons: (persons, frames, joints, 3), y up, any unit, no NaN.
        landmarks: (persons, frames, 20, 3) the same persons in layout "kinect20", NaN for joints no body has.
        unit: the first person's torso length, for what has no bones of a body.

    Returns:
        The shape of `persons`. A flat recording (all depths alike) is not turned upright.
    """
    rotation = upright_rotation(landmarks)
    if align_facing:
        rotation = facing_rotation(landmarks[0] @ rotation.T) @ rotation
    hips = landmarks[0, :, _LANDMARKS.index("hip_center")].mean(0)
    centre = persons[0].mean((0, 1)) if np.isnan(hips).any() else hips
    return (persons - centre) @ rotation.T / body_scale(landmarks[0], unit)


def normalize_geometry_1(
    persons: np.ndarray, landmarks: np.ndarray, unit: float, align_facing: bool = True
) -> np.ndarray:
    """The same in version 1: not upright, facing and place of the first frames, median torso length."""
    hips = landmarks[0, 0, _LANDMARKS.index("hip_center")]
    centre = persons[0, 0].mean(axis=0) if np.isnan(hips).any() else hips
    persons = (persons - centre) / max(unit, _SHORTEST)
    if not align_facing:
        return persons
    across = np.zeros(3)
    for part in ("shoulder", "hip"):
        width = _across(landmarks[0], part)
        if not np.isnan(width).any():
            across = across + np.median(width[:_FACING_FRAMES], axis=0)
    return persons @ about_vertical(np.arctan2(across[2], across[0])).T


def upright_rotation(landmarks: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that turns `up_direction` to +y; the identity where that is not known."""
    up = up_direction(landmarks)
    if up is None:
        return np.eye(3)
    x, y, z = up
    # Rodrigues' formula for the axis up x (0, 1, 0); y > 0, so that 1 + y is no zero
    cross = np.array([[0, -x, 0], [x, 0, z], [0, -z, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + y)


def up_direction(landmarks: np.ndarray) -> np.ndarray | None:
    """Which way is up, from how the first person stands who does: the mean direction from ankles to body.

    The half of the frames in which head and ankles are farthest apart counts. Of somebody who never stands (head to
    ankles below 85 % of the bones between them: sitting, legs not seen) the trunk counts. Somebody tilted by more than
    45 degrees lies or bends, and the next person is asked.

    Args:
        landmarks: (persons, frames, 20, 3) in layout "kinect20", y roughly up, any unit.

    Returns:
        Unit vector (3,), or None where everybody lies or bends, or the recording is flat.
    """
    if is_flat(landmarks):
        return None
    directions = (_body_direction(person) for person in landmarks)
    lowest = np.cos(np.radians(_STEEPEST_TILT))
    return next((direction for direction in directions if direction[1] > lowest), None)


def facing_rotation(landmarks: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) about the vertical that lays somebody's mean `heading` along -z.

    Of a flat recording nothing but front and back can be told: it is turned by half a circle, or not at all, so that
    the person's right lies along +x as everybody's does. Where facing is not known it is the identity.
    """
    if is_flat(landmarks):
        across = np.nan_to_num(_across(landmarks, "shoulder")) + np.nan_to_num(_across(landmarks, "hip"))
        return np.diag([-1.0, 1, -1]) if across[:, 0].mean() < 0 else np.eye(3)
    x, z = heading(landmarks).mean(0)
    if np.isnan(x + z):
        return np.eye(3)
    return about_vertical(np.arctan2(x, -z))


def heading(landmarks: np.ndarray) -> np.ndarray:
    """Where somebody faces in every frame, and how surely.

    Shoulders and hips, right minus left, and the feet, ankle to toes, which tell more when a person is seen from the
    side.

    Args:
        landmarks: (frames, 20, 3) of one upright person.

    Returns:
        (frames, 2) x and z of the direction, in the unit given; the longer, the surer.
    """
    across = _across(landmarks, "shoulder") + _across(landmarks, "hip")
    toes = _bone(landmarks, "left_ankle", "left_foot") + _bone(landmarks, "right_ankle", "right_foot")
    return np.stack([across[:, 2] + toes[:, 0], toes[:, 2] - across[:, 0]], axis=-1)


def body_scale(landmarks: np.ndarray, unknown: float = 1.0) -> float:
    """What one torso length is, in the unit given: of a body as the reference body, as large as this one's bones.

    All bones together say it more surely than the torso alone, and whatever the person's posture. Bones of length 0,
    whose joints were never seen, do not count.

    Args:
        landmarks: (frames, 20, 3) of one person, NaN for joints no body has.
        unknown: the answer where no bone was seen.
    """
    joints, parents = np.array(_LANDMARKS.bones).T
    lengths = np.median(_lengths(landmarks[:, joints] - landmarks[:, parents]), axis=0)
    expected = _reference_bones()
    seen = lengths > _SHORTEST * np.max(lengths, where=~np.isnan(lengths), initial=0)
    return max(float(lengths[seen].sum() / expected[seen].sum()) if seen.any() else unknown, _SHORTEST)


def is_flat(landmarks: np.ndarray) -> bool:
    """Whether a recording has no depth: it was two-dimensional."""
    return bool(np.ptp(landmarks[..., 2]) == 0)


def about_vertical(angle: float) -> np.ndarray:
    """Rotation (3, 3) about +y by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _body_direction(person: np.ndarray) -> np.ndarray:
    """Unit vector (3,) from ankles to body of one person (frames, 20, 3), zeros where there is none."""
    head, neck, hips = (person[:, _LANDMARKS.index(joint)] for joint in ("head", "shoulder_center", "hip_center"))
    ankles = (person[:, _LANDMARKS.index("left_ankle")] + person[:, _LANDMARKS.index("right_ankle")]) / 2
    height = _lengths(head - ankles)
    tall = height >= np.median(height)
    if not tall.any():  # no body
        return np.zeros(3)
    stretched = _lengths(person[:, _CHAIN_ENDS] - person[:, _CHAIN_STARTS]) @ _CHAIN_SHARES
    stands = np.median(height[tall]) > _STANDING * np.median(stretched)
    direction = (head + neck + hips) / 3 - ankles if stands else neck - hips
    return _unit(_unit(direction[tall]).mean(0))


def _across(person: np.ndarray, part: str) -> np.ndarray:
    return _bone(person, f"left_{part}", f"right_{part}")


def _bone(person: np.ndarray, start: str, end: str) -> np.ndarray:
    return person[:, _LANDMARKS.index(end)] - person[:, _LANDMARKS.index(start)]


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...c,...c->...", vectors, vectors))  # norm() takes twice as long


@lru_cache
def _reference_bones() -> np.ndarray:
    """(bones,) lengths in the reference body, torso lengths."""
    joints, parents = np.array(_LANDMARKS.bones).T
    reference = reference_body(_LANDMARKS.name)
    return _lengths(reference[joints] - reference[parents])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(_lengths(vectors), 1e-9)[..., None]


_SMALLEST_BONE = 1e-4  # torso lengths; shorter ones (a joint that stands in for another) have no direction

# A standing body in shares of its stature, (right, up, forward); of paired joints the right one. Heights and half
# widths from shoulders to ankles, and the lengths of hand and foot, are the segment lengths of Drillis and Contini
# (1966); joints between and beside them (spine, head, face, hand, fingers) are placed by this project.
_STATURE: dict[str, tuple[float, float, float]] = {
    "hip_center": (0, 0.530, 0),
    "spine": (0, 0.674, 0),
    "shoulder_center": (0, 0.818, 0),
    "neck": (0, 0.844, 0),
    "head": (0, 0.935, 0),
    "nose": (0, 0.925, 0.06),
    "shoulder": (0.129, 0.818, 0),
    "elbow": (0.129, 0.630, 0),
    "wrist": (0.129, 0.485, 0),
    "hand": (0.129, 0.431, 0),
    "hand_tip": (0.129, 0.377, 0),
    "index": (0.129, 0.431, 0.02),
    "pinky": (0.129, 0.431, -0.02),
    "thumb": (0.129, 0.445, 0.035),
    "hip": (0.0955, 0.530, 0),
    "knee": (0.0955, 0.285, 0),
    "ankle": (0.0955, 0.039, 0),
    "heel": (0.0955, 0, -0.04),
    "foot": (0.0955, 0, 0.112),
    "foot_index": (0.0955, 0, 0.112),
    "eye": (0.018, 0.936, 0.05),
    "eye_inner": (0.009, 0.936, 0.052),
    "eye_outer": (0.027, 0.936, 0.045),
    "ear": (0.042, 0.930, 0),
    "mouth": (0.015, 0.895, 0.05),
    "head_top": (0, 1.0, 0),
    "root": (0, 0, 0),
    "spine1": (0, 0.590, 0),
    "spine2": (0, 0.674, 0),
    "spine3": (0, 0.730, 0),
    "chest": (0, 0.730, 0),
    "collar": (0.03, 0.800, 0),
    "clavicle": (0.03, 0.800, 0),
    "big_toe": (0.085, 0, 0.112),
    "small_toe": (0.115, 0, 0.095),
}
_TORSO = _STATURE["shoulder_center"][1] - _STATURE["hip_center"][1]


def reference_body(layout: str) -> np.ndarray:
    """The standing reference body, (joints, 3) in torso lengths: origin at the hips' centre, right along +x, y up,
    facing along -z.

    A joint that the reference body does not have (of a face, of fingers, of a layout of one's own) is NaN.
    """
    return np.stack([_place(joint) for joint in get_layout(layout).standard])


def normalize_bones(persons: np.ndarray, layout: str) -> np.ndarray:
    """Gives every bone the length it has in the reference body, joint after joint from the root outwards.

    Args:
        persons: (persons, frames, joints, 3) in torso lengths, no NaN.
        layout: whose tree is followed; the root keeps its path.

    Returns:
        The same shape. A bone of length 0 stays one: it has no direction. A bone that the reference body does not have
        keeps its length.
    """
    tree, reference = get_layout(layout), reference_body(layout)
    rebuilt = persons.copy()
    for joint, parent in sorted(tree.bones, key=lambda bone: _depth(tree.parents, bone[0])):
        bone = persons[:, :, joint] - persons[:, :, parent]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        expected = np.linalg.norm(reference[joint] - reference[parent])
        wanted = np.where(length > _SMALLEST_BONE, expected if np.isfinite(expected) else length, 0)
        rebuilt[:, :, joint] = rebuilt[:, :, parent] + bone * wanted / np.maximum(length, _SMALLEST_BONE)
    return rebuilt


def _place(joint: str | None) -> np.ndarray:
    side, _, paired = (joint or "").partition("_")
    x, y, z = _STATURE.get(paired if side in ("left", "right") else joint or "", (np.nan,) * 3)
    return np.array([-x if side == "left" else x, y - _STATURE["hip_center"][1], -z]) / _TORSO


def _depth(parents: tuple[int, ...], joint: int) -> int:
    return 0 if parents[joint] < 0 else 1 + _depth(parents, parents[joint])
