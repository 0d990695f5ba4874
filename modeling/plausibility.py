"""Is this a body? Measures bones, proportions and how a body stands.

Everything here is this project's choice. Which numbers are still a body's is said in `Limits`, with the figures that
they come from. What the numbers of an array mean is the question of `recording_conventions`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from .body_segments import places, segments
from .skeleton_cleaning import in_all_channels
from .skeleton_layouts import SkeletonLayout

_MOST_FRAMES = 64  # a body's bones are the same in every frame: a sample of the frames tells them
_CLIP = 2.0  # no single bone counts more than this (log ratio)

_ORDERED, _FEWEST_ORDERED = 128, 16  # frames that tell whether they are in order
_MOVES = 0.1  # of the body's extent
_TO_AND_FRO = 1.2  # times a step: the next one differs from it by so much; noise 1.7
_SHORT = 0.2  # torso lengths: between joints nearer than this only a length far too great says something


@dataclass(frozen=True)
class Limits:
    """What is still a body's.

    "Right": what one in 500 of 2573 recordings exceeds, all of the training parts of UTD-MHAD, NW-UCLA and
    MSR-Action3D, every fourth of MSRC-12's, the samples of NTU RGB+D and BVH, and synthetic ones. "Wrong": 250 of them
    in the order of joints of another layout, all pairs of layouts with the same number of joints.
    """

    strange: float = 0.48  # right 0.41 (0.47 at most); wrong: 0.5 % lie below 0.54
    strange_flat: float = 0.42  # the same seen flat, from all sides: right 0.40; wrong: 0.5 % lie below 0.49
    refused: float = 0.62  # right 0.60 at most, seen flat; wrong: median 0.95
    margin: float = 0.08  # kinect20's trunk read upside down as kinect20_utd's adds 0.12 to every recording
    unsteady: float = 0.70  # right 0.40; noise 0.6 to 0.9
    step: float = 0.45  # right 0.40 (NW-UCLA has few frames a second), but for three that hold two persons in turn
    disorder: float = 0.7  # `unrest`: right 0.48 at most, but for one that leaps; frames shuffled: up to 9 % lie below
    trembling: float = 0.033  # right less, but for one; noise of 3 cm: 5 % lie below, of NW-UCLA 21
    reach: float = 6.0  # right 4.5; a joint at the origin or far off lies beyond
    upright: float = 0.60  # right 0.85 (share of up in the direction of torso and legs)
    along: float = 0.80  # right 0.52 for any axis but up
    mirrored: float = -2.2  # `handedness`; right -2.0 at least but for one; mirrored: the opposite, so 2 or less in 2 %
    contradicted: float = -5.0  # the same, against what was stated
    mirrored_alone: float = -3.6  # the same without toes and nose; right: 3 in 1000 lie below, mirrored: 740
    flat: float = 0.01  # no body is this thin: extent along one axis over that along another
    surely: float = 0.33  # right: 1 % lie above; asked where nothing but the number of joints chose the layout
    stretched: float = 0.1  # what one unit for all axes may gain; right 0.09 (two of 9155)
    well_made: float = 0.19  # axes of different units: 0.197 at least where one unit gains that
    pixels: float = 3.0  # a torso of more units than this is not in metres, and far from 0..1


LIMITS = Limits()


@dataclass(frozen=True)
class BodyMeasures:
    """What one body's joints say about themselves, in numbers that neither place, size nor camera changes.

    Attributes:
        unit: what a torso length is in the joints' own unit, from all bones together.
        disproportion: mean absolute log ratio of the segments to those of people; NaN without named joints.
        asymmetry: mean absolute log ratio of left to right bones; NaN without pairs.
        unsteadiness: mean of the bones' interquartile range over their median; NaN for one frame.
        reach: 99th percentile of the joints' distance from the body's middle, in units.
        step: median way of a joint between frames, in units; NaN for one frame.
        bones: how many bones were measured.
    """

    unit: float
    disproportion: float
    asymmetry: float
    unsteadiness: float
    reach: float
    step: float
    bones: int

    @cached_property
    def strangeness(self) -> float:
        """The three measures of bones together; 0 is a perfect body.

        The weights part right from wrong orders of joints best on the training parts of the sets named at
        `body_segments.SEGMENTS`.
        """
        return float(np.nansum([self.disproportion, 0.5 * self.asymmetry, 0.25 * self.unsteadiness]))


def measure_body(body: np.ndarray, layout: SkeletonLayout) -> BodyMeasures:
    """Measures one body.

    Args:
        body: (frames, joints, 2 or 3), any unit, NaN where missing.
        layout: of the joints.
    """
    flat = body.shape[-1] == 2
    chosen = _sampled(body)
    sample = body[chosen].astype(np.float64, copy=False)
    following = body[np.minimum(chosen + 1, len(body) - 1)].astype(np.float64, copy=False)
    following[chosen == len(body) - 1] = np.nan
    with np.errstate(all="ignore"):
        bones = _sorted_columns(_bone_lengths(sample, layout))
        typical = _of_sorted(bones, 0.9 if flat else 0.5)
        lengths, expected = _segment_lengths(sample, layout)
        unit = _unit(lengths, expected, typical)
        asymmetry = _asymmetry(typical / unit, layout)
        bodily = [joint != "root" for joint in layout.joints]  # motion capture's root stays on the floor
        away = _lengths(sample - _middles(sample))[:, bodily]
        spread = (_of_sorted(bones, 0.75) - _of_sorted(bones, 0.25)) / typical
        long = typical > _SHORT * unit
        return BodyMeasures(
            unit=unit,
            disproportion=_disproportion(lengths / unit, expected, flat),
            asymmetry=asymmetry,
            unsteadiness=_mean(np.minimum(spread[long], _CLIP)) if len(sample) > 1 else np.nan,
            reach=finite_quantile(away / unit, 0.99),
            step=finite_quantile(_lengths(following - sample) / unit, 0.5),
            bones=int(np.isfinite(typical).sum()),
        )


def unrest(body: np.ndarray) -> tuple[float, float]:
    """How much frames are in disorder, and how much joints tremble.

    Disorder is how unlike neighbouring frames are, as a share of how unlike distant ones are, in the joint that moves
    most: about 1 where frames are shuffled. Trembling is how far joints go from frame to frame, as a share of the
    body's extent, if they go to and fro. Either is 0 where next to nothing moves, or too few frames tell.

    Args:
        body: (frames, joints, 2 or 3), NaN where missing; joints seen in all of the first 128 frames count.
    """
    body = body[:_ORDERED]
    body = body[:, np.isfinite(body).all(axis=(0, 2))]
    if len(body) < _FEWEST_ORDERED or body.shape[1] < 2:
        return 0.0, 0.0
    extent = float(np.ptp(body[0], axis=0).max())
    steps = np.diff(body, axis=0)
    near, change = _lengths(steps), float(np.median(_lengths(np.diff(steps, axis=0))))
    far = np.max([_lengths(body[lag:] - body[:-lag]).mean(axis=0) for lag in (len(body) // 6, len(body) // 3)], axis=0)
    most, step = far.argmax(), float(np.median(near))
    disorder = near[:, most].mean() / far[most] if far[most] > _MOVES * extent else 0.0
    return float(disorder), step / extent if change > _TO_AND_FRO * step else 0.0


def disproportion(body: np.ndarray, layout: SkeletonLayout) -> float:
    """`BodyMeasures.disproportion` of a body (frames, joints, 2 or 3) alone, in half the time."""
    with np.errstate(all="ignore"):
        lengths, expected = _segment_lengths(body[_sampled(body)].astype(np.float64, copy=False), layout)
        unit = _unit(lengths, expected, np.empty(0))
        return _disproportion(lengths / unit, expected, body.shape[-1] == 2)


def _segment_lengths(sample: np.ndarray, layout: SkeletonLayout) -> tuple[np.ndarray, np.ndarray]:
    """(segments,) lengths of one body and of people; seen flat, all but the longest are foreshortened."""
    vectors, expected = segments(sample, layout)
    return column_quantile(_lengths(vectors), 0.9 if sample.shape[-1] == 2 else 0.5), expected


def _sampled(body: np.ndarray) -> np.ndarray:
    """Numbers of at most `_MOST_FRAMES` frames in which anything is seen."""
    seen = np.flatnonzero(~np.isnan(body[..., 0]).all(axis=1))
    return seen if len(seen) <= _MOST_FRAMES else seen[_spread(len(seen))]


@lru_cache(maxsize=1024)
def _spread(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, _MOST_FRAMES).astype(int)


def _bone_lengths(body: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """(frames, joints): each joint's distance from its parent, NaN for the root."""
    parents = np.array(layout.parents)
    lengths = _lengths(body - body[:, parents])
    lengths[:, parents < 0] = np.nan
    return lengths


