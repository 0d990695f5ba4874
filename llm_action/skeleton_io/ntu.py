"""NTU RGB+D `.skeleton` files (Kinect v2, 25 joints) and UAV-Human `.txt` files, which use the same text layout.

Format: the number of frames; per frame the number of bodies; per body a line whose first value is the body's id, a line
with the number of joints, then one line a joint: x y z, depth x y, colour x y, quaternion w x y z, tracking state.

NTU coordinates are metres in the Kinect's frame: y up, z away from the camera, x to the camera's left; left joints are
the person's own left. UAV-Human's 17 joints were estimated in images: x and y are pixels (y down), z is not used.

In a regular file NumPy finds the words and Arrow parses the wanted ones in place, far faster than going line by
line; anything irregular is read again with care, for the right answer or the right complaint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import bad_file, check_room, parse_numbers, parse_rows, read_text

KINECT_FPS = 30.0
_WORDS = 12  # of a joint line
_READ = [0, 1, 2, 11]  # x, y, z, tracking state


@dataclass
class _Bodies:
    """(body, frame) of every body seen, and the values (x, y, z, tracking state) of its joints, (seen, joints, 4)."""

    num_frames: int
    places: list[tuple[int, int]]
    values: np.ndarray


def read_ntu(path: Path) -> SkeletonRecording:
    """Read an NTU RGB+D or UAV-Human file.

    Bodies are told apart by their id, in order of first appearance; a body is NaN in frames where it is not seen.

    Returns:
        25 joints: layout 'ntu25', joints (bodies, frames, 25, 3) in metres, 30 fps, scores = tracking state / 2
        (0 not tracked and so missing, 0.5 inferred, 1 tracked; this project's choice).
        17 joints: layout 'coco17', joints (bodies, frames, 17, 2) in pixels, fps and scores None.

    Raises:
        ValueError: the file is not of this format, is cut short, or shows nobody.
    """
    bodies = _read_regular(path.read_bytes()) or _read_carefully(path)
    body, frame = np.array(bodies.places).T
    num_joints = bodies.values.shape[1]
    num_channels = 3 if num_joints == 25 else 2
    check_room(int(body.max()) + 1, bodies.num_frames, num_joints * num_channels, len(body))
    joints = np.full((body.max() + 1, bodies.num_frames, num_joints, num_channels), np.nan, np.float32)
    joints[body, frame] = bodies.values[..., :num_channels]
    states = np.zeros(joints.shape[:3], np.float32)
    states[body, frame] = bodies.values[..., 3] / 2
    if num_joints == 17:
        return SkeletonRecording(joints, "coco17", up="-y", unit="px")
    return SkeletonRecording(joints, "ntu25", up="y", unit="m", mirrored=False, fps=KINECT_FPS, scores=states)


def _read_regular(content: bytes) -> _Bodies | None:
    """The bodies of a file whose joint lines have twelve words with one space between; None of any other."""
    text = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(text <= ord(" "))  # of every word
    last = np.flatnonzero(text[ends] == ord("\n"))  # word of every line
    try:
        num_frames, places, first_lines, num_joints = _walk(content, ends[last].data)
    except (ValueError, IndexError):
        return None
    carriage = int(content[ends[0]] == ord("\r"))  # ends a word, and the newline behind it an empty one
    lines = np.add.outer(first_lines, np.arange(num_joints)).ravel()
    before = last[lines - 1]
    if (last[lines] - before != _WORDS + carriage).any():
        return None
    words = np.add.outer(before + 1, _READ)
    numbers = parse_numbers(content, ends[words - 1] + 1, ends[words])
    if numbers is None:
        return None
    return _Bodies(num_frames, places, numbers.astype(np.float32).reshape(len(places), num_joints, len(_READ)))


def _walk(content: bytes, ends: memoryview) -> tuple[int, list[tuple[int, int]], list[int], int]:
    """Frames, places, first joint line of each body and joints a body; ValueError or IndexError when not regular.

    Args:
        ends: where each line ends.
    """
    places: list[tuple[int, int]] = []
    first_lines: list[int] = []
    tracks = _Tracks()
    num_frames, num_joints, line = int(content[: ends[0]]), 0, 1
    for frame in range(num_frames):
        tracks.new_frame()
        num_bodies = int(content[ends[line - 1] : ends[line]])
        line += 1
        for _ in range(num_bodies):
            body_id = content[ends[line - 1] : ends[line]].split(maxsplit=1)[0]
            count = int(content[ends[line] : ends[line + 1]])
            if count not in (25, 17) or num_joints not in (0, count):
                raise ValueError
            num_joints = count
            places.append((tracks.body(body_id), frame))
            first_lines.append(line + 2)
            line += 2 + count
    if not places or line != len(ends):
        raise ValueError
    return num_frames, places, first_lines, num_joints


class _Tracks:
    """Numbers the bodies in order of appearance.

    Two bodies of one frame can bear the same id in damaged files: each keeps a track of its own.
    """

    def __init__(self) -> None:
        self._bodies: dict[tuple[str | bytes, int], int] = {}
        self._ids_here: list[str | bytes] = []

    def new_frame(self) -> None:
        self._ids_here = []

    def body(self, body_id: str | bytes) -> int:
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
                    raise bad_file(path, expected, found, "save other layouts as .npz (np.savez(path, joints=...))")
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
