"""One Arrow table for all data sets: one row a sequence, one column a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf

from llm_action.config.progress import ProgressBar
from llm_action.modeling.signal_sequence import SignalSequence, on_skeleton_clock
from llm_action.modeling.skeleton_sequence import SKELETON, SkeletonSequence
from llm_action.skeleton_io import read_skeleton
from llm_action.skeleton_io.signals import read_signal

from .benchmark import Sense


def table_features(labels: Sequence[str], protocols: Sequence[str], senses: Iterable[str] = ()) -> Features:
    """Names the columns of every data set.

    These are name, label, subject, camera, layout, fps (frames per second), shape (persons, frames, joints, channels),
    joints (flattened, NaN where missing), one a protocol with "train", "test" or "", and one a further sense: its
    values (flattened) while the skeleton is seen, and their shape (samples, channels), both empty where there are none.
    """
    signal = {"values": ListOf(Value("float32")), "shape": ListOf(Value("int32"))}
    return Features(
        name=Value("string"),
        label=ClassLabel(names=list(labels)),
        subject=Value("int32"),
        camera=Value("int32"),
        layout=Value("string"),
        fps=Value("float32"),
        shape=ListOf(Value("int32")),
        joints=ListOf(Value("float32")),
        **{protocol: Value("string") for protocol in protocols},
        **dict.fromkeys(senses, signal),
    )


def sequence_to_row(
    sequence: SkeletonSequence,
    name: str,
    label: int,
    subject: int,
    camera: int,
    splits: Mapping[str, str],
    signals: Mapping[str, SignalSequence | None] = MappingProxyType({}),
) -> dict[str, Any]:
    """Makes one row of the table.

    Args:
        splits: "train", "test" or "" for every protocol.
        signals: of the further senses, None where a recording lacks one; brought onto the skeleton's clock.

    Raises:
        ValueError: a signal that has no time in common with the skeleton.
    """
    return {
        "name": name,
        "label": label,
        "subject": subject,
        "camera": camera,
        "layout": sequence.layout,
        "fps": sequence.fps,
        "shape": list(sequence.joints.shape),
        "joints": sequence.joints.ravel(),
        **splits,
        **{sense: _signal_column(signal, sequence) for sense, signal in signals.items()},
    }


def _signal_column(signal: SignalSequence | None, sequence: SkeletonSequence) -> dict[str, Any]:
    if signal is None:
        return {"values": [], "shape": []}
    values = on_skeleton_clock(signal, sequence)
    return {"values": values.ravel(), "shape": list(values.shape)}


def row_to_signal(row: Mapping[str, Any], sense: str) -> np.ndarray | None:
    """Reads the values (samples, channels) of a row's further sense; None where the recording lacks it.

    Raises:
        ValueError: the table has no such column.
    """
    if sense not in row:
        raise ValueError(f"expected a column {sense!r}, found {', '.join(row)}; prepare the data with this sense")
    column = row[sense]
    if column is None or not len(column["shape"]):
        return None
    shape = tuple(int(size) for size in column["shape"])
    return np.asarray(column["values"], np.float32).reshape(shape)


def row_to_senses(row: Mapping[str, Any], senses: Iterable[str]) -> dict[str, Any]:
    """Reads of a row what is there of some senses, "skeleton" among them, as the pipeline takes it."""
    signals = {sense: row_to_signal(row, sense) for sense in senses if sense != SKELETON}
    skeleton = {SKELETON: row_to_sequence(row)} if SKELETON in senses else {}
    return {**skeleton, **{sense: values for sense, values in signals.items() if values is not None}}


def read_signals(paths: Mapping[str, str | None], senses: Mapping[str, Sense]) -> dict[str, SignalSequence | None]:
    """Reads the files of the further senses of one recording, with the channels that the data set has.

    Raises:
        FileNotFoundError, ValueError: see `read_signal`; other channels.
    """
    signals: dict[str, SignalSequence | None] = {}
    for name, sense in senses.items():
        path = paths.get(name)
        signals[name] = signal = read_signal(path) if path else None
        if signal is not None:
            signal.values, signal.channels = signal.with_channels(sense.channels), sense.channels
    return signals


def row_to_sequence(row: Mapping[str, Any]) -> SkeletonSequence:
    """Reads the SkeletonSequence of a row, whatever format the dataset was set to (lists, numpy, torch).

    Raises:
        ValueError: the row lacks a column, or its joints do not fill its shape.
    """
    absent = [column for column in ("joints", "shape", "layout") if column not in row]
    if absent:
        raise ValueError(
            f"expected a row with columns joints, shape and layout, found {', '.join(row)}; "
            f"keep column {', '.join(absent)} when selecting columns"
        )
    name, fps = str(row.get("name", "")), row.get("fps")
    joints, shape = np.asarray(row["joints"], dtype=np.float32), tuple(int(size) for size in row["shape"])
    if joints.size != np.prod(shape):
        raise ValueError(f"{name}: expected {np.prod(shape)} numbers for shape {shape}, found {joints.size}")
    fps = None if fps is None or np.isnan(float(fps)) else float(fps)
    return SkeletonSequence(joints.reshape(shape), str(row["layout"]), fps, name=name)


def build_table(
    files: Iterable[tuple[Path, dict[str, Any]]],
    labels: Sequence[str],
    protocols: Sequence[str],
    title: str,
    senses: Mapping[str, Sense] = MappingProxyType({}),
) -> Dataset:
    """Reads every file into one table, in memory.

    Args:
        files: (path, arguments of `sequence_to_row` after the sequence) of every sequence.
        labels: class names, in label order.
        protocols: names of the protocol columns.
        title: what the progress bar says.
        senses: further senses, whose files are the entry signals of the arguments.

    Raises:
        ValueError: a file that cannot be read; it is named.
    """
    features = table_features(labels, protocols, senses)
    progress = ProgressBar(list(files), desc=title, unit="seq", disable=None)
    rows = []
    for path, about in progress:
        signals = read_signals(about.get("signals", {}), senses)
        rows.append(sequence_to_row(read_skeleton(path), **{**about, "signals": signals}))
    return Dataset.from_dict({column: [row[column] for row in rows] for column in features}, features=features)
