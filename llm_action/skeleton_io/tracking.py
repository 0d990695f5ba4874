"""Persons followed through the frames of a recording whose ids are absent or not to be trusted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

# In shares of a body's extent, this project's choices.
_SAME_ID_BONUS = 0.3  # an id holds against another body that lies nearer by less than this
_REACH, _REACH_PER_FRAME = 0.5, 0.05  # how far a body without that id may have come, at once and a frame of absence
_FAR = 1e6


class Detection(NamedTuple):
    """A person in one frame: joints (joints, 2 or 3), NaN or zero where missing; scores (joints,); what id it bears."""

    joints: np.ndarray
    scores: np.ndarray | None = None
    id: Hashable = None


class _Track:
    def __init__(self, detection: Detection, frame: int) -> None:
        self.ids: set[Hashable] = set()
        self.joints = np.full_like(detection.joints, np.nan)
        self.extent = 0.0
        self.sightings: list[tuple[int, Detection]] = []
        self.add(detection, frame)

    def add(self, detection: Detection, frame: int) -> None:
        seen = _seen(detection.joints)
        self.joints[seen] = detection.joints[seen]
        if seen.any():
            places = detection.joints[seen]
            self.extent = max(0.9 * self.extent, float((places.max(axis=0) - places.min(axis=0)).max()))
        if detection.id is not None:
            self.ids.add(detection.id)
        self.frame = frame
        self.sightings.append((frame, detection))

    def cost(self, detection: Detection, frame: int) -> float:
        """Distance of the detection from the track's last place, in extents; far where it cannot be the same body."""
        known, seen = _seen(self.joints), _seen(detection.joints)
        both = known & seen
        if both.any():
            distance = float(np.median(np.linalg.norm(self.joints[both] - detection.joints[both], axis=-1)))
        elif known.any() and seen.any():
            distance = float(np.linalg.norm(self.joints[known].mean(axis=0) - detection.joints[seen].mean(axis=0)))
        else:
            return _FAR
        distance /= max(self.extent, 1e-6)
        if detection.id is not None and detection.id in self.ids:
            return min(distance, 100.0) - _SAME_ID_BONUS
        return distance if distance <= _REACH + _REACH_PER_FRAME * (frame - self.frame) else _FAR


def _seen(joints: np.ndarray) -> np.ndarray:
    return ~np.isnan(joints).any(axis=-1) & (joints != 0).any(axis=-1)


def track_persons(
    frames: Sequence[Sequence[Detection]], num_joints: int, channels: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Follows persons through the frames: the assignment of bodies to tracks that moves least.

    An id that a body bears holds unless another body lies clearly nearer; a body with a new id goes on in the track of
    one that is absent where that one was last seen. A person absent for some frames keeps the track.

    Args:
        frames: the persons seen in each frame.

    Returns:
        Joints (persons, frames, joints, channels) in order of appearance, NaN where a person is not seen, and scores
        (persons, frames, joints), 0 there and 1 of detections without scores; None when no detection has any.
    """
    tracks: list[_Track] = []
    for frame, detections in enumerate(frames):
        costs = np.array([[track.cost(detection, frame) for detection in detections] for track in tracks])
        taken: set[int] = set()
        if costs.size:
            for number, detection in zip(*linear_sum_assignment(costs)):
                if costs[number, detection] < _FAR:
                    tracks[number].add(detections[detection], frame)
                    taken.add(detection)
        tracks += [_Track(one, frame) for number, one in enumerate(detections) if number not in taken]
    joints = np.full((len(tracks), len(frames), num_joints, channels), np.nan, np.float32)
    scores = np.zeros(joints.shape[:3], np.float32)
    scored = False
    for person, track in enumerate(tracks):
        for frame, detection in track.sightings:
            joints[person, frame] = detection.joints
            scores[person, frame] = 1 if detection.scores is None else detection.scores
            scored |= detection.scores is not None
    return joints, scores if scored else None


def steady_persons(joints: np.ndarray, scores: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Follows the persons of an array anew where its rows cannot be persons.

    That is so where more rows are used than bodies are ever seen at once (a new id in each frame), or where a body
    leaps from one frame to the next (rows that swap persons).

    Args:
        joints: (persons, frames, joints, 2 or 3), NaN or zero where missing.
        scores: (persons, frames, joints).

    Returns:
        Joints and scores, and whether they were changed.
    """
    seen = _seen(joints)
    present = np.asarray(seen.any(axis=2))
    used = np.flatnonzero(present.any(axis=1)).tolist()
    if len(used) < 2 or not (present.sum(axis=0).max() < len(used) or _leaps(joints[used], seen[used])):
        return joints, scores, False
    frames = [
        [
            Detection(joints[person, frame], None if scores is None else scores[person, frame], person)
            for person in used
            if present[person, frame]
        ]
        for frame in range(joints.shape[1])
    ]
    followed, followed_scores = track_persons(frames, *joints.shape[2:])
    same = followed.shape == joints[used].shape and np.array_equal(_seen(followed), seen[used])
    if same and np.array_equal(followed[_seen(followed)], joints[used][seen[used]]):
        return joints, scores, False
    return followed, followed_scores, True


def _leaps(joints: np.ndarray, seen: np.ndarray) -> bool:
    """Whether some body moves further between two frames than an id should hold."""
    places = np.where(seen[..., None], joints, np.nan)
    step = np.linalg.norm(np.diff(places, axis=1), axis=-1)
    low = np.where(seen[..., None], joints, np.inf).min(axis=2)
    high = np.where(seen[..., None], joints, -np.inf).max(axis=2)
    extent = (high - low).max(axis=-1)
    both = ~np.isnan(step).all(axis=-1)
    if not both.any():
        return False
    leap = np.nanmedian(step[both], axis=-1)
    return bool((leap > _SAME_ID_BONUS * extent[:, 1:][both]).any())
