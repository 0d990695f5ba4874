"""Places and segments that bodies of all layouts share: where somebody's shoulders are, how long people's arms are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .skeleton_layouts import SkeletonLayout

# Lengths in torso lengths (middle of the shoulders to middle of the hips): medians over the training parts of UTD-MHAD,
# NW-UCLA, MSR-Action3D, MSRC-12 and the samples of NTU RGB+D and BVH; the face's and the heel's are this project's.
# '*' is either side; the first joint of a tuple that is seen is taken.
SEGMENTS: tuple[tuple[tuple[str, ...], tuple[str, ...], float], ...] = (
    (("*_shoulder",), ("*_elbow",), 0.65),
    (("*_elbow",), ("*_wrist", "*_hand"), 0.60),
    (("*_wrist",), ("*_hand",), 0.19),
    (("*_hip",), ("*_knee",), 1.15),
    (("*_knee",), ("*_ankle", "*_foot"), 0.97),
    (("*_ankle",), ("*_foot", "*_big_toe", "*_foot_index"), 0.28),
    (("*_ankle",), ("*_heel",), 0.15),
    (("left_shoulder",), ("right_shoulder",), 0.80),
    (("left_hip",), ("right_hip",), 0.36),
    (("shoulders",), ("hips",), 1.0),
    (("shoulders",), ("head", "nose", "head_top"), 0.62),
    (("shoulders",), ("shoulder_center", "neck"), 0.14),
    (("hips",), ("hip_center",), 0.14),
    (("shoulder_center", "neck"), ("*_shoulder",), 0.42),
    (("hip_center",), ("*_hip",), 0.24),
    (("nose",), ("*_ear",), 0.25),
    (("nose",), ("*_eye",), 0.11),
)
HIPS = ("hip_center", "left_hip", "right_hip")
_PAIRS = {
    "shoulders": "shoulder", "hips": "hip", "ankles": "ankle", "feet": "foot", "heels": "heel", "big_toes": "big_toe",
    "foot_indices": "foot_index", "ears": "ear", "eyes": "eye",
}  # fmt: skip
_MIDDLES = {name: (f"left_{part}", f"right_{part}") for name, part in _PAIRS.items()}
_Joints = tuple[str, ...]


def places(body: np.ndarray, layout: SkeletonLayout, wanted: tuple[_Joints, ...]) -> np.ndarray:
    """Where the joints asked for are, frame by frame.

    Args:
        body: (frames, joints, channels), NaN where missing.
        layout: of the joints.
        wanted: standard joints each; the first one that is seen counts. "shoulders", "hips", "ankles" ... are the
            middles of two.

    Returns:
        (frames, wanted, channels), NaN where none is seen.
    """
    found = np.full((len(body), len(wanted), body.shape[-1]), np.nan)
    for columns, joints, others in _choices(layout.standard, wanted):
        empty = np.isnan(found[:, columns, 0])
        if empty.any():
            here = (body[:, joints] + body[:, others]) / 2
            found[:, columns] = np.where(empty[..., None], here, found[:, columns])
    return found


def segments(body: np.ndarray, layout: SkeletonLayout) -> tuple[np.ndarray, np.ndarray]:
    """The segments that a layout has, of one body (frames, joints, channels).

    Returns:
        Vectors (frames, segments, channels), NaN where an end is missing, and people's lengths (segments,).
    """
    starts, ends, lengths = _segments_of(layout.standard)
    found = places(body, layout, (*starts, *ends))
    return found[:, : len(starts)] - found[:, len(starts) :], lengths


@lru_cache(maxsize=256)
def _choices(names: tuple[str | None, ...], wanted: tuple[_Joints, ...]) -> list[tuple[np.ndarray, ...]]:
    """For first, second ... choice: which of those wanted have one, and the two joints in whose middle it lies."""
    known = [[joint for joint in joints if {*_MIDDLES.get(joint, (joint,))} <= {*names}] for joints in wanted]
    levels = []
    for choice in range(max((len(joints) for joints in known), default=0)):
        rows = []
        for column, joints in enumerate(known):
            if choice < len(joints):
                one, other = _MIDDLES.get(joints[choice], (joints[choice],) * 2)
                rows.append((column, names.index(one), names.index(other)))
        levels.append(tuple(np.array(rows).T))
    return levels


@lru_cache(maxsize=256)
def _segments_of(names: tuple[str | None, ...]) -> tuple[tuple[_Joints, ...], tuple[_Joints, ...], np.ndarray]:
    found = []
    for start, end, length in SEGMENTS:
        for side in ("left", "right") if any("*" in joint for joint in (*start, *end)) else ("",):
            ends = [tuple(joint.replace("*", side) for joint in joints) for joints in (start, end)]
            if all(_choices(names, (joints,)) for joints in ends):
                found.append((ends[0], ends[1], length))
    starts, ends_, lengths = zip(*found) if found else ((), (), ())
    return tuple(starts), tuple(ends_), np.array(lengths)
