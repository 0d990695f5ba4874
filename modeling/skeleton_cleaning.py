"""Which joints of a recording are missing: marked by numbers that stand for nothing, or with a low score.

All of it is this project's choice.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .skeleton_layouts import SkeletonLayout

MIN_SCORE = 0.3  # joints less sure than this are missing
# what stands for "missing" in files: a joint whose coordinates are all one of these
SENTINELS = (0.0, -1.0, -999.0, 999.0, -9999.0, 9999.0)


def mark_missing(
    joints: np.ndarray, layout: SkeletonLayout, scores: np.ndarray | None = None, sentinels: Iterable[float] = (0.0,)
) -> tuple[np.ndarray | None, list[str]]:
    """Makes missing joints NaN, in place.

    Two things are not taken for missing: a root joint at zero amid its body (there the origin moves along), and scores
    that are all alike.

    Args:
        joints: (persons, frames, joints, 2 or 3).
        layout: of the joints.
        scores: (persons, frames, joints), 0..1.
        sentinels: numbers that mark a missing joint where all its coordinates are one of them.

    Returns:
        The scores, None where they say nothing, and notes on what was done.
    """
    notes = []
    joints[~np.isfinite(joints).all(axis=-1)] = np.nan
    for sentinel in sentinels:
        marked = np.logical_and.reduce([joints[..., channel] == sentinel for channel in range(joints.shape[-1])])
        if marked.any() and sentinel == 0:
            marked[:, :, layout.root] &= ~_root_is_origin(joints, marked, layout)
        if marked.any():
            joints[marked] = np.nan
            what = "all-zero joints" if sentinel == 0 else f"joints at {sentinel:g}"
            notes.append(f"{what} ({marked.mean():.0%}) are missing")
    if scores is None:
        return None, notes
    seen = ~np.isnan(joints).any(axis=-1)
    unsure = seen & ~(scores >= MIN_SCORE)
    if unsure.any():
        sure = scores[seen]
        if np.ptp(sure) == 0:
            return None, [*notes, f"all scores are {sure[0]:g}, which says nothing: they are not used"]
        joints[unsure] = np.nan
        notes.append(f"joints with a score below {MIN_SCORE:g} ({unsure.mean():.0%}) are missing")
    return scores, notes


def _root_is_origin(joints: np.ndarray, zero: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """(persons, frames) bool: a root at zero is a place, for it alone is there and the body lies around it in space."""
    if joints.shape[-1] != 3 or layout.standard[layout.root] != "hip_center":
        return np.zeros(joints.shape[:2], bool)
    unseen = (zero | np.isnan(joints).any(axis=-1))[..., None]
    low = np.where(unseen, np.inf, joints).min(axis=2)
    high = np.where(unseen, -np.inf, joints).max(axis=2)
    margin = 0.2 * np.where(np.isfinite(high), high - low, 0).max(axis=-1, keepdims=True)
    around = ((low - margin <= 0) & (high + margin >= 0)).all(axis=-1)
    return around & (zero.sum(axis=2) == 1)
