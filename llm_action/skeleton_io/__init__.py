"""Skeleton files of many formats, one reader a format, all in one convention.

3D coordinates leave every reader as metres with y up and z away from the camera; the axes are right-handed, so x grows
to the camera's left and a person who faces the camera has the right hand at the larger x. That is the Kinect's own
frame: no file needs a transform. Left and right are the person's own. 2D coordinates are pixels, y down.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, read_json, read_text
from .msr_action3d import read_msr_action3d
from .ntu import read_ntu
from .numpy_files import read_npy, read_npz, write_npz
from .nw_ucla import read_nw_ucla
from .pyskl import read_pyskl, read_single_pyskl
from .smarthome import read_smarthome
from .utd_mhad import read_utd_mhad

__all__ = [
    "SKELETON_SUFFIXES",
    "read_msr_action3d",
    "read_npy",
    "read_npz",
    "read_ntu",
    "read_nw_ucla",
    "read_pyskl",
    "read_skeleton",
    "read_smarthome",
    "read_utd_mhad",
    "write_npz",
]


def read_skeleton(
    path: str | os.PathLike[str], layout: str | None = None, fps: float | None = None
) -> SkeletonSequence:
    """Read one skeleton file; suffix and content choose the format.

    Args:
        path: `.skeleton` (NTU RGB+D), `.txt` (MSR-Action3D or UAV-Human), `.mat` (UTD-MHAD), `.json` (NW-UCLA or Toyota
            Smarthome), `.npy` / `.npz` (arrays), `.pkl` / `.pickle` (pyskl, mmaction2) with a single annotation.
        layout: name of the layout the joints are in; needed for arrays whose joint count fits several layouts. For
            formats with a layout of their own it may only repeat that.
        fps: frames per second; overrides what the format says.

    Returns:
        SkeletonSequence with joints (persons, frames, joints, 2 or 3), NaN where a joint is missing; `name` is the
        file's stem.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown suffix or layout, or a file that is not what its suffix says; names file and remedy.
    """
    path = Path(path)
    if layout is not None:
        get_layout(layout)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such skeleton file; check the path")
    if not path.is_file():
        raise bad_file(path, "a skeleton file", "a folder", "pass the path of one file")
    if path.suffix.lower() not in _READERS:
        known = ", ".join(SKELETON_SUFFIXES)
        found = f"suffix {path.suffix!r}"
        raise bad_file(path, f"one of {known}", found, "save the joints as .npz (write_npz) or rename the file")
    if path.stat().st_size == 0:
        raise bad_file(path, "a skeleton file", "an empty file", "fetch it again or leave it out")
    sequence = _READERS[path.suffix.lower()](path, layout)
    if layout not in (None, sequence.layout):
        expected = f"layout {sequence.layout!r}, which this format always has"
        raise bad_file(path, expected, f"layout={layout!r}", "leave layout out and convert with .to_layout(...)")
    return sequence if fps is None else replace(sequence, fps=fps)


def _read_txt(path: Path, layout: str | None) -> SkeletonSequence:
    """A lone count in the first line is the NTU format (UAV-Human), a row of numbers is MSR-Action3D."""
    first = read_text(path).lstrip().partition("\n")[0]
    return read_ntu(path) if len(first.split()) == 1 else read_msr_action3d(path)


def _read_json(path: Path, layout: str | None) -> SkeletonSequence:
    content = read_json(path)
    if isinstance(content, dict) and "skeletons" in content:
        return read_nw_ucla(path, content)
    if isinstance(content, dict) and "frames" in content:
        return read_smarthome(path, content)
    found = f"keys {sorted(content)[:5]}" if isinstance(content, dict) else type(content).__name__
    expected = "an object with 'skeletons' (NW-UCLA) or 'frames' (Toyota Smarthome)"
    raise bad_file(path, expected, found, "save other skeletons as .npz (write_npz)")


_READERS: dict[str, Callable[[Path, str | None], SkeletonSequence]] = {
    ".skeleton": lambda path, layout: read_ntu(path),
    ".txt": _read_txt,
    ".mat": lambda path, layout: read_utd_mhad(path),
    ".json": _read_json,
    ".npy": read_npy,
    ".npz": read_npz,
    ".pkl": read_single_pyskl,
    ".pickle": read_single_pyskl,
}
SKELETON_SUFFIXES = tuple(_READERS)
