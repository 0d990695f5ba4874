"""PKU-MMD skeleton texts: a row of 150 numbers a frame, 2 bodies x 25 joints x (x y z), zeros for an absent body.

Kinect v2: metres, y up, z away, the person's own left; joints as in NTU RGB+D; 30 fps; no scores. Long recordings.
"""

from __future__ import annotations

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

FPS = 30.0
COLUMNS = 150


def is_pku_mmd(rows: np.ndarray) -> bool:
    return rows.shape[1] == COLUMNS


def read_pku_mmd(rows: np.ndarray) -> SkeletonRecording:
    """Layout ntu25, from (frames, 150)."""
    joints = rows.reshape(-1, 2, 25, 3).transpose(1, 0, 2, 3)
    return SkeletonRecording(joints, "ntu25", up="y", unit="m", mirrored=False, fps=FPS)
