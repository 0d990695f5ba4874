"""Which way is up, which side is left, how long is a unit: turns and scales a guess into the package's convention.

Each step multiplies the coordinates by a matrix, so that later frames can be treated alike (`Conventions.matrix`).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .person_tracking import track_persons
from .plausibility import (
    LIMITS,
    axis_stretch,
    finite_quantile,
    handedness,
    measure_body,
    measure_orientation,
    torso_unit,
)
from .recording_guesses import Guess, odd_axes

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
# Torso lengths of people in metres: half a metre for adults, half of it for children, with room.
_TORSO_METRES = (0.2, 0.75)
_STATED_TORSO = (0.12, 1.2)  # metres; a stated unit is contradicted outside
_PICTURES = (16 / 9, 4 / 3, 1.0, 3 / 4, 9 / 16)  # width / height
_WIDER_THAN_TABLE = 1.3  # x / y of `axis_stretch` on upright bodies: medians of 0.8 to 1.4, most sets 1.3
# Columns are what x, y and z become: the turn (never a mirror image) that brings an axis to +y. z stays where it can.
_UPRIGHT = {
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-y": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}
UP_AXES = tuple(_UPRIGHT)


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
        raise ValueError(
            f"expected image_size as (width, height) or '1920x1080', got {size!r}; write it so or leave it out"
        )
    return values[0], values[1]


def to_square_axes(guess: Guess, unit: str | None, image_size: tuple[float, float] | None) -> str | None:
    """Undoes axes of different units (shares of an image's width and height; pixels with a depth); the unit."""
    flat = guess.joints.shape[3] == 2
    if unit == "image" or (unit is None and _within_picture(guess)):
        if not flat and len(guess.joints) > 1:
            guess.warnings.append("Depths are relative to each person's own hips: who stands before whom is not known.")
        if image_size is not None:
            width, height = image_size
            factors = (width, height) if flat else (width / height, 1.0, width / height)
            guess.notes.append("x and y are shares of the image's width and height.")
        else:
            aspect, depth = _picture_shape(guess)
            factors = (aspect, 1.0) if flat else (aspect, 1.0, depth)
            guess.warnings.append(
                "x and y lie within an image's 0..1 or -1..1: they are taken for shares of its width and height, and "
                f"bones suggest that it is {aspect:.2f} times as wide as high; pass image_size=(width, height)."
            )
        guess.transform(np.diag(factors))
        guess.measures = measure_body(guess.body, guess.known)
        return "image"
    if flat or not odd_axes(guess):
        return unit
    stretch = axis_stretch(guess.body, guess.known)
    if not np.isfinite(stretch).all():
        guess.warnings.append(
            "Each axis was scaled by itself, and nothing tells by how much; save the joints with one scale for all."
        )
        return unit
    x, _, z = stretch / stretch[1]
    found = f"The axes have different units: by the bones, x must be multiplied by {x:.2g} and z by {z:.2g} to fit y"
    if unit in METRES:
        guess.warnings.append(f"{found}, although unit={unit} is stated; check that x, y and z are all in {unit}.")
        return unit
    guess.transform(np.diag(stretch))
    guess.measures = measure_body(guess.body, guess.known)
    guess.warnings.append(
        f"{found} (pixels beside a depth?). That was done; convert to one unit (world coordinates) to be sure, or pass "
        "unit=px to use x and y alone."
    )
    return unit


def _within_picture(guess: Guess) -> bool:
    places = guess.joints[..., :2].reshape(-1, 2)
    low, high = (np.array([finite_quantile(axis, share) for axis in places.T]) for share in (0.01, 0.99))
    measures = guess.measures
    assert measures is not None
    if guess.joints.shape[3] == 2:
        return bool((low >= -1.05).all() and (high <= 1.05).all() and measures.unit < 0.9)
    if _mediapipe_landmarks(guess) == "image":
        return True
    # metres are y up and around an origin; shares of an image are y down and above 0
    if not ((low >= -0.05).all() and (high <= 1.05).all()):
        return False
    return bool(guess.stands.trunk[1] < 0)


def _mediapipe_landmarks(guess: Guess) -> str | None:
    """ "world" or "image" landmarks of MediaPipe, None where they are neither.

    Both have their depths' origin in the middle of the hips. World landmarks have the other origins there, too, and are
    metres. Image landmarks are shares of the image's width (x and z) and height (y).
    """
    if guess.known.name != "mediapipe33" or guess.joints.shape[3] != 3:
        return None
    index = guess.known.index
    hips = (guess.joints[..., index("left_hip"), :] + guess.joints[..., index("right_hip"), :]) / 2
    hips = hips[~np.isnan(hips).any(axis=-1)]
    places = guess.joints[~np.isnan(guess.joints).any(axis=-1)]
    if not len(places) or not len(hips):
        return None
    middle = np.abs(np.median(hips, axis=0))
    if middle[2] > 0.1:
        return None
    if middle.max() < 0.1:
        return "world"
    shares = np.mean((places[:, :2] > -0.5) & (places[:, :2] < 1.5)) > 0.9
    return "image" if shares and guess.stands.trunk[1] < 0 else None


def _picture_shape(guess: Guess) -> tuple[float, float]:
    """Width over height of the picture, and what z must be multiplied by, among common pictures."""
    body, layout = guess.body, guess.known
    if body.shape[-1] == 2:
        strange = {a: measure_body(body * np.array((a, 1.0)), layout).strangeness for a in _PICTURES}
        best = min(strange, key=lambda a: strange[a])
        return (best if strange[best] + 0.02 < strange[_PICTURES[0]] else _PICTURES[0]), 1.0
    stretch = axis_stretch(body, layout) / _WIDER_THAN_TABLE ** np.array((1, 0, 0))
    wanted = stretch[0] / stretch[1]
    if not np.isfinite(wanted):
        return _PICTURES[0], _PICTURES[0]
    aspect = min(_PICTURES, key=lambda shape: abs(np.log(wanted / shape)))
    deep = min((aspect, 1.0), key=lambda factor: abs(np.log(stretch[2] / stretch[1] / factor)))
    return aspect, deep


def follow_persons(guess: Guess) -> None:
    """Puts the persons into rows by where they are, where the rows are not persons."""
    if len(guess.joints) == 1:
        return
    unit, _ = torso_unit(guess.joints, guess.known)
    if not np.isfinite(unit):
        unit = measure_body(guess.body, guess.known).unit
    guess.joints, guess.scores, changed = track_persons(guess.joints, unit, guess.scores)
    if changed:
        guess.measures = measure_body(guess.body, guess.known)
        persons = "one person remains" if len(guess.joints) == 1 else f"{len(guess.joints)} persons remain"
        guess.notes.append(f"Persons are followed by where they are: bodies changed row {changed} times; {persons}.")


def turn_upright(guess: Guess, up: str | None) -> str:
    """Turns the joints so that y points up (2-D: down); which axis did."""
    if guess.joints.shape[3] == 2:
        return _turn_rows_down(guess, up)
    if up is None and _mediapipe_landmarks(guess) == "world":
        nose = np.nanmedian(guess.joints[..., guess.known.index("nose"), 1])
        up = "y" if nose > 0 else "-y"
        guess.notes.append("The origin lies between the hips: MediaPipe's world landmarks.")
    if up not in (None, "y"):
        _bring_up(guess, str(up))
        guess.notes.append(f"{up} pointed up: turned so that y does.")
    stands = guess.stands
    parts = [part for part in (stands.trunk, stands.legs) if np.isfinite(part).all()]
    if not parts:
        if up is None:
            guess.notes.append("No torso is seen that could tell which way is up: y is taken for it.")
        return up or "y"
    mean = np.mean(parts, axis=0)
    direction = mean / max(float(np.linalg.norm(mean)), 1e-9)
    if direction[1] >= LIMITS.upright or stands.highest >= LIMITS.upright:
        return up or "y"
    axis = int(np.argmax(np.abs(direction)))
    name = ("" if direction[axis] > 0 else "-") + "xyz"[axis]
    clear = abs(direction[axis]) >= LIMITS.along
    if up is not None:
        guess.warnings.append(
            f"The torso never points up along {up}, as stated by up={up}"
            + (f"; it points along {name} of the axes so turned." if clear else ".")
        )
        return up
    if clear and name == "-y":
        _bring_up(guess, "-y")
        guess.notes.append("The y axis points down: head and torso lie below the feet; x and y are both turned.")
        return "-y"
    if clear and axis == 2:
        _bring_up(guess, name)
        guess.warnings.append(
            f"The torso points along {name} all the time: {name} is taken for up. If the person lies, pass up=y."
        )
        return name
    lies = f"lies along {name}" if clear else "bends or lies"
    guess.warnings.append(
        f"The torso never points up along y: the person {lies}, or another axis is up; pass up=y or the axis that is."
    )
    return "y"


def _bring_up(guess: Guess, up: str) -> None:
    guess.transform(np.array(_UPRIGHT[up], float).T)


def _turn_rows_down(guess: Guess, up: str | None) -> str:
    deep = np.concatenate([guess.body, np.zeros_like(guess.body[..., :1])], axis=-1)
    stands = measure_orientation(deep, guess.known)
    direction = stands.trunk[1]
    stated = up if up in ("y", "-y") else None
    upwards = stated == "y" if stated else bool(direction > LIMITS.upright)
    if upwards:
        guess.transform(np.diag((1.0, -1.0)))
        if stated is None:
            guess.notes.append("The y axis points up: heads have the larger y; rows of a picture grow downwards.")
    if (stated and abs(direction) > LIMITS.upright and (direction > 0) != upwards) or abs(direction) < 1 - LIMITS.along:
        guess.warnings.append(
            "The torso never points up in the picture: the person lies, or the picture is turned; pass up= y or -y."
        )
    return "y" if upwards else "-y"


def make_right_handed(guess: Guess, mirrored: bool | None) -> bool:
    """Mirrors left-handed axes; whether they were."""
    if guess.joints.shape[3] == 2:
        return bool(mirrored)
    shown, surely = handedness(guess.stands)
    if mirrored is None:
        left_handed = surely and shown < LIMITS.mirrored
        if left_handed:
            _mirror(guess)
            guess.warnings.append(
                "The axes are left-handed: toes, nose and hands lie behind the body; z is turned over. If instead the "
                "names of left and right are swapped, pass a layout that says so; mirrored= True or False settles it."
            )
        elif not surely and shown < LIMITS.mirrored_alone:
            guess.warnings.append(
                "The hands lie behind the body, and no toes or nose are seen: the axes may be left-handed; pass "
                "mirrored= True or False."
            )
        return left_handed
    if mirrored:
        _mirror(guess)
        guess.notes.append("Axes were left-handed: z is turned over.")
    if (-shown if mirrored else shown) < LIMITS.contradicted and surely:
        guess.warnings.append(
            f"Toes, nose and hands lie behind the body with mirrored={mirrored}, as stated; try {not mirrored}."
        )
    return mirrored


def _mirror(guess: Guess) -> None:
    guess.transform(np.diag((1.0, 1.0, -1.0)))


def to_metres(guess: Guess, unit: str | None) -> str:
    """Scales 3-D joints to metres where the unit is stated or the torso's length shows it; the unit."""
    if guess.joints.shape[3] == 2:
        return unit or "px"
    length, _ = torso_unit(guess.joints, guess.known)
    if unit in METRES:
        if METRES[unit] != 1:
            guess.transform(np.eye(3) * METRES[unit])
            guess.notes.append(f"Coordinates were in {unit}: converted to metres.")
        low, high = _STATED_TORSO
        if np.isfinite(length) and not low <= length * METRES[unit] <= high:
            guess.warnings.append(
                f"The torso measures {length:.3g} {unit}, which is no person's, although unit={unit} is stated."
            )
        return unit
    if unit is not None or not np.isfinite(length):
        return unit or ""
    low, high = _TORSO_METRES
    for name, factor in METRES.items():
        if low <= length * factor <= high:
            if name != "m":
                guess.transform(np.eye(3) * factor)
                guess.notes.append(f"The unit is read as {name}: the torso measures {length:.0f}.")
            return name
    guess.notes.append(f"The unit is not known: the torso measures {length:.3g}; sizes are normalised all the same.")
    return ""
