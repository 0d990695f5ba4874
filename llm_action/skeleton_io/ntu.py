"""NTU RGB+D `.skeleton` files (Kinect v2, 25 joints) and UAV-Human `.txt` files, which use the same text layout.

Format: the number of frames; per frame the number of bodies; per body a line whose first value is the body's id, a line
with the number of joints, then one line a joint: x y z, depth x y, colour x y, quaternion w x y z, tracking state.

NTU coordinates are metres in the Kinect's frame: y up, z away from the camera, x to the camera's left; left joints are
the person's own left. UAV-Human's 17 joints were estimated in images: x and y are pixels (y down), z is not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, build_sequence, parse_rows, read_text, zeros_to_nan

KINECT_FPS = 30.0


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
    num_frames, places, joint_lines, num_joints = _split_lines(path, read_text(path).splitlines())
    if not places:
        found = f"{num_frames} frames without a body"
        raise bad_file(path, "at least one body", found, "leave it out (it is on the lists of missing skeletons)")
    values = parse_rows(path, joint_lines, f"{num_joints} rows of numbers a body")
    if values.shape[1] < 12:
        found = f"{values.shape[1]} values"
        raise bad_file(path, "12 values a joint", found, "the file is likely cut short: fetch it again")
    values = values.reshape(len(places), num_joints, -1)

    body, frame = np.array(places).T
    num_channels = 3 if num_joints == 25 else 2
    joints = np.full((body.max() + 1, num_frames, num_joints, num_channels), np.nan)
    joints[body, frame] = zeros_to_nan(values[..., :num_channels])
    if num_joints == 17:
        return build_sequence(path, joints, "coco17")
    scores = np.zeros(joints.shape[:3])
    scores[body, frame] = values[..., 11] / 2
    return build_sequence(path, joints, "ntu25", KINECT_FPS, scores)


def _split_lines(path: Path, lines: list[str]) -> tuple[int, list[tuple[int, int]], list[str], int]:
    """Number of frames, (body, frame) of every body seen, their joint lines in the same order, joints a body."""
    places: list[tuple[int, int]] = []
    joint_lines: list[str] = []
    bodies: dict[tuple[str, int], int] = {}
    num_joints = 0
    cursor = 1
    try:
        num_frames = int(lines[0])
        for frame in range(num_frames):
            ids_here: list[str] = []
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
                # Two bodies of one frame can bear the same id in damaged files: each keeps a track of its own.
                key = (body_id, ids_here.count(body_id))
                ids_here.append(body_id)
                places.append((bodies.setdefault(key, len(bodies)), frame))
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
