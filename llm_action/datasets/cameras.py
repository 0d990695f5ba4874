"""What cameras see of recordings in three dimensions: pictures of them, with a pose estimator's errors.

Models of two dimensions are trained on such pictures, of other cameras each time (this project's choice; the errors are
those that MediaPipe Pose shows on videos, see `Cameras`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llm_action.config.sections import Cameras
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.skeleton_cleaning import fill_missing
from llm_action.modeling.skeleton_layouts import SkeletonLayout, get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

Film = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""(persons, frames, joints, 3) with depth to what a model of two dimensions sees of it, the same shape."""

_FAR_FROM_TRUNK = ("wrist", "hand", "hand_tip", "thumb", "pinky", "index", "foot", "toe", "heel", "foot_index")
_LIMBS = {"arm": ("elbow", "wrist", "hand", "hand_tip", "thumb", "pinky", "index"),
          "leg": ("knee", "ankle", "heel", "foot", "foot_index", "big_toe", "small_toe")}  # fmt: skip


def filming(extractor: SkeletonFeatureExtractor, cameras: Cameras | None = None) -> Film | None:
    """Says how training shows recordings: through cameras to a model of two dimensions, else None."""
    if extractor.dimensions == 3:
        return None
    cameras, layout = cameras or Cameras(), get_layout(extractor.layout)

    def film(persons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        picture = picture_of(persons, layout, cameras, rng)
        return extractor.as_seen(in_picture_plane(fill_missing(picture, layout.parents)))

    return film


def filmed(sequence: SkeletonSequence, torso: float, cameras: Cameras, rng: np.random.Generator) -> SkeletonSequence:
    """Turns a recording in three dimensions into what a pose estimator would find in a video.

    Args:
        sequence: y up, seen from the front: the camera turns away from where the recording's own one stood.
        torso: its torso length, in the unit of its joints.

    Returns:
        (persons, frames, joints, 2) pixels, y down, NaN where a joint is lost.
    """
    persons = sequence.joints / torso
    middle = np.nanmean(persons[:1].reshape(-1, 3), axis=0)
    picture = picture_of(persons - middle, get_layout(sequence.layout), cameras, rng)
    pixels = picture * [_PIXELS, -_PIXELS] + [_WIDTH / 2, _HEIGHT / 2]
    return SkeletonSequence(pixels, sequence.layout, sequence.fps, name=sequence.name)


_WIDTH, _HEIGHT, _PIXELS = 1920, 1080, 150  # pixels of a torso, as in NTU RGB+D's videos


def picture_of(persons: np.ndarray, layout: SkeletonLayout, cameras: Cameras, rng: np.random.Generator) -> np.ndarray:
    """Makes what one camera and a pose estimator see of persons.

    Args:
        persons: (persons, frames, joints, 3) in torso lengths around the origin, y up, who face along -z. Of flat ones
            the camera is the one that recorded them.

    Returns:
        (persons, frames, joints, 2) in torso lengths, x to the picture's right, y up; NaN where a joint is lost.
    """
    if np.ptp(persons[..., 2]) > 0:
        persons = persons @ camera_rotation(cameras, rng).T
        distance = rng.uniform(cameras.nearest, cameras.farthest)
        nearness = distance / np.maximum(distance + persons[..., 2:], 1.0)
        picture = persons[..., :2] * nearness * [-1, 1]  # x of recordings grows to the camera's left
    else:
        picture = persons[..., :2] * [-1, 1]
    far = np.array([_part(joint) in _FAR_FROM_TRUNK for joint in layout.standard])
    spread = np.where(far, 2.0, 1.0)[:, None] * errors(picture.shape, cameras, rng)
    picture = picture + spread
    picture[lost_joints(picture.shape[:3], layout, cameras, rng)] = np.nan
    return picture


def camera_rotation(cameras: Cameras, rng: np.random.Generator) -> np.ndarray:
    """(3, 3): turns the world so that a camera looks along +z, within the cameras' ranges."""
    yaw, pitch, roll = (rng.uniform(-most, most) for most in (cameras.yaw, cameras.pitch, cameras.roll))
    return _turn(2, roll) @ _turn(0, pitch) @ _turn(1, yaw)


def errors(shape: tuple[int, ...], cameras: Cameras, rng: np.random.Generator) -> np.ndarray:
    """Draws a pose estimator's errors in torso lengths, (persons, frames, joints, 2): lasting, drifting, momentary."""
    persons, frames, joints, channels = shape
    moments = np.arange(0, frames + _DRIFT_FRAMES, _DRIFT_FRAMES)
    knots = rng.normal(0, cameras.drift, (persons, len(moments), joints, channels))
    place = np.arange(frames) / _DRIFT_FRAMES
    before = place.astype(int)
    share = (place - before)[:, None, None]
    drift = knots[:, before] * (1 - share) + knots[:, np.minimum(before + 1, len(moments) - 1)] * share
    constant = rng.normal(0, cameras.offset, (persons, 1, joints, channels))
    return constant + drift + rng.normal(0, cameras.jitter, shape)


_DRIFT_FRAMES = 16


def lost_joints(
    shape: tuple[int, ...], layout: SkeletonLayout, cameras: Cameras, rng: np.random.Generator
) -> np.ndarray:
    """(persons, frames, joints) bool: elbow and wrist, knee and ankle of a limb are lost together for some time.

    `cameras.lost` is the share of the time that a limb is lost; spells last 1 to `cameras.longest_loss` frames, all
    orders of magnitude alike. Shoulders, hips, trunk and head are always found.
    """
    lost = np.zeros(shape, bool)
    persons, frames, _ = shape
    longest = max(2, min(cameras.longest_loss, frames))
    spells = cameras.lost * frames / ((longest - 1) / np.log(longest))  # expected number
    for joints in _limbs(layout):
        for person in range(persons):
            for _ in range(rng.poisson(spells)):
                length = round(np.exp(rng.uniform(0, np.log(longest))))
                start = rng.integers(-length + 1, frames)
                lost[person, max(0, start) : start + length, joints] = True
    lost[:, lost.all(axis=(0, 2))] = False
    return lost


def in_picture_plane(picture: np.ndarray) -> np.ndarray:
    """(..., 2) as (..., 3) with depth 0."""
    return np.concatenate([picture, np.zeros_like(picture[..., :1])], axis=-1)


def _limbs(layout: SkeletonLayout) -> list[list[int]]:
    limbs = (
        [index for index, joint in enumerate(layout.standard) if joint in {f"{side}_{part}" for part in parts}]
        for side in ("left", "right")
        for parts in _LIMBS.values()
    )
    return [limb for limb in limbs if limb]


def _part(joint: str | None) -> str:
    side, _, part = (joint or "").partition("_")
    return part if side in ("left", "right") else joint or ""


def _turn(axis: int, angle: float) -> np.ndarray:
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
    return turn
