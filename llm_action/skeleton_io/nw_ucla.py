"""Northwestern-UCLA `.json` files: `skeletons` [frames][20 joints][3], Kinect v1.

Metres in the frame of the Kinect that saw them: y up, z away from the camera, x to the camera's left; 'left' is the
person's own left. The three views are not registered to each other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, build_sequence, read_json, zeros_to_nan

KINECT_FPS = 30.0


def read_nw_ucla(path: Path, content: Any = None) -> SkeletonSequence:
    """Read an NW-UCLA file (or its already parsed content).

    Returns:
        Layout 'kinect20', joints (1, frames, 20, 3) in metres, NaN for all-zero joints, 30 fps, no scores.

    Raises:
        ValueError: no `skeletons`, or not a [frames][20][3] list of numbers.
    """
    content = read_json(path) if content is None else content
    try:
        skeletons = np.array(content["skeletons"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        found = "something else"
        raise bad_file(path, "'skeletons' as [frames][20][3] numbers", found, "fetch the file again") from None
    if skeletons.ndim != 3 or skeletons.shape[1:] != (20, 3):
        found = f"shape {skeletons.shape}"
        raise bad_file(path, "'skeletons' of shape (frames, 20, 3)", found, "save other layouts as .npz (write_npz)")
    return build_sequence(path, zeros_to_nan(skeletons), "kinect20", KINECT_FPS)
