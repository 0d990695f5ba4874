"""Files of other senses: `.mat` as UTD-MHAD has it, tables as sensors' programs write them, JSON, numpy's arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.signal_sequence import SignalSequence

from .files import bad_file, naming, read_json, read_text
from .matlab import load_mat
from .named_json import rate_said, table_columns
from .numpy_files import load_numpy
from .table_text import numbers_of, table_text
from .time_stamps import seconds_of, stamp_of

SIGNAL_SUFFIXES = (".mat", ".csv", ".tsv", ".txt", ".json", ".npy", ".npz")
UTD_CHANNELS = ("acceleration x", "acceleration y", "acceleration z", "rotation x", "rotation y", "rotation z")
UTD_UNIT, UTD_RATE = "g, degrees/s", 50.0
_TIME_COLUMNS = {"time", "times", "timestamp", "t", "seconds", "elapsed", "seconds_elapsed", "sampletimefine"}
_COUNTERS = {"", "index", "sample", "counter", "packetcounter"}  # columns that number the samples
_LONGEST_STEP = 2.0  # between samples; above it stamps are no seconds
_LONGEST_WAIT = 3600.0  # seconds before a signal's first sample; above it stamps count from elsewhere
_FIELDS = ("rate", "channels", "unit", "times", "start")


def read_signal(path: str | os.PathLike[str], **known: Any) -> SignalSequence:
    """Reads one recording of another sense than the skeleton; the suffix chooses the format.

    - `.mat`: UTD-MHAD's `d_iner` (acceleration in g, angular rate in degrees/s, 50 samples a second, no time stamps),
      or the only table of numbers in the file.
    - `.csv`, `.tsv`, `.txt`: a row a sample, the names of the channels first, below lines about the recording or not. A
      column time (or timestamp, t, seconds_elapsed ...) has the time stamps, in seconds from the recording's first
      frame (ms, us and ns are told by their step). Dates and times of day tell the rate alone.
    - `.json`: records or columns of numbers.
    - `.npy`: (samples, channels). `.npz`: `values`, and as far as known rate, channels, unit, times, start; else the
      only array.

    Args:
        known: fields of `SignalSequence` that the file does not say, or says otherwise.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file of no known format, a damaged one or an unusable signal; names file and remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    readers = {
        ".mat": _read_mat,
        ".json": _read_json,
        ".npy": _read_npy,
        ".npz": _read_npz,
        **dict.fromkeys((".csv", ".tsv", ".txt"), _read_table),
    }
    if path.suffix.lower() not in readers:
        raise bad_file(path, f"a signal ({', '.join(SIGNAL_SUFFIXES)})", path.suffix or "no suffix", "convert it")
    with naming(path):
        fields = readers[path.suffix.lower()](path)
        return SignalSequence(**{"name": path.stem, **fields, **known})


def _read_mat(path: Path) -> dict[str, Any]:
    content = load_mat(path)
    if "d_iner" in content:
        values = _table(path, "d_iner", content["d_iner"])
        if values.shape[1] != len(UTD_CHANNELS):
            raise bad_file(path, "six columns in 'd_iner'", f"{values.shape[1]}", "check the file's origin")
        return {"values": values, "channels": UTD_CHANNELS, "unit": UTD_UNIT, "rate": UTD_RATE}
    tables = {name: value for name, value in content.items() if np.ndim(value) == 2}
    return {"values": _only(path, tables)}


def _read_table(path: Path) -> dict[str, Any]:
    table = table_text(path, read_text(path), plain=False)
    names = [name.strip() for name in table.header or []]
    expected = "the names of the channels and a row of numbers for every sample"
    if not names:
        remedy = "write the names of the channels into the first line"
        raise bad_file(path, expected, "numbers in the first line", remedy)
    if not table.cells:
        raise bad_file(path, expected, "names alone", "check the file's origin")
    clocks = [number for number, name in enumerate(names) if _is_clock(name)]
    kept = [number for number, name in enumerate(names) if number not in clocks and name.lower() not in _COUNTERS]
    numbers = numbers_of(path, [[row[number] for number in kept] for row in table.cells])
    fields: dict[str, Any] = {"values": numbers, "channels": [names[number] for number in kept], "rate": table.fps}
    if clocks:
        fields |= _clock_of(path, names[clocks[0]], [row[clocks[0]] for row in table.cells])
    return {name: value for name, value in fields.items() if value is not None}


def _read_json(path: Path) -> dict[str, Any]:
    """Records or columns of numbers, as pandas writes them."""
    content = read_json(path)
    columns = table_columns(content, 1)
    if not columns:
        found = type(content).__name__
        raise bad_file(path, "records or columns of numbers by channel", found, "save the signal as csv")
    clock = next((name for name in columns if _is_clock(name)), None)
    channels = [name for name in columns if not _is_clock(name) and name.lower() not in _COUNTERS]
    fields = {"values": np.array([columns[name] for name in channels]).T, "channels": channels}
    fields |= {} if (rate := rate_said(content)) is None else {"rate": rate}
    return fields if clock is None else {**fields, **_clock_of(path, clock, list(map(repr, columns[clock])))}


def _is_clock(name: str) -> bool:
    return name.lower().removesuffix("_ms").removesuffix("_s") in _TIME_COLUMNS


def _clock_of(path: Path, name: str, cells: list[str]) -> dict[str, Any]:
    """Times of the samples, in seconds; of stamps that count from a year or a day, not from the recording, the rate."""
    try:
        times = np.array([stamp_of(cell) for cell in cells])
    except ValueError as error:
        raise bad_file(path, f"time stamps in {name!r}", str(error), "write seconds") from None
    if name.lower().endswith("_ms"):
        times = times / 1e3
    elif len(times) > 1 and np.median(np.diff(times)) > _LONGEST_STEP:
        found = seconds_of(times)
        times = times if found is None else found
    if ":" in cells[0] or times[0] > _LONGEST_WAIT:
        return {"rate": float(1 / np.median(np.diff(times)))} if len(times) > 1 else {}
    return {"times": times}


def _read_npy(path: Path) -> dict[str, Any]:
    return {"values": _table(path, "the array", load_numpy(path))}


def _read_npz(path: Path) -> dict[str, Any]:
    content = load_numpy(path)
    if isinstance(content, np.ndarray):
        return {"values": _table(path, "the array", content)}
    if "values" not in content:
        return {"values": _only(path, content)}
    fields = {name: content[name] for name in _FIELDS if name in content}
    for name in ("rate", "start", "unit"):
        if name in fields:
            fields[name] = fields[name].item()
    if "channels" in fields:
        fields["channels"] = fields["channels"].tolist()
    return {"values": _table(path, "values", content["values"]), **fields}


def _only(path: Path, tables: dict[str, np.ndarray]) -> np.ndarray:
    if len(tables) != 1:
        found = ", ".join(tables) or "none"
        raise bad_file(path, "one table (samples, channels), or one named values", found, "save the signal alone")
    return _table(path, *next(iter(tables.items())))


def _table(path: Path, name: str, values: Any) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim not in (1, 2) or not np.issubdtype(values.dtype, np.number):
        found = f"{values.dtype} {values.shape}"
        raise bad_file(path, f"numbers of shape (samples, channels) in {name}", found, "transpose or convert it")
    return values
