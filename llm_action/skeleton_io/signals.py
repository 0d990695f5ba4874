"""Files of other senses: `.mat` as UTD-MHAD has it, `.csv` and `.tsv`, `.npy` and `.npz`."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.signal_sequence import SignalSequence

from .files import bad_file, naming, read_text
from .matlab import load_mat
from .numpy_files import load_numpy

SIGNAL_SUFFIXES = (".mat", ".csv", ".tsv", ".npy", ".npz")
UTD_CHANNELS = ("acceleration x", "acceleration y", "acceleration z", "rotation x", "rotation y", "rotation z")
UTD_UNIT, UTD_RATE = "g, degrees/s", 50.0
_TIME_COLUMNS = {"time": 1.0, "times": 1.0, "timestamp": 1.0, "t": 1.0, "seconds": 1.0, "time_s": 1.0, "time_ms": 1e-3}
_FIELDS = ("rate", "channels", "unit", "times", "start")


def read_signal(path: str | os.PathLike[str], **known: Any) -> SignalSequence:
    """Reads one recording of another sense than the skeleton; the suffix chooses the format.

    - `.mat`: UTD-MHAD's `d_iner` (acceleration in g, angular rate in degrees/s, 50 samples a second, no time stamps),
      or the only table of numbers in the file.
    - `.csv`, `.tsv`: a row a sample, the names of the channels first. A column time (or timestamp, t, seconds; time_ms)
      has the time stamps, in seconds from the recording's first frame.
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
    readers = {".mat": _read_mat, ".csv": _read_table, ".tsv": _read_table, ".npy": _read_npy, ".npz": _read_npz}
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
    lines = read_text(path).splitlines()
    rows = [row for row in csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",") if any(row)]
    expected = "the names of the channels and a row of numbers for every sample"
    if len(rows) < 2:
        raise bad_file(path, expected, f"{len(rows)} lines", "check the file's origin")
    names = [name.strip() for name in rows[0]]
    try:
        numbers = np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows[1:]])
        if all(_is_number(name) for name in names):
            raise ValueError("numbers in the first line")
        if numbers.ndim != 2 or numbers.shape[1] != len(names):
            raise ValueError(f"{len(names)} names above {numbers.shape[-1]} columns")
    except ValueError as error:
        raise bad_file(path, expected, str(error), "write the names of the channels into the first line") from None
    clocks = [number for number, name in enumerate(names) if name.lower() in _TIME_COLUMNS]
    channels = [number for number in range(len(names)) if number not in clocks[:1]]
    fields: dict[str, Any] = {"values": numbers[:, channels], "channels": [names[number] for number in channels]}
    if clocks:
        fields["times"] = numbers[:, clocks[0]] * _TIME_COLUMNS[names[clocks[0]].lower()]
    return fields


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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
