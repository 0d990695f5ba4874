"""Reads a recording for a table: without noise bodies, surplus persons and gaps in the tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_action.modeling.skeleton_cleaning import drop_noise_bodies, fill_missing, primary_persons
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import read_clip, read_skeleton

from .annotations import Span, cut


@dataclass(frozen=True)
class Cleaning:
    """How files are read and cleaned.

    Args:
        max_persons: the persons who move most are kept, default 2.
        layout: joint layout of files that do not say theirs.
        fps: frames per second of files that do not say theirs.
        conventions: what else files do not say, as `read_skeleton` takes it.
    """

    max_persons: int = 2
    layout: str | None = None
    fps: float | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)

    def read(self, path: Path, clip: int | None = None, span: Span | None = None) -> SkeletonSequence:
        """Reads a sequence without noise bodies, surplus persons and tracking gaps.

        Args:
            clip: number of a clip in a file of many.
            span: of a long recording, what is cut out of it.
        """
        if clip is not None:
            sequence = read_clip(path, clip, self.layout, self.fps, **self.conventions)
        elif span is not None:
            sequence = cut(_long_recording(path, self), span)
        else:
            sequence = read_skeleton(path, self.layout, self.fps, **self.conventions)
        persons = primary_persons(drop_noise_bodies(sequence.joints), self.max_persons)
        joints = fill_missing(persons, get_layout(sequence.layout).parents)
        first = sequence.first_frame
        return SkeletonSequence(joints, sequence.layout, sequence.fps, name=sequence.name, first_frame=first)


_long: dict[Any, SkeletonSequence] = {}


def _long_recording(path: Path, cleaning: Cleaning) -> SkeletonSequence:
    """A recording that many clips are cut from, kept until another one is asked for."""
    key = (path, repr(cleaning))
    if key not in _long:
        _long.clear()
        _long[key] = read_skeleton(path, cleaning.layout, cleaning.fps, **cleaning.conventions)
    return _long[key]
