"""What the JSON of 2-D pose estimators has in common: lists of persons a frame, without ids that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_recording import SkeletonRecording, layout_for

from .tracking import Detection, track_persons

# Layouts of pose estimators by their number of joints; 136 is Halpe with face and hands, of which the body is kept.
ESTIMATOR_LAYOUTS = {
    17: "coco17",
    18: "openpose18",
    21: "hand21",
    25: "body25",
    26: "halpe26",
    33: "mediapipe33",
    133: "wholebody133",
    136: "halpe26",
}


def estimator_layout(num_joints: int, layout: str | None) -> str:
    """The layout that pose estimators have with this joint count, or the one said."""
    if layout is not None:
        return layout
    return ESTIMATOR_LAYOUTS.get(num_joints) or layout_for(num_joints)


def triplets(numbers: Any, values: int = 3) -> np.ndarray:
    """(joints, values) float64 of a flat or nested list; ValueError when the numbers do not come out even."""
    array = np.array([np.nan if number is None else number for number in _flat(numbers)], np.float64)
    if array.size == 0 or array.size % values:
        raise ValueError(f"expected {values} numbers a joint, found {array.size} numbers")
    return array.reshape(-1, values)


def _flat(numbers: Any) -> list[Any]:
    if isinstance(numbers, (list, tuple, np.ndarray)):
        return [number for part in numbers for number in _flat(part)]
    if numbers is not None and not isinstance(numbers, (int, float, np.number)):
        raise ValueError(f"expected numbers, found {numbers!r}")
    return [numbers]


def recording_of_persons(frames: Sequence[Sequence[Detection]], layout: str | None, **known: Any) -> SkeletonRecording:
    """Persons followed through the frames, in an estimator's layout; more fields of `SkeletonRecording` as known.

    Raises:
        ValueError: nobody in any frame, persons with different joint counts, or a count that no layout has.
    """
    shapes = {one.joints.shape for persons in frames for one in persons}
    if not shapes:
        raise ValueError(f"expected at least one person, found {len(frames)} frames without anyone; leave it out")
    if len(shapes) > 1:
        counts = ", ".join(f"{joints} joints of {channels} numbers" for joints, channels in sorted(shapes))
        raise ValueError(f"expected persons of one layout, found {counts}; keep one model's output")
    num_joints, channels = shapes.pop()
    name = estimator_layout(num_joints, layout)
    kept = get_layout(name).num_joints
    if num_joints == 136 and kept == 26:
        frames = [[Detection(one.joints[:26], _first(one.scores, 26), one.id) for one in row] for row in frames]
        known["notes"] = [*known.get("notes", ()), "of 136 joints the body's 26 are kept"]
        num_joints = 26
    joints, scores = track_persons(frames, num_joints, channels)
    if len(joints) > 1:
        known["notes"] = [*known.get("notes", ()), f"{len(joints)} persons were followed by where they are"]
    return SkeletonRecording(joints, name, scores=scores, **known)


def _first(scores: np.ndarray | None, count: int) -> np.ndarray | None:
    return None if scores is None else scores[:count]


def in_image(detections: Sequence[Sequence[Detection]]) -> str | None:
    """The unit "image" where x and y are shares of the image (0..1), else None."""
    places = [one.joints[(one.joints[:, :2] != 0).any(axis=1), :2] for row in detections for one in row]
    values = np.concatenate(places) if places else np.zeros((0, 2))
    values = values[~np.isnan(values).any(axis=1)]
    return "image" if len(values) and np.mean(np.abs(values) <= 1.5) > 0.95 else None
