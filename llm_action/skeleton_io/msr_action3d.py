"""MSR-Action3D texts: 20 rows `x y z confidence` a frame, missing joints all zero.

`real_world_coordinates/*.txt`: metres as recorded, in the camera's frame: y up, z away from the camera, x to the
camera's left; 'left' is the person's own left (the one-handed classes, asked for with the right arm, move the right
wrist). `*_skeleton.txt`: screen coordinates, pixels (y down) of a 320 x 240 depth image and depth in millimetres; they
are turned into places with the focal length of the Kinect v1.

The confidence is not kept: the recorder gave shoulder centre, spine, hip centre and feet 0 although they are sound.
"""

from __future__ import annotations

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

FPS = 15.0  # Li, Zhang, Liu: Action recognition based on a bag of 3D points, CVPR workshops 2010
NUM_JOINTS = 20
_WIDTH, _HEIGHT = 320, 240
_FOCAL_LENGTH = 285.63  # pixels at 320 x 240, Kinect SDK 1 (NUI_CAMERA_DEPTH_NOMINAL_FOCAL_LENGTH_IN_PIXELS)


def read_msr_action3d(rows: np.ndarray) -> SkeletonRecording:
    """Layout kinect20_msr, 15 fps, from (20 * frames, 4).

    Raises:
        ValueError: a number of rows that is no multiple of 20.
    """
    if rows.shape[1] != 4 or len(rows) == 0 or len(rows) % NUM_JOINTS:
        raise ValueError(
            f"expected 20 rows of 4 numbers a frame (MSR-Action3D), found {len(rows)} rows of {rows.shape[1]}; "
            "the file is likely cut short or of another format: fetch it again"
        )
    joints = rows.reshape(1, -1, NUM_JOINTS, 4)[..., :3]
    seen = joints[(joints != 0).any(axis=-1)]
    recording = SkeletonRecording(joints, "kinect20_msr", up="y", unit="m", mirrored=False, fps=FPS)
    if len(seen) and (seen > -1).all() and np.median(seen[:, 2]) > 50 and np.ptp(seen[:, :2]) > 20:
        recording.joints = _from_screen(joints)
        recording.up, recording.unit = "-y", "mm"
        recording.notes.append(
            "screen coordinates (pixels and depth): turned into places with the Kinect v1's focal length; the set's "
            "real_world_coordinates are exact"
        )
    return recording


def _from_screen(joints: np.ndarray) -> np.ndarray:
    """Places in the unit of the depth, x to the image's right and y down; missing joints stay zero."""
    centre = np.array([_WIDTH / 2, _HEIGHT / 2])
    depth = joints[..., 2:]
    places = np.concatenate([(joints[..., :2] - centre) * depth / _FOCAL_LENGTH, depth], axis=-1)
    return np.where((joints == 0).all(axis=-1, keepdims=True), 0, places)
