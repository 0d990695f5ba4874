"""The one in-memory form of a recorded action: who, when, which joint, where."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .skeleton_layouts import get_layout, layouts_with, map_joints


@dataclass(eq=False)
class SkeletonSequence:
    """A skeleton sequence of one or more persons.

    Attributes:
        joints: (persons, frames, joints, 2 or 3) float32; 3D in metres with y up, 2D in pixels; NaN where a joint is
            missing (infinities become NaN). (frames, joints, channels) is accepted as one person.
        layout: name of a layout in `skeleton_layouts.LAYOUTS`.
        fps: frames per second, None when not known.
        scores: (persons, frames, joints) float32, confidence 0..1, or None; (frames, joints) for one person.
        name: file or sample name, used in messages.

    Raises:
        ValueError: on construction, when shape, layout and joint count do not fit each other, or nothing was seen.
    """

    joints: np.ndarray
    layout: str
    fps: float | None = None
    scores: np.ndarray | None = None
    name: str = ""

    def __post_init__(self) -> None:
        about = f"{self.name}: " if self.name else ""
        try:
            self.layout = get_layout(self.layout).name
            self.joints = _checked_joints(self.joints, self.layout)
            self.scores = _checked_scores(self.scores, self.joints.shape[:3])
            self.fps = _checked_fps(self.fps)
        except ValueError as error:
            raise ValueError(f"{about}{error}") from None

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
        """The same sequence in another layout, joints matched by name (see `map_joints`); scores follow."""
        scores = self.scores
        if scores is not None:
            scores = np.nan_to_num(map_joints(scores[..., None], self.layout, name)[..., 0])
        return replace(self, joints=map_joints(self.joints, self.layout, name), layout=name, scores=scores)


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
    if np.isnan(joints).all(axis=-1).all():
        raise ValueError("no joint was seen in any frame (all coordinates are NaN); leave this sequence out")
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
