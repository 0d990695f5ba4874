"""A user's own skeletons: class folders, or a CSV that lists the files."""

from __future__ import annotations

import csv
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from llm_action.modeling.segmentation import BACKGROUND
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SKELETON
from llm_action.skeleton_io import SKELETON_SUFFIXES, clip_list, read_clip, read_skeleton, recordings_in
from llm_action.skeleton_io.signals import SIGNAL_SUFFIXES, read_signal

from .annotations import POINT_WINDOW, around, background_around, background_spans, duration_of
from .benchmark import Benchmark, Sample, Scan, Sense

PROTOCOL = "split"
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "validation",
         "valid": "validation", "validation": "validation"}  # fmt: skip
_COLUMNS = ("path", "label", "start", "end", "point", "subject", "camera", "split")
_LIST = (
    'a CSV with a line "path,label" and then a line a recording, "wave/1.npz,wave"; further columns may be start, end, '
    "point, subject, camera and split"
)
_RESERVED = ("name", "layout", "fps", "shape", "joints")
_TEST_SHARE = 5  # where no split is given, one group in five is for testing


def scan_folder(
    source: str | os.PathLike[str],
    listing: str | os.PathLike[str] | None = None,
    layout: str | None = None,
    **conventions: Any,
) -> tuple[Benchmark, Scan]:
    """Finds the classes and files of a folder.

    Without `listing`, files lie in `CLASS/...`, or in `train/CLASS/...` and `test/CLASS/...`; underscores in class
    names become spaces. With it, a CSV with the columns path (relative to `source`) and label, and if wanted subject,
    camera (whole numbers) and split ("train", "test", "validation" or empty). A further column that names files is a
    sense; `read_signal` reads them, and a recording may lack its own. Other columns are not read.

    A CSV with start and end as well, in seconds, annotates long recordings, a line an action. They are cut, and what
    lies between the actions of a recording becomes the class "nothing" (see `annotations`). Lines without start and end
    are whole files.

    A CSV with point instead, in seconds, is for a model that finds action points: each line is the moment of an action
    in a recording, seen through a window about it, and windows about any other moment are "nothing".

    A source that is a file of many clips (a pyskl pickle, an NTU conversion) is taken whole: its labels (named by the
    lines of a `label_map.txt` beside it, else "class 7") and its splits, "xsub_train" and "xsub_val" as the protocol
    xsub.

    Else the protocol column is `split`. Where nothing says which part a file belongs to, one subject in five is for
    testing, or one file in five where subjects are not known. A hash of the name chooses them, so they are the same
    every time.

    Args:
        source: the folder, or a file of many clips.
        listing: the CSV.
        layout: joint layout of files that do not say theirs; default: that of the first file that can be read.
        conventions: what else files do not say, as `read_skeleton` takes it.

    Raises:
        FileNotFoundError: no such folder or CSV, or no skeleton file in it.
        ValueError: a CSV row that cannot be used, named by its line; fewer than two classes.
    """
    path = _file_of_clips(Path(source)) if listing is None else None
    if path is not None and (clips := clip_list(path, layout, **conventions)):
        return _scan_clips(path, clips, layout, conventions)
    root = Path(source)
    if not root.is_dir():
        found = "a file" if root.is_file() else "nothing there"
        raise FileNotFoundError(
            f"{root}: expected the folder of your recordings as --source, found {found}; a list of them is passed as "
            f"--csv beside that folder, {_LIST}"
        )
    rows = class_folders(root) if listing is None else listed(root, Path(listing))
    rows += _between(rows, partial(read_skeleton, layout=layout, **conventions))
    labels = tuple(sorted({row["label"] for row in rows}))
    if len(labels) < 2:
        raise ValueError(f"{root}: expected two classes or more, found only {labels[0]!r}; make one folder a class")
    if not any(row["split"] for row in rows):
        _split_by_hash(rows)
    found = layout or _first_layout(read_skeleton, [(row["path"],) for row in rows], conventions)
    window = POINT_WINDOW if "point" in rows[0] else None
    benchmark = Benchmark("folder", labels, found, (PROTOCOL,), PROTOCOL, senses=_senses(rows), point_window=window)
    return benchmark, Scan([_sample(row, root, labels) for row in rows])


def _file_of_clips(source: Path) -> Path | None:
    """The file, or the only recording in a folder that is in no class folder."""
    if source.is_file():
        return source
    found = recordings_in(source) if source.is_dir() else []
    return found[0] if len(found) == 1 and found[0].parent == source else None


def _first_layout(read: Callable[..., Any], places: list[tuple[Any, ...]], conventions: dict[str, Any]) -> str:
    """The layout of the first recording that can be read; the others are dropped when they are prepared."""
    first: Exception | None = None
    for place in places:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RecordingWarning)  # said when they are prepared
                return read(*place, **conventions).layout
        except ValueError as error:
            first = first or error
    raise ValueError(f"none of {len(places)} recordings can be read; the first one: {first}")