def _middles(body: np.ndarray) -> np.ndarray:
    """(frames, 1, channels) the median place of each frame's joints."""
    return column_quantile(body.swapaxes(0, 1), 0.5)[:, None]


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...c,...c->...", vectors, vectors))  # norm() takes twice as long


def _unit(segments: np.ndarray, expected: np.ndarray, bones: np.ndarray) -> float:
    usable = np.isfinite(segments) & (segments > 0) & (expected > _SHORT) if len(segments) else np.empty(0, bool)
    if usable.any():
        return float(np.exp(_median(np.log(segments[usable] / expected[usable]))))
    bones = bones[np.isfinite(bones) & (bones > 0)]
    return float(np.median(bones)) if len(bones) else 1.0


def _disproportion(segments: np.ndarray, expected: np.ndarray, flat: bool) -> float:
    short = expected < _SHORT
    # a joint that stands in for its neighbour lies on it
    ratio = np.log(np.maximum(segments, 1e-6) / expected)
    ratio = np.where(short, np.maximum(np.log(np.maximum(segments, 1e-6) / _SHORT), 0), ratio)
    if flat:
        ratio = np.where(ratio < 0, ratio / 2, ratio)  # seen from the end, a bone is short
    stands_in = (segments < 1e-3) & (expected < 0.3)
    return _mean(np.minimum(np.abs(ratio), _CLIP)[~stands_in])


