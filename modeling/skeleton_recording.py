"""Joints as somebody wrote them down, what is known about the numbers, and the way from there to a SkeletonSequence.

Every way in (file, array, mapping) ends here: a reader says what its format says, a caller may say more, and
`SkeletonRecording.to_sequence` turns the axes, scales the unit and names what it did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .skeleton_layouts import LAYOUTS, get_layout, layouts_with
from .skeleton_sequence import SkeletonSequence

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
# Rows of the rotation that turns a direction into y; never a mirror image. z stays where it can.
_UPRIGHT = {
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-y": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}


@dataclass(eq=False)
class SkeletonRecording:
    """Joints as they were written, and what is known about them; None is not known.

    Attributes:
        joints: (persons, frames, joints, 2 or 3); NaN or all-zero where a joint is missing.
        layout: the joints' layout.
        up: the direction that points up, one of "x", "-x", "y", "-y", "z", "-z". Not known: y in 3-D, -y in images.
        unit: in 3-D "m", "cm", "mm" or "in", not known: metres. In 2-D "px" or "image" (shares of the image's width and
            height); not known: pixels.
        left_handed: whether the axes of a 3-D recording are left-handed (Unity, Unreal). Default False.
        fps: frames per second.
        scores: (persons, frames, joints) confidence 0..1.
        missing: a number that marks a missing joint, beside NaN and all-zero joints.
        image_size: (width, height) of the image; only their ratio counts.
        name: file or sample name.
        notes: sentences on what was inferred or converted so far.
    """

    joints: np.ndarray
    layout: str | None = None
    up: str | None = None
    unit: str | None = None
    left_handed: bool = False
    fps: float | None = None
    scores: np.ndarray | None = None
    missing: float | None = None
    image_size: tuple[float, float] | None = None
    name: str = ""
    notes: list[str] = field(default_factory=list)

    def to_sequence(self) -> SkeletonSequence:
        """The recording in the package's convention: y up, metres, right-handed axes, NaN for missing joints.

        Raises:
            ValueError: a value that is not one of those above, shares of an image of unknown size, joints that do not
                fit the layout, or nobody seen.
        """
        joints, notes = np.array(self.joints, np.float32), list(self.notes)
        if self.missing is not None:
            joints[(joints == self.missing).all(axis=-1)] = np.nan
            notes.append(f"joints at {self.missing:g} are missing")
        if self.up not in (None, *_UPRIGHT):
            raise ValueError(f"expected up as one of {', '.join(_UPRIGHT)}, got {self.up!r}")
        joints = self._in_space(joints, notes) if joints.shape[-1] == 3 else self._in_image(joints, notes)
        layout = layout_for(joints.shape[-2], self.layout)
        sequence = SkeletonSequence(joints, layout, self.fps, self.scores, notes=tuple(notes))
        sequence.name = self.name
        return sequence

    def _in_space(self, joints: np.ndarray, notes: list[str]) -> np.ndarray:
        unit = self.unit or "m"
        if unit not in UNITS:
            raise ValueError(f"expected unit of 3-D joints as one of {', '.join(UNITS)}, got {unit!r}")
        if UNITS[unit] != 1:
            joints = joints * np.float32(UNITS[unit])
            notes.append(f"coordinates were in {unit}: converted to metres")
        if self.left_handed:
            joints = joints * np.array([1, 1, -1], np.float32)
            notes.append("axes were left-handed: z is turned over")
        if self.up in (None, "y"):
            return joints
        notes.append(f"{self.up} pointed up: turned so that y does")
        return joints @ np.array(_UPRIGHT[self.up], np.float32).T

    def _in_image(self, joints: np.ndarray, notes: list[str]) -> np.ndarray:
        if self.unit not in (None, "px", "image"):
            raise ValueError(f"expected unit of 2-D joints as px or image, got {self.unit!r}")
        if self.unit == "image":
            joints = joints * np.array(_known_size(self.image_size), np.float32)
            notes.append("coordinates were shares of the image: converted to pixels")
        if self.up == "y":
            joints = joints * np.array([1, -1], np.float32)
            notes.append("y pointed up in the image: turned over")
        return joints


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


def parse_image_size(size: Any) -> tuple[float, float] | None:
    """(width, height) of an image given as a pair, as "1920x1080", or as width / height; ValueError otherwise."""
    if size is None:
        return None
    try:
        if isinstance(size, str):
            size = [float(number) for number in re.split(r"[x*,:/ ]+", size.strip().lower())]
        values = [float(number) for number in (size if isinstance(size, (tuple, list, np.ndarray)) else [size])]
    except (TypeError, ValueError):
        values = []
    values = [*values, 1.0] if len(values) == 1 else values
    if len(values) != 2 or not all(np.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"expected image_size as (width, height) or '1920x1080', got {size!r}")
    return values[0], values[1]


def _known_size(size: tuple[float, float] | None) -> tuple[float, float]:
    if size is None:
        raise ValueError(
            "expected the image's size, because x and y are shares of its width and height and would be drawn out "
            "unevenly; pass image_size=(width, height) of the video"
        )
    return size


def recording_from_array(array: np.ndarray, axes: str | None = None, **known: Any) -> SkeletonRecording:
    """What an array of joints is known to be.

    Args:
        array: (frames, joints, channels) or (persons, frames, joints, channels); or (frames, joints * channels), one
            row a frame, as scripts save it. Channels are x y, x y z, or x y z and a score 0..1.
        axes: the order of the axes where it is another, a letter each: M persons, T frames, V joints, C channels; for
            example "CTVM".
        known: further fields of `SkeletonRecording`.

    Raises:
        ValueError: no numbers, axes that do not fit, or a shape that cannot be joints.
    """
    array = np.asarray(array)
    expected = "expected numbers of shape (frames, joints, 2 or 3) or (persons, frames, joints, 2 or 3)"
    remedy = "transpose or reshape the array, or pass axes= (for example 'CTVM': channels, frames, joints, persons)"
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise ValueError(f"{expected}, found {array.dtype} of shape {array.shape}; {remedy}")
    given = array.shape
    if axes is not None:
        array = _ordered(array, axes)
    elif array.ndim == 2 and (columns := _row_of_joints(array.shape[1], known.get("layout"))) is not None:
        array = array.reshape(len(array), *columns)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        raise ValueError(f"{expected}, found {array.dtype} of shape {given}; {remedy}")
    array = array.astype(np.float32)
    if array.shape[3] == 4:
        seen = array[..., 3][(array[..., :3] != 0).any(axis=-1)]
        if known.get("scores") is None and seen.size and np.nanmin(seen) >= 0 and np.nanmax(seen) <= 1:
            known["scores"], array = array[..., 3], array[..., :3]
            known["notes"] = [*known.get("notes", ()), "the fourth channel was taken for the joints' scores"]
    if array.shape[3] not in (2, 3):
        raise ValueError(f"{expected}, found {array.dtype} of shape {given}; {remedy}")
    if known.get("scores") is not None:
        scores = np.asarray(known["scores"])
        known["scores"] = scores[None] if scores.ndim == 2 else scores
    recording = SkeletonRecording(array, **known)
    recording.layout = layout_for(array.shape[2], recording.layout)
    if recording.layout == "mediapipe33" and recording.up is None and recording.unit is None:
        recognise_mediapipe(recording)
    return recording


def _ordered(array: np.ndarray, axes: str) -> np.ndarray:
    """The array with its axes as persons, frames, joints, channels."""
    letters = axes.upper().replace(",", "").replace(" ", "")
    if (
        len(letters) != array.ndim
        or not {"T", "V", "C"} <= set(letters) <= set("MTVC")
        or len(set(letters)) < len(letters)
    ):
        raise ValueError(
            f"expected axes as the letters T (frames), V (joints), C (channels) and, where there is one, M (persons), "
            f"one for each of the array's {array.ndim} axes, got {axes!r} for shape {array.shape}"
        )
    return array.transpose([letters.index(letter) for letter in "MTVC" if letter in letters])


def _row_of_joints(columns: int, layout: Any) -> tuple[int, int] | None:
    """(joints, channels) of a row of numbers; None where that is not clear."""
    counts = {get_layout(layout).num_joints} if layout is not None else {one.num_joints for one in LAYOUTS.values()}
    fitting = [(columns // channels, channels) for channels in (2, 3, 4) if columns % channels == 0]
    fitting = [(joints, channels) for joints, channels in fitting if joints in counts]
    return fitting[0] if len(fitting) == 1 else None


def recognise_mediapipe(recording: SkeletonRecording) -> None:
    """Tells MediaPipe's world landmarks from its image landmarks, in place; other recordings stay as they are.

    Both have their depths' origin in the middle of the hips. World landmarks have the other origins there, too, are
    metres and y down (unless somebody turned them already: then the nose is at larger y). Image landmarks are shares
    of the image's width (x and z) and height (y), y down.
    """
    layout = get_layout("mediapipe33")
    with np.errstate(all="ignore"):
        joints = np.where((recording.joints == 0).all(axis=-1, keepdims=True), np.nan, recording.joints)
        hips = (joints[..., layout.index("left_hip"), :] + joints[..., layout.index("right_hip"), :]) / 2
    hips = hips[~np.isnan(hips).any(axis=-1)]
    places = joints[~np.isnan(joints).any(axis=-1)]
    if not len(places) or not len(hips):
        return
    middle = np.abs(np.median(hips, axis=0))
    shares = np.mean((places[:, :2] > -0.5) & (places[:, :2] < 1.5)) > 0.9 and middle[:2].max() > 0.1
    if places.shape[1] == 2:
        if shares:
            recording.unit = "image"
            recording.notes.append("x and y lie in 0..1: MediaPipe's image landmarks")
        return
    if middle[2] > 0.1:
        return
    if middle.max() < 0.1:
        nose = np.nanmedian(joints[..., layout.index("nose"), 1])
        recording.up, recording.unit = ("y" if nose > 0 else "-y"), "m"
        recording.notes.append("the origin lies between the hips: MediaPipe's world landmarks")
    elif shares:
        width, height = _known_size(recording.image_size)
        recording.joints = recording.joints * np.array([width / height, 1, width / height], np.float32)
        recording.up = "-y"
        recording.notes.append("x and y lie in 0..1: MediaPipe's image landmarks, in shares of the image's height")
