"""Azure Kinect body tracking: JSON of the offline processor, `{"k4abt_sdk_version", "joint_names", "frames":
[{"timestamp_usec", "bodies": [{"body_id", "joint_positions": [[x, y, z] * 32]}]}]}`, and tables with its joint names.

Millimetres in the depth camera's frame: x to the image's right, y down, z away. Joints in the SDK's order. A joint's
confidence level is 0 none, 1 low (hidden, placed by the model), 2 medium, 3 high: scores 0, 0.5, 1, 1 (this project's
choice). fps from the time stamps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .options import ReadOptions
from .pose_lists import Detection, recording_of_persons
from .time_stamps import timed

NUM_JOINTS = 32
_LEVELS = np.array([0, 0.5, 1, 1])


def is_azure_kinect(content: Any) -> bool:
    if not (isinstance(content, Mapping) and isinstance(content.get("frames"), list)):
        return False
    return "k4abt_sdk_version" in content or any(
        isinstance(frame, Mapping) and any(map(_is_body, frame.get("bodies") or ())) for frame in content["frames"]
    )


def _is_body(body: Any) -> bool:
    return isinstance(body, Mapping) and "joint_positions" in body


def read_azure_kinect(content: Mapping[str, Any], options: ReadOptions) -> SkeletonRecording:
    """Layout azure32.

    Raises:
        ValueError: bodies without 32 positions, or nobody.
    """
    try:
        frames = [[_body(body) for body in frame.get("bodies") or ()] for frame in content["frames"]]
        times = [frame["timestamp_usec"] for frame in content["frames"] if frame.get("timestamp_usec") is not None]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"expected bodies with {NUM_JOINTS} joint_positions (Azure Kinect), found {type(error).__name__}: {error}"
        ) from None
    recording = recording_of_persons(frames, "azure32")
    return in_azure_frame(timed(recording, np.array(times, float) / 1e6))


def in_azure_frame(recording: SkeletonRecording) -> SkeletonRecording:
    """Says the sensor's axes and unit; a body less than 20 long was converted to metres by somebody."""
    with np.errstate(all="ignore"):
        seen = recording.joints[(recording.joints != 0).any(axis=-1) & ~np.isnan(recording.joints).any(axis=-1)]
    recording.up = "-y"
    recording.unit = "mm" if len(seen) and np.ptp(seen, axis=0).max() > 20 else "m"
    return recording


def _body(body: Mapping[str, Any]) -> Detection:
    joints = np.array(body["joint_positions"], np.float64)
    if joints.shape != (NUM_JOINTS, 3):
        raise ValueError(f"positions of shape {joints.shape}")
    levels = body.get("confidence_levels") or body.get("joint_confidence_levels")
    scores = None if levels is None else _LEVELS[np.clip(np.array(levels, int), 0, 3)]
    return Detection(joints, scores, body.get("body_id"))
