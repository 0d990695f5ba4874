"""What the numbers of a recording mean: which axis is what, which layout, which way is up, what marks a missing joint.

What the caller states is taken as stated and contradicted where a body contradicts it. The rest is inferred from what
bodies do (`plausibility`), and where that does not decide, the refusal names the candidates and the option to pass.
All of it is this project's choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Literal, NoReturn

import numpy as np

from .plausibility import (
    LIMITS,
    SENTINELS,
    BodyMeasures,
    axis_stretch,
    cut_empty_ends,
    handedness,
    measure_body,
    measure_orientation,
    most_seen,
    sentinels_as_missing,
    torso_unit,
    track_persons,
    unsure_as_missing,
)
from .skeleton_layouts import SkeletonLayout

UP_AXES = ("y", "-y", "z", "-z", "x", "-x")
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
# Torso lengths of people in each unit: half a metre for adults, half of it for children, with room.
_TORSO_METRES = (0.2, 0.75)
_PICTURES = (16 / 9, 4 / 3, 1.0, 3 / 4, 9 / 16)  # width / height
_WIDER_THAN_TABLE = 1.3  # x / y of `axis_stretch` on upright bodies: medians of 0.8 to 1.4, most sets 1.3
_WORST = 9.0
_FEWEST_FRAMES = 8  # fewer say nothing about motion
_NEUTRAL = 0.3  # what a layout without named joints counts instead of its proportions

_DOCUMENTED = ("(VC)", "T(VC)", "VC", "TVC", "MTVC", "NMTVC")  # orders of axes that need no word
_ROLE_NAMES = {"M": "persons", "T": "frames", "V": "joints", "C": "channels", "N": "recordings"}


@dataclass(frozen=True)
class Conventions:
    """What the numbers mean.

    Attributes:
        axes: a letter an axis of the array as it came: N recordings (1), M persons, T frames, V joints, C channels;
            axes in brackets are one axis of the array, as in "T(VC)" for rows of x y z of all joints.
        layout: name of the layout.
        channels: "xyz", "xy", "xyzs" or "xys"; s is a score.
        up: which axis points up: "y", "-y", "z", "-z", "x" or "-x"; in 2-D "-y" (rows grow downwards) or "y".
        unit: "m", "cm", "mm", "in", "pixels", "WIDTHxHEIGHT" (shares of a picture of that size or shape), or "" where
            nothing says it; sizes are normalised later.
        mirrored: left-handed axes.
        missing: the numbers that mark a missing joint besides NaN.
    """

    axes: str
    layout: str
    channels: str
    up: str
    unit: str = ""
    mirrored: bool = False
    missing: tuple[float, ...] = SENTINELS


@dataclass(frozen=True)
class Interpretation:
    """A recording in the package's convention, and how sure that is.

    Attributes:
        verdict: "right" (perhaps with notes), "doubtful" (answer, with the warnings) or "refused".
        joints: (persons, frames, joints, 2 or 3) float32, NaN where missing; 3-D y up, right-handed, in metres where
            the unit is known; 2-D y down. None when refused.
        scores: (persons, frames, joints) float32 or None.
        conventions: what was stated or inferred; None when refused.
        notes: what was inferred and why, a sentence each.
        warnings: what may be wrong and the option that settles it, a sentence each.
        refusal: what was expected, what came, what to do.
    """

    verdict: Literal["right", "doubtful", "refused"]
    joints: np.ndarray | None = None
    scores: np.ndarray | None = None
    conventions: Conventions | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: str = ""


class _Refusal(Exception):
    pass


@dataclass
class _Reading:
    """One way to read the array, on its way to an `Interpretation`."""

    axes: str
    joints: np.ndarray  # (persons, frames, joints, 2 or 3)
    scores: np.ndarray | None
    channels: str
    by_count: bool = False  # nothing but the number of joints told the layout
    layout: SkeletonLayout | None = None
    measures: BodyMeasures | None = None
    score: float = _WORST
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def known(self) -> SkeletonLayout:
        assert self.layout is not None
        return self.layout

    @property
    def body(self) -> np.ndarray:
        """(frames, joints, channels) of the person seen most."""
        return most_seen(self.joints)


def infer_conventions(
    array: np.ndarray,
    layouts: Mapping[str, SkeletonLayout],
    *,
    layout: str | None = None,
    axes: str | None = None,
    up: str | None = None,
    unit: str | None = None,
    missing: float | None = None,
    mirrored: bool | None = None,
    scores: np.ndarray | None = None,
    ids_trusted: bool = False,
) -> Interpretation:
    """Reads an array of joints as what it most plausibly is.

    Args:
        array: numbers with axes in any order.
        layouts: the known layouts by name.
        layout, axes, up, unit, mirrored: what is known, as in `Conventions`; None where nothing says it.
        missing: the number that marks a missing joint in all its channels; None: any of `SENTINELS`.
        scores: (persons, frames, joints) or (frames, joints) where they came apart from the array, whose axes are then
            (persons, frames, joints, channels).
        ids_trusted: rows are persons; otherwise they are followed by position.

    Returns:
        An `Interpretation`; never raises for what the array holds.

    Raises:
        ValueError: an option that is none.
    """
    _check_options(layouts, layout, axes, up, unit)
    try:
        reading = _choose(_readings(array, layouts, layout, axes, missing, unit, scores), layouts, layout, axes)
        reading.joints = reading.joints.copy()
        frames = cut_empty_ends(reading.joints)
        reading.joints = reading.joints[:, frames]
        reading.scores = None if reading.scores is None else reading.scores[:, frames]
        size = _to_square_axes(reading, unit)
        if not ids_trusted:
            _follow_persons(reading)
        direction = _turn_upright(reading, up)
        left_handed = _make_right_handed(reading, mirrored)
        size = _to_metres(reading, size, unit)
        _judge(reading)
    except _Refusal as refusal:
        return Interpretation("refused", refusal=str(refusal))
    conventions = Conventions(
        reading.axes,
        reading.known.name,
        reading.channels,
        direction,
        size,
        left_handed,
        SENTINELS if missing is None else (missing,),
    )
    return Interpretation(
        "doubtful" if reading.warnings else "right",
        reading.joints.astype(np.float32),
        None if reading.scores is None else reading.scores.astype(np.float32),
        conventions,
        tuple(reading.notes),
        tuple(reading.warnings),
    )


def _check_options(
    layouts: Mapping[str, SkeletonLayout], layout: str | None, axes: str | None, up: str | None, unit: str | None
) -> None:
    if layout is not None and layout not in layouts:
        known = ", ".join(f"{known.name} ({known.num_joints})" for known in layouts.values())
        raise ValueError(f"unknown skeleton layout {layout!r}; known layouts: {known}")
    roles = "" if axes is None else "".join(_groups(axes))
    if axes is not None and not ({"V", "C"} <= set(roles) <= set(_ROLE_NAMES) and len(set(roles)) == len(roles)):
        raise ValueError(
            f"expected axes= as letters M (persons), T (frames), V (joints), C (channels), N (recordings, 1), such as "
            f"CTVM, or T(VC) for rows of all joints' coordinates, got {axes!r}"
        )
    if up is not None and up not in UP_AXES:
        raise ValueError(f"expected up= one of {', '.join(UP_AXES)}, got {up!r}")
    if unit is not None and unit not in (*METRES, "pixels") and _picture_size(unit) is None:
        raise ValueError(f"expected unit= one of {', '.join(METRES)}, pixels or WIDTHxHEIGHT, got {unit!r}")


def _picture_size(unit: str) -> tuple[float, float] | None:
    width, _, height = unit.partition("x")
    try:
        return (float(width), float(height)) if float(width) > 0 and float(height) > 0 else None
    except ValueError:
        return None


# -- Which axis is what


def arrangements(array: np.ndarray, counts: set[int], axes: str | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Ways to see an array as (persons, frames, joints, channels), the documented one first.

    Args:
        array: any number of axes.
        counts: numbers of joints that are possible.
        axes: letters as in `Conventions`, where they are known.

    Yields:
        The letters and a view of the array; no view twice.
    """
    seen = set()
    for letters in [axes] if axes is not None else _orders(array.shape):
        for view in _arranged(array, letters, counts):
            strides = tuple(stride if size > 1 else 0 for size, stride in zip(view.shape, view.strides))
            if (view.shape, strides) not in seen:
                seen.add((view.shape, strides))
                yield letters, view


