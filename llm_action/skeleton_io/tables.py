"""Tables of numbers (csv, tsv, txt): what the columns are is told by the header, by the option `columns`, or by a
known layout without header.

Wide tables have a row a frame (and person), columns named after joint and axis: `LeftWrist_X`, `left wrist.y`,
`SpineBase-z`, `x12`, `12_x`, `nose_visibility`. Long tables have a row a joint: columns for frame or time, person,
joint (a name or a number), x, y, z and a score. `columns` says so where no header does:

- a wide row: `"time, person, 25*(x, y, z, score)"`; `_` skips a column.
- a long table: `{"time": "t", "person": "id", "joint": "name", "x": "X", "y": "Y", "z": "Z"}`, by header or number
  (from 0); as text `"time=t, person=id, joint=name, x=X, y=Y, z=Z"`.

Joint names are known as in `joint_names`; numbers need a layout (option, or the only one of that count). Kinect v2
exports (SpineBase ..., or 25 joints without header by layout=ntu25) are metres and y up; Azure Kinect's (PELVIS,
SPINE_NAVEL ...) millimetres and y down; MSRC-12 and PKU-MMD are told by their 81 and 150 columns. What programs write
above the rows is taken apart by `table_text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_layouts import LAYOUTS, SkeletonLayout, get_layout
from llm_action.modeling.skeleton_recording import SkeletonRecording, layout_for

from .files import bad_file, check_room
from .msrc12 import is_msrc12, read_msrc12
from .named_skeletons import named_recording, placed
from .options import ReadOptions
from .pku_mmd import is_pku_mmd, read_pku_mmd
from .table_text import is_number, numbers_of, table_text
from .time_stamps import stamp_of

_ROLES = {
    "time": "time t timestamp timestamps seconds sec time_s ms time_ms timestamp_ms timestamp_usec timeusec",
    "frame": "frame frame_id frameid frame_no frame_number frame_index frameindex framenum index idx image_id #frame",
    "person": "person person_id personid id body body_id bodyid bodyindex body_index track track_id trackid player "
    "skeleton_id subject user user_id trackingid",
    "joint": "joint joint_id joint_name jointname jointid landmark landmark_id landmark_name landmark_index keypoint "
    "name joint_type jointtype marker part",
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names.split()}
_AXIS_WORDS = {
    **{
        name: axis
        for axis in "xyz"
        for name in (axis, f"pos{axis}", f"position{axis}", f"p{axis}", f"{axis}pos", f"t{axis}")
    },
    **dict.fromkeys(
        [
            "score",
            "visibility",
            "vis",
            "v",
            "conf",
            "confidence",
            "c",
            "likelihood",
            "prob",
            "tracked",
            "state",
            "trackingstate",
            "presence",
        ],
        "score",
    ),
}
_AXIS = r"pos(?:ition)?[ _]?[xyz]|" + "|".join(sorted(_AXIS_WORDS, key=len, reverse=True))
_CHANNELS = ("x", "y", "z", "score")


def read_table(path: Path, text: str, options: ReadOptions) -> SkeletonRecording:
    """A table of joints; see the module.

    Raises:
        ValueError: columns that nobody explains, cells that are no numbers, or joints of no known layout.
    """
    table = table_text(path, text, plain=options.columns is None)
    if options.columns is not None:
        recording = _by_columns(path, table.header, table.cells, options)
    elif table.header is None:
        rows = table.rows if isinstance(table.rows, np.ndarray) else numbers_of(path, table.rows)
        recording = _without_header(path, rows, options)
    elif _is_long(table.header):
        cells = table_text(path, text, plain=False).cells
        recording = _long(path, cells, _long_roles(table.header), options)
    else:
        recording = read_wide(table.header, _numbers_of_joints(path, table.header, table.rows), options)
    recording.unit, recording.fps = table.unit or recording.unit, recording.fps or table.fps
    return recording


def _is_long(header: Sequence[str]) -> bool:
    """Whether a row is a joint."""
    names = {name.strip().lower() for name in header}
    return {"x", "y"} <= names and "joint" in {_ROLE_OF.get(name) for name in names}


def _without_header(path: Path, rows: np.ndarray, options: ReadOptions) -> SkeletonRecording:
    if options.layout in (None, "kinect20") and is_msrc12(rows):
        return read_msrc12(rows)
    if options.layout in (None, "ntu25") and is_pku_mmd(rows):
        return read_pku_mmd(rows)
    layouts = [get_layout(options.layout)] if options.layout else [LAYOUTS["mediapipe33"], LAYOUTS["ntu25"]]
    for layout in layouts:
        for channels in (4, 3, 2) if options.layout else (4, 3):
            extra = rows.shape[1] - layout.num_joints * channels
            if 0 <= extra <= 2:
                roles = _leading(rows[:, :extra])
                joints = rows[:, extra:].reshape(len(rows), layout.num_joints, channels)
                return _frames(joints, layout, roles, rows[:, :extra], options)
    found = f"{rows.shape[1]} columns without a header"
    if rows.shape[1] == 4:
        from .msr_action3d import read_msr_action3d

        return read_msr_action3d(rows)
    remedy = 'say what they are, for example layout="coco17" or columns="time, 25*(x, y, z)"'
    raise bad_file(path, "columns that are known", found, remedy)


def _leading(columns: np.ndarray) -> list[str]:
    """Roles of the columns before the joints: the one that grows is time or frame, another one the person."""
    roles = []
    for number in range(columns.shape[1]):
        column = columns[:, number]
        growing = len(column) > 1 and (np.diff(column) >= 0).all() and column[-1] > column[0]
        whole = growing and (column == np.round(column)).all() and np.diff(column).max() <= 1
        roles.append("frame" if whole else "time" if growing else "person")
    return roles


def _by_columns(
    path: Path, header: list[str] | None, cells: list[list[str]], options: ReadOptions
) -> SkeletonRecording:
    columns = options.columns
    if isinstance(columns, str) and "=" in columns:
        columns = dict(part.split("=", 1) for part in re.split(r"\s*,\s*", columns.strip()) if "=" in part)
    if isinstance(columns, Mapping):
        strange = set(columns) - {"time", "frame", "person", "joint", *_CHANNELS}
        if strange or not {"joint", "x", "y"} <= set(columns):
            raise ValueError(
                f"expected columns with joint, x and y (and time or frame, person, z, score), got {sorted(columns)}"
            )
        roles = {role: _column(path, header, len(cells[0]) if cells else 0, name) for role, name in columns.items()}
        return _long(path, cells, roles, options)
    names = _expanded(str(columns))
    width = len(cells[0]) if cells else 0
    if len(names) != width:
        raise bad_file(path, f"{len(names)} columns (columns={columns!r})", f"{width}", "say what all columns are")
    rows = numbers_of(path, [[cell if name != "_" else "0" for cell, name in zip(row, names)] for row in cells])
    lead = [place for place, name in enumerate(names) if name in ("time", "frame", "person")]
    places = [place for place, name in enumerate(names) if name in _CHANNELS]
    channels = len(dict.fromkeys(names[place] for place in places))
    kinds = [names[place] for place in places]
    if not places or len(places) % channels or kinds != kinds[:channels] * (len(places) // channels):
        raise ValueError(f"expected columns with one group of x, y, z, score a joint, got {columns!r}")
    order = [kinds.index(channel) for channel in _CHANNELS if channel in kinds[:channels]]
    joints = rows[:, places].reshape(len(rows), -1, channels)[..., order]
    layout = get_layout(layout_for(joints.shape[1], options.layout))
    has_score = "score" in kinds
    return _frames(joints, layout, [names[place] for place in lead], rows[:, lead], options, has_score)


def _expanded(columns: str) -> list[str]:
    """The columns' roles of 'time, 25*(x, y, z)'."""
    text = re.sub(r"(\d+)\s*\*\s*\(([^()]*)\)", lambda match: ", ".join([match[2]] * int(match[1])), columns)
    names = [name.strip().lower() for name in re.split(r"[,\s]+", text) if name.strip()]
    strange = {name for name in names if name not in ("time", "frame", "person", "_", *_CHANNELS)}
    if strange:
        raise ValueError(
            "expected columns of time, frame, person, x, y, z, score and _ (skipped), got "
            f"{', '.join(sorted(strange))} in {columns!r}"
        )
    return names


