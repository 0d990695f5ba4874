"""JSON of COCO-style pose estimators: COCO results (MMPose, AlphaPose, Detectron2) and annotations, MMPose inferencer.

- COCO results: `[{"image_id", "category_id": 1, "keypoints": [x, y, s] * 17, "score", "idx"}]`, one entry a person a
  frame; AlphaPose writes `image_id` "12.jpg" and a track id `idx`. COCO annotations: the same under "annotations".
- MMPose inferencer: `[{"frame_id", "instances": [{"keypoints": [[x, y], ...], "keypoint_scores", "bbox"}]}]`, the same
  under "instance_info" beside "meta_info" with the joints' names, or the bare instances of one image. Its 3-D lifters
  write Human3.6M's 17 joints with z up.

2-D is pixels, y down; a missing joint is 0 0 (score 0). Persons are followed by where they are, with the track ids'
help. fps is not known. Scores of keypoints are 0..1; COCO's visibility flags 0, 1, 2 are halved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os.path import basename, splitext
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_layouts import LAYOUTS, get_layout
from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import natural_key
from .joint_names import standard_joints
from .options import ReadOptions
from .pose_lists import Detection, in_image, recording_of_persons, triplets

_TRACK_KEYS = ("track_id", "idx", "instance_id", "id_track")


def is_coco_results(content: Any) -> bool:
    """A list of persons with an image id, or COCO annotations."""
    if isinstance(content, Mapping):
        return isinstance(content.get("annotations"), list) and is_coco_results(content["annotations"])
    return (
        bool(content)
        and isinstance(content, list)
        and all(isinstance(one, Mapping) and "keypoints" in one and "image_id" in one for one in content)
    )


def read_coco_results(content: Any, options: ReadOptions) -> SkeletonRecording:
    """Persons grouped by image, images in the order of their numbers.

    Raises:
        ValueError: keypoints that are not three numbers a joint, or nobody.
    """
    names: dict[Any, str] = {}
    if isinstance(content, Mapping):
        for image in content.get("images", ()):
            names[image["id"]] = str(image.get("file_name", image["id"]))
        content = content["annotations"]
    frames: dict[str, list[Detection]] = {name: [] for name in names.values()}
    for person in content:
        joints = triplets(person["keypoints"])
        detection = Detection(joints[:, :2], _scores(joints[:, 2]), _track_id(person))
        frames.setdefault(names.get(person["image_id"], str(person["image_id"])), []).append(detection)
    rows = _with_gaps(frames)
    return recording_of_persons(rows, options.layout, unit=in_image(rows))


def _with_gaps(frames: dict[str, list[Detection]]) -> list[list[Detection]]:
    """Frames in order; where the names end in numbers, numbers left out are frames without anyone."""
    order = sorted(frames, key=natural_key)
    numbers = [re.findall(r"\d+", splitext(basename(name))[0]) for name in order]
    if all(numbers) and order:
        last = [int(found[-1]) for found in numbers]
        steps = np.diff(last)
        step = int(np.gcd.reduce(steps)) if len(steps) else 1
        if (steps > 0).all() and step and (last[-1] - last[0]) // step < 4 * len(order) + 300:
            rows: list[list[Detection]] = [[] for _ in range((last[-1] - last[0]) // step + 1)]
            for name, number in zip(order, last):
                rows[(number - last[0]) // step] = frames[name]
            return rows
    return [frames[name] for name in order]


def _scores(scores: np.ndarray) -> np.ndarray:
    """Confidence 0..1; visibility flags 0, 1, 2 are halved."""
    return scores / 2 if scores.max(initial=0) > 1 and np.isin(scores, (0, 1, 2)).all() else scores


def _track_id(person: Mapping[str, Any]) -> Any:
    for key in _TRACK_KEYS:
        value = person.get(key)
        if isinstance(value, list):
            value = value[0] if value else None
        if value is not None and value != -1 and not isinstance(value, (dict, list)):
            return value
    return None


def is_mmpose(content: Any) -> bool:
    if isinstance(content, Mapping):
        return isinstance(content.get("instance_info"), list)
    if not (content and isinstance(content, list) and all(isinstance(one, Mapping) for one in content)):
        return False
    return all("instances" in one for one in content) or all(
        isinstance(one.get("keypoints"), list) and "keypoint_scores" in one for one in content
    )


def read_mmpose(content: Any, options: ReadOptions) -> SkeletonRecording:
    """MMPose's instances, frame by frame; the layout by the names in meta_info, else by the joint count.

    Raises:
        ValueError: instances without keypoints, or nobody.
    """
    meta: Mapping[str, Any] = {}
    if isinstance(content, Mapping):
        meta, content = content.get("meta_info") or {}, content["instance_info"]
    if all("instances" in frame for frame in content):
        numbers = [frame.get("frame_id", place) for place, frame in enumerate(content)]
        order = sorted(range(len(content)), key=lambda place: numbers[place])
        frames = [content[place]["instances"] for place in order]
    else:
        frames = [content]
    try:
        rows = [[_instance(instance) for instance in instances] for instances in frames]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"expected MMPose's instances with keypoints, found {type(error).__name__}: {error}; write them again"
        ) from None
    channels = {one.joints.shape for row in rows for one in row}
    in_space = any(shape[1] == 3 for shape in channels)
    layout = options.layout or _layout_by_names(meta)
    if in_space:
        layout = layout or ("human36m17" if channels == {(17, 3)} else None)
        return recording_of_persons(rows, layout, up="z", notes=["MMPose's lifters write z up"])
    return recording_of_persons(rows, layout, unit=in_image(rows))


def _instance(instance: Mapping[str, Any]) -> Detection:
    keypoints = instance["keypoints"]
    keypoints = keypoints[0] if np.ndim(keypoints[0]) == 2 else keypoints
    joints = triplets(keypoints, len(keypoints[0]))
    scores = instance.get("keypoint_scores")
    scores = None if scores is None else np.array(scores, np.float64).reshape(-1)
    if scores is not None and len(scores) != len(joints):
        raise TypeError(f"{len(scores)} scores of {len(joints)} joints")
    return Detection(joints, scores, _track_id(instance))


def _layout_by_names(meta: Mapping[str, Any]) -> str | None:
    """The built-in layout with meta_info's joints in that order; None when there is none."""
    names = meta.get("keypoint_id2name")
    if not isinstance(names, Mapping) or not names:
        return None
    ordered = [str(names[key]) for key in sorted(names, key=lambda key: int(key))]
    found = standard_joints(ordered)
    for layout in LAYOUTS.values():
        body = layout.standard[: len(found)] if layout.name == "wholebody133" else layout.standard
        agreeing = [given == joint for given, joint in zip(found, body)]
        if len(ordered) == layout.num_joints and sum(agreeing) >= 0.7 * min(len(body), 26) and get_layout(layout.name):
            return layout.name
    return None
