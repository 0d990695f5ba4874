"""OpenPose JSON: a folder of `NAME_000000000042_keypoints.json`, one a frame, or single files of one or more frames.

`{"version", "people": [{"person_id", "pose_keypoints_2d": [x, y, c, ...], "pose_keypoints_3d": [x, y, z, c, ...]}]}`.
2-D: BODY_25 or COCO-18, pixels, y down, or shares of the image (--keypoint_scale 3; 4 gives -1..1). 3-D: y down. A
missing joint is 0 0 0. People come in any order: they are followed by where they are. fps is not known.
AlphaPose's `--format open` is the same in one file: image name -> frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import natural_key, read_json
from .options import ReadOptions
from .pose_lists import Detection, in_image, recording_of_persons, triplets

_FRAME_FILE = re.compile(r"(.*?)_?\d+_keypoints\.json", re.IGNORECASE)


def is_openpose_folder(folder: Path) -> bool:
    return any(_FRAME_FILE.fullmatch(path.name) for path in folder.glob("*_keypoints.json"))


def is_openpose(content: Any) -> bool:
    """One frame, a list of frames, or frames by image name."""
    if isinstance(content, Mapping):
        return isinstance(content.get("people"), list) or _by_image(content)
    return (
        bool(content)
        and isinstance(content, list)
        and all(isinstance(frame, Mapping) and isinstance(frame.get("people"), list) for frame in content)
    )


def _by_image(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(
        isinstance(frame, Mapping) and isinstance(frame.get("people"), list) for frame in content.values()
    )


def read_openpose_folder(folder: Path, options: ReadOptions) -> SkeletonRecording:
    """The frames of a folder in the order of their numbers; ValueError when it holds several recordings."""
    files: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if match := _FRAME_FILE.fullmatch(path.name):
            files.setdefault(match[1], []).append(path)
    if len(files) != 1:
        raise ValueError(
            f"expected the frames of one recording, found {len(files)} ({', '.join(sorted(files)[:5])}); "
            "put each recording's *_keypoints.json into a folder of its own"
        )
    (paths,) = files.values()
    contents = [read_json(path) for path in sorted(paths, key=lambda path: natural_key(path.name))]
    numbers = [
        int(re.findall(r"\d+", path.name)[-1]) for path in sorted(paths, key=lambda path: natural_key(path.name))
    ]
    frames: list[Any] = [{"people": []} for _ in range(numbers[-1] - numbers[0] + 1)]
    if len(frames) > 10 * len(contents):  # numbers that do not count frames
        frames = contents
    else:
        for number, content in zip(numbers, contents):
            frames[number - numbers[0]] = content
    return read_openpose(frames, options)


def read_openpose(content: Any, options: ReadOptions) -> SkeletonRecording:
    """Frames of people; 3-D where there is any.

    Raises:
        ValueError: people without keypoints, or numbers that are no joints.
    """
    if isinstance(content, Mapping) and not isinstance(content.get("people"), list):
        content = [content[name] for name in sorted(content, key=natural_key)]
    frames = content if isinstance(content, list) else [content]
    try:
        people = [list(frame["people"]) for frame in frames]
        in_space = any(person.get("pose_keypoints_3d") for persons in people for person in persons)
        key, values = ("pose_keypoints_3d", 4) if in_space else ("pose_keypoints_2d", 3)
        if not any(key in person for persons in people for person in persons):
            key = "pose_keypoints" if any("pose_keypoints" in one for persons in people for one in persons) else key
        detections = [
            [_detection(triplets(person[key], values)) for person in persons if person.get(key)] for persons in people
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected OpenPose's people with pose_keypoints_2d, found {type(error).__name__}: {error}; write it again"
        ) from None
    if in_space:
        return recording_of_persons(detections, options.layout, up="-y")
    unit = in_image(detections)
    notes = []
    if unit == "image" and any((one.joints < -0.05).any() for row in detections for one in row):
        notes.append("x and y lie in -1..1 (--keypoint_scale 4)")
    return recording_of_persons(detections, options.layout, unit=unit, notes=notes)


def _detection(joints: np.ndarray) -> Detection:
    return Detection(joints[:, :-1], joints[:, -1])
