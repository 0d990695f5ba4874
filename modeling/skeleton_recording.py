"""The one door for recordings: joints as somebody wrote them down, what is known of them, and the way to a sequence.

Files, arrays, mappings and streams all come this way. A reader says what its format says, a caller may say more; what
nobody says is inferred (`recording_conventions`), and what was inferred or doubted is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np

from .recording_conventions import infer_conventions
from .recording_directions import parse_image_size
from .skeleton_layouts import LAYOUTS, get_layout, layouts_with
from .skeleton_sequence import SkeletonSequence

# What a caller may say about a recording, beside layout and fps.
CONVENTIONS = ("axes", "up", "unit", "mirrored", "missing", "image_size")


class RecordingWarning(UserWarning):
    """A recording may not be what it is taken for."""


@dataclass(eq=False)
class SkeletonRecording:
    """Joints as they were written, and what is known about them; None is not known and inferred.

    Attributes:
        joints: numbers with axes as `axes` says; NaN or all-zero where a joint is missing.
        layout: the joints' layout.
        up: the direction that points up, one of "x", "-x", "y", "-y", "z", "-z".
        unit: in 3-D "m", "cm", "mm" or "in". In 2-D "px" or "image" (shares of the image's width and height).
        mirrored: whether the axes of a 3-D recording are left-handed (Unity, Unreal).
        fps: frames per second.
        scores: (persons, frames, joints) confidence 0..1.
        missing: a number that marks a missing joint, beside NaN and all-zero joints.
        image_size: (width, height) of the image; only their ratio counts.
        axes: the order of the joints' axes, a letter each, see `Conventions`; default persons, frames, joints,
            channels.
        name: file or sample name.
        notes: sentences on what was inferred or converted so far.
        doubts: sentences on what may be wrong with it, so far.
    """

    joints: np.ndarray
    layout: str | None = None
    up: str | None = None
    unit: str | None = None
    mirrored: bool | None = None
    fps: float | None = None
    scores: np.ndarray | None = None
    missing: float | None = None
    image_size: tuple[float, float] | None = None
    axes: str | None = "MTVC"
    name: str = ""
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def to_sequence(self) -> SkeletonSequence:
        """The recording in the package's convention: y up, metres, right-handed axes, NaN for missing joints.

        Warns with a `RecordingWarning`, once a recording, where it may be another thing than it is taken for.

        Raises:
            ValueError: a value that is not one of those above, or joints that form no body; says what to pass.
        """
        found = infer_conventions(
            self.joints,
            LAYOUTS,
            layout=self.layout,
            axes=self.axes,
            up=self.up,
            unit=self.unit,
            image_size=self.image_size,
            missing=self.missing,
            mirrored=self.mirrored,
            scores=self.scores,
        )
        if found.joints is None or found.conventions is None:
            raise ValueError(found.refusal)
        doubts = (*self.doubts, *found.warnings)
        if doubts:
            warn(self.name, doubts)
        notes = (*self.notes, *found.notes, *doubts)
        sequence = SkeletonSequence(found.joints, found.conventions.layout, self.fps, found.scores, notes=notes)
        sequence.name = self.name
        return sequence


def warn(name: str, doubts: tuple[str, ...]) -> None:
    """One `RecordingWarning` with all that is doubtful about a recording."""
    warnings.warn(f"{name or 'this recording'}: {' '.join(doubts)}", RecordingWarning, stacklevel=3)


def recording_from_array(array: Any, layout: Any = None, axes: str | None = None, **known: Any) -> SkeletonRecording:
    """An array of joints with what is known of it.

    Args:
        array: numbers with axes in any order, for example (frames, joints, 2 or 3), (persons, frames, joints, 2 or 3),
            or (frames, joints * channels), one row a frame. A fourth channel is a score.
        layout: as `get_layout` takes it; not known: the one whose bones fit.
        axes: the order of the axes, a letter each: M persons, T frames, V joints, C channels; for example "CTVM".
        known: further fields of `SkeletonRecording`.

    Raises:
        ValueError: no numbers, a layout or a size of an image that is none.
    """
    joints = _numbers(array)
    if joints is None:
        raise ValueError(f"expected numbers, got {type(array).__name__}: {array!r:.80}")
    known["image_size"] = parse_image_size(known.get("image_size"))
    name = None if layout is None else get_layout(layout).name
    return SkeletonRecording(joints, name, axes=axes, **known)


def recording_from_mapping(row: Mapping[str, Any], layout: Any = None, **known: Any) -> SkeletonRecording:
    """A mapping with the key joints and, where known, layout, fps, scores, name and `CONVENTIONS`.

    Args:
        row: the mapping.
        layout, known: what the caller says; it counts before what the mapping says.

    Raises:
        ValueError: no joints.
    """
    if "joints" not in row:
        raise ValueError(
            f"Expected a mapping with the key joints (and if known layout ...), got the keys {sorted(row)}."
        )
    said = {key: row[key] for key in ("fps", "scores", "name", *CONVENTIONS) if row.get(key) is not None}
    said |= {key: value for key, value in known.items() if value is not None}
    if np.isnan(float(said.get("fps", 1))):  # a table's missing value
        said["fps"] = None
    return recording_from_array(row["joints"], layout if layout is not None else row.get("layout"), **said)


def recording_of(given: Any, layout: Any = None, **known: Any) -> SkeletonSequence:
    """A recording in memory as a `SkeletonSequence`: one already, a `SkeletonRecording`, a mapping, numbers.

    Args:
        given: see there; a tensor and nested lists are numbers, too.
        layout, known: what the caller says of a mapping or of numbers, as `SkeletonRecording` has it.

    Raises:
        ValueError: something else; joints that form no body.
    """
    if hasattr(given, "to_layout"):  # duck-typed: hub code has a class of its own
        return given
    if hasattr(given, "to_sequence"):
        return given.to_sequence()
    if isinstance(given, Mapping):
        return recording_from_mapping(given, layout, **known).to_sequence()
    if hasattr(given, "detach"):  # a tensor
        given = given.detach().float().cpu().numpy()
    array = _numbers(given)
    if array is None or array.dtype == bool or array.ndim < 2:
        raise ValueError(
            "Expected a recording: a SkeletonSequence, a mapping with joints, a numeric array, or, where files are "
            f"read, a path; got {given!r:.80}."
        )
    return recording_from_array(array, layout, **known).to_sequence()


def _numbers(given: Any) -> np.ndarray | None:
    """An array of numbers, NaN for None; None where it is something else, as lists of unequal lengths are."""
    try:
        array = np.asarray(given)
        if array.dtype == object:
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        return None
    return array if np.issubdtype(array.dtype, np.number) or array.dtype == bool else None


def is_several(skeletons: Any) -> bool:
    """Whether an input is a collection (list, generator, data-set column ...) of sequences rather than one of them."""
    if isinstance(skeletons, (list, tuple)):
        first, depth = skeletons, 0
        while isinstance(first, (list, tuple)) and first:
            first, depth = first[0], depth + 1
        of_numbers = isinstance(first, Number) or (first is None and depth > 1)
        return not of_numbers  # else one array, written as nested lists
    one = isinstance(skeletons, (str, Path, Mapping, np.ndarray))
    one = one or hasattr(skeletons, "detach") or hasattr(skeletons, "joints")  # a tensor, a sequence of any class
    one = one or (hasattr(skeletons, "to_numpy") and len(skeletons.shape) > 1)  # a data frame
    return not one and (hasattr(skeletons, "__iter__") or hasattr(skeletons, "__getitem__"))


def layout_for(num_joints: int, layout: Any = None) -> str:
    """The name of the layout given, else of the only one with that joint count.

    Raises:
        ValueError: none or several layouts have it; the message names them and what to pass.
    """
    if layout is not None:
        return get_layout(layout).name
    fitting = layouts_with(num_joints)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"expected a known layout, found {num_joints} joints, which fit several layouts; "
            f"pass layout= one of {', '.join(fitting)}"
        )
    known = ", ".join(f"{known.name} ({known.num_joints})" for known in LAYOUTS.values())
    raise ValueError(
        f"expected a known layout, found {num_joints} joints; known layouts and their joint counts: {known}; check the "
        "axes, which must be (..., joints, channels), or pass layout= the JSON of a layout of your own"
    )
