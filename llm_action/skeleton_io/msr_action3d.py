"""MSR-Action3D `real_world_coordinates/*.txt` files: 20 rows `x y z confidence` a frame, missing joints all zero.

Metres as recorded, in the camera's frame: y up, z away from the camera, x to the camera's left; 'left' is the person's
own left (the one-handed classes, asked for with the right arm, move the right wrist).
"""

from __future__ import annotations

from pathlib import Path

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, build_sequence, parse_rows, read_text, zeros_to_nan

FPS = 15.0  # Li, Zhang, Liu: Action recognition based on a bag of 3D points, CVPR workshops 2010
NUM_JOINTS = 20


def read_msr_action3d(path: Path) -> SkeletonSequence:
    """Read an MSR-Action3D file.

    Returns:
        Layout 'kinect20_msr', joints (1, frames, 20, 3) in metres, NaN where missing, 15 fps, scores = confidence
        (the recorder gave shoulder centre, spine, hip centre and feet 0 although their places are sound).

    Raises:
        ValueError: rows without 4 numbers, a number of rows that is no multiple of 20, or only missing joints.
    """
    rows = parse_rows(path, read_text(path).splitlines(), "rows of 4 numbers: x y z confidence")
    if rows.shape[1] != 4 or len(rows) == 0 or len(rows) % NUM_JOINTS:
        found = f"{len(rows)} rows of {rows.shape[1]}"
        remedy = "the file is likely cut short or of another format: fetch it again"
        raise bad_file(path, "20 rows of 4 numbers a frame (MSR-Action3D)", found, remedy)
    frames = rows.reshape(-1, NUM_JOINTS, 4)
    return build_sequence(path, zeros_to_nan(frames[..., :3]), "kinect20_msr", FPS, frames[..., 3])
