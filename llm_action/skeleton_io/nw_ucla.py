"""Northwestern-UCLA `.json` files: `skeletons` [frames][20 joints][3], Kinect v1.

Metres in the frame of the Kinect that saw them: y up, z away from the camera, x to the camera's left; 'left' is the
person's own left. The three views are not registered to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

KINECT_FPS = 30.0


def read_nw_ucla(content: Mapping[str, Any]) -> SkeletonRecording:
    """Layout kinect20, 30 fps.

    Raises:
        ValueError: `skeletons` is not a [frames][20][3] list of numbers.
    """
    expected = "expected 'skeletons' as [frames][20][3] numbers, of shape (frames, 20, 3)"
    try:
        skeletons = np.array(content["skeletons"], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{expected}, found something else; fetch the file again") from None
    if skeletons.ndim != 3 or skeletons.shape[1:] != (20, 3):
        raise ValueError(
            f"{expected}, found shape {skeletons.shape}; save other layouts as .npz (np.savez(path, joints=...))"
        )
    return SkeletonRecording(skeletons[None], "kinect20", up="y", unit="m", mirrored=False, fps=KINECT_FPS)
