"""What the JSON of 2-D pose estimators has in common: lists of persons a frame, without ids that can be trusted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from llm_action.modeling.skeleton_cleaning import in_all_channels
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_recording import SkeletonRecording, layout_for

from .files import check_room


class Detection(NamedTuple):
    """A person in one frame: joints (joints, 2 or 3), NaN or zero where missing; scores (joints,); what id it bears."""

    joints: np.ndarray
    scores: np.ndarray | None = None
    id: Hashable = None


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
    if isinstance(numbers, list) and {*map(type, numbers)} <= {int, float}:  # nearly always, and faster
        return numbers
    if isinstance(numbers, (list, tuple, np.ndarray)):
        return [number for part in numbers for number in _flat(part)]
    if numbers is not None and not isinstance(numbers, (int, float, np.number)):
        raise ValueError(f"expected numbers, found {numbers!r}")
    return [numbers]


def recording_of_persons(frames: Sequence[Sequence[Detection]], layout: str | None, **known: Any) -> SkeletonRecording:
    """Persons in rows by their ids, in an estimator's layout; more fields of `SkeletonRecording` as known.

    Where a row is no person is seen, and set right, when the recording becomes a sequence.

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
    joints, scores = _in_rows(frames, num_joints, channels)
    known.setdefault("up", "-y" if channels == 2 else None)  # rows of an image grow downwards
    return SkeletonRecording(joints, name, scores=scores, **known)


def _in_rows(
    frames: Sequence[Sequence[Detection]], num_joints: int, channels: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """(persons, frames, joints, channels), NaN where a person is not seen, and scores; a row an id, or place in lists.

    Scores (persons, frames, joints) are 1 of detections without any, and None when no detection has any.
    """
    places: list[tuple[int, int, Detection]] = []
    rows: dict[Hashable, int] = {}
    for frame, persons in enumerate(frames):
        taken: set[int] = set()
        for number, one in enumerate(persons):
            key: Hashable = ("place", number) if one.id is None else ("id", one.id)
            row = rows.setdefault(key, len(rows))
            while row in taken:  # an id twice in a frame
                key = (key, "again")
                row = rows.setdefault(key, len(rows))
            taken.add(row)
            places.append((row, frame, one))
    check_room(len(rows), len(frames), num_joints * channels, len(places))
    joints = np.full((len(rows), len(frames), num_joints, channels), np.nan, np.float32)
    scores = np.zeros(joints.shape[:3], np.float32)
    for row, frame, one in places:
        joints[row, frame] = one.joints
        scores[row, frame] = 1 if one.scores is None else one.scores
    return joints, scores if any(one.scores is not None for *_, one in places) else None


def _first(scores: np.ndarray | None, count: int) -> np.ndarray | None:
    return None if scores is None else scores[:count]


def in_image(detections: Sequence[Sequence[Detection]]) -> str | None:
    """The unit "image" where x and y are shares of the image (0..1), else None."""
    places = [one.joints[:, :2] for row in detections for one in row]
    values = np.concatenate(places) if places else np.zeros((0, 2))
    values = values[in_all_channels(~np.isnan(values)) & ~in_all_channels(values == 0)]
    return "image" if len(values) and np.mean(np.abs(values) <= 1.5) > 0.95 else None
