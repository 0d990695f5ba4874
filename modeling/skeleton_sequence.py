"""The one in-memory form of a recorded action: who, when, which joint, where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .skeleton_cleaning import in_all_channels, mark_missing
from .skeleton_layouts import get_layout, layouts_with, map_joints

SKELETON = "skeleton"  # the sense that every model has, beside whatever others it was trained on


@dataclass(eq=False)
class SkeletonSequence:
    """A skeleton sequence of one or more persons.

    Whatever comes in, joints at exactly zero and joints with a score below 0.3 are missing, persons never seen are left
    out, and frames at either end in which nobody is seen are cut (this project's choice). Two things are not taken for
    missing: a joint of the trunk at zero amid its body (there the origin moves along), and scores that are all alike.

    Attributes:
        joints: (persons, frames, joints, 2 or 3) float32; 3D in metres with y up, 2D in pixels with y down; NaN where a
            joint is missing (infinities become NaN). (frames, joints, channels) is accepted as one person.
        layout: name of a layout in `skeleton_layouts.LAYOUTS`; one's own is given as `get_layout` takes it.
        fps: frames per second, None when not known.
        scores: (persons, frames, joints) float32, confidence 0..1, or None; (frames, joints) for one person.
        name: file or sample name, used in messages.
        notes: sentences on what was inferred or converted on the way here.
        first_frame: which frame of the recording the first one is; above 0 where empty frames were cut.

    Raises:
        ValueError: on construction, when shape, layout and joint count do not fit each other, or nothing was seen.
    """

    joints: np.ndarray
    layout: str
    fps: float | None = None
    scores: np.ndarray | None = None
    name: str = ""
    notes: tuple[str, ...] = ()
    first_frame: int = 0

    def __post_init__(self) -> None:
        about = f"{self.name}: " if self.name else ""
        try:
            self.layout = get_layout(self.layout).name
            self.joints = _checked_joints(self.joints, self.layout)
            self.scores = _checked_scores(self.scores, self.joints.shape[:3])
            self.fps = _checked_fps(self.fps)
            self._mark_missing()
            self._cut_unseen()
        except ValueError as error:
            raise ValueError(f"{about}{error}") from None

    def _mark_missing(self) -> None:
        self.scores, notes = mark_missing(self.joints, get_layout(self.layout), self.scores)
        self.notes = (*self.notes, *notes)

    def _cut_unseen(self) -> None:
        """Leaves out persons never seen and empty frames at either end."""
        seen: np.ndarray = np.any(in_all_channels(~np.isnan(self.joints)), axis=-1)
        persons, frames = seen.any(axis=1), np.flatnonzero(seen.any(axis=0))
        if not len(frames):
            raise ValueError(
                "no joint was seen in any frame (all coordinates are NaN or zero); leave this sequence out"
            )
        kept = slice(frames[0], frames[-1] + 1)
        if persons.all() and kept == slice(0, seen.shape[1]):
            return
        if not persons.all():
            self._note(f"{(~persons).sum()} of {persons.size} persons were never seen and are left out")
        if len(seen[0]) != kept.stop - kept.start:
            self._note(
                f"of {len(seen[0])} frames, {kept.start} at the start and {len(seen[0]) - kept.stop} at the end "
                "show nobody and are cut"
            )
            self.first_frame += int(kept.start)
        self.joints = np.ascontiguousarray(self.joints[persons, kept])
        if self.scores is not None:
            self.scores = np.ascontiguousarray(self.scores[persons, kept])

    def _note(self, note: str) -> None:
        self.notes = (*self.notes, note)

    @property
    def num_persons(self) -> int:
        return self.joints.shape[0]

    @property
    def num_frames(self) -> int:
        return self.joints.shape[1]

    @property
    def num_joints(self) -> int:
        return self.joints.shape[2]

    def to_layout(self, name: str) -> SkeletonSequence:
        """The same sequence in another layout, joints matched by name (see `map_joints`); scores follow.

        Raises:
            ValueError: unknown layout, or two layouts without a joint in common.
        """
        name = get_layout(name).name
        scores = self.scores
        if scores is not None:
            scores = np.where(np.isnan(self.joints).any(axis=-1), np.nan, scores)
            scores = np.nan_to_num(map_joints(scores[..., None], self.layout, name)[..., 0])
        joints = map_joints(self.joints, self.layout, name)
        if np.isnan(joints).any(axis=-1).all():
            raise ValueError(
                f"layouts {self.layout!r} and {name!r} have no seen joint in common; say in your own layout "
                "(standard) which of the standard joints its joints are"
            )
        return replace(self, joints=joints, layout=name, scores=scores)


def _checked_joints(joints: np.ndarray, layout: str) -> np.ndarray:
    try:
        joints = np.array(joints, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError("expected joints as a numeric array (persons, frames, joints, 2 or 3)") from None
    given = joints.shape
    if joints.ndim == 3:
        joints = joints[None]
    if joints.ndim != 4 or joints.shape[3] not in (2, 3):
        raise ValueError(
            "expected joints of shape (persons, frames, joints, 2 or 3) or (frames, joints, 2 or 3), "
            f"got {given}; transpose or reshape the array"
        )
    persons, frames, num_joints, _ = joints.shape
    expected = get_layout(layout).num_joints
    if num_joints != expected:
        fitting = ", ".join(layouts_with(num_joints)) or "none"
        raise ValueError(
            f"expected {expected} joints for layout {layout!r}, got {num_joints} in shape {given}; "
            f"layouts with {num_joints} joints: {fitting}"
        )
    if persons == 0 or frames == 0:
        raise ValueError(f"expected at least one person and one frame, got shape {given}; leave empty sequences out")
    joints[~np.isfinite(joints)] = np.nan
    return joints


def _checked_scores(scores: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if scores is None:
        return None
    scores = np.array(scores, dtype=np.float32)
    given = scores.shape
    if scores.ndim == 2:
        scores = scores[None]
    if scores.shape != shape:
        raise ValueError(f"expected scores of shape {shape} (persons, frames, joints), got {given}")
    return scores


def _checked_fps(fps: float | None) -> float | None:
    if fps is None:
        return None
    if not np.isfinite(fps) or fps <= 0:
        raise ValueError(f"expected fps above 0, got {fps}; pass None when the frame rate is not known")
    return float(fps)


def skeleton_of(recording: Any) -> SkeletonSequence | None:
    """What there is of the skeleton in a recording: a sequence itself, or a mapping of senses."""
    return recording.get(SKELETON) if isinstance(recording, Mapping) else recording
