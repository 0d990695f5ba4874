"""Ways to understand an array of joints, and the one whose joints are most a body's.

A way is an order of axes, a layout, and what the third and fourth channel are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import numpy as np

from .plausibility import (
    LIMITS,
    BodyMeasures,
    Orientation,
    axis_stretch,
    disproportion,
    measure_body,
    measure_orientation,
    most_seen,
)
from .recording_axes import AXIS_NAMES, DOCUMENTED_ORDERS, arrangements
from .skeleton_cleaning import MIN_SCORE, SENTINELS, in_all_channels, mark_missing, whole_score
from .skeleton_layouts import SkeletonLayout

_WORST = 9.0
_TELLING = 8  # bones; fewer fit noise
_LEAP = 5.0  # times the steps of x and y, as shares of the extents
_EVER_SURE = 0.1  # of the joints; an estimator that is sure of fewer saw nobody
_NEUTRAL = 0.3  # what a layout without named joints counts instead of its proportions


class Refusal(Exception):
    """What was expected, what came, what to do."""


@dataclass
class Guess:
    """One way to read the array, on its way to an `Interpretation`."""

    axes: str
    joints: np.ndarray  # (persons, frames, joints, 2 or 3)
    scores: np.ndarray | None
    channels: str
    matrix: np.ndarray  # (channels, channels): what the coordinates have been multiplied by so far
    whole: int = 1  # what the surest score could be, 100 of percentages
    by_count: bool = False  # the layout follows from nothing but the number of joints
    layout: SkeletonLayout | None = None
    measures: BodyMeasures | None = None
    score: float = _WORST
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _stands: Orientation | None = None
    _body: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def known(self) -> SkeletonLayout:
        assert self.layout is not None
        return self.layout

    @property
    def telling(self) -> bool:
        """Whether the layout has enough bones of a body that their proportions tell it from others."""
        measures = self.measures
        return measures is not None and measures.bones >= _TELLING and not np.isnan(measures.disproportion)

    @property
    def body(self) -> np.ndarray:
        """(frames, joints, channels) of the person seen most."""
        if self._body is None or self._body[0] is not self.joints:
            self._body = self.joints, most_seen(self.joints)
        return self._body[1]

    @property
    def stands(self) -> Orientation:
        """How the body stands in its axes."""
        if self._stands is None:
            self._stands = measure_orientation(self.body, self.known)
        return self._stands

    def transform(self, matrix: np.ndarray) -> None:
        """Multiplies all coordinates, as rows, by a matrix (channels, channels)."""
        self.joints, self.matrix, self._stands = self.joints @ matrix, self.matrix @ matrix, None


def all_guesses(
    array: np.ndarray,
    layouts: Mapping[str, SkeletonLayout],
    layout: str | None,
    axes: str | None,
    missing: float | None,
    unit: str | None,
    scores: np.ndarray | None,
) -> list[Guess]:
    """Every way to read the array in every layout that fits; the documented order of axes alone if it holds a body."""
    try:
        array = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise Refusal("expected numbers, came something else; save the joints as a plain numeric array") from None
    fitting = {name: known for name, known in layouts.items() if layout in (None, name)}
    counts = {known.num_joints for known in fitting.values()}
    if array.ndim < 2:
        raise Refusal(f"expected an array (frames, joints, 2 or 3), came shape {array.shape}; pass the whole array")
    orders = list(arrangements(array, counts, axes))
    if not orders:
        _refuse_shape(array.shape, layouts, layout, axes)
    if array.size == 0:
        raise Refusal(f"expected at least one person and one frame, came an empty array {array.shape}; leave it out")
    if scores is not None and not any(
        np.shape(scores)[-3:] == view.shape[:3][-np.ndim(scores) :] for _, view in orders
    ):
        wanted = " or ".join(dict.fromkeys(str(view.shape[:3]) for _, view in orders[:2]))
        raise Refusal(f"expected scores of shape {wanted} (persons, frames, joints), got {np.shape(scores)}")
    finite = array[np.isfinite(array)]
    if not (finite != 0).any():
        found = "only zeros" if len(finite) else "only NaN"
        raise Refusal(f"expected a person, came {found}: nobody and no joint was seen; leave this recording out")
    guesses: list[Guess] = []
    for letters, view in orders:
        lowest = min((guess.score for guess in guesses), default=_WORST)
        if letters != orders[0][0] and lowest <= LIMITS.surely:
            break  # the documented order holds a body
        by_names = axes is None and layout is None and letters not in DOCUMENTED_ORDERS
        found_here = _measured(letters, view, fitting, missing, unit, scores)
        # only the proportions of a body with many bones speak for another order
        guesses += [guess for guess in found_here if not by_names or guess.telling]
    if not guesses:
        if all(view.shape[3] == 4 for _, view in orders):
            raise Refusal(
                "expected 2 or 3 channels, or a fourth that is a score (0..1 or 0..100), came another fourth channel"
            )
        raise Refusal("expected a person, but no joint was seen: all are missing; leave this recording out")
    return guesses


def _refuse_shape(
    shape: tuple[int, ...], layouts: Mapping[str, SkeletonLayout], layout: str | None, axes: str | None
) -> NoReturn:
    """Says what shape was expected; the number of joints is taken for the last axis but one."""
    ordered = f" in the order {axes!r}" if axes is not None else ""
    wanted = f"expected an array (persons, frames, joints, channels) with 2 or 3 channels{ordered}"
    same = ", ".join(name for name, known in layouts.items() if known.num_joints == shape[-2]) or "none"
    if shape[-1] > 4 and any(known.num_joints == shape[-2] for known in layouts.values()):
        raise Refusal(
            f"{wanted}, came {shape[-1]} numbers a joint in shape {shape}; pass x, y, z alone (array[..., :3]), or "
            "axes= if the axes have another order"
        )
    if layout is not None:
        count = layouts[layout].num_joints
        raise Refusal(
            f"expected {count} joints for layout {layout!r}, got {shape[-2]} in shape {shape}; {wanted}; layouts with "
            f"{shape[-2]} joints: {same}; pass layout= and axes=, several recordings as a list"
        )
    known = ", ".join(f"{known.name} ({known.num_joints})" for known in layouts.values())
    raise Refusal(
        f"{wanted} and the joints of a known layout, came {shape[-2]} joints in shape {shape}; pass axes=, several "
        f"recordings as a list, or layout=; known layouts: {known}; or pass the "
        "path of a JSON of your own as layout="
    )


def _measured(
    letters: str,
    view: np.ndarray,
    layouts: Mapping[str, SkeletonLayout],
    missing: float | None,
    unit: str | None,
    scores: np.ndarray | None,
) -> list[Guess]:
    found = []
    for known in layouts.values():
        if known.num_joints != view.shape[2]:
            continue
        guess = _read_channels(letters, view, known, missing, scores)
        if guess is None:
            continue
        guess.measures = measure_body(guess.body, known)
        if unit == "px" and guess.joints.shape[3] == 3 and odd_axes(guess):
            guess.joints, guess.channels, guess.matrix = guess.joints[..., :2], "xy", np.eye(2)
            guess.notes.append("z has another unit than x and y: the recording is read as two-dimensional.")
            guess.measures = measure_body(guess.body, known)
        guess.score = _ranking(guess)
        found.append(guess)
    return found


def _ranking(guess: Guess) -> float:
    """The body's strangeness, worse where persons and frames look swapped."""
    measures = guess.measures
    if measures is None or measures.bones == 0:
        return _WORST
    score = measures.strangeness + (_NEUTRAL if np.isnan(measures.disproportion) else 0)
    persons, frames = guess.joints.shape[:2]
    body = guess.body
    channels = _by_channel(body)
    extents = np.fmax.reduce(channels, axis=1) - np.fmin.reduce(channels, axis=1)
    if extents.min() < LIMITS.flat * extents.max():
        score += 1.0
    if persons > 4 and persons > frames:
        score += 1.0
    return score + 0.1 * min(np.nan_to_num(measures.step, nan=0.0), 2.0)


