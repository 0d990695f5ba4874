"""`.npy` and `.npz` arrays: the way in for any other skeleton source, and the way out of this package."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, build_sequence, layout_for


def read_npy(path: Path, layout: str | None = None) -> SkeletonSequence:
    """Read a `.npy` array of joints.

    Args:
        path: file with an array (frames, joints, 2 or 3) or (persons, frames, joints, 2 or 3); 3D in metres with y up,
            2D in pixels, NaN where a joint is missing.
        layout: the array's layout; may be left out when only one layout has that joint count.

    Raises:
        ValueError: not an array file, pickled objects, or a shape that fits no layout.
    """
    return _sequence(path, _load(path), layout)


def read_npz(path: Path, layout: str | None = None) -> SkeletonSequence:
    """Read a `.npz` archive: `joints` (shaped as in `read_npy`) and, where given, `layout`, `fps` and `scores`.

    Raises:
        ValueError: not an archive, pickled objects, no `joints`, or contents that do not fit each other.
    """
    arrays = _load(path)
    if "joints" not in arrays:
        found = ", ".join(arrays) or "nothing"
        raise bad_file(path, "an array named 'joints'", found, "save with np.savez(path, joints=...) or write_npz")
    own_layout = str(arrays["layout"]) if "layout" in arrays else None
    if layout is not None and own_layout not in (None, layout):
        raise bad_file(path, f"layout {layout!r}", f"layout {own_layout!r} in the file", "leave layout out")
    fps = arrays.get("fps")
    if fps is not None and (fps.size != 1 or not np.issubdtype(fps.dtype, np.number)):
        raise bad_file(path, "one number as 'fps'", f"{fps.dtype} {fps.shape}", "save a number or leave it out")
    fps = None if fps is None else float(fps.reshape(()))
    return _sequence(path, arrays["joints"], layout or own_layout, fps, arrays.get("scores"))


def write_npz(sequence: SkeletonSequence, path: str | os.PathLike[str]) -> None:
    """Write a sequence as a compressed `.npz` that `read_npz` reads back; the file appears whole or not at all.

    Raises:
        ValueError: the path does not end in `.npz`.
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: expected a path ending in .npz, found {path.suffix!r}; change the suffix")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: folder {path.parent} does not exist; create it first")
    arrays: dict[str, Any] = {"joints": sequence.joints, "layout": np.array(sequence.layout)}
    if sequence.fps is not None:
        arrays["fps"] = np.array(sequence.fps)
    if sequence.scores is not None:
        arrays["scores"] = sequence.scores
    handle, unfinished = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def _load(path: Path):
    """The array of a `.npy`, or the arrays of a `.npz` by name; never unpickles."""
    expected = "an array" if path.suffix.lower() == ".npy" else "an archive of arrays"
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray) == (path.suffix.lower() == ".npy"):
            if isinstance(content, np.ndarray):
                return content
            with content:
                return {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        remedy = "save plain numbers with np.save or np.savez; pickled objects are not read"
        raise bad_file(path, f"{expected} saved by numpy", str(error), remedy) from None
    raise bad_file(path, expected, "the other kind of numpy file", "rename it to .npy or .npz")


def _sequence(
    path: Path, joints: np.ndarray, layout: str | None, fps: float | None = None, scores: np.ndarray | None = None
) -> SkeletonSequence:
    if joints.ndim not in (3, 4) or not np.issubdtype(joints.dtype, np.number):
        expected = "numbers of shape (frames, joints, 2 or 3) or (persons, frames, joints, 2 or 3)"
        raise bad_file(path, expected, f"{joints.dtype} of shape {joints.shape}", "transpose or reshape the array")
    return build_sequence(path, joints, layout_for(path, joints.shape[-2], layout), fps, scores)
