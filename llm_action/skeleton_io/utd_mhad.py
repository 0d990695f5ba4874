"""UTD-MHAD `.mat` files: variable `d_skel` (20 joints, 3, frames), Kinect v1.

Metres in the Kinect's frame as recorded: y up, z away from the camera, x to the camera's left. People face the camera;
'left' is the person's own left (the one-handed classes, asked for with the right hand, move the right wrist).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import bad_file
from .matlab import load_mat

KINECT_FPS = 30.0


def read_utd_mhad(path: Path) -> SkeletonRecording:
    """Read a UTD-MHAD file.

    Returns:
        Layout 'kinect20_utd', joints (1, frames, 20, 3) in metres, 30 fps, no scores.

    Raises:
        ValueError: not a MATLAB file, no `d_skel`, or a shape other than (20, 3, frames).
    """
    content = load_mat(path, ["d_skel"])
    skeleton = content.get("d_skel")
    if skeleton is None:
        raise bad_file(
            path,
            "variable 'd_skel'",
            "none",
            "save the joints as the only array of three axes (frames, joints, x y z) or more",
        )
    if skeleton.ndim == 2:  # MATLAB drops the last axis of a single frame
        skeleton = skeleton[..., None]
    if skeleton.ndim != 3 or skeleton.shape[:2] != (20, 3) or not np.issubdtype(skeleton.dtype, np.number):
        found = f"{skeleton.dtype} {skeleton.shape}"
        raise bad_file(path, "numbers of shape (20, 3, frames) in 'd_skel'", found, "check the file's origin")
    return SkeletonRecording(
        skeleton.transpose(2, 0, 1)[None], "kinect20_utd", up="y", unit="m", mirrored=False, fps=KINECT_FPS
    )
