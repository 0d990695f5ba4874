"""Time stamps: how many frames a second there are, and a regular clock for recordings whose frames come irregularly."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

_GAP = 1.75  # times the median step
_OFF = 0.1  # seconds by which a stamp may differ from a regular clock's
_LOST = 1.5  # steps from the nearest frame at which nobody saw anything
_MOST_ADDED = 2.0  # times the frames there are, else the stamps mean something else


def rate_of(seconds: np.ndarray) -> float | None:
    """Frames per second of time stamps in seconds: from the mean of the steps that are no gaps; None without steps."""
    steps = np.diff(np.unique(np.asarray(seconds, np.float64)))
    steps = steps[np.isfinite(steps)]
    if not len(steps) or np.median(steps) <= 0:
        return None
    return round(float(1 / steps[steps < _GAP * np.median(steps)].mean()), 3)


def timed(recording: SkeletonRecording, seconds: np.ndarray) -> SkeletonRecording:
    """The recording with the rate of its frames' time stamps, and on a regular clock.

    Sensors lose frames when they are busy, and seconds counted by frames then run ahead by seconds a minute. So where
    a stamp is a tenth of a second or more off a regular clock, each moment of that clock gets the frame nearest to it,
    and is without anybody where none is near.

    Args:
        recording: joints (persons, frames, joints, channels), axes "MTVC".
        seconds: (frames,) time stamps, in seconds; others tell the rate alone.
    """
    seconds = np.asarray(seconds, np.float64)
    recording.fps = rate_of(seconds)
    frames = recording.joints.shape[1]
    if recording.fps is None or len(seconds) != frames or not (np.diff(seconds) > 0).all():
        return recording
    seconds = seconds - seconds[0]
    ticks = np.arange(round(min(seconds[-1] * recording.fps, (1 + _MOST_ADDED) * frames)) + 1) / recording.fps
    regular = np.abs(seconds - np.arange(frames) / recording.fps).max() < _OFF
    if regular or len(ticks) > (1 + _MOST_ADDED) * frames:
        return recording
    after = np.searchsorted(seconds, ticks).clip(1, frames - 1)
    nearest = np.where(ticks - seconds[after - 1] <= seconds[after] - ticks, after - 1, after)
    lost = np.abs(seconds[nearest] - ticks) > _LOST / recording.fps
    recording.joints = np.array(recording.joints[:, nearest], np.float64)
    recording.joints[:, lost] = np.nan
    if recording.scores is not None:
        recording.scores = np.where(lost[:, None], 0, recording.scores[:, nearest])
    recording.notes.append(
        f"{frames} frames come irregularly: by their time stamps they became {len(ticks)} at {recording.fps:g} a second"
    )
    return recording


def seconds_of(times: np.ndarray | None) -> np.ndarray | None:
    """From time stamps in s, ms, us, .NET ticks (100 ns) or ns, told by their step; None without steps."""
    if times is None or len(np.unique(times)) < 2:
        return None
    step = float(np.median(np.diff(np.unique(times))))
    if not np.isfinite(step) or step <= 0:
        return None
    units = ((4_000_000.0, 1e9), (150_000.0, 1e7), (3000.0, 1e6), (2.0, 1e3))
    return times / next((parts for above, parts in units if step > above), 1.0)


def stamp_of(text: str) -> float:
    """A time stamp as written: a number, 2024-05-01T10:00:00.25Z, or 10:00:00.25, in seconds then.

    Raises:
        ValueError: something else.
    """
    try:
        return float(text)
    except ValueError:
        if clock := re.fullmatch(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)", text.strip()):
            hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in clock.groups())
            return 3600 * hours + 60 * minutes + seconds
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()
