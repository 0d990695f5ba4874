"""MSRC-12 as released: `.csv` of 81 numbers a row (time in microseconds, 20 joints of x y z tracked), no header, and
beside it a `.tagstream`, the moments at which a gesture was made.

Metres in the frame of the Kinect v1: y up, z away, x to the camera's left; 'left' is the person's own left. Joints in
the SDK's order, about 30 fps; the first frames are all zero. A joint's fourth number is 1 where tracked: its score.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import bad_file, parse_rows, read_text
from .time_stamps import timed

NUM_JOINTS = 20
_TICK_OFFSET, _TICKS_PER_SECOND = 24937.5, 49875.0  # of XQPCTick, from the data set's own reader


def is_msrc12(rows: np.ndarray) -> bool:
    return rows.shape[1] == 1 + 4 * NUM_JOINTS


def read_msrc12(rows: np.ndarray) -> SkeletonRecording:
    """Layout kinect20, up y, metres, from (frames, 81)."""
    values = rows[:, 1:].reshape(1, -1, NUM_JOINTS, 4)
    scores = values[..., 3] / max(1.0, np.nanmax(values[..., 3]))  # 0, 1 or 0, 1, 2
    recording = SkeletonRecording(values[..., :3], "kinect20", up="y", unit="m", mirrored=False, scores=scores)
    return timed(recording, rows[:, 0] / 1e6)


def read_action_points(path: Path) -> list[tuple[float, str]]:
    """The action points of a recording: (seconds after the first row of the `.csv`, gesture), in order.

    Args:
        path: the `.csv`; its `.tagstream` (rows `XQPCTick;Tag`) lies beside it.

    Raises:
        FileNotFoundError: one of the two is not there.
        ValueError: a row that is no tick and tag.
    """
    path = Path(path)
    tags = path.with_suffix(".tagstream")
    times = parse_rows(path, [line.partition(" ")[0] for line in read_text(path).splitlines()], "rows of numbers")[:, 0]
    points = []
    for line in read_text(tags).splitlines()[1:]:
        tick, _, tag = line.partition(";")
        if not line.strip():
            continue
        if not tick.strip().isdigit() or not tag.strip():
            raise bad_file(tags, "rows of tick;tag", repr(line), "fetch the file again")
        moment = (int(tick) * 1000 + _TICK_OFFSET) / _TICKS_PER_SECOND
        points.append(((moment - times[0]) / 1e6, tag.strip()))
    return points