def _scan_clips(
    path: Path, clips: list[tuple[str, Any, tuple[str, ...]]], layout: str | None, conventions: dict[str, Any]
) -> tuple[Benchmark, Scan]:
    """The clips of one file, by its own labels and splits."""
    names = path.with_name("label_map.txt")
    known = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    numbers = sorted({int(label) for _, label, _ in clips if label is not None})
    if len(numbers) < 2:
        raise ValueError(f"{path}: expected clips of two classes or more, found the labels {numbers}")
    labels = tuple(known[number] if number < len(known) else f"class {number}" for number in numbers)
    parts = {split: _protocol_part(split) for _, _, splits in clips for split in splits}
    if "test" not in {part for protocol, part in parts.values()}:  # what pyskl calls val is what is tested on
        parts = {split: (name, "test" if part == "validation" else part) for split, (name, part) in parts.items()}
    protocols = tuple(dict.fromkeys(protocol for protocol, _ in parts.values())) or (PROTOCOL,)
    scan = Scan([])
    for number, (name, label, splits) in enumerate(clips):
        if label is None:
            scan.dropped.append((name, "no label"))
            continue
        inside = dict(parts[split] for split in splits)
        about = {"name": name, "label": numbers.index(int(label)), "subject": 0, "camera": 0, "clip": number}
        scan.samples.append((path, {**about, "splits": {protocol: inside.get(protocol, "") for protocol in protocols}}))
    if not parts:
        rows = [{"path": Path(about["name"]), "label": about["label"], "subject": 0} for _, about in scan.samples]
        _split_by_hash(rows)
        for (_, about), row in zip(scan.samples, rows, strict=True):
            about["splits"] = {PROTOCOL: row["split"]}
    layout = layout or _first_layout(read_clip, [(path, about["clip"]) for _, about in scan.samples], conventions)
    return Benchmark("folder", labels, layout, protocols, protocols[0]), scan


def _protocol_part(split: str) -> tuple[str, str]:
    """Protocol and part of a split's name: "xsub_val" is the validation part of xsub."""
    protocol, _, part = split.rpartition("_")
    found = PARTS.get(part.lower(), "")
    return (protocol or PROTOCOL, found) if found else (split, "")


def class_folders(root: Path) -> list[dict[str, Any]]:
    """Finds recordings in one folder a class, sorted by path, each as a row like those of a CSV (see `scan_folder`).

    Raises:
        FileNotFoundError: no skeleton file in a class folder.
    """
    rows = []
    for path in recordings_in(root):
        folders = path.relative_to(root).parts[:-1]
        part = PARTS.get(folders[0].lower(), "") if folders else ""
        if part:
            folders = folders[1:]
        if folders:
            label = folders[0].replace("_", " ")
            rows.append({"path": path, "label": label, "subject": 0, "camera": 0, "split": part})
    if not rows:
        raise FileNotFoundError(
            f"{root}: expected skeleton files ({', '.join(SKELETON_SUFFIXES)}) in one folder a class, found none; "
            f"llm-action prepare also takes a list of them as --csv, {_LIST}"
        )
    return rows


def listed(root: Path, listing: Path) -> list[dict[str, Any]]:
    """Reads a CSV of recordings, a row a line, see `scan_folder`.

    Args:
        root: folder that paths are relative to.

    Raises:
        FileNotFoundError: no such CSV.
        ValueError: columns or values that are none; the line is named.
    """
    if not listing.is_file():
        raise FileNotFoundError(f"{listing}: expected {_LIST}; found no such file")
    with listing.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        absent = {"path", "label"} - set(reader.fieldnames or ())
        if absent:
            found = ", ".join(reader.fieldnames or ()) or "nothing"
            raise ValueError(f"{listing}: expected {_LIST}; found the columns {found}")
        lines = [(f"{listing}: line {reader.line_num}", row) for row in reader]
        senses = _sense_columns(reader.fieldnames or (), [row for _, row in lines], listing)
        if wrong := [name for name in senses if not name.isidentifier() or name in (*_RESERVED, PROTOCOL, SKELETON)]:
            raise ValueError(
                f"{listing}: a further column is a sense, whose name is a word of its own, like inertial; found "
                f"{', '.join(map(repr, wrong))}"
            )
    rows = [_listed_row(root, where, row, senses) for where, row in lines]
    if not rows:
        raise ValueError(f"{listing}: expected a line for every recording, found none below the names of the columns")
    pointed = ["point" in row for row in rows]
    if any(pointed) and not all(pointed):
        raise ValueError(
            f"{lines[pointed.index(False)][0]}: expected a point, as other lines have one; found none. A model finds "
            "either the points or the spans of actions: make two CSVs"
        )
    return rows


def _sense_columns(names: Sequence[str], rows: list[dict[str, str | None]], listing: Path) -> list[str]:
    """The further columns that name files of signals; says of the others that they are not read."""
    further = [name for name in names if name not in _COLUMNS]
    senses = [
        name for name in further if any(Path(row.get(name) or "").suffix.lower() in SIGNAL_SUFFIXES for row in rows)
    ]
    if left_out := [name for name in further if name not in senses]:
        warnings.warn(
            f"{listing}: does not read the columns {', '.join(left_out)}: they name no files. Those that are read are "
            f"{', '.join(_COLUMNS)}, and one of files for each further sense.",
            stacklevel=2,
        )
    return senses