def _orders(shape: tuple[int, ...]) -> list[str]:
    """Letters of all ways in which the axes can be roles; the documented order of each number of axes first."""
    documented = [letters for letters in _DOCUMENTED if len(_groups(letters)) == len(shape)]
    whole = {2: "VC", 3: "TVC", 4: "MTVC", 5: "NMTVC"}.get(len(shape))
    found = ["".join(order) for order in permutations(whole)] if whole else []
    bundles = ("(VC)", "(CV)", "(MVC)", "(VCM)", "(MCV)")
    for rest in ({1: [""], 2: ["T"], 3: ["MT", "NT"]}).get(len(shape), []):
        for bundle in bundles:
            if not ("M" in rest and "M" in bundle):
                found += ["".join(order) for order in permutations([*rest, bundle])]
    found = [letters for letters in found if "N" not in letters[1:]]
    return [*documented, *(letters for letters in found if letters not in documented)]


def _groups(letters: str) -> list[str]:
    """The letters of each axis of the array: "MT(VC)" has M, T and VC."""
    return [group.strip("()") for group in re.findall(r"\(\w+\)|\w", letters)]


def _arranged(array: np.ndarray, letters: str, counts: set[int]) -> Iterator[np.ndarray]:
    """The array as (persons, frames, joints, channels), once for each way in which the letters fit its shape."""
    groups = _groups(letters)
    if len(groups) != array.ndim:
        return
    order = "".join(groups)
    options = [[[size]] if len(group) == 1 else _split(group, size, counts) for group, size in zip(groups, array.shape)]
    for parts in product(*options):
        shape = [size for part in parts for size in part]
        sizes = dict(zip(order, shape))
        if sizes.get("V") not in counts or sizes.get("C") not in (2, 3, 4) or sizes.get("N", 1) != 1:
            continue
        view, named = array.reshape(shape), order
        for letter in "MT":
            if letter not in named:
                view, named = view[None], letter + named
        view = view.transpose([named.index(letter) for letter in "NMTVC" if letter in named])
        yield view[0] if "N" in named else view


