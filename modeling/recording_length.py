"""Recordings far longer than what a model learned from: still ends are cut, and what stays too long is a doubt.

All of it is this project's choice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .skeleton_recording import warn
from .skeleton_sequence import SkeletonSequence

_LONG, _LONGER = 40, 1.5  # seconds; times as long as what a model learned from
_USUAL_FPS = 30.0  # where they are not known
_AT_ONCE, _BESIDE = 0.2, 0.3  # seconds: in which a movement shows; that are kept before and after it
_STILL = 0.25  # of how far joints move at most


def of_one_action(
    sequence: SkeletonSequence, moments: int, longest: float = 0.0, whole: bool = False
) -> SkeletonSequence:
    """A recording as it is taken for one label: without still ends where it is too long with them.

    Warns with a `RecordingWarning` of one that is too long without them, too, which is left as it is.

    Args:
        moments: of it that are looked at.
        longest: seconds of the longest recordings that a model learned from, 0 where that is not known.
        whole: whether nothing is cut, default False; signals beside may have no clock to be cut by.
    """
    if _seconds(sequence) <= _most(longest):
        return sequence
    if longest and not whole and _seconds(moving := _moving_part(sequence)) <= _most(longest):
        return moving
    _warn_of_length(sequence, moments, longest)
    return sequence


def _most(longest: float) -> float:
    return min(_LONG, _LONGER * longest) if longest else _LONG


def _seconds(sequence: SkeletonSequence) -> float:
    return sequence.num_frames / (sequence.fps or _USUAL_FPS)


def _moving_part(sequence: SkeletonSequence) -> SkeletonSequence:
    """Without the beginning and the end in which nobody moves; as it is where nobody moves at all."""
    fps, joints = sequence.fps or _USUAL_FPS, sequence.joints
    lag = max(1, round(_AT_ONCE * fps))
    ways = np.linalg.norm(joints[:, lag:] - joints[:, :-lag], axis=-1)
    seen = np.isfinite(ways)
    motion = (np.where(seen, ways, 0).sum(axis=2) / np.maximum(seen.sum(axis=2), 1)).max(axis=0, initial=0.0)
    moves = np.flatnonzero(motion > _STILL * np.quantile(motion, 0.98)) if len(motion) else np.empty(0, int)
    if not len(moves):
        return sequence
    beside = round(_BESIDE * fps)
    kept = slice(max(0, moves[0] - beside), moves[-1] + lag + beside)
    scores = None if sequence.scores is None else sequence.scores[:, kept]
    cut = replace(sequence, joints=joints[:, kept], scores=scores, first_frame=sequence.first_frame + kept.start)
    after = (sequence.num_frames - kept.start - cut.num_frames) / fps
    note = f"{kept.start / fps:.1f} s at the start and {after:.1f} s at the end, in which nobody moves, are left out"
    return replace(cut, notes=(*sequence.notes, note))


def _warn_of_length(sequence: SkeletonSequence, moments: int, longest: float) -> None:
    lasts = f"it lasts {_seconds(sequence):.1f} s"
    lasts += "" if sequence.fps else f" at {_USUAL_FPS:g} frames a second (pass fps=)"
    learned = f"the model learned from recordings of up to {longest:.1f} s; " if longest else ""
    doubt = (
        f"{lasts}, of which {moments} moments are looked at for one label; {learned}what is done in turn, or again, is "
        "told apart by segment()."
    )
    warn(sequence.name, (doubt,))