def _asymmetry(typical: np.ndarray, layout: SkeletonLayout) -> float:
    left, right = (np.array([pair[side] for pair in layout.left_right], int) for side in (0, 1))
    left, right = typical[left], typical[right]
    long = np.maximum(left, right) > _SHORT / 2
    floor = 1e-3
    return _mean(np.minimum(np.abs(np.log(np.maximum(left, floor) / np.maximum(right, floor))), _CLIP)[long])


def column_quantile(values: np.ndarray, share: float) -> np.ndarray:
    """Of each column, without its NaN; NaN where there is nothing else."""
    return _of_sorted(_sorted_columns(values), share)


def _sorted_columns(values: np.ndarray) -> np.ndarray:
    """Each column in ascending order, NaN last."""
    last = values.ndim - 1
    lanes = np.array(values.transpose((*range(1, last + 1), 0)), order="C")  # far faster sorted than strided ones
    lanes.sort(axis=-1)
    return lanes.transpose((last, *range(last)))


def _of_sorted(values: np.ndarray, share: float) -> np.ndarray:
    """The quantile of sorted columns, NaN last."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    if not np.isnan(values[-1]).any():
        return values[round(share * (len(values) - 1))]
    count = np.isfinite(values).sum(axis=0)
    row = np.maximum((share * (count - 1)).round().astype(int), 0)
    if values.ndim == 2:
        return values[row, np.arange(values.shape[1])]
    return np.take_along_axis(values, row[None], axis=0)[0]


def finite_quantile(values: np.ndarray, share: float) -> float:
    """Of all values, without NaN; NaN where there is nothing else."""
    values = np.sort(values, axis=None)  # NaN last; np.quantile takes ten times as long
    values = values[: np.searchsorted(values, np.inf)]
    if not len(values):
        return np.nan
    place = share * (len(values) - 1)
    low = int(place)
    return float(values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low]))


def _median(values: np.ndarray) -> float:
    values = np.sort(values)  # np.median takes ten times as long
    return float(values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else np.nan


@dataclass(frozen=True)
class Orientation:
    """How a three-dimensional body stands in its axes.

    Attributes:
        trunk: mean direction of the torso, hips to shoulders, (3,); its length is 1 where it never turns.
        legs: mean direction from the feet to the hips, (3,); NaN without legs.
        highest: the most upright moment along +y: 95th percentile of the mean of torso's and legs' y, -1..1.
        toes: how far toes lie before heels or ankles, in torso lengths, if the axes are right-handed; NaN without.
        face: how far the nose lies before ears, eyes or head; NaN without.
        hands: how far the hands reach before the shoulders; weaker than the other two.
        knees, lean: how far knees bend to the front, and how far the trunk leans there at most; of bodies without toes
            and nose, else NaN.
    """

    trunk: np.ndarray
    legs: np.ndarray
    highest: float
    toes: float
    face: float
    hands: float
    knees: float = np.nan
    lean: float = np.nan

    @property
    def shows_front(self) -> bool:
        """Whether toes or a nose tell where the front is."""
        return any(np.isfinite(cue) and abs(cue) > 0.01 for cue in (self.toes, self.face))


def measure_orientation(body: np.ndarray, layout: SkeletonLayout) -> Orientation:
    """Measures how a body (frames, joints, 3), NaN where missing, stands; see `Orientation`."""
    body = body[_sampled(body)].astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        found = places(body, layout, _LANDMARKS).swapaxes(0, 1)
        shoulders, hips, head, feet, toes, heels, nose, behind_nose = found[:8]
        left, right = found[8:11], found[11:]
        torso = shoulders - hips
        if np.isnan(torso).all():
            torso = head - shoulders
        size = finite_quantile(_lengths(torso), 0.5)
        across = np.nansum(right[:2] - left[:2], axis=0)  # shoulders and hips; a missing pair adds nothing
        forward = _directions(np.cross(torso, across))

        def ahead(vectors: np.ndarray, *shares: float, front: np.ndarray = forward) -> float:
            along = (vectors * front).sum(axis=-1) / size
            return sum(finite_quantile(along, share) for share in shares) / len(shares)

        legs = np.where(np.isnan(hips - feet), torso, hips - feet)
        upright = (_directions(torso)[:, 1] + _directions(legs)[:, 1]) / 2
        stands = Orientation(
            trunk=_mean_direction(torso),
            legs=_mean_direction(hips - feet),
            highest=finite_quantile(upright, 0.95),
            toes=ahead(toes - heels, 0.5),
            face=ahead(nose - behind_nose, 0.5),
            hands=ahead(np.stack([left[2] - left[0], right[2] - right[0]]), 0.05, 0.95),
        )
        if stands.shows_front:
            return stands
        knees, hips, feet = (places(body, layout, sides) for sides in _LEGS)
        bent = knees - (hips + feet) / 2
        level = _directions(np.cross([0.0, 1.0, 0.0], across))
        return replace(
            stands,
            knees=_mean(np.array([ahead(bent[:, side], 0.95) for side in (0, 1)])),
            lean=ahead(torso, 0.05, 0.95, front=level),
        )


_LANDMARKS: tuple[tuple[str, ...], ...] = (
    ("shoulders", "shoulder_center", "neck"),
    ("hips", "hip_center"),
    ("head", "head_top", "nose"),
    ("ankles", "feet"),
    ("big_toes", "foot_indices", "feet"),
    ("heels", "ankles"),
    ("nose",),
    ("ears", "eyes", "head", "head_top"),
)
for _side in ("left", "right"):
    _LANDMARKS += ((f"{_side}_shoulder",), (f"{_side}_hip",), (f"{_side}_wrist", f"{_side}_hand"))
_LEGS = (
    (("left_knee",), ("right_knee",)),
    (("left_hip",), ("right_hip",)),
    (("left_ankle", "left_foot"), ("right_ankle", "right_foot")),
)


def handedness(stands: Orientation) -> tuple[float, bool]:
    """How clearly the body shows right-handed (above 0) or left-handed, mirrored axes (below 0).

    A weighted sum of where toes, nose and hands lie, without toes and nose of where hands, knees and trunk do; weights
    by logistic regression on the recordings named at `body_segments.SEGMENTS`, the nose's taken as the toes'.

    Returns:
        The sum, and whether toes or a nose were there to tell.
    """
    if stands.shows_front:
        cues = ((7.0, stands.toes, 0.126), (7.0, stands.face, 0.126), (5.0, stands.hands, 0.333))
    else:
        cues = ((5.4, stands.hands, 0.333), (4.1, stands.knees, 0.3), (1.8, stands.lean, 0.2))
    shown = float(sum(weight * np.tanh(cue / scale) for weight, cue, scale in cues if np.isfinite(cue)))
    return shown, stands.shows_front


def _directions(vectors: np.ndarray) -> np.ndarray:
    return vectors / _lengths(vectors)[..., None]


def _mean_direction(vectors: np.ndarray) -> np.ndarray:
    directions = _directions(vectors)
    directions = directions[in_all_channels(np.isfinite(directions))]
    return directions.mean(axis=0) if len(directions) else np.full(vectors.shape[-1], np.nan)


def axis_stretch(body: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """What each axis must be multiplied by so that the segments get the lengths that people have.

    Least squares over all segments and frames: squared lengths are linear in the squared factors.

    Args:
        body: (frames, joints, 3), NaN where missing.

    Returns:
        (3,), with geometric mean 1; NaN where an axis carries no length.
    """
    body = body[_sampled(body)].astype(np.float64, copy=False)
    vectors, lengths = segments(body, layout)
    long = lengths > _SHORT
    squares = ((vectors[:, long] / lengths[long, None]) ** 2).reshape(-1, 3)
    squares = squares[in_all_channels(np.isfinite(squares))]
    if not len(squares):
        return np.full(3, np.nan)
    scale = squares.mean(axis=0)
    if len(squares) < 3 or not (scale > 0).all():
        return np.full(3, np.nan)
    squares = squares / scale
    squares = squares / np.maximum(squares.mean(axis=1, keepdims=True), 1e-9) ** 0.5  # long bones count no more
    goal = np.ones(len(squares))
    factors = np.linalg.lstsq(squares, goal, rcond=None)[0] / scale
    if not (factors > 0).all():
        return np.full(3, np.nan)
    factors = np.sqrt(factors)
    return factors / np.exp(np.log(factors).mean())


def most_seen(joints: np.ndarray) -> np.ndarray:
    """(frames, joints, channels) of the person seen most."""
    return joints[0 if len(joints) == 1 else np.argmax((~np.isnan(joints[..., 0])).sum(axis=(1, 2)))]


def torso_unit(joints: np.ndarray, layout: SkeletonLayout) -> tuple[float, str]:
    """What a torso length is in the joints' unit, and what tells it.

    Median over the frames in which shoulders and hips are seen. Without hips: from the width of the shoulders, upper
    arms and forearms, whichever are seen, by people's proportions (`SEGMENTS`). Without these: the other segments.

    Args:
        joints: (persons, frames, joints, 2 or 3), NaN where missing.

    Returns:
        The unit and "torso", "shoulders and arms" or "other bones"; NaN and "nothing" where no bone is seen.
    """
    frames = np.asarray(joints, np.float64).reshape(-1, *joints.shape[2:])
    ends = places(frames, layout, (("shoulders", "shoulder_center", "neck"), ("hips", "hip_center")))
    length = finite_quantile(_lengths(ends[:, 0] - ends[:, 1]), 0.5)
    if length > 0:
        return length, "torso"
    vectors, expected = segments(frames, layout)
    lengths = column_quantile(_lengths(vectors), 0.9 if joints.shape[-1] == 2 else 0.5)
    upper = np.isin(expected, (0.65, 0.60, 0.80))
    for among, measured_by in ((upper, "shoulders and arms"), (~upper & (expected > _SHORT), "other bones")):
        usable = among & np.isfinite(lengths) & (lengths > 0)
        if usable.any():
            return float(np.exp(np.median(np.log(lengths[usable] / expected[usable])))), measured_by
    return float("nan"), "nothing"
