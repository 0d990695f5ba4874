"""What the numbers of a recording mean: which axis is what, which layout, which way is up, what marks a missing joint.

What the caller states is taken as stated and contradicted where a body contradicts it. The rest is inferred from what
bodies do (`plausibility`), and where that does not decide, the refusal names the candidates and the option to pass.
All of it is this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .body_segments import HIPS
from .missing_parts import moves_with_the_body
from .plausibility import LIMITS, unrest
from .recording_axes import AXIS_NAMES, axis_groups
from .recording_directions import (
    METRES,
    UP_AXES,
    follow_persons,
    make_right_handed,
    to_metres,
    to_square_axes,
    turn_upright,
)
from .recording_guesses import Guess, Refusal, all_guesses, choose_guess
from .skeleton_cleaning import SENTINELS, in_all_channels, mark_missing
from .skeleton_layouts import SkeletonLayout, get_layout, map_joints

UNITS = (*METRES, "px", "image")
_FEWEST_FRAMES = 8  # fewer say nothing about motion
MOST_PERSONS = 12  # seen at once in one array
_LEGS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ("knee", "ankle", "foot"))
_APART = 0.5  # torso lengths between the middles of two persons; nearer ones stand within each other


@dataclass(frozen=True)
class Conventions:
    """What the numbers mean.

    Attributes:
        axes: a letter an axis of the array as it came: N recordings (1), M persons, T frames, V joints, C channels;
            axes in brackets are one axis of the array, as in "T(VC)" for rows of x y z of all joints.
        layout: name of the layout.
        channels: "xyz", "xy", "xyzs" or "xys"; s is a score.
        up: which axis points up: "y", "-y", "z", "-z", "x" or "-x"; in 2-D "-y" (rows grow downwards) or "y".
        unit: "m", "cm", "mm", "in", "px", "image" (shares of an image's width and height), or "" where nothing says
            it; sizes are normalised later.
        mirrored: left-handed axes.
        missing: the numbers that mark a missing joint besides NaN.
        whole: what the surest score of the last channel could be: 1, or 100 of percentages.
        matrix: (2, 2) or (3, 3); coordinates times it are in the package's convention.
    """

    axes: str
    layout: str
    channels: str
    up: str
    unit: str = ""
    mirrored: bool = False
    missing: tuple[float, ...] = SENTINELS
    whole: int = 1
    matrix: np.ndarray = field(default_factory=lambda: np.eye(3), compare=False)

    def applied(self, array: np.ndarray) -> np.ndarray:
        """Other frames of the same recording, in the package's convention, NaN where a joint is missing.

        Args:
            array: (persons, frames, joints, channels) with the channels that the conventions name.
        """
        joints = np.array(array[..., : len(self.matrix)], np.float64)
        scores = array[..., -1] / self.whole if self.channels.endswith("s") else None
        mark_missing(joints, get_layout(self.layout), scores, self.missing)
        return (joints @ self.matrix).astype(np.float32)


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


def infer_conventions(
    array: np.ndarray,
    layouts: Mapping[str, SkeletonLayout],
    *,
    layout: str | None = None,
    axes: str | None = None,
    up: str | None = None,
    unit: str | None = None,
    image_size: tuple[float, float] | None = None,
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
        image_size: (width, height) of the image that x and y are shares of.
        missing: the number that marks a missing joint in all its channels, beside 0; None: any of `SENTINELS`.
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
        guess = choose_guess(all_guesses(array, layouts, layout, axes, missing, unit, scores), layouts, layout, axes)
        if axes is None:
            _refuse_batch(guess)
        unit = to_square_axes(guess, unit, image_size)
        if not ids_trusted:
            follow_persons(guess)
        direction = turn_upright(guess, up)
        left_handed = make_right_handed(guess, mirrored)
        unit = to_metres(guess, unit)
        _judge(guess, stated=layout is not None and axes is not None)
    except Refusal as refusal:
        return Interpretation("refused", refusal=str(refusal))
    marks = SENTINELS if missing is None else (0.0, missing)
    conventions = Conventions(
        guess.axes, guess.known.name, guess.channels, direction, unit, left_handed, marks, guess.whole, guess.matrix
    )
    return Interpretation(
        "doubtful" if guess.warnings else "right",
        guess.joints.astype(np.float32),
        None if guess.scores is None else guess.scores.astype(np.float32),
        conventions,
        tuple(guess.notes),
        tuple(guess.warnings),
    )


def _check_options(
    layouts: Mapping[str, SkeletonLayout], layout: str | None, axes: str | None, up: str | None, unit: str | None
) -> None:
    if layout is not None and layout not in layouts:
        known = ", ".join(f"{known.name} ({known.num_joints})" for known in layouts.values())
        raise ValueError(f"unknown skeleton layout {layout!r}; known layouts: {known}")
    roles = "" if axes is None else "".join(axis_groups(axes))
    if axes is not None and not ({"V", "C"} <= set(roles) <= set(AXIS_NAMES) and len(set(roles)) == len(roles)):
        raise ValueError(
            f"expected axes= as letters M (persons), T (frames), V (joints), C (channels), N (recordings, 1), such as "
            f"CTVM, or T(VC) for rows of all joints' coordinates, got {axes!r}"
        )
    if up is not None and up not in UP_AXES:
        raise ValueError(f"expected up= one of {', '.join(UP_AXES)}, got {up!r}")
    if unit is not None and unit not in UNITS:
        raise ValueError(f"expected unit= one of {', '.join(UNITS)}, got {unit!r}")


def _refuse_batch(guess: Guess) -> None:
    """Refuses more bodies than a scene holds, and bodies that stand within each other: they are many recordings."""
    if len(guess.joints) < 3:
        return
    seen = ~np.isnan(guess.joints[..., 0]).all(axis=2)
    together = guess.joints[:, seen.sum(axis=0) >= 3]
    if not together.shape[1]:
        return
    assert guess.measures is not None
    with np.errstate(all="ignore"):
        sample = together[:, :: max(1, together.shape[1] // 20)]
        count = np.isfinite(sample).all(axis=-1).sum(axis=2)[..., None]
        middles = np.nansum(sample, axis=2) / np.where(count, count, np.nan)
        apart = np.linalg.norm(middles[:, None] - middles[None], axis=-1) / guess.measures.unit
    apart[np.arange(len(apart)), np.arange(len(apart))] = np.nan
    nearest = np.where(np.isnan(apart), np.inf, apart).min(axis=1)
    within = np.median(nearest[np.isfinite(nearest)]) < _APART
    persons = int(seen.sum(axis=0).max())
    if persons > MOST_PERSONS or within:
        raise Refusal(
            f"expected one recording, came what looks like {persons} recordings (shape "
            f"{guess.joints.shape}): {'they stand within each other' if within else 'too many to be persons'}; pass a "
            "batch as a list of arrays, list(array); if they are persons of one scene, pass axes=MTVC"
        )


# -- The verdict


def _judge(guess: Guess, stated: bool) -> None:
    """Warns of what a body does not do; refuses what is none, unless layout and axes are stated."""
    measures = guess.measures
    assert measures is not None
    if measures.strangeness > LIMITS.refused and not stated:
        raise Refusal(
            f"expected a body in layout {guess.known.name}, came joints that form none; check layout= and axes="
        )
    leaps = measures.step > LIMITS.step and len(guess.body) >= _FEWEST_FRAMES
    disorder, trembling = unrest(guess.body)
    if leaps and measures.strangeness > _most_strange(guess) and not stated:
        raise Refusal(
            f"expected a person, came noise: bones fit no body and joints leap {measures.step:.1f} torso lengths "
            "between frames; check what was written to the file"
        )
    if LIMITS.refused >= measures.strangeness > _most_strange(guess):
        guess.warnings.append(
            f"The bones fit layout {guess.known.name} badly: they differ from people's by a factor of "
            f"{np.exp(np.nan_to_num(measures.disproportion)):.2f} on average, left from right by "
            f"{np.exp(np.nan_to_num(measures.asymmetry)):.2f}; check the order of joints and pass layout=."
        )
    if measures.unsteadiness > LIMITS.unsteady and guess.joints.shape[3] == 3:
        guess.warnings.append(
            "The bones' lengths change all the time: the joints are noise, or axes are not what they seem."
        )
    if leaps:
        guess.warnings.append(
            f"Joints leap {measures.step:.1f} torso lengths between frames: noise, frames out of order, or far too few."
        )
    elif disorder > LIMITS.disorder:
        guess.warnings.append(
            "Neighbouring frames are hardly more alike than distant ones: frames are out of order, or far too few a "
            "second; sort them by time."
        )
    elif trembling > LIMITS.trembling:
        guess.warnings.append(
            f"Joints tremble: most go to and fro by {trembling:.0%} of the body's height from frame to frame, which "
            "hides what it does; smooth them over time, or take a surer pose estimator."
        )
    if measures.reach > LIMITS.reach:
        guess.warnings.append(
            f"Joints lie up to {measures.reach:.1f} torso lengths from the body's middle, out of anybody's reach; pass "
            "missing= if a number marks missing joints."
        )
    body = guess.body
    never_seen: np.ndarray = ~np.any(in_all_channels(~np.isnan(body)), axis=0)
    hips, legs = (
        [guess.known.standard.index(one) for one in of if one in guess.known.standard] for of in (HIPS, _LEGS)
    )
    if hips and never_seen[hips].all():
        guess.warnings.append(
            "The hips are never seen: size and place follow from shoulders and arms, and a model that learned from "
            "whole bodies may err; show the hips, or train on recordings like this one."
        )
    elif legs and never_seen[legs].all():
        guess.warnings.append(
            "The legs are never seen: they are taken to stand, and a model that learned from whole bodies may err; "
            "show the legs, or train on recordings like this one."
        )
    for side in ("left", "right"):
        hand = [i for i, one in enumerate(guess.known.standard) if one in (f"{side}_wrist", f"{side}_hand")]
        if hand and never_seen[hand].all():
            guess.warnings.append(
                f"The {side} hand is never seen, and a model that learned from whole bodies may err; show it, or train "
                "on recordings like this one."
            )
    _say_who_moves_how(guess)
    if len(body) >= _FEWEST_FRAMES and not (np.abs(np.diff(guess.joints, axis=1)) > 0).any():
        guess.warnings.append("All frames are alike: the recording holds one pose and no motion.")


def _say_who_moves_how(guess: Guess) -> None:
    """Notes a recording that moves with the body, and warns of persons who cannot be seen together."""
    landmarks = map_joints(guess.joints, guess.known.name, "kinect20")
    moving = [moves_with_the_body(person) for person in landmarks]
    if moving[0]:
        guess.notes.append("The recording moves with the body: feet are taken to stay on the floor.")
    seen = ~np.isnan(guess.joints[..., 0]).all(axis=2)
    if len(seen) == 1:
        return
    if all(moving):
        guess.warnings.append(
            "Each person's places are relative to their own body: how persons stand to each other is not known; each "
            "alone is named with each_person=True."
        )
    long = seen[seen.sum(axis=1) >= max(_FEWEST_FRAMES, seen.shape[1] / 4)]
    if len(long) > 1 and not (long.sum(axis=0) > 1).any():
        guess.warnings.append(
            "Persons are seen one after the other and never together, and one label stands for all; each is named "
            "with each_person=True."
        )


def _most_strange(guess: Guess) -> float:
    """How strange bones may be before that is said."""
    if guess.by_count:
        return LIMITS.surely
    return LIMITS.strange if guess.joints.shape[3] == 3 else LIMITS.strange_flat