def _read_channels(
    letters: str, view: np.ndarray, layout: SkeletonLayout, missing: float | None, scores: np.ndarray | None
) -> Guess | None:
    """The view's joints and scores: a fourth channel is a score, a third one where it is unlike a depth."""
    notes, doubts, whole = [], [], 1
    given = _fitting_scores(scores, view.shape[:3])
    joints = view[..., : min(view.shape[3], 3)]
    channels = "xyz"[: joints.shape[3]]
    if view.shape[3] == 4:
        given, channels = view[..., 3], "xyzs"
        seen = given[(joints != 0).any(axis=-1) & np.isfinite(given)]
        if len(seen) and not (seen.min() >= 0 and (seen.max() <= 1.001 or np.isin(seen, (0, 1, 2)).all())):
            if (whole := whole_score(seen)) == 1 or _counts(given):
                return None
            notes.append("The fourth channel is read as a score in percent.")
    elif view.shape[3] == 3:
        kind = _third_channel(joints, layout)
        if kind in ("score", "percent"):
            whole = 1 if kind == "score" else 100
            given, joints, channels = joints[..., 2], joints[..., :2], "xys"
            notes.append(
                f"The third channel is read as a score: it lies within 0..{whole} and is unlike a depth beside x and y."
            )
        elif kind == "constant":
            joints, channels = joints[..., :2], "xy"
            notes.append("The third channel never changes: the recording is read as two-dimensional.")
        elif kind == "thin":
            joints, channels = joints[..., :2], "xy"
            doubts.append(
                "Beside x and y the third channel hardly changes, as no body is: it has another unit and is left out, "
                "and the recording read as two-dimensional; convert all to one unit (world coordinates) to keep it."
            )
    cleaned = np.array(joints, np.float64)
    sentinels = SENTINELS if missing is None else (0.0, missing)
    given, found = mark_missing(cleaned, layout, given if given is None else given / whole, sentinels)
    if not in_all_channels(~np.isnan(cleaned)).any():
        return None
    notes += [f"{note[0].upper()}{note[1:]}." for note in found]
    matrix = np.eye(cleaned.shape[3])
    return Guess(letters, cleaned, given, channels, matrix, whole, layout=layout, notes=notes, warnings=doubts)


