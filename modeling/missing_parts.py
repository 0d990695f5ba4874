"""What a recording leaves out of a person, taken for what it mostly is: hips, legs that stand, feet on the floor.

All of it is this project's choice.
"""

from __future__ import annotations

import numpy as np

from .body_segments import HIPS
from .plausibility import column_quantile
from .skeleton_cleaning import fill_missing
from .skeleton_geometry import reference_body
from .skeleton_layouts import SkeletonLayout, get_layout, map_joints

_LANDMARKS = get_layout("kinect20")
_HIPS_BY_SHOULDERS = 0.45  # width
_LEGS = ("knee", "ankle", "foot", "heel", "toe")
_FEET = [_LANDMARKS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("ankle", "foot")]
_CENTRES = [_LANDMARKS.index(joint) for joint in ("hip_center", "spine", "shoulder_center")]
# Torso lengths. Of people who stand still, half of the frames lie within 0.0022 or more of the middle one; the hips
# between MediaPipe's world landmarks within 0.0008.
_STILL = 0.0015
_STEP = 0.05
_ON_FLOOR = 0.1  # torso lengths above the lowest foot


def with_hips(person: np.ndarray, layout: SkeletonLayout, unit: float) -> np.ndarray:
    """Puts hips below the shoulders of somebody, (frames, joints, 3), whose hips are never seen.

    Args:
        unit: torso length.
    """
    hips = [layout.standard.index(joint) for joint in HIPS if joint in layout.standard]
    if not hips or not np.isnan(person[:, hips]).any(axis=-1).all():
        return person
    landmarks = map_joints(person, layout.name, _LANDMARKS.name)
    left, right = (landmarks[:, _LANDMARKS.index(f"{side}_shoulder")] for side in ("left", "right"))
    below = (left + right) / 2 - np.array([0, unit, 0], person.dtype)
    aside = {"left": _HIPS_BY_SHOULDERS * (left - right) / 2, "right": _HIPS_BY_SHOULDERS * (right - left) / 2}
    person = person.copy()
    for joint in hips:
        person[:, joint] = below + aside.get(str(layout.standard[joint]).partition("_")[0], 0)
    return person


def with_legs(person: np.ndarray, layout: SkeletonLayout, unit: float) -> np.ndarray:
    """Lets legs that are never seen hang from the last joint that is, as long as those of the reference body.

    Args:
        person: (frames, joints, 3), NaN where missing.
        unit: torso length.
    """
    unseen = np.isnan(person).any(axis=-1).all(axis=0)
    legs = [joint for joint in _from_root(layout) if unseen[joint] and _is_leg(layout.standard[joint])]
    hanging = {joint for joint in legs if _is_leg(layout.standard[joint], ("knee", "ankle"))}
    if not hanging:
        return person
    person, reference = person.copy(), reference_body(layout.name)
    turn = _about_the_body(person, layout) * unit
    for joint in legs:
        parent = layout.parents[joint]
        if joint in hanging or parent in hanging:
            hanging.add(joint)
            person[:, joint] = person[:, parent] + turn @ (reference[joint] - reference[parent])
    return person


def on_the_floor(persons: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """Gives back the way of persons whose hips or spine never move, for the recording moves with them.

    The lowest joint of the feet is on the floor, and those on the floor do not slide. A person who moves by himself
    beside one who does not goes the way of the first one.

    Args:
        persons: (persons, frames, joints, 3), y up, NaN where missing.
    """
    landmarks = map_joints(persons, layout.name, _LANDMARKS.name)
    still = [moves_with_the_body(person) for person in landmarks]
    if not any(still):
        return persons
    filled = map_joints(fill_missing(persons, layout.parents), layout.name, _LANDMARKS.name)
    ways = [_way(person) if moving else None for person, moving in zip(filled, still, strict=True)]
    first = next(way for way in ways if way is not None)
    return persons + np.stack([first if way is None else way for way in ways])[:, :, None].astype(persons.dtype)


def moves_with_the_body(landmarks: np.ndarray) -> bool:
    """Whether hips, spine or shoulders of one body stay at one point while the feet move.

    Args:
        landmarks: (frames, 20, 3) in layout "kinect20", NaN where missing.
    """
    centres, feet = landmarks[:, _CENTRES], landmarks[:, _FEET]
    unit = column_quantile(np.linalg.norm(centres[:, 0] - centres[:, -1], axis=-1), 0.5)
    away = np.abs(centres - column_quantile(centres, 0.5)).max(axis=-1)
    if not (column_quantile(away, 0.5) < _STILL * unit).any():  # False where never seen
        return False
    return bool((np.abs(feet - column_quantile(feet, 0.5)).max(axis=-1) > _STEP * unit).any())


def _way(landmarks: np.ndarray) -> np.ndarray:
    """(frames, 3) that puts the lowest of the feet of (frames, 20, 3) on the floor and holds it there."""
    feet = landmarks[:, _FEET].astype(np.float64)
    unit = np.median(np.linalg.norm(landmarks[:, _CENTRES[0]] - landmarks[:, _CENTRES[-1]], axis=-1))
    heights = feet[..., 1] - feet[..., 1].min(axis=1, keepdims=True)
    low = heights < _ON_FLOOR * unit
    held = low[1:] & low[:-1]
    held = np.where(held.any(axis=1, keepdims=True), held, low[:-1])[..., None]
    slides = (np.diff(feet, axis=0) * held).sum(axis=1) / held.sum(axis=1)
    way = np.zeros((len(feet), 3))
    way[1:] = -np.cumsum(slides, axis=0)
    way[:, 1] = -feet[..., 1].min(axis=1)
    return way


def _is_leg(joint: str | None, parts: tuple[str, ...] = _LEGS) -> bool:
    return joint is not None and any(part in joint for part in parts)


def _from_root(layout: SkeletonLayout) -> list[int]:
    order: list[int] = [layout.root]
    for joint in order:
        order += [child for child, parent in enumerate(layout.parents) if parent == joint]
    return order


def _about_the_body(person: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """(3, 3) from the reference body's axes to somebody's: y up, x towards the right on average."""
    landmarks = map_joints(person, layout.name, _LANDMARKS.name)
    across = np.zeros(3)
    for part in ("shoulder", "hip"):
        left, right = (landmarks[:, _LANDMARKS.index(f"{side}_{part}")] for side in ("left", "right"))
        across = across + np.nan_to_num(np.nanmean(right - left, axis=0))
    x, z = across[0], across[2]
    length = np.hypot(x, z)
    cos, sin = (x / length, z / length) if length > 0 else (1.0, 0.0)
    if np.nanmax(np.abs(person[..., 2]), initial=0.0) == 0:  # a flat recording stays flat
        return np.diag([1.0 if x >= 0 else -1.0, 1.0, 0.0])
    return np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
