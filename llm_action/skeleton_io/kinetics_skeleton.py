"""ST-GCN's Kinetics-Skeleton JSON: `{"data": [{"frame_index", "skeleton": [{"pose": [x, y] * 18, "score": [18]}]}],
"label", "label_index"}`.

OpenPose's 18 joints in shares of the image's width and height, y down, missing joints 0 0, 30 fps, persons in no
order. The image's size is not in the file: 16:9, the most common one, is taken unless image_size says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .options import ReadOptions
from .pose_lists import Detection, recording_of_persons, triplets

FPS = 30.0
_USUAL_SIZE = (16.0, 9.0)


def is_kinetics_skeleton(content: Any) -> bool:
    if not (isinstance(content, Mapping) and isinstance(content.get("data"), list)):
        return False
    return all(isinstance(frame, Mapping) and "skeleton" in frame for frame in content["data"])


def kinetics_label(content: Mapping[str, Any]) -> str | int | None:
    """The clip's class, None where the file names none.

    Raises:
        ValueError: a label that is no name or number.
    """
    label = content.get("label")
    if label is not None and type(label) not in (str, int):
        raise ValueError(f"expected 'label' as a name or a number where there is one, found {str(label)[:80]!r}")
    return label


def read_kinetics_skeleton(content: Mapping[str, Any], options: ReadOptions) -> SkeletonRecording:
    """Persons in pixels of an image 16 wide and 9 high (or of `image_size`), layout openpose18, 30 fps.

    Raises:
        ValueError: frames without poses of 18 joints, or nobody.
    """
    frames: dict[int, list[Detection]] = {}
    try:
        for number, frame in enumerate(content["data"]):
            detections = [
                Detection(triplets(person["pose"], 2), np.array(person["score"], np.float64))
                for person in frame["skeleton"]
            ]
            frames[int(frame.get("frame_index", number))] = detections
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"expected a pose and a score a person (Kinetics-Skeleton), found {type(error).__name__}: {error}"
        ) from None
    if any(len(one.joints) != len(one.scores) for row in frames.values() for one in row if one.scores is not None):
        raise ValueError("expected as many scores as joints (Kinetics-Skeleton), found other numbers; fetch it again")
    numbers = sorted(frames) or [0]
    if numbers[-1] - numbers[0] > 10 * len(numbers) + 1000:
        raise ValueError(f"expected frame_index to count frames, found {numbers[0]} to {numbers[-1]} in {len(numbers)}")
    rows = [frames.get(number, []) for number in range(numbers[0], numbers[-1] + 1)]
    notes = [] if options.image_size else ["the image's size is not known: 16:9 is taken (image_size= says otherwise)"]
    layout = options.layout or ("openpose18" if any(len(one.joints) == 18 for row in rows for one in row) else None)
    known: dict[str, Any] = {"unit": "image", "image_size": options.image_size or _USUAL_SIZE}
    return recording_of_persons(rows, layout, fps=FPS, notes=notes, **known)