def _listed_row(root: Path, where: str, row: dict[str, str | None], senses: list[str]) -> dict[str, Any]:
    def value(column: str) -> str:
        return (row.get(column) or "").strip()

    def number(column: str) -> int:
        try:
            return int(value(column) or 0)
        except ValueError:
            raise ValueError(f"{where}: expected {column} as a whole number, found {value(column)!r}") from None

    def seconds(column: str) -> float:
        try:
            return float(value(column))
        except ValueError:
            raise ValueError(f"{where}: expected {column} in seconds, found {value(column)!r}") from None

    path, part = root / value("path"), value("split").lower()
    if not value("path") or not path.is_file():
        raise FileNotFoundError(f"{where}: expected a file, found no {path}; paths are relative to {root}")
    signals = {sense: root / value(sense) for sense in senses if value(sense)}
    for sense, file in signals.items():
        if not file.is_file():
            raise FileNotFoundError(
                f"{where}: expected a file of {sense}, found no {file}; paths are relative to {root}"
            )
    if not value("label"):
        raise ValueError(f"{where}: expected a label, found none")
    if part and part not in PARTS:
        raise ValueError(f"{where}: expected split train, test, validation or nothing, found {part!r}")
    span = (seconds("start"), seconds("end")) if value("start") or value("end") else None
    if span and not 0 <= span[0] < span[1] < math.inf:
        raise ValueError(f"{where}: expected an end after the start, found {span[0]:g} to {span[1]:g} seconds")
    pointed: dict[str, float] = {}
    if value("point"):
        if span:
            raise ValueError(f"{where}: expected start and end or a point, found both")
        pointed, span = {"point": seconds("point")}, around(seconds("point"))
        if not 0 <= pointed["point"] < math.inf:
            raise ValueError(f"{where}: expected a point of 0 seconds or more, found {value('point')}")
    if span and signals:
        raise ValueError(f"{where}: expected seconds or further senses, found both; only skeletons are cut")
    return {
        "path": path,
        "label": value("label"),
        "subject": number("subject"),
        "camera": number("camera"),
        "split": PARTS.get(part, ""),
        "span": span,
        **pointed,
        "signals": {sense: str(file) for sense, file in signals.items()},
    }


def _senses(rows: list[dict[str, Any]]) -> dict[str, Sense]:
    """The channels and unit of every sense, from its first file."""
    senses: dict[str, Sense] = {}
    for row in rows:
        for name, file in row.get("signals", {}).items():
            if name not in senses:
                signal = read_signal(file)
                senses[name] = Sense(tuple(signal.channels), signal.unit)
    return senses


def _between(rows: list[dict[str, Any]], read: Callable[[Path], Any]) -> list[dict[str, Any]]:
    """Rows of what lies between the annotated actions of every long recording; none of one that cannot be read."""
    recordings: dict[Path, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("span"):
            recordings.setdefault(row["path"], []).append(row)
    found = []
    for path, actions in recordings.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RecordingWarning)  # said when it is prepared
                duration = duration_of(read(path))
        except ValueError:
            continue  # said when its actions are prepared
        points = [row["point"] for row in actions if "point" in row]
        spans = [row["span"] for row in actions]
        for span in background_around(points, duration) if points else background_spans(spans, duration):
            found.append({**actions[0], "label": BACKGROUND, "span": span})
    return found


def _split_by_hash(rows: list[dict[str, Any]]) -> None:
    """Fills in `split`: whole subjects where they are known, else whole long recordings, else files of each class."""
    if len({row["subject"] for row in rows}) > 1:
        _hold_out(rows, lambda row: str(row["subject"]))
    elif any(row.get("span") for row in rows):
        _hold_out(rows, lambda row: row["path"].name)
    else:
        for label in sorted({row["label"] for row in rows}):
            _hold_out([row for row in rows if row["label"] == label], lambda row: row["path"].name)


def _hold_out(rows: list[dict[str, Any]], group: Callable[[dict[str, Any]], str]) -> None:
    groups = sorted({group(row) for row in rows}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    test = set(groups[: max(1, len(groups) // _TEST_SHARE)]) if len(groups) > 1 else set()
    for row in rows:
        row["split"] = "test" if group(row) in test else "train"


def _sample(row: dict[str, Any], root: Path, labels: tuple[str, ...]) -> Sample:
    path = row["path"]
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    about = {"name": name, "label": labels.index(row["label"]), "subject": row["subject"], "camera": row["camera"]}
    if span := row.get("span"):
        about |= {"name": f"{name} {span[0]:.2f}-{span[1]:.2f}", "span": span}
    signals = {"signals": row["signals"]} if row.get("signals") else {}
    return path, {**about, **signals, "splits": {PROTOCOL: row["split"]}}
