"""Ultralytics (YOLO) pose: JSON of results, and folders of label texts, one a frame.

- JSON: a list of frames, each a list of `{"name": "person", "track_id", "box", "keypoints": {"x", "y", "visible"}}`;
  or the list of one frame; or a folder with one such file a frame. Pixels, or shares of the image (normalize=True).
- Label text: `class cx cy w h (px py [v]) * 17 [confidence] [track id]`, shares of the image, a line a person. The
  image's size is not in the file: pass image_size=.

COCO's 17 joints, y down, missing joints 0 0, visibility 0..1 as score. fps is not known. Persons are followed by where
they are, with the track ids' help.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import natural_key, read_json, read_text
from .options import ReadOptions
from .pose_lists import Detection, in_image, recording_of_persons

NUM_JOINTS = 17
# Numbers of a line behind the box: with and without visibility, confidence and track id.
_LINE_LENGTHS = {5 + NUM_JOINTS * values + extra: (values, extra) for values in (2, 3) for extra in (0, 1, 2)}


def is_ultralytics(content: Any) -> bool:
    frames = _frames(content)
    persons = [person for frame in frames for person in frame] if frames is not None else []
    return bool(persons) and all(
        isinstance(one.get("keypoints"), Mapping) and "x" in one["keypoints"] for one in persons
    )


def _frames(content: Any) -> list[list[Mapping[str, Any]]] | None:
    """Frames of persons; None when the content is something else."""
    if not isinstance(content, list):
        return None
    if all(isinstance(frame, list) for frame in content):
        frames = content
    elif all(isinstance(person, Mapping) for person in content):
        keys = [next((one[key] for key in ("frame", "frame_id", "frame_index") if key in one), None) for one in content]
        if None in keys:
            frames = [content]
        else:
            frames = [
                [one for one, where in zip(content, keys) if where == key]
                for key in sorted({key for key in keys if key is not None})
            ]
    else:
        return None
    return frames if all(isinstance(person, Mapping) for frame in frames for person in frame) else None


def read_ultralytics(content: Any, options: ReadOptions) -> SkeletonRecording:
    """The persons of a JSON's frames.

    Raises:
        ValueError: keypoints without x and y of one length, or nobody.
    """
    frames = _frames(content) or []
    try:
        rows = [[_person(person) for person in frame] for frame in frames]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected keypoints with x, y (Ultralytics), found {type(error).__name__}: {error}") from None
    return recording_of_persons(rows, options.layout, unit=in_image(rows))


def _person(person: Mapping[str, Any]) -> Detection:
    keypoints = person["keypoints"]
    joints = np.stack([np.array(keypoints["x"], np.float64), np.array(keypoints["y"], np.float64)], axis=-1)
    visible = keypoints.get("visible", keypoints.get("confidence"))
    return Detection(joints, None if visible is None else np.array(visible, np.float64), person.get("track_id"))


def is_ultralytics_folder(folder: Path) -> bool:
    """A folder (or its `labels`) whose texts, or JSON files, hold persons as Ultralytics writes them."""
    texts = _texts(folder)
    if texts:
        first = next((text for path in texts[:50] if (text := path.read_text(errors="replace").strip())), "")
        return bool(first) and all(_parse_line(line) is not None for line in first.splitlines())
    files = sorted(folder.glob("*.json"))
    if len(files) < 2:
        return False
    try:
        contents = [read_json(path) for path in (files[0], files[len(files) // 2])]
    except ValueError:
        return False
    one_frame = all(
        isinstance(content, list) and all(isinstance(one, Mapping) and "frame" not in one for one in content)
        for content in contents
    )
    return one_frame and any(map(is_ultralytics, contents))


def _texts(folder: Path) -> list[Path]:
    paths = list((folder / "labels").glob("*.txt")) or list(folder.glob("*.txt"))
    return sorted((path for path in paths if path.name != "classes.txt"), key=lambda path: natural_key(path.name))


def _parse_line(line: str) -> Detection | None:
    try:
        numbers = np.array(line.split(), np.float64)
    except ValueError:
        return None
    if len(numbers) not in _LINE_LENGTHS or numbers[0] != int(numbers[0]) or not (np.abs(numbers[1:5]) <= 1.5).all():
        return None
    values, extra = _LINE_LENGTHS[len(numbers)]
    joints = numbers[5 : 5 + NUM_JOINTS * values].reshape(NUM_JOINTS, values)
    track = int(numbers[-1]) if extra == 2 else None
    scores = joints[:, 2] if values == 3 else None
    if scores is not None and scores.max() > 1:
        scores = scores / 2  # flags 0, 1, 2
    return Detection(joints[:, :2], scores, track)


def read_ultralytics_folder(folder: Path, options: ReadOptions) -> SkeletonRecording:
    """The frames of a folder in the order of the numbers in their names; numbers left out are frames without anyone.

    Raises:
        ValueError: a line that is no person, nobody in any frame, or an unknown image size of label texts.
    """
    texts = _texts(folder)
    if not texts:
        files = sorted(folder.glob("*.json"), key=lambda path: natural_key(path.name))
        return read_ultralytics([person for path in files for person in [read_json(path)]], options)
    rows: list[list[Detection]] = []
    previous = None
    for path in texts:
        number = [part for kind, part, _ in natural_key(path.stem) if kind]
        if previous is not None and number and 1 < number[-1] - previous < 10_000:
            rows += [[] for _ in range(number[-1] - previous - 1)]
        previous = number[-1] if number else None
        rows.append([])
        for line in read_text(path).splitlines():
            if line.strip():
                detection = _parse_line(line)
                if detection is None:
                    raise ValueError(
                        f"expected lines of class, box and {NUM_JOINTS} keypoints (Ultralytics), found {line[:60]!r} "
                        f"in {path.name}; put other texts elsewhere"
                    )
                rows[-1].append(detection)
    return recording_of_persons(rows, options.layout or "coco17", unit="image")