def _split(group: str, size: int, counts: set[int]) -> list[list[int]]:
    """Sizes of the axes that are one axis of that size, for each number of joints and channels that gives it."""
    persons = 2 if "M" in group else 1
    found = [
        {"V": joints, "C": channels, "M": persons}
        for channels in (3, 2, 4)
        for joints in sorted(counts)
        if joints * channels * persons == size
    ]
    return [[sizes[letter] for letter in group] for sizes in found]


def _readings(
    array: np.ndarray,
    layouts: Mapping[str, SkeletonLayout],
    layout: str | None,
    axes: str | None,
    missing: float | None,
    unit: str | None,
    scores: np.ndarray | None,
) -> list[_Reading]:
    """Every way to read the array in every layout that fits; the documented order of axes alone if it holds a body."""
    try:
        array = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise _Refusal("expected numbers, came something else; save the joints as a plain numeric array") from None
    fitting = {name: known for name, known in layouts.items() if layout in (None, name)}
    counts = {known.num_joints for known in fitting.values()}
    if array.size == 0:
        raise _Refusal(f"expected joints, came an empty array of shape {array.shape}; leave it out")
    finite = array[np.isfinite(array)]
    if not (finite != 0).any():
        found = "only zeros" if len(finite) else "only NaN"
        raise _Refusal(f"expected a person, came {found}: nobody was seen; leave this recording out")
    readings: list[_Reading] = []
    documented = None
    for letters, view in arrangements(array, counts, axes):
        lowest = min((reading.score for reading in readings), default=_WORST)
        if documented not in (None, letters) and lowest <= LIMITS.surely:
            break  # the documented order holds a body
        documented = documented or letters
        readings += _measured(letters, view, fitting, missing, unit, scores)
    if documented is None:
        _refuse_shape(array.shape, layouts, layout, axes)
    if not readings:
        raise _Refusal("expected a person, came joints that are all missing: nobody was seen; leave this recording out")
    return readings