def _column(path: Path, header: list[str] | None, width: int, name: Any) -> int:
    if header is not None and str(name) in header:
        return header.index(str(name))
    if str(name).strip().isdigit() and int(name) < width:
        return int(name)
    known = ", ".join(header) if header else f"numbers 0 to {width - 1}"
    raise bad_file(path, f"a column {name!r}", known, "name a column by header or number")


def _long_roles(header: Sequence[str]) -> dict[str, int]:
    roles: dict[str, int] = {}
    for place, name in enumerate(header):
        plain = name.strip().lower()
        role = _ROLE_OF.get(plain) or _AXIS_WORDS.get(plain)
        if role is not None:
            roles.setdefault(role, place)
    if "person" in roles and "joint" not in roles:
        raise ValueError("expected a column joint, found none; say which it is with columns=")
    return roles


def _long(path: Path, cells: list[list[str]], roles: Mapping[str, int], options: ReadOptions) -> SkeletonRecording:
    """A row a joint."""
    joints = [row[roles["joint"]] for row in cells]
    moment = roles.get("frame", roles.get("time"))
    names = list(dict.fromkeys(joints))
    channels = [channel for channel in _CHANNELS if channel in roles]
    values = numbers_of(path, [[row[roles[channel]] for channel in channels] for row in cells])
    if moment is None:  # frames follow each other: a frame ends where a joint comes again
        first = names[0]
        starts = np.cumsum([joint == first for joint in joints]) - 1
        moments = starts.astype(float)
    else:
        moments = numbers_of(path, [[row[moment]] for row in cells])[:, 0]
    persons = [row[roles["person"]] for row in cells] if "person" in roles else ["0"] * len(cells)
    layout, places = placed(names, options)
    times, frame_of = np.unique(moments, return_inverse=True)
    ids = {name: number for number, name in enumerate(dict.fromkeys(persons))}
    check_room(len(ids), len(times), layout.num_joints * len(channels), -(-len(cells) // layout.num_joints))
    array = np.full((len(ids), len(times), layout.num_joints, len(channels)), np.nan)
    for row, joint in enumerate(joints):
        place = places[names.index(joint)]
        if place is not None:
            array[ids[persons[row]], frame_of[row], place] = values[row]
    seconds = times if "frame" not in roles and "time" in roles else None
    return named_recording(array, layout, seconds, "score" in roles, options, names)


def read_wide(header: Sequence[str], rows: np.ndarray, options: ReadOptions) -> SkeletonRecording:
    """A row (rows, columns) a frame; columns named after joint and axis.

    Raises:
        ValueError: names that are no joints' and axes'.
    """
    parsed = [_joint_and_axis(name) for name in header]
    names = list(dict.fromkeys(one[0] for one in parsed if one is not None))
    axes = {axis for one in parsed if one is not None for axis in [one[1]]}
    if len(names) < 3 or not {"x", "y"} <= axes:
        raise ValueError(
            f"expected columns named after joint and axis, like left_wrist_x, found {', '.join(header[:8])}"
            f"{' ...' if len(header) > 8 else ''}; say what the columns are with columns=, for example "
            '"time, 25*(x, y, z)"'
        )
    layout, places = placed(names, options)
    channels = [channel for channel in _CHANNELS if channel in axes]
    used = [place for place, one in enumerate(parsed) if one is not None]
    joints = np.full((len(rows), layout.num_joints, len(channels)), np.nan)
    for place in used:
        name, axis = parsed[place]  # type: ignore[misc]
        joint = places[names.index(name)]
        if joint is not None:
            joints[:, joint, channels.index(axis)] = rows[:, place]
    roles = {role: place for place, name in enumerate(header) if (role := _ROLE_OF.get(name.strip().lower()))}
    lead = [role for role in ("frame", "time", "person") if role in roles]
    leading = rows[:, [roles[role] for role in lead]] if lead else None
    return _frames(joints, layout, lead, leading, options, "score" in axes, names)


def _numbers_of_joints(path: Path, header: Sequence[str], cells: np.ndarray | list[list[str]]) -> np.ndarray:
    """(rows, columns) of cells, of which those of joints have to be numbers."""
    if isinstance(cells, np.ndarray):
        return cells
    strict = [_joint_and_axis(name) is not None for name in header]
    return numbers_of(
        path, [[cell if of_joint else _id_number(cell) for cell, of_joint in zip(row, strict)] for row in cells]
    )


def _id_number(cell: str) -> str:
    """Ids that are no numbers count as one; dates and times of day are seconds."""
    if is_number(cell):
        return cell
    try:
        return repr(stamp_of(cell))
    except ValueError:
        return "0"


@lru_cache(maxsize=4096)
def _joint_and_axis(name: str) -> tuple[str, str] | None:
    """("left wrist", "x") of a column's name; None when it is no joint's."""
    plain = name.strip()
    if plain.lower() in _ROLE_OF or plain.lower() in _AXIS_WORDS:
        return None
    for pattern, flags in (
        (rf"(?P<joint>.+?)[ _.:\-/\[(]+(?P<axis>{_AXIS})[\])]*", re.IGNORECASE),
        (rf"(?P<axis>{_AXIS})[ _.:\-]*(?P<joint>\d+)", re.IGNORECASE),
        (rf"(?P<axis>{_AXIS})[ _.:\-]+(?P<joint>.+)", re.IGNORECASE),
        (r"(?P<joint>.*[a-z0-9])(?P<axis>[XYZ])", 0),
    ):
        if match := re.fullmatch(pattern, plain, flags):
            return match["joint"].strip(), _AXIS_WORDS[re.sub(r"[ _]", "", match["axis"].lower())]
    return None


def _frames(
    joints: np.ndarray,
    layout: SkeletonLayout,
    roles: Sequence[str],
    lead: np.ndarray | None,
    options: ReadOptions,
    has_score: bool | None = None,
    names: Sequence[str] = (),
) -> SkeletonRecording:
    """Rows of frames and persons, (rows, joints, channels), put into persons and frames."""
    has_score = joints.shape[2] == 4 if has_score is None else has_score
    column = {role: lead[:, place] for place, role in enumerate(roles)} if lead is not None else {}
    moment = column.get("frame", column.get("time"))
    if "person" not in column:
        return named_recording(joints[None], layout, column.get("time"), has_score, options, names)
    ids = {value: number for number, value in enumerate(dict.fromkeys(column["person"]))}
    if moment is None:  # a person's rows follow each other
        counts: dict[float, int] = dict.fromkeys(ids, -1)
        turns = []
        for person in column["person"]:
            counts[person] += 1
            turns.append(counts[person])
        moment = np.array(turns, float)
    times, frame_of = np.unique(moment, return_inverse=True)
    check_room(len(ids), len(times), joints[0].size, len(joints))
    array = np.full((len(ids), len(times), *joints.shape[1:]), np.nan)
    for row, person in enumerate(column["person"]):
        array[ids[person], frame_of[row]] = joints[row]
    seconds = times if "frame" not in column and "time" in column else None
    if seconds is None and "time" in column:
        seconds = column["time"]
    return named_recording(array, layout, seconds, has_score, options, names)
