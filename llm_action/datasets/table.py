"""One Arrow table for all data sets: one row a sequence, one column a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf

from llm_action.config.progress import ProgressBar
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import read_skeleton


def table_features(labels: Sequence[str], protocols: Sequence[str]) -> Features:
    """Names the columns of every data set.

    These are name, label, subject, camera, layout, fps (frames per second), shape (persons, frames, joints, channels),
    joints (flattened, NaN where missing), and one a protocol with "train", "test" or "".
    """
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
    )


def sequence_to_row(
    sequence: SkeletonSequence, name: str, label: int, subject: int, camera: int, splits: Mapping[str, str]
) -> dict[str, Any]:
    """Makes one row of the table; `splits` says "train", "test" or "" for every protocol."""
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
    }


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
    files: Iterable[tuple[Path, dict[str, Any]]], labels: Sequence[str], protocols: Sequence[str], title: str
) -> Dataset:
    """Reads every file into one table, in memory.

    Args:
        files: (path, arguments of `sequence_to_row` after the sequence) of every sequence.
        labels: class names, in label order.
        protocols: names of the protocol columns.
        title: what the progress bar says.

    Raises:
        ValueError: a file that cannot be read; it is named.
    """
    features = table_features(labels, protocols)
    progress = ProgressBar(list(files), desc=title, unit="seq", disable=None)
    rows = [sequence_to_row(read_skeleton(path), **about) for path, about in progress]
    return Dataset.from_dict({column: [row[column] for row in rows] for column in features}, features=features)
