"""What all readers share: error texts, text and JSON from disk, and the step from an array to a SkeletonSequence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_layouts import LAYOUTS, layouts_with
from llm_action.modeling.skeleton_sequence import SkeletonSequence


def bad_file(path: Path, expected: str, found: str, remedy: str) -> ValueError:
    """The error of every reader: the file, what was expected, what came, what to do."""
    return ValueError(f"{path}: expected {expected}, found {found}; {remedy}")


def read_text(path: Path) -> str:
    """The file as text; ValueError when it is binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise bad_file(path, "a text file", "binary data", "check that the suffix fits the format") from None


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise bad_file(path, "JSON", f"broken JSON ({error})", "the file is likely cut short: fetch it again") from None


def parse_rows(path: Path, lines: list[str], expected: str) -> np.ndarray:
    """(rows, columns) float64 of lines of numbers; ValueError when a line has no numbers or another column count."""
    if not any(line.strip() for line in lines):
        raise bad_file(path, expected, "no lines", "the file is likely cut short or damaged: fetch it again")
    try:
        return np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
    except ValueError as error:
        remedy = "the file is likely cut short or damaged: fetch it again"
        raise bad_file(path, expected, str(error).partition(";")[0], remedy) from None


def zeros_to_nan(joints: np.ndarray) -> np.ndarray:
    """A joint with all coordinates exactly zero lies in the camera itself: the field's mark for a missing joint."""
    missing = np.logical_and.reduce([joints[..., channel] == 0 for channel in range(joints.shape[-1])])
    return np.where(missing[..., None], np.nan, joints)


def layout_for(path: Path, num_joints: int, layout: str | None) -> str:
    """The layout given, else the only one with that joint count; ValueError when none or several have it."""
    if layout is not None:
        return layout
    fitting = layouts_with(num_joints)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        remedy = f"pass layout= one of {', '.join(fitting)}"
        raise bad_file(path, "a known layout", f"{num_joints} joints, which fit several layouts", remedy)
    known = ", ".join(f"{known.name} ({known.num_joints})" for known in LAYOUTS.values())
    remedy = f"known layouts and their joint counts: {known}; check the axes, which must be (..., joints, channels)"
    raise bad_file(path, "a known layout", f"{num_joints} joints", remedy)


def build_sequence(
    path: Path,
    joints: np.ndarray,
    layout: str,
    fps: float | None = None,
    scores: np.ndarray | None = None,
    name: str | None = None,
) -> SkeletonSequence:
    """SkeletonSequence named after the file; its complaints come back with the file's path."""
    try:
        sequence = SkeletonSequence(joints, layout, fps, scores)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    sequence.name = path.stem if name is None else name
    return sequence
