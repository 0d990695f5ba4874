"""Cuts long recordings by annotations: what is done becomes a clip each, what lies between becomes background.

Background is seen through windows as long as an annotated action usually is. Beside pauses these show the end of one
action and the beginning of the next, which a model has to know for nothing if it shall find single actions (this
project's choice, after the negative proposals of temporal action localization).

An action annotated by a point, the moment that counts, is seen through a window with the point in its middle, and the
same action off the middle is background, so that a model learns the moment beside the name (this project's choice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from llm_action.modeling.skeleton_sequence import SkeletonSequence

Span = tuple[float, float]
"""From when to when, in seconds from a recording's first frame."""

USUAL_FPS = 30.0  # frames a second of recordings that do not say theirs
_STEP = 0.25  # of a window's length between windows
_MOST_SHARED = 0.35  # intersection over union of a window of background with any action
POINT_WINDOW = 1.5  # seconds that a model of action points sees at once
_OFF_POINT = 0.3  # seconds from any point to the middle of a window of background
_POINT_STEP = 0.5  # seconds between windows of background


def background_spans(actions: Sequence[Span], duration: float) -> list[Span]:
    """Finds windows of a recording in which no action is done, or no more than the edge of one.

    Args:
        actions: at least one.
        duration: of the recording, in seconds.
    """
    length = min(float(np.median([end - start for start, end in actions])), duration)
    starts = np.arange(0.0, duration - length + 1e-6, _STEP * length)
    windows = [(float(start), float(start + length)) for start in starts]
    return [window for window in windows if all(shared(window, action) <= _MOST_SHARED for action in actions)]


def around(point: float) -> Span:
    """The window of an action point; it may begin before the recording or end after it."""
    return point - POINT_WINDOW / 2, point + POINT_WINDOW / 2


def background_around(points: Sequence[float], duration: float) -> list[Span]:
    """Finds windows of a recording in whose middle there is no action point.

    Args:
        points: in seconds from the recording's first frame.
        duration: of the recording, in seconds.
    """
    middles = np.arange(0.0, duration, _POINT_STEP).tolist()
    return [around(middle) for middle in middles if all(abs(middle - point) >= _OFF_POINT for point in points)]


def shared(one: Span, other: Span) -> float:
    """Computes the intersection over union of two spans."""
    inside = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return inside / (one[1] - one[0] + other[1] - other[0] - inside)


def duration_of(sequence: SkeletonSequence) -> float:
    """Counts the seconds from the recording's first frame to the last in which somebody is seen."""
    return (sequence.first_frame + sequence.num_frames) / (sequence.fps or USUAL_FPS)


def cut(sequence: SkeletonSequence, span: Span) -> SkeletonSequence:
    """Cuts out the part of a recording between two moments.

    Raises:
        ValueError: nobody is seen in it.
    """
    rate = sequence.fps or USUAL_FPS
    first, end = (round(moment * rate) - sequence.first_frame for moment in span)
    frames = slice(max(first, 0), max(end, first + 1, 0))
    joints = sequence.joints[:, frames]
    if np.isnan(joints).all():
        raise ValueError(f"nobody is seen between {span[0]:.2f} s and {span[1]:.2f} s")
    scores = None if sequence.scores is None else sequence.scores[:, frames]
    return replace(sequence, joints=joints, scores=scores, first_frame=sequence.first_frame + frames.start)
