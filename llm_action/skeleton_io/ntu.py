"""NTU RGB+D `.skeleton` files (Kinect v2, 25 joints) and UAV-Human `.txt` files, which use the same text layout.

Format: the number of frames; per frame the number of bodies; per body a line whose first value is the body's id, a line
with the number of joints, then one line a joint: x y z, depth x y, colour x y, quaternion w x y z, tracking state.

NTU coordinates are metres in the Kinect's frame: y up, z away from the camera, x to the camera's left; left joints are
the person's own left. UAV-Human's 17 joints were estimated in images: x and y are pixels (y down), z is not used.

A regular file goes through Arrow's CSV parser, some ten times as fast as reading it line by line; anything irregular is
read again with care, for the right answer or the right complaint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, build_sequence, parse_rows, read_text, zeros_to_nan

KINECT_FPS = 30.0
_COLUMNS = [f"value{index}" for index in range(12)]
_READ = [0, 1, 2, 11]  # x, y, z, tracking state


@dataclass
class _Bodies:
    """(body, frame) of every body seen, and the values (x, y, z, tracking state) of its joints, (seen, joints, 4)."""

    num_frames: int
    places: list[tuple[int, int]]
    values: np.ndarray


def read_ntu(path: Path) -> SkeletonSequence:
    """Read an NTU RGB+D or UAV-Human file.

    Bodies are told apart by their id, in order of first appearance; a body is NaN in frames where it is not seen.

    Returns:
        25 joints: layout 'ntu25', joints (bodies, frames, 25, 3) in metres, 30 fps, scores = tracking state / 2
        (0 not tracked, 0.5 inferred, 1 tracked; this project's choice).
        17 joints: layout 'coco17', joints (bodies, frames, 17, 2) in pixels, fps and scores None.

    Raises:
        ValueError: the file is not of this format, is cut short, or shows nobody.
    """
    bodies = _read_regular(path.read_bytes()) or _read_carefully(path)
    body, frame = np.array(bodies.places).T
    num_joints = bodies.values.shape[1]
    num_channels = 3 if num_joints == 25 else 2
    joints = np.full((body.max() + 1, bodies.num_frames, num_joints, num_channels), np.nan, np.float32)
    joints[body, frame] = zeros_to_nan(bodies.values[..., :num_channels])
    if num_joints == 17:
        return build_sequence(path, joints, "coco17")
    scores = np.zeros(joints.shape[:3], np.float32)
    scores[body, frame] = bodies.values[..., 3] / 2
    return build_sequence(path, joints, "ntu25", KINECT_FPS, scores)


def _read_regular(content: bytes) -> _Bodies | None:
    """The bodies of a file whose joint lines, and no others, have twelve numbers with one space between; else None.

    The parser hands over the other lines, which say how many joint lines come next, with their numbers: all must be
    where they are expected.
    """
    others: list[tuple[int, str]] = []

    def keep(row: csv.InvalidRow) -> str:
        others.append((row.number, row.text))
        return "skip"

    if not content.isascii():  # the parser prints a traceback of its own about rows it cannot decode
        return None
    columns = [_COLUMNS[index] for index in _READ]
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(column_names=_COLUMNS, use_threads=False, block_size=len(content) + 1),
            csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=False, invalid_row_handler=keep),
            csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.float64()), null_values=[]
            ),
        )
        num_frames, places, num_joints = _walk(others, len(table))
    except (pa.ArrowInvalid, ValueError, IndexError):
        return None
    values = np.stack([table[column].to_numpy() for column in columns], axis=-1).astype(np.float32)
    return _Bodies(num_frames, places, values.reshape(len(places), num_joints, len(columns)))


def _walk(others: list[tuple[int, str]], num_rows: int) -> tuple[int, list[tuple[int, int]], int]:
    """Frames, places and joints a body from the lines that are no joints; ValueError or IndexError when not regular."""
    lines = iter(others)
    number = 0

    def following() -> str:
        nonlocal number
        number += 1
        found, text = next(lines, (0, ""))
        if found != number:
            raise ValueError
        return text

    places: list[tuple[int, int]] = []
    tracks = _Tracks()
    num_joints = 0
    num_frames = int(following())
    for frame in range(num_frames):
        tracks.new_frame()
        for _ in range(int(following())):
            places.append((tracks.body(following().split(maxsplit=1)[0]), frame))
            count = int(following())
            if count not in (25, 17) or num_joints not in (0, count):
                raise ValueError
            num_joints = count
            number += count
    if not places or len(places) * num_joints != num_rows:
        raise ValueError
    return num_frames, places, num_joints


class _Tracks:
    """Numbers the bodies in order of appearance.

    Two bodies of one frame can bear the same id in damaged files: each keeps a track of its own.
    """

    def __init__(self) -> None:
        self._bodies: dict[tuple[str, int], int] = {}
        self._ids_here: list[str] = []

    def new_frame(self) -> None:
        self._ids_here = []

    def body(self, body_id: str) -> int:
        key = (body_id, self._ids_here.count(body_id))
        self._ids_here.append(body_id)
        return self._bodies.setdefault(key, len(self._bodies))


def _read_carefully(path: Path) -> _Bodies:
    num_frames, places, joint_lines, num_joints = _split_lines(path, read_text(path).splitlines())
    if not places:
        found = f"{num_frames} frames without a body"
        raise bad_file(path, "at least one body", found, "leave it out (it is on the lists of missing skeletons)")
    values = parse_rows(path, joint_lines, f"{num_joints} rows of numbers a body")
    if values.shape[1] < 12:
        found = f"{values.shape[1]} values"
        raise bad_file(path, "12 values a joint", found, "the file is likely cut short: fetch it again")
    return _Bodies(num_frames, places, values.reshape(len(places), num_joints, -1)[..., _READ].astype(np.float32))


def _split_lines(path: Path, lines: list[str]) -> tuple[int, list[tuple[int, int]], list[str], int]:
    """Number of frames, (body, frame) of every body seen, their joint lines in the same order, joints a body."""
    places: list[tuple[int, int]] = []
    joint_lines: list[str] = []
    tracks = _Tracks()
    num_joints = 0
    cursor = 1
    try:
        num_frames = int(lines[0])
        for frame in range(num_frames):
            tracks.new_frame()
            num_bodies = int(lines[cursor])
            cursor += 1
            for _ in range(num_bodies):
                body_id = lines[cursor].split(maxsplit=1)[0]
                count = int(lines[cursor + 1])
                if count not in (25, 17) or num_joints not in (0, count):
                    expected = f"{num_joints or '25 (NTU RGB+D) or 17 (UAV-Human)'} joints a body"
                    found = f"{count} in line {cursor + 2}"
                    raise bad_file(path, expected, found, "save other layouts as .npz (write_npz)")
                num_joints = count
                places.append((tracks.body(body_id), frame))
                joint_lines += lines[cursor + 2 : cursor + 2 + count]
                cursor += 2 + count
                if cursor > len(lines):
                    raise IndexError
    except IndexError:
        remedy = "the file is cut short: fetch it again"
        raise bad_file(path, "as many frames as line 1 says", f"the end after {len(lines)} lines", remedy) from None
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        remedy = "it is not an NTU RGB+D skeleton file, or it is damaged"
        raise bad_file(path, "whole numbers for frames, bodies and joints", str(error), remedy) from None
    if num_frames <= 0:
        raise bad_file(path, "at least one frame", f"{num_frames} frames", "leave it out")
    return num_frames, places, joint_lines, num_joints