def _fitting_scores(scores: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if scores is None:
        return None
    scores = np.asarray(scores, np.float64)
    return scores.reshape(shape) if scores.size == np.prod(shape) else None


def _counts(channel: np.ndarray) -> bool:
    """Whether (persons, frames, joints) numbers frames or joints: alike in all joints, or in all frames."""
    return not np.nan_to_num(np.ptp(channel, axis=2)).any() or not np.nan_to_num(np.ptp(channel, axis=1)).any()


def _third_channel(
    joints: np.ndarray, layout: SkeletonLayout
) -> Literal["depth", "score", "percent", "constant", "thin"]:
    placed = ~in_all_channels(joints[..., :2] == 0)
    seen = in_all_channels(np.isfinite(joints)) & placed
    third = joints[..., 2][seen]
    if len(third) == 0:
        flat = in_all_channels(np.isfinite(joints[..., :2])) & placed
        return "constant" if flat.any() else "depth"
    low, high = third.min(), third.max()
    if low == high:
        return "constant"
    marks = low >= 0 and high <= 2 and np.isin(third, (0, 1, 2)).all()
    cleaned = np.where(seen[..., None], joints, np.nan)
    if whole_score(third) == 100 and np.ptp(joints[..., :2][seen]) > LIMITS.pixels:
        flat, deep = _flat_and_deep(cleaned, layout)
        unlike = flat.strangeness + LIMITS.margin < deep.strangeness or _jumps(most_seen(cleaned))
        if flat.unit > LIMITS.pixels and unlike:
            return "percent"
    if not marks and not (low >= 0 and high <= 1.001):
        wide = np.ptp(third) / LIMITS.flat  # that x and y would have to be
        if np.ptp(joints[..., :2]) <= wide:
            return "depth"
        return "thin" if np.ptp(joints[..., :2][seen], axis=0).max() > wide else "depth"
    if _scaled_apart(cleaned):
        return "depth"
    flat, deep = _flat_and_deep(cleaned, layout)
    if flat.unit > LIMITS.pixels:
        return "score"
    marks = marks or np.mean(third >= MIN_SCORE) < _EVER_SURE
    return "score" if not marks and flat.strangeness + LIMITS.margin < deep.strangeness else "depth"


def _jumps(body: np.ndarray) -> bool:
    """Whether the third channel of (frames, joints, 3) leaps from frame to frame while x and y do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of joints never seen
        steps = np.nanmedian(np.abs(np.diff(body, axis=0)), axis=(0, 1))
        extents = np.nanmax(body, axis=(0, 1)) - np.nanmin(body, axis=(0, 1))
    x, y, third = steps / np.maximum(extents, 1e-9)
    return bool(third > _LEAP * max(x, y))


def _flat_and_deep(joints: np.ndarray, layout: SkeletonLayout) -> tuple[BodyMeasures, BodyMeasures]:
    """What the person seen most measures without the third channel and with it."""
    body = most_seen(joints)
    return measure_body(body[..., :2], layout), measure_body(body, layout)


def choose_guess(
    guesses: list[Guess], layouts: Mapping[str, SkeletonLayout], layout: str | None, axes: str | None
) -> Guess:
    """The one clear guess; refusals name the candidates."""
    guesses = sorted(guesses, key=lambda guess: guess.score)
    best = guesses[0]
    documented = axes is not None or best.axes in DOCUMENTED_ORDERS
    if best.score >= _WORST:
        raise Refusal("expected a person, came no two joints that are seen together; leave this recording out")
    assert best.measures is not None
    largest = float(np.fmax.reduce(np.abs(best.joints), axis=None))
    if best.measures.unit <= 1e-9 * max(1.0, largest) or _one_point(best.joints, largest):
        raise Refusal("expected a person, came joints that all lie at one point; check what was written to the file")
    if best.measures.strangeness > LIMITS.refused:
        found, remedy = _said_of_strange(best, layouts, layout)
        if layout is None or axes is None:
            names = ", ".join(dict.fromkeys(guess.known.name for guess in guesses))
            raise Refusal(f"expected a body in layout {names}, came {found}; {remedy}")
        best.warnings.append(f"In layout {layout}, as stated, these are {found}; {remedy}.")
    if layout is not None and best.telling and LIMITS.surely < best.measures.strangeness <= LIMITS.refused:
        best.warnings += _contradicted(best, layouts, best.measures.strangeness)
    rivals = [other for other in guesses[1:] if other.score < best.score + LIMITS.margin]
    others = [other for other in rivals if other.known.name != best.known.name]
    if others and layout is None:
        names = ", ".join(dict.fromkeys(guess.known.name for guess in (best, *others)))
        raise Refusal(
            f"expected one layout that fits, came {best.known.num_joints} joints whose bones fit several: {names}; "
            "pass layout="
        )
    others = [other for other in rivals if other.axes != best.axes]
    if others and not documented:
        orders = ", ".join(dict.fromkeys(guess.axes for guess in (best, *others)))
        raise Refusal(
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
        roles = ", ".join(AXIS_NAMES[letter] for letter in best.axes if letter in AXIS_NAMES)
        best.notes.insert(0, f"The axes are read as {best.axes} ({roles}): in other orders the joints form no body.")
    return best


def _contradicted(guess: Guess, layouts: Mapping[str, SkeletonLayout], strangeness: float) -> list[str]:
    """A warning where the bones fit another layout with as many joints clearly better than the one stated."""
    rivals = [known for known in layouts.values() if known.num_joints == guess.known.num_joints]
    fits = {known.name: measure_body(guess.body, known).strangeness for known in rivals if known != guess.known}
    better = min(fits, key=lambda name: fits[name], default="")
    if not better or fits[better] + LIMITS.margin > strangeness:
        return []
    return [f"The bones fit {better} better than {guess.known.name}, as stated: check layout=."]


def odd_axes(guess: Guess) -> bool:
    """Whether an axis has another unit than the others: with all in one unit, the bones are far more people's.

    Axes that all extend, or all scatter, as far as each other have been scaled each by itself.
    """
    if guess.joints.shape[3] == 2:
        return False
    assert guess.measures is not None
    apart = _scaled_apart(guess.joints)
    if not apart and guess.measures.strangeness < LIMITS.well_made:
        return False
    stretch = axis_stretch(guess.body, guess.known)
    if apart or not np.isfinite(stretch).all():
        return apart
    stretched, least = guess.body * stretch, guess.measures.strangeness
    if (
        disproportion(stretched, guess.known) + LIMITS.stretched >= least
    ):  # a part of the strangeness, and mostly enough
        return False
    return measure_body(stretched, guess.known).strangeness + LIMITS.stretched < least


def _scaled_apart(joints: np.ndarray) -> bool:
    """Whether each axis was brought to one range or to one standard deviation: no recording has such by chance."""
    seen = _by_channel(joints[np.isfinite(joints[..., 0])])
    if seen.shape[1] < 2:
        return False
    sizes = (np.ptp(seen, axis=1), seen.std(axis=1))
    return any(size.max() - size.min() < 1e-4 * size.max() for size in sizes)


def _by_channel(places: np.ndarray) -> np.ndarray:
    """(channels, places): numpy adds and compares what lies side by side far faster."""
    return np.ascontiguousarray(places.reshape(-1, places.shape[-1]).T)


def _one_point(joints: np.ndarray, largest: float) -> bool:
    """Whether no frame's joints lie apart, beside the largest coordinate."""
    for some in (joints[:, :: max(1, joints.shape[1] // 8)], joints):  # nearly always a few frames tell
        extent = np.fmax.reduce(some, axis=2) - np.fmin.reduce(some, axis=2)
        if np.fmax.reduce(extent, axis=None) > 1e-6 * max(1e-3, largest):
            return False
    return True


def _said_of_strange(best: Guess, layouts: Mapping[str, SkeletonLayout], layout: str | None) -> tuple[str, str]:
    """What is wrong with joints that form no body, and what to do."""
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
    if odd_axes(best):
        found += "; x and y seem to be pixels and z a depth in another unit"
        remedy = "convert to one unit (world coordinates), or pass unit=px to use x and y alone; else " + remedy
    return found, remedy