def _refuse_shape(
    shape: tuple[int, ...], layouts: Mapping[str, SkeletonLayout], layout: str | None, axes: str | None
) -> NoReturn:
    if layout is not None:
        wanted = f"{layouts[layout].num_joints} joints (layout {layout!r})"
    else:
        wanted = "the joints of a known layout"
    ordered = f" in the order {axes!r}" if axes is not None else ""
    known = ", ".join(f"{known.name} ({known.num_joints})" for known in layouts.values())
    raise _Refusal(
        f"expected an array (persons, frames, joints, channels) with {wanted} and 2 or 3 channels{ordered}, came shape "
        f"{shape}; pass layout= and axes=, several recordings one at a time; known layouts: {known}"
    )


def _measured(
    letters: str,
    view: np.ndarray,
    layouts: Mapping[str, SkeletonLayout],
    missing: float | None,
    unit: str | None,
    scores: np.ndarray | None,
) -> list[_Reading]:
    found = []
    for known in layouts.values():
        if known.num_joints != view.shape[2]:
            continue
        reading = _read_channels(letters, view, known, missing, scores)
        if reading is None:
            continue
        if unit == "pixels" and _odd_axes(reading):
            reading.joints, reading.channels = reading.joints[..., :2], "xy"
            reading.notes.append("z has another unit than x and y: the recording is read as two-dimensional.")
        reading.measures = measure_body(reading.body, known)
        reading.score = _ranking(reading)
        found.append(reading)
    return found


def _ranking(reading: _Reading) -> float:
    """The body's strangeness, worse where persons and frames look swapped."""
    measures = reading.measures
    if measures is None or measures.bones == 0:
        return _WORST
    score = measures.strangeness + (_NEUTRAL if np.isnan(measures.disproportion) else 0)
    persons, frames = reading.joints.shape[:2]
    with np.errstate(all="ignore"):
        extents = np.nanmax(reading.body, axis=(0, 1)) - np.nanmin(reading.body, axis=(0, 1))
    if extents.min() < LIMITS.flat * extents.max():
        score += 1.0
    if persons > 4 and persons > frames:
        score += 1.0
    return score + 0.1 * min(np.nan_to_num(measures.step, nan=0.0), 2.0)


def _read_channels(
    letters: str, view: np.ndarray, layout: SkeletonLayout, missing: float | None, scores: np.ndarray | None
) -> _Reading | None:
    """The view's joints and scores: a fourth channel is a score, a third one where it is unlike a depth."""
    notes = []
    given = _fitting_scores(scores, view.shape[:3])
    joints = view[..., : min(view.shape[3], 3)]
    channels = "xyz"[: joints.shape[3]]
    if view.shape[3] == 4:
        given, channels = view[..., 3], "xyzs"
    elif view.shape[3] == 3:
        kind = _third_channel(joints, layout)
        if kind == "score":
            given, joints, channels = joints[..., 2], joints[..., :2], "xys"
            notes.append(
                "The third channel is read as a score: it lies within 0..1 and is unlike a depth beside x and y."
            )
        elif kind == "constant":
            joints, channels = joints[..., :2], "xy"
            notes.append("The third channel never changes: the recording is read as two-dimensional.")
    sentinels = SENTINELS if missing is None else (missing,)
    cleaned, count = sentinels_as_missing(joints, sentinels, layout.root)
    cleaned[~np.isfinite(cleaned).all(axis=-1)] = np.nan
    if np.isnan(cleaned).all():
        return None
    if count:
        share = count / cleaned[..., 0].size
        marks = ", ".join(f"{mark:g}" for mark in sentinels if (joints == mark).all(axis=-1).any())
        notes.append(f"Joints at {marks} in all channels are missing: {share:.0%} of all.")
    if given is not None:
        cleaned, unsure = unsure_as_missing(cleaned, np.nan_to_num(given), layout)
        if unsure:
            notes.append(f"Joints with a score below 0.1 are missing: {unsure / cleaned[..., 0].size:.0%} of all.")
    return _Reading(letters, cleaned, given, channels, layout=layout, notes=notes)


