"""Toyota Smarthome `.json` files: LCR-Net poses, `frames` [frames][persons] of `pose3d` (13 x, 13 y, 13 z).

Metres relative to the person. Taken to be in the frame in which LCR-Net's own viewer draws them: y up, z away from the
camera, x to the camera's left; 'left' is the person's own left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, build_sequence, read_json

NUM_JOINTS = 13


def read_smarthome(path: Path, content: Any = None) -> SkeletonSequence:
    """Read a Toyota Smarthome file (or its already parsed content).

    The file has no person ids: person k is the k-th detection of each frame, NaN where fewer are seen.

    Returns:
        Layout 'smarthome13', joints (persons, frames, 13, 3) in metres, fps and scores None.

    Raises:
        ValueError: no `frames`, a pose without 39 numbers, or nobody in any frame.
    """
    content = read_json(path) if content is None else content
    expected = "'frames' as a list of lists of persons with 'pose3d' (39 numbers)"
    try:
        poses = [[np.array(person["pose3d"], dtype=np.float64) for person in frame] for frame in content["frames"]]
    except (KeyError, TypeError, ValueError):
        raise bad_file(path, expected, "something else", "fetch the file again") from None
    for pose in (pose for frame in poses for pose in frame):
        if pose.shape != (3 * NUM_JOINTS,):
            raise bad_file(path, expected, f"a pose3d of shape {pose.shape}", "only the 13-joint release is read")
    num_persons = max((len(frame) for frame in poses), default=0)
    if num_persons == 0:
        raise bad_file(path, "at least one person", f"{len(poses)} frames without anyone", "leave it out")
    joints = np.full((num_persons, len(poses), NUM_JOINTS, 3), np.nan)
    for index, frame in enumerate(poses):
        for person, pose in enumerate(frame):
            joints[person, index] = pose.reshape(3, NUM_JOINTS).T
    return build_sequence(path, joints, "smarthome13")
