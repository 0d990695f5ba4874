"""Toyota Smarthome `.json` files: LCR-Net poses, `frames` [frames][persons] of `pose3d` (13 x, 13 y, 13 z).

Metres relative to the person. Taken to be in the frame in which LCR-Net's own viewer draws them: y up, z away from the
camera, x to the camera's left; 'left' is the person's own left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .pose_lists import Detection, recording_of_persons

NUM_JOINTS = 13


def read_smarthome(content: Mapping[str, Any]) -> SkeletonRecording:
    """Layout smarthome13; the file has no person ids: persons are followed by how alike their poses are.

    Raises:
        ValueError: `frames` without poses of 39 numbers, or nobody in any frame.
    """
    expected = "expected 'frames' as a list of lists of persons with 'pose3d' (39 numbers)"
    try:
        poses = [[np.array(person["pose3d"], dtype=np.float64) for person in frame] for frame in content["frames"]]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{expected}, found something else; fetch the file again") from None
    for pose in (pose for frame in poses for pose in frame):
        if pose.shape != (3 * NUM_JOINTS,):
            raise ValueError(f"{expected}, found a pose3d of shape {pose.shape}; only the 13-joint release is read")
    frames = [[Detection(pose.reshape(3, NUM_JOINTS).T) for pose in frame] for frame in poses]
    return recording_of_persons(frames, "smarthome13", up="y", unit="m")
