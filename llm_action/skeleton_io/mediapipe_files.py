"""MediaPipe Pose as scripts save it in JSON: frames of 33 landmarks, each {x, y, z, visibility} or a list of numbers.

Arrays and tables of the same numbers come through `numpy_files` and `tables`; whether they are world landmarks (metres,
origin between the hips, y down) or image landmarks (shares of the image, y down) is inferred. Landmarks with a
visibility below 0.3 are missing. fps is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .options import ReadOptions
from .pose_lists import Detection, recording_of_persons

NUM_JOINTS = 33
_WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "world_landmarks", "worldLandmarks")
_IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark", "keypoints", "pose")
_SCORES = ("visibility", "score", "v", "confidence", "presence")


def is_mediapipe(content: Any) -> bool:
    return any(_persons(frame) for frame in _frames(content) or ())


def _frames(content: Any) -> list[Any] | None:
    if isinstance(content, Mapping):
        if any(key in content for key in (*_WORLD, *_IMAGE)) and not isinstance(content.get("frames"), list):
            value = next(content[key] for key in (*_WORLD, *_IMAGE) if key in content)
            return [content] if _persons(value) else value if isinstance(value, list) else None
        inner = content.get("frames", content.get("data"))
        if inner is None and content and all(_persons(frame) for frame in content.values()):
            return list(content.values())
        return inner if isinstance(inner, list) else None
    if isinstance(content, list) and _landmarks(content) is not None:
        return [content]
    return content if isinstance(content, list) else None


def _persons(frame: Any) -> list[np.ndarray]:
    """The (33, 3 or 4) landmarks of each person of a frame; world landmarks where it has both kinds."""
    if isinstance(frame, Mapping):
        for key in (*_WORLD, *_IMAGE):
            if key in frame:
                return _persons(frame[key])
        return []
    if not isinstance(frame, list):
        return []
    landmarks = _landmarks(frame)
    if landmarks is not None:
        return [landmarks]
    persons = [_landmarks(_inner(person)) for person in frame]
    return [person for person in persons if person is not None]


def _inner(person: Any) -> Any:
    while isinstance(person, Mapping):
        key = next((key for key in (*_WORLD, *_IMAGE) if key in person), None)
        if key is None:
            return None
        person = person[key]
    return person


def _landmarks(points: Any) -> np.ndarray | None:
    """(33, 3 or 4) of one person; None when these are no landmarks."""
    if not isinstance(points, list):
        return None
    try:
        if len(points) == NUM_JOINTS and all(
            isinstance(point, Mapping) and {"x", "y"} <= set(point) for point in points
        ):
            rows = []
            for point in points:
                score = next((point[key] for key in _SCORES if point.get(key) is not None), None)
                place = [point["x"], point["y"], *([point["z"]] if point.get("z") is not None else [])]
                rows.append([*place, *([] if score is None else [score])])
            has_z = all("z" in point for point in points)
            array = np.array(rows, np.float64)
            return array if has_z else None
        array = np.array(points, np.float64)
    except (TypeError, ValueError):
        return None
    if array.shape in ((NUM_JOINTS * 3,), (NUM_JOINTS * 4,)):
        array = array.reshape(NUM_JOINTS, -1)
    return array if array.shape in ((NUM_JOINTS, 3), (NUM_JOINTS, 4)) else None


def read_mediapipe(content: Any, options: ReadOptions) -> SkeletonRecording:
    """Layout mediapipe33.

    Raises:
        ValueError: nobody.
    """
    frames = [_persons(frame) for frame in _frames(content) or ()]
    rows = [[Detection(one[:, :3], one[:, 3] if one.shape[1] == 4 else None) for one in frame] for frame in frames]
    return recording_of_persons(rows, "mediapipe33", image_size=options.image_size)
