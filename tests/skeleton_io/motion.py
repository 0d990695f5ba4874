"""One made-up motion for the tests of all readers, and the ways in which cameras and tools write it down.

Places are metres in the package's frame: y up, z away from the camera, x to the camera's left.
"""

from __future__ import annotations

import numpy as np

from llm_action.modeling.skeleton_layouts import get_layout

IMAGE = (1920, 1080)
FOCAL_LENGTH = 1080.0
# A standing person who faces the camera, 3 m away: the right side is at larger x, the toes point to the camera.
_BODY = {
    "head_top": (0, 0.78, 0), "head": (0, 0.68, 0), "nose": (0, 0.66, -0.1), "neck": (0, 0.5, 0),
    "shoulder_center": (0, 0.48, 0), "chest": (0, 0.3, 0), "spine3": (0, 0.32, 0), "spine2": (0, 0.2, 0),
    "spine": (0, 0.2, 0), "spine1": (0, 0.1, 0), "hip_center": (0, 0, 0), "root": (0, -0.9, 0),
}  # fmt: skip
_RIGHT = {
    "eye": (0.03, 0.7, -0.08), "eye_inner": (0.02, 0.7, -0.09), "eye_outer": (0.05, 0.7, -0.07), "ear": (0.08, 0.68, 0),
    "mouth": (0.02, 0.62, -0.09), "clavicle": (0.07, 0.46, 0), "collar": (0.08, 0.45, 0), "shoulder": (0.18, 0.46, 0),
    "elbow": (0.25, 0.2, 0), "wrist": (0.3, -0.05, -0.03), "hand": (0.31, -0.12, -0.05),
    "hand_tip": (0.31, -0.2, -0.05),
    "thumb": (0.27, -0.13, -0.08), "index": (0.3, -0.18, -0.07), "pinky": (0.33, -0.17, -0.04), "hip": (0.1, -0.02, 0),
    "knee": (0.12, -0.45, -0.02), "ankle": (0.13, -0.85, 0.03), "heel": (0.13, -0.9, 0.07), "foot": (0.13, -0.9, -0.1),
    "foot_index": (0.13, -0.9, -0.14), "big_toe": (0.12, -0.9, -0.15), "small_toe": (0.17, -0.9, -0.12),
}  # fmt: skip
for _joint, (_x, _y, _z) in _RIGHT.items():
    _BODY[f"right_{_joint}"], _BODY[f"left_{_joint}"] = (_x, _y, _z), (-_x, _y, _z)


def motion(layout: str, frames: int = 12, shift: float = 0.0) -> np.ndarray:
    """(frames, joints, 3): the person raises the right arm and steps aside; no two joints of a side share a place."""
    joints = get_layout(layout).joints
    body = np.array([_BODY[joint] for joint in joints], float)
    time = np.linspace(0, 1, frames)
    places = np.repeat(body[None], frames, axis=0)
    arm = [number for number, joint in enumerate(joints) if joint.startswith("right_") and _is_arm(joint)]
    places[:, arm, 1] += 0.6 * time[:, None]
    places[:, arm, 2] -= 0.2 * time[:, None]
    return places + np.array([shift, 0.1, 3.0]) + 0.2 * time[:, None, None] * np.array([1, 0, 0.3])


def _is_arm(joint: str) -> bool:
    return joint.split("_")[1] in ("wrist", "hand", "thumb", "index", "pinky", "elbow")


def pixels(places: np.ndarray) -> np.ndarray:
    """(..., 2) pixels of a camera that looks along z: x to the image's right, y down."""
    x, y, z = np.moveaxis(places, -1, 0)
    return np.stack([IMAGE[0] / 2 - FOCAL_LENGTH * x / z, IMAGE[1] / 2 - FOCAL_LENGTH * y / z], axis=-1)


def y_down(places: np.ndarray) -> np.ndarray:
    """The same places with x to the image's right and y down, as MediaPipe and Azure Kinect have them."""
    return places * np.array([-1, -1, 1])


def landmarks(places: np.ndarray) -> np.ndarray:
    """MediaPipe's world landmarks of mediapipe33 places: y down, the origin between the hips."""
    hips = places[:, [23, 24]].mean(axis=1, keepdims=True)
    return y_down(places - hips)
