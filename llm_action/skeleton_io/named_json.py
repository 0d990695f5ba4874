"""JSON that programs of one's own write: joints by name, or arrays with a list of names, frame by frame.

What is read, whatever the keys around it are called:

- frames: a list of mappings (JSON Lines, too), under any key, or mappings by frame number.
- persons of a frame: a list or a mapping under `bodies`, `people`, `persons` ..., or the frame is a list of them;
  without one the frame is a person.
- joints of a person: `{"LeftHand": place, ...}` or `[{"name": "LeftHand", ...place}, ...]`; a place is `[x, y, z]`,
  `{"x", "y", "z"}` or a mapping with one of these as `position`, and a score, if it has one, is `confidence` ...
- joints without names, `[[x, y, z], ...]` or one row of numbers, where the number of joints, or `layout=`, tells them.
- rows of a table, `{"time": 0.1, "LeftHand_x": ...}`, and columns, `{"LeftHand_x": [...]}`, as pandas writes them.
- `{"joint_names": [...], "positions": numbers (frames, joints, 2 or 3)}`, joint by joint `{"LeftHand": numbers (frames,
  2 or 3), ...}` or `{"LeftHand": {"x": [...], ...}, ...}`, and numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_layouts import layouts_with
from llm_action.modeling.skeleton_recording import CONVENTIONS, SkeletonRecording, recording_from_array

from .files import check_room
from .named_skeletons import NAMES, RATES, in_layout, joint_by_joint, named_array, named_recording
from .options import ReadOptions
from .tables import read_wide
from .time_stamps import seconds_of, timed

_PERSONS = (
    "bodies", "body_list", "people", "persons", "skeletons", "users", "players", "subjects", "body", "skeleton",
    "person",
)  # fmt: skip
_JOINTS = (
    "keypoints3d", "keypoints_3d", "joints3d", "joints", "keypoints", "keypoint", "landmarks", "bones", "positions",
    "joint_positions", "pose", "markers", "joints19",
)  # fmt: skip
_NAME = ("name", "joint", "joint_name", "jointname", "joint_type", "jointtype", "type", "part", "bone", "landmark")
_PLACE = ("position", "pos", "coords", "coordinates", "location", "point", "xyz", "translation", "worldposition")
_SCORE = ("confidence", "score", "visibility", "likelihood", "conf", "tracked", "trackingstate", "state")
_ID = ("id", "track_id", "tracking_id", "trackingid", "body_id", "bodyid", "person_id", "user_id", "index")
_TIME = ("time", "timestamp", "t", "seconds", "timestamp_ms", "time_ms", "time_stamp", "relativetime", "ticks")
_FEWEST = 5  # joints

Place = tuple[float, float, float, float]  # x, y, z and a score, NaN where there is none
Joints = dict[str, Place]


def is_named_json(content: Any) -> bool:
    """Whether joints are found in it."""
    return _array(content) is not None or bool(_persons_seen(content)) or bool(table_columns(content))


def read_named_json(content: Any, options: ReadOptions) -> SkeletonRecording:
    """See the module.

    Raises:
        ValueError: names of no known joints, or arrays that do not fit their names.
    """
    if (found := _array(content)) is not None:
        names, array = found
        if names is None:
            said = content if isinstance(content, Mapping) else {}
            known = {name: said[name] for name in ("scores", *CONVENTIONS) if said.get(name) is not None}
            axes = options.axes or known.pop("axes", None)
            recording = recording_from_array(array, options.layout or said.get("layout"), axes, **known)
        else:
            recording = named_array(names, array, options)
    elif columns := table_columns(content):
        recording = read_wide(list(columns), np.array(list(columns.values()), np.float64).T, options)
    else:
        recording = _of_frames(_persons_seen(content), options)
    recording.fps = recording.fps or rate_said(content)
    return recording


def rate_said(content: Any, depth: int = 3) -> float | None:
    """Frames a second, where a key on the top or below some others says so."""
    if not isinstance(content, Mapping) or not depth:
        return None
    rate = _first_of(_lower(content), RATES)
    if _is_number(rate) and rate > 0:
        return float(rate)
    return next((found for value in content.values() if (found := rate_said(value, depth - 1))), None)


def _of_frames(frames: list[tuple[Any, list[tuple[Any, Joints]]]], options: ReadOptions) -> SkeletonRecording:
    """Of (time, [(id, joints)]) a frame."""
    names = list(dict.fromkeys(name for _, persons in frames for _, joints in persons for name in joints))
    place_of = {name: number for number, name in enumerate(names)}
    rows: dict[Any, int] = {}
    for _, persons in frames:
        for number, (key, _) in enumerate(persons):
            rows.setdefault(number if key is None else ("id", key), len(rows))
    check_room(len(rows), len(frames), len(names) * 4, sum(len(persons) for _, persons in frames))
    array = np.full((len(rows), len(frames), len(names), 4), np.nan)
    for frame, (_, persons) in enumerate(frames):
        for number, (key, joints) in enumerate(persons):
            row = rows[number if key is None else ("id", key)]
            for name, place in joints.items():
                array[row, frame, place_of[name]] = place
    said = ~np.isnan(array).all(axis=(0, 1, 2))  # of a picture there is no z
    times = [time for time, _ in frames]
    stamps = np.array(times, np.float64) if all(_is_number(time) for time in times) else None
    if names != [str(number) for number in range(len(names))]:
        layout, array = in_layout(names, array[..., said], options)
        return named_recording(array, layout, stamps, bool(said[3]), options, names)
    recording = recording_from_array(array[..., said], options.layout, "MTVC", image_size=options.image_size)
    seconds = seconds_of(stamps)
    return recording if seconds is None else timed(recording, seconds)


def _persons_seen(content: Any) -> list[tuple[Any, list[tuple[Any, Joints]]]]:
    """(time, [(id, joints)]) of every frame; nothing where no frame has joints by name."""
    frames = _frames(content)
    found = [(_first_of(_lower(frame), _TIME), list(_persons(frame))) for frame in frames]
    return found if any(persons for _, persons in found) else []


def _frames(content: Any, depth: int = 3) -> list[Mapping[str, Any]]:
    """The longest list of mappings in it, on the top or below some keys; mappings by number count as a list."""
    if _are_mappings(content):
        return list(content)
    if isinstance(content, list) and any(map(_are_mappings, content)) and all(isinstance(one, list) for one in content):
        return [{"people": one} for one in content]
    if not isinstance(content, Mapping) or not depth:
        return []
    if content and all(str(key).isdigit() for key in content) and _are_mappings(list(content.values())):
        return [content[key] for key in sorted(content, key=int)]
    if any(_persons(content)):  # a single frame
        return [content]
    return max((_frames(value, depth - 1) for value in content.values()), key=len, default=[])


def _are_mappings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _persons(frame: Mapping[str, Any]) -> Iterator[tuple[Any, Joints]]:
    lowered = _lower(frame)
    inside = _first_of(lowered, _PERSONS)
    if isinstance(inside, Mapping):
        inside = list(inside.values()) if all(isinstance(one, Mapping) for one in inside.values()) else [inside]
    for person in inside if _are_mappings(inside) else [frame]:
        joints = _joints(person)
        if len(joints) >= _FEWEST:
            yield _first_of(_lower(person), _ID) if person is not frame else None, joints


def _joints(person: Mapping[str, Any]) -> Joints:
    """Places by name; nothing where there are none."""
    inside = _first_of(_lower(person), _JOINTS)
    if _are_mappings(inside):
        named = ((_first_of(_lower(one), _NAME), one) for one in inside)
        return {str(name): place for name, one in named if name is not None and (place := _place(one))}
    if isinstance(inside, Mapping) and (below := _joints(inside)):
        return below
    if isinstance(inside, list):
        return {str(number): place for number, place in enumerate(_places(inside))}
    joints = inside if isinstance(inside, Mapping) else person
    return {str(name): place for name, value in joints.items() if (place := _place(value))}


def _places(numbers: list[Any]) -> list[Place]:
    """Places without names, one after the other or in one row of numbers; nothing of anything else."""
    if numbers and all(map(_is_number, numbers)):
        counts = [count for count in (3, 4, 2) if len(numbers) % count == 0 and layouts_with(len(numbers) // count)]
        numbers = np.reshape(numbers, (-1, counts[0])).tolist() if counts else []
    found = list(map(_place, numbers))
    return [place for place in found if place is not None] if None not in found else []


def _place(value: Any) -> Place | None:
    """What stands for a joint; None of anything else."""
    if isinstance(value, list):
        try:
            numbers = list(map(_scalar, value)) if 2 <= len(value) <= 4 else []
        except (TypeError, ValueError):  # of something else
            return None
        x, y, z, score = (numbers + [np.nan] * 2)[:4] if numbers else [np.nan] * 4
        return (x, y, z, score) if numbers else None
    if not isinstance(value, Mapping):
        return None
    lowered = _lower(value)
    found = {"x", "y"} <= lowered.keys()
    place = _place([lowered[axis] for axis in "xyz" if axis in lowered] if found else _first_of(lowered, _PLACE))
    score = _first_of(lowered, _SCORE)
    return (*place[:3], float(score)) if place and _is_number(score) else place


def _array(content: Any) -> tuple[list[str] | None, np.ndarray] | None:
    """(names, numbers) of an array with a list of names beside it, or of numbers alone (names None)."""
    if isinstance(content, list):
        alone = _numbers(content)
        return None if alone is None or alone.ndim < 2 else (None, alone)
    if not isinstance(content, Mapping):
        return None
    names = next((value for key in NAMES if _are_names(value := _lower(content).get(key))), None)
    inside = _first_of(_lower(content), _JOINTS)
    if names is None and (each := joint_by_joint(_tracks(inside if isinstance(inside, Mapping) else content))):
        return each
    arrays = [array for value in content.values() if isinstance(value, list) and (array := _numbers(value)) is not None]
    array = max((one for one in arrays if one.ndim in (3, 4)), key=lambda one: one.size, default=None)
    if array is None or (names is not None and array.shape[-2] != len(names)):
        return None
    return names, array


def _tracks(joints: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """(frames, 2 or 3) by name, of lists of places or lists of each axis."""
    tracks = {}
    for name, value in joints.items():
        if isinstance(value, Mapping) and {"x", "y"} <= (axes := _lower(value)).keys():
            lists = [axes[axis] for axis in "xyz" if isinstance(axes.get(axis), list)]
            value = [list(place) for place in zip(*lists, strict=False)]
        if isinstance(value, list) and (track := _numbers(value)) is not None:
            tracks[str(name)] = track
    return tracks


def _numbers(value: list[Any]) -> np.ndarray | None:
    try:
        array = np.array(value)
        array = array.astype(np.float64) if array.dtype == object else array
    except (ValueError, TypeError):  # lists of unequal lengths, or of other things
        return None
    return array if np.issubdtype(array.dtype, np.number) and array.size else None


def table_columns(content: Any, fewest: int = 2 * _FEWEST) -> dict[str, list[float]]:
    """Columns of numbers by name: of records, of lists or of pandas' mappings by row; empty of anything else."""
    if _are_mappings(content):
        columns = {name: [row.get(name) for row in content] for name in content[0]}
    elif isinstance(content, Mapping):
        columns = {name: list(one.values()) if isinstance(one, Mapping) else one for name, one in content.items()}
    else:
        return {}
    numbers = {
        name: list(map(_scalar, one))
        for name, one in columns.items()
        if isinstance(one, list) and all(map(_is_scalar, one))
    }
    even = len({len(one) for one in numbers.values()}) == 1
    return numbers if even and len(numbers) >= fewest else {}


def _is_scalar(value: Any) -> bool:
    return value is None or _is_number(value)


def _scalar(value: Any) -> float:
    return np.nan if value is None else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= _FEWEST and all(isinstance(one, str) for one in value)


def _lower(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in mapping.items()}


def _first_of(mapping: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((mapping[key] for key in keys if key in mapping), None)
