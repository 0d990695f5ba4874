"""Skeleton files of many formats, one reader a family, all in one convention; README.md has the table.

3D coordinates leave every reader as metres with y up, NaN where a joint is missing; the axes are right-handed. Where
the camera is known, z points away from it and x to its left (the Kinect's own frame), so a person who faces the camera
has the right hand at the larger x. Left and right are the person's own. 2D coordinates are pixels, y down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import naming
from .formats import SKELETON_SUFFIXES, clips, holds_clips, is_recording_folder, recording
from .msrc12 import read_action_points
from .numpy_files import write_npz
from .options import ReadOptions

__all__ = [
    "SKELETON_SUFFIXES",
    "Clip",
    "ReadOptions",
    "clip_list",
    "is_recording_folder",
    "read_action_points",
    "read_clip",
    "read_clips",
    "read_skeleton",
    "recordings_in",
    "write_npz",
]


class Clip(NamedTuple):
    """One recording of a file that may hold many: sequence, label (None when it has none), names of its splits."""

    sequence: SkeletonSequence
    label: int | str | None
    splits: tuple[str, ...]


def read_skeleton(
    path: str | os.PathLike[str], layout: Any = None, fps: float | None = None, **options: Any
) -> SkeletonSequence:
    """Read one recording; what is in the file (or folder) chooses the format.

    Args:
        path: a file, or a folder where the format is one (OpenPose, Ultralytics labels).
        layout: name of the layout the joints are in, or a layout of one's own (the path of a JSON, a mapping); needed
            for arrays whose joint count fits several layouts. For formats with a layout of their own it may only
            repeat that.
        fps: frames per second; overrides what the format says.
        options: further fields of `ReadOptions`: up, unit, mirrored, axes, missing, image_size, columns.

    Returns:
        SkeletonSequence with joints (persons, frames, joints, 2 or 3), NaN where a joint is missing; `name` is the
        file's stem, `notes` say what was inferred or converted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file of no known format, a damaged one, or one that needs an option; names file and remedy.
    """
    path = Path(path)
    said = ReadOptions(layout, fps, **options)
    with naming(path):
        return said.applied(recording(path, said), path).to_sequence()


def read_clips(
    path: str | os.PathLike[str],
    layout: Any = None,
    fps: float | None = None,
    dropped: list[tuple[str, str]] | None = None,
    **options: Any,
) -> Iterator[Clip]:
    """The recordings of a file, one after the other: of a pyskl pickle or an NTU conversion all, of other files one.

    Args:
        path, layout, fps, options: as in `read_skeleton`.
        dropped: a list that takes (name, what is wrong) of clips that cannot be used; without one they are errors.

    Raises:
        FileNotFoundError, ValueError: as `read_skeleton`.
    """
    path = Path(path)
    said = ReadOptions(layout, fps, **options)
    for number, (found, label, splits) in enumerate(clips(path, said)):
        name = getattr(found, "name", "")
        one_of_many = name or isinstance(found, ValueError)
        try:
            with naming(f"{path}: clip {number}" if one_of_many else path):
                if isinstance(found, ValueError):
                    raise found
                sequence = said.applied(found, path).to_sequence()
        except ValueError as error:
            if dropped is None:
                raise
            dropped.append((name or f"clip {number}", str(error)))
        else:
            yield Clip(sequence, label, splits)


def clip_list(
    path: str | os.PathLike[str], layout: Any = None, **options: Any
) -> list[tuple[str, Any, tuple[str, ...]]]:
    """(name, label, splits) of every clip of a file that holds many; empty of a file that is one recording.

    Raises:
        FileNotFoundError, ValueError: as `read_skeleton`.
    """
    with naming(Path(path)):
        if not holds_clips(Path(path)):
            return []
        found = _all_clips(Path(path), ReadOptions(layout, None, **options))
    return [
        (getattr(one, "name", "") or f"clip {number}", label, splits)
        for number, (one, label, splits) in enumerate(found)
    ]


def read_clip(
    path: str | os.PathLike[str], number: int, layout: Any = None, fps: float | None = None, **options: Any
) -> SkeletonSequence:
    """One clip by number of a file that holds many, which is kept in memory until another one is asked for.

    Raises:
        FileNotFoundError, ValueError: as `read_skeleton`.
    """
    path, said = Path(path), ReadOptions(layout, fps, **options)
    with naming(f"{path}: clip {number}"):
        found = _all_clips(path, said)[number][0]
        if isinstance(found, ValueError):
            raise found
        return said.applied(found, path).to_sequence()


_kept: dict[Any, list[Any]] = {}


def _all_clips(path: Path, said: ReadOptions) -> list[Any]:
    key = (path, path.stat().st_mtime_ns, repr(said))
    if key not in _kept:
        _kept.clear()
        _kept[key] = list(clips(path, said))
    return _kept[key]


def recordings_in(folder: str | os.PathLike[str]) -> list[Path]:
    """All that could be recordings below a folder, sorted: files by suffix, and folders that are one recording."""
    found: list[Path] = []
    for path in sorted(Path(folder).iterdir()):
        if path.is_dir():
            found += [path] if is_recording_folder(path) else recordings_in(path)
        elif path.suffix.lower() in SKELETON_SUFFIXES:
            found.append(path)
    return found