def _fitting_scores(scores: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if scores is None:
        return None
    scores = np.asarray(scores, np.float64)
    return scores.reshape(shape) if scores.size == np.prod(shape) else None


def _third_channel(joints: np.ndarray, layout: SkeletonLayout) -> Literal["depth", "score", "constant"]:
    seen = np.isfinite(joints).all(axis=-1) & (joints[..., :2] != 0).any(axis=-1)
    third = joints[..., 2][seen]
    if len(third) == 0:
        return "depth"
    if third.min() == third.max():
        return "constant"
    marks = np.isin(third, (0, 1, 2)).all()
    if not marks and not (third.min() >= 0 and third.max() <= 1.001):
        return "depth"
    cleaned = np.where(seen[..., None], joints, np.nan)
    body = cleaned[np.argmax(seen.sum(axis=(1, 2)))]
    flat, deep = (measure_body(body[..., :count], layout) for count in (2, 3))
    if flat.unit > LIMITS.pixels:
        return "score"
    return "score" if not marks and flat.strangeness + LIMITS.margin < deep.strangeness else "depth"


def _choose(
    readings: list[_Reading], layouts: Mapping[str, SkeletonLayout], layout: str | None, axes: str | None
) -> _Reading:
    """The one clear reading; refusals name the candidates."""
    readings = sorted(readings, key=lambda reading: reading.score)
    best = readings[0]
    documented = axes is not None or best.axes in _DOCUMENTED
    if best.score >= _WORST:
        raise _Refusal("expected a person, came no two joints that are seen together; leave this recording out")
    assert best.measures is not None
    if best.measures.unit <= 1e-9 * max(1.0, float(np.nanmax(np.abs(best.joints)))) or _one_point(best.joints):
        raise _Refusal("expected a person, came joints that all lie at one point; check what was written to the file")
    if best.measures.strangeness > LIMITS.refused:
        _refuse_strange(best, readings, layouts, layout)
    rivals = [other for other in readings[1:] if other.score < best.score + LIMITS.margin]
    others = [other for other in rivals if other.known.name != best.known.name]
    if others and layout is None:
        names = ", ".join(dict.fromkeys(reading.known.name for reading in (best, *others)))
        raise _Refusal(
            f"expected one layout that fits, came {best.known.num_joints} joints whose bones fit several: {names}; "
            "pass layout="
        )
    others = [other for other in rivals if other.axes != best.axes]
    if others and not documented:
        orders = ", ".join(dict.fromkeys(reading.axes for reading in (best, *others)))
        raise _Refusal(
            f"expected one order of axes that fits, came an array that can be read as {orders} (M persons, T frames, "
            "V joints, C channels); pass axes="
        )
    rejected = [name for name, known in layouts.items() if known.num_joints == best.known.num_joints]
    if layout is None:
        same = [name for name in rejected if name != best.known.name]
        best.by_count = not same
        if np.isnan(best.measures.disproportion):
            best.warnings.append(
                f"Only the number of joints says that the layout is {best.known.name}: its joints are no body's, so "
                f"nothing can be checked; pass layout={best.known.name} or your own."
            )
        why = f"; the bones do not fit {', '.join(same)}" if same else ""
        best.notes.insert(0, f"The layout is read as {best.known.name}{why}.")
    if not documented:
        roles = ", ".join(_ROLE_NAMES[letter] for letter in best.axes if letter in _ROLE_NAMES)
        best.notes.insert(0, f"The axes are read as {best.axes} ({roles}): in other orders the joints form no body.")
    return best


def _odd_axes(reading: _Reading) -> bool:
    """Whether x or z has another unit than y, by the lengths of bones."""
    if reading.joints.shape[3] == 2:
        return False
    stretch = axis_stretch(reading.body, reading.known)
    ratios = ((stretch[0] / stretch[1], LIMITS.stretch_x), (stretch[2] / stretch[1], LIMITS.stretch_z))
    return any(np.isfinite(ratio) and not low <= ratio <= high for ratio, (low, high) in ratios)


def _one_point(joints: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        low = np.where(np.isnan(joints), np.inf, joints).min(axis=2)
        high = np.where(np.isnan(joints), -np.inf, joints).max(axis=2)
    extent = (high - low)[np.isfinite(high - low)]
    return not len(extent) or float(extent.max()) <= 1e-6 * max(1e-3, float(np.nanmax(np.abs(joints))))


def _refuse_strange(
    best: _Reading, readings: list[_Reading], layouts: Mapping[str, SkeletonLayout], layout: str | None
) -> NoReturn:
    names = ", ".join(dict.fromkeys(reading.known.name for reading in readings))
    measures = best.measures
    assert measures is not None
    found = (
        f"joints that form no body: lengths of bones differ from people's by a factor of "
        f"{np.exp(np.nan_to_num(measures.disproportion)):.1f} on average, left from right by "
        f"{np.exp(np.nan_to_num(measures.asymmetry)):.1f}"
    )
    if layout is not None:
        remedy = f"check that the joints are in the order of {layout}, and pass axes= if the axes have another order"
        same = [name for name, known in layouts.items() if known.num_joints == best.known.num_joints and name != layout]
        fits = [name for name in same if measure_body(best.body, layouts[name]).strangeness <= LIMITS.strange]
        if fits:
            remedy = f"the bones fit {' and '.join(fits)}: pass layout={fits[0]}; else {remedy}"
        elif same:
            remedy += f"; other layouts with as many joints: {', '.join(same)}"
    else:
        remedy = "pass layout= (a layout of your own names other joints), and axes= if the axes have another order"
    if _odd_axes(best):
        found += "; x and y seem to be pixels and z a depth in another unit"
        remedy = "convert to one unit (world coordinates), or pass unit=pixels to use x and y alone; else " + remedy
    raise _Refusal(f"expected a body in layout {names}, came {found}; {remedy}")


# -- Which way is up, and how long is a unit


def _to_square_axes(reading: _Reading, unit: str | None) -> str:
    """Undoes axes of different units (shares of a picture's width and height; pixels with a depth); the unit."""
    size = None if unit is None else _picture_size(unit)
    if size is not None:
        width, height = size
        factors = (width / height, 1.0, width / height)[: reading.joints.shape[3]]
        reading.joints *= np.array(factors)
        return str(unit)
    if unit is not None:
        return unit
    flat = reading.joints.shape[3] == 2
    if _within_picture(reading):
        aspect, depth = _picture_shape(reading)
        reading.joints *= np.array((aspect, 1.0) if flat else (aspect, 1.0, depth))
        reading.warnings.append(
            "All x and y lie within a picture's 0..1 or -1..1: they are taken for shares of its width and height, and "
            f"bones suggest a picture of {aspect:.2f} times its height; pass unit=WIDTHxHEIGHT."
        )
        return f"{aspect:.3g}x1"
    if _odd_axes(reading):
        stretch = axis_stretch(reading.body, reading.known)
        reading.joints *= stretch
        x, _, z = stretch / stretch[1]
        reading.warnings.append(
            f"The axes have different units: by the bones, x must be multiplied by {x:.2g} and z by {z:.2g} to fit y "
            "(pixels beside a depth?). That was done; convert to one unit (world coordinates) to be sure, or pass "
            "unit=pixels to use x and y alone."
        )
    return ""


def _within_picture(reading: _Reading) -> bool:
    places = reading.joints[..., :2].reshape(-1, 2)
    places = places[np.isfinite(places).all(axis=1)]
    low, high = np.quantile(places, 0.01, axis=0), np.quantile(places, 0.99, axis=0)
    measures = reading.measures
    assert measures is not None
    if reading.joints.shape[3] == 2:
        return bool((low >= -1.05).all() and (high <= 1.05).all() and measures.unit < 0.9)
    # metres are y up and around an origin; MediaPipe's shares of a picture are y down and above 0
    down = measure_orientation(reading.body, reading.known).trunk[1] < 0
    return bool(down and (low >= -0.05).all() and (high <= 1.05).all())


def _picture_shape(reading: _Reading) -> tuple[float, float]:
    """Width over height of the picture, and what z must be multiplied by, among common pictures."""
    body, layout = reading.body, reading.known
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


def _follow_persons(reading: _Reading) -> None:
    if len(reading.joints) == 1:
        return
    unit, _ = torso_unit(reading.joints, reading.known)
    if not np.isfinite(unit):
        unit = measure_body(reading.body, reading.known).unit
    tracks, changed = track_persons(reading.joints, unit)
    if changed:
        if reading.scores is not None:
            reading.scores = _along(reading.joints, tracks, reading.scores)
        reading.joints = tracks
        reading.notes.append(
            f"Persons are followed by position: bodies changed row {changed} times; {len(tracks)} persons remain."
        )


def _along(before: np.ndarray, after: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Scores of joints that moved to other rows."""
    moved = np.zeros(after.shape[:3])
    for frame in range(after.shape[1]):
        for track, body in enumerate(after[:, frame]):
            rows = [row for row, was in enumerate(before[:, frame]) if np.array_equal(was, body, equal_nan=True)]
            moved[track, frame] = scores[rows[0], frame] if rows else 0
    return moved


def _turn_upright(reading: _Reading, up: str | None) -> str:
    """Turns the joints so that y points up (2-D: down); which axis did."""
    if reading.joints.shape[3] == 2:
        return _turn_rows_down(reading, up)
    if up not in (None, "y"):
        reading.joints = _with_y_up(reading.joints, str(up))
    stands = measure_orientation(reading.body, reading.known)
    parts = [part for part in (stands.trunk, stands.legs) if np.isfinite(part).all()]
    if not parts:
        if up is None:
            reading.notes.append("No torso is seen that could tell which way is up: y is taken for it.")
        return up or "y"
    mean = np.mean(parts, axis=0)
    direction = mean / max(float(np.linalg.norm(mean)), 1e-9)
    if direction[1] >= LIMITS.upright or stands.highest >= LIMITS.upright:
        return up or "y"
    axis = int(np.argmax(np.abs(direction)))
    name = ("" if direction[axis] > 0 else "-") + "xyz"[axis]
    clear = abs(direction[axis]) >= LIMITS.along
    if up is not None:
        reading.warnings.append(
            f"The torso never points up along {up}, as stated by up={up}"
            + (f"; it points along {name} of the axes so turned." if clear else ".")
        )
        return up
    if clear and name == "-y":
        reading.joints = _with_y_up(reading.joints, "-y")
        reading.notes.append("The y axis points down: head and torso lie below the feet; x and y are both turned.")
        return "-y"
    if clear and axis == 2:
        reading.joints = _with_y_up(reading.joints, name)
        reading.warnings.append(
            f"The torso points along {name} all the time: {name} is taken for up. If the person lies, pass up=y."
        )
        return name
    lies = f"lies along {name}" if clear else "bends or lies"
    reading.warnings.append(
        f"The torso never points up along y: the person {lies}, or another axis is up; pass up=y or the axis that is."
    )
    return "y"


def _with_y_up(joints: np.ndarray, up: str) -> np.ndarray:
    """A turn (never a reflection) that brings the axis to +y."""
    x, y, z = np.moveaxis(joints, -1, 0)
    turned = {
        "y": (x, y, z),
        "-y": (-x, -y, z),
        "z": (x, z, -y),
        "-z": (x, -z, y),
        "x": (-y, x, z),
        "-x": (y, -x, z),
    }[up]
    return np.stack(turned, axis=-1)


def _turn_rows_down(reading: _Reading, up: str | None) -> str:
    deep = np.concatenate([reading.body, np.zeros_like(reading.body[..., :1])], axis=-1)
    stands = measure_orientation(deep, reading.known)
    direction = stands.trunk[1]
    told = up if up in ("y", "-y") else None
    upwards = told == "y" if told else bool(direction > LIMITS.upright)
    if upwards:
        reading.joints[..., 1] *= -1
        if told is None:
            reading.notes.append("The y axis points up: heads have the larger y; rows of a picture grow downwards.")
    if (told and abs(direction) > LIMITS.upright and (direction > 0) != upwards) or abs(direction) < 1 - LIMITS.along:
        reading.warnings.append(
            "The torso never points up in the picture: the person lies, or the picture is turned; pass up= y or -y."
        )
    return "y" if upwards else "-y"


def _make_right_handed(reading: _Reading, mirrored: bool | None) -> bool:
    """Mirrors left-handed axes; whether they were."""
    if reading.joints.shape[3] == 2:
        return bool(mirrored)
    shown, surely = handedness(measure_orientation(reading.body, reading.known))
    if mirrored is None:
        left_handed = surely and shown < LIMITS.mirrored
        if left_handed:
            reading.joints[..., 0] *= -1
            reading.warnings.append(
                "The axes are left-handed: toes, nose and hands lie behind the body; x is negated. If instead the "
                "names of left and right are swapped, pass a layout that says so; mirrored= True or False settles it."
            )
        elif not surely and shown < LIMITS.mirrored_alone:
            reading.warnings.append(
                "The hands lie behind the body, and no toes or nose are seen: the axes may be left-handed; pass "
                "mirrored= True or False."
            )
        return left_handed
    if mirrored:
        reading.joints[..., 0] *= -1
    if (-shown if mirrored else shown) < LIMITS.contradicted and surely:
        reading.warnings.append(
            f"Toes, nose and hands lie behind the body with mirrored={mirrored}, as stated; try {not mirrored}."
        )
    return mirrored


def _to_metres(reading: _Reading, size: str, unit: str | None) -> str:
    """Scales 3-D joints to metres where the unit is stated or the torso's length shows it; the unit."""
    if reading.joints.shape[3] == 2:
        return size or "pixels"
    if size in METRES:
        reading.joints *= METRES[size]
        return size
    length, _ = torso_unit(reading.joints, reading.known)
    if size or not np.isfinite(length):
        return size
    low, high = _TORSO_METRES
    for name, metres in METRES.items():
        if low <= length * metres <= high:
            if name != "m":
                reading.joints *= metres
                reading.notes.append(f"The unit is read as {name}: the torso measures {length:.0f}.")
            return name
    reading.notes.append(f"The unit is not known: the torso measures {length:.3g}; sizes are normalised all the same.")
    return ""


# -- The verdict


def _judge(reading: _Reading) -> None:
    """Warns of what a body does not do."""
    measures = measure_body(reading.body, reading.known)
    if measures.strangeness > LIMITS.refused:
        raise _Refusal(
            f"expected a body in layout {reading.known.name}, came joints that form none; check layout= and axes="
        )
    leaps = measures.step > LIMITS.step and len(reading.body) >= _FEWEST_FRAMES
    if leaps and measures.strangeness > _most_strange(reading):
        raise _Refusal(
            f"expected a person, came noise: bones fit no body and joints leap {measures.step:.1f} torso lengths "
            "between frames; check what was written to the file"
        )
    if measures.strangeness > _most_strange(reading):
        reading.warnings.append(
            f"The bones fit layout {reading.known.name} badly: they differ from people's by a factor of "
            f"{np.exp(np.nan_to_num(measures.disproportion)):.2f} on average, left from right by "
            f"{np.exp(np.nan_to_num(measures.asymmetry)):.2f}; check the order of joints and pass layout=."
        )
    if measures.unsteadiness > LIMITS.unsteady and reading.joints.shape[3] == 3:
        reading.warnings.append(
            "The bones' lengths change all the time: the joints are noise, or axes are not what they seem."
        )
    if leaps:
        reading.warnings.append(
            f"Joints leap {measures.step:.1f} torso lengths between frames: noise, frames out of order, or far too few."
        )
    if measures.reach > LIMITS.reach:
        reading.warnings.append(
            f"Joints lie up to {measures.reach:.1f} torso lengths from the body's middle, out of anybody's reach; pass "
            "missing= if a number marks missing joints."
        )
    body = reading.body
    if len(body) >= _FEWEST_FRAMES and np.nanmax(np.abs(np.diff(body, axis=0)), initial=0.0) == 0:
        reading.warnings.append("All frames are alike: the recording holds one pose and no motion.")


def _most_strange(reading: _Reading) -> float:
    """How strange bones may be before that is said."""
    if reading.by_count:
        return LIMITS.surely
    return LIMITS.strange if reading.joints.shape[3] == 3 else LIMITS.strange_flat
