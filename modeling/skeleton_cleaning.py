"""Which joints of a recording are missing, which bodies are people, and places for joints that were not seen.

All of it is this project's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .skeleton_layouts import SkeletonLayout

MIN_SCORE = 0.3  # joints less sure than this are missing
_PERCENT = (20, 100)  # scores whose highest lies between are percentages; estimators' own reach somewhat beyond 1
_TRUNK = ("hip_center", "spine", "spine1", "spine2", "spine3", "chest", "shoulder_center", "neck")
# what stands for "missing" in files: a joint whose coordinates are all one of these
SENTINELS = (0.0, -1.0, -999.0, 999.0, -9999.0, 9999.0)


def mark_missing(
    joints: np.ndarray, layout: SkeletonLayout, scores: np.ndarray | None = None, sentinels: Iterable[float] = (0.0,)
) -> tuple[np.ndarray | None, list[str]]:
    """Makes missing joints NaN, in place.

    So are all joints of a frame that lie at one point. Two things are not taken for missing: a joint of the trunk at
    zero amid its body (there the origin moves along), and scores that are all alike.

    Args:
        joints: (persons, frames, joints, 2 or 3).
        layout: of the joints.
        scores: (persons, frames, joints), 0..1 or percentages.
        sentinels: numbers that mark a missing joint where all its coordinates are one of them.

    Returns:
        The scores, 0..1, None where they say nothing, and notes on what was done.
    """
    notes = []
    joints[~in_all_channels(np.isfinite(joints))] = np.nan
    for sentinel in sentinels:
        marked = joints[..., 0] == sentinel
        if marked.any():
            marked = in_all_channels(joints == sentinel)
        if marked.any() and sentinel == 0:
            marked &= ~_origins(joints, marked, layout)
        if marked.any():
            joints[marked] = np.nan
            what = "all-zero joints" if sentinel == 0 else f"joints at {sentinel:g}"
            notes.append(f"{what} ({marked.mean():.0%}) are missing")
    if (nobody := _at_one_point(joints)).any():
        joints[nobody] = np.nan
        notes.append(f"frames whose joints all lie at one point ({nobody.mean():.0%}) show nobody")
    if scores is None:
        return None, notes
    seen = in_all_channels(~np.isnan(joints))
    if (whole := whole_score(scores[seen])) != 1:
        scores = scores / whole
        notes.append("scores of 0..100 are read as percentages")
    unsure = seen & ~(scores >= MIN_SCORE)
    if unsure.any():
        sure = scores[seen]
        if np.ptp(sure) == 0:
            return None, [*notes, f"all scores are {sure[0]:g}, which says nothing: they are not used"]
        joints[unsure] = np.nan
        notes.append(f"joints with a score below {MIN_SCORE:g} ({unsure.mean():.0%}) are missing")
    return scores, notes


def whole_score(scores: np.ndarray) -> int:
    """What scores of joints that were seen call sure: 1, or 100 where they are percentages."""
    sure = scores[np.isfinite(scores)]
    least, most = _PERCENT
    return 100 if len(sure) and sure.min() >= 0 and least < sure.max() <= most else 1


def in_all_channels(there: np.ndarray) -> np.ndarray:
    """Whether all of the last axis, which is short: far faster than `all(axis=-1)`."""
    found: np.ndarray = there[..., 0].copy()
    for channel in range(1, there.shape[-1]):
        found &= there[..., channel]
    return found


def _at_one_point(joints: np.ndarray) -> np.ndarray:
    """(persons, frames) bool: padding that was moved with the body; none where there is nothing else."""
    if joints.shape[2] <= 2:
        return np.zeros(joints.shape[:2], bool)
    alike = in_all_channels(joints[:, :, 1] == joints[:, :, 0])  # of most recordings none
    if alike.any():
        alike = (joints == joints[:, :, :1]).all(axis=(2, 3))
    return alike & ~alike.all()


def _origins(joints: np.ndarray, zero: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """(persons, frames, joints) bool: a trunk's joint at zero is a place, for the body lies around it in space.

    It is the only one of the trunk at zero, and there in every frame; or the hips' centre, and no other joint is.
    """
    origins = np.zeros_like(zero)
    trunk = [number for number, joint in enumerate(layout.standard) if joint in _TRUNK]
    if joints.shape[-1] != 3 or not zero[:, :, trunk].any():
        return origins
    unseen = zero | np.isnan(joints).any(axis=-1)
    low = np.where(unseen[..., None], np.inf, joints).min(axis=2)
    high = np.where(unseen[..., None], -np.inf, joints).max(axis=2)
    margin = 0.2 * np.where(np.isfinite(high), high - low, 0).max(axis=-1, keepdims=True)
    around = ((low - margin <= 0) & (high + margin >= 0)).all(axis=-1)
    empty = unseen.all(axis=2)
    always = (zero[:, :, trunk] | empty[..., None]).all(axis=1, keepdims=True)
    always &= always.sum(axis=2, keepdims=True) == 1
    hips = np.array([layout.standard[number] == "hip_center" for number in trunk])
    alone = hips & (zero.sum(axis=2, keepdims=True) == 1)
    origins[:, :, trunk] = zero[:, :, trunk] & around[..., None] & ~empty[..., None] & (alone | always)
    return origins


MAX_NOISE_FRAMES = 11
MAX_SPREAD_RATIO = 0.8
MAX_WIDE_SHARE = 0.7


def drop_noise_bodies(joints: np.ndarray) -> np.ndarray:
    """Leave out bodies that are furniture or flicker; at least one body always remains.

    Only where several bodies were tracked: a track is dropped when it lasts at most 11 frames and at most half as long
    as the longest one, then when in 70 % or more of its frames it is wider than 0.8 times its height (x against y). One
    body alone is never dropped: people fall and lie down.

    Args:
        joints: (persons, frames, joints, 2 or 3), metres or pixels, NaN where missing.

    Returns:
        (1..persons, frames, joints, channels), order kept; bodies never seen are left out too.
    """
    joints = _checked(joints)
    lengths = _seen(joints).any(axis=2).sum(axis=1)
    long_enough = (lengths > 0) & (lengths > min(MAX_NOISE_FRAMES, lengths.max() / 2))
    joints = joints[long_enough] if long_enough.any() else joints[:1]
    if len(joints) == 1:
        return joints.copy()
    wide = np.array([_wide_share(body) for body in joints])
    keep = wide < MAX_WIDE_SHARE
    keep[np.argmin(wide)] = True
    return joints[keep]


def primary_persons(joints: np.ndarray, max_persons: int = 2) -> np.ndarray:
    """The persons who move most, the most active one first.

    Motion is the variance of each joint's coordinates over time, summed over joints and channels, as is common for NTU
    RGB+D. Persons never seen are left out, except that one person always remains.

    Args:
        joints: (persons, frames, joints, 2 or 3), NaN where missing.
        max_persons: how many to keep, default 2.

    Returns:
        (1..max_persons, frames, joints, channels).

    Raises:
        ValueError: max_persons below 1.
    """
    if max_persons < 1:
        raise ValueError(f"expected max_persons of at least 1, got {max_persons}")
    joints = _checked(joints)
    ever_seen = _seen(joints).any(axis=(1, 2))
    joints = joints[ever_seen] if ever_seen.any() else joints[:1]
    if len(joints) == 1:
        return joints
    order = np.argsort([-_motion(body) for body in joints], kind="stable")
    return joints[order[:max_persons]]


def fill_missing(joints: np.ndarray, parents: Sequence[int] | None = None) -> np.ndarray:
    """Give every joint a place in every frame.

    A joint missing in some frames is interpolated linearly over time; before its first and after its last sighting it
    stays where it was seen. A joint never seen takes the place of its nearest seen ancestor, or the centre of the
    person's seen joints when it has none. A person never seen becomes zeros. This project's choice.

    Args:
        joints: (persons, frames, joints, 2 or 3), NaN where missing.
        parents: index of each joint's parent, -1 for the root (`SkeletonLayout.parents`); None: no ancestors.

    Returns:
        The same shape without NaN.

    Raises:
        ValueError: joints of another shape, or parents of another length.
    """
    joints = _checked(joints).copy()
    parents = [-1] * joints.shape[2] if parents is None else list(parents)
    if len(parents) != joints.shape[2]:
        raise ValueError(f"expected one parent a joint ({joints.shape[2]}), got {len(parents)}; pass layout.parents")
    for body, seen in zip(joints, _seen(joints), strict=True):
        ever_seen = seen.any(axis=0)
        if not ever_seen.any():
            body[:] = 0
            continue
        for joint in np.flatnonzero(ever_seen & ~seen.all(axis=0)):
            _interpolate(body[:, joint], seen[:, joint])
        centre = body[:, ever_seen].mean(axis=1)
        for joint in np.flatnonzero(~ever_seen):
            ancestor = parents[joint]
            while ancestor >= 0 and not ever_seen[ancestor]:
                ancestor = parents[ancestor]
            body[:, joint] = body[:, ancestor] if ancestor >= 0 else centre
    return joints


def _checked(joints: np.ndarray) -> np.ndarray:
    joints = np.asarray(joints)
    if joints.ndim != 4 or 0 in joints.shape or not np.issubdtype(joints.dtype, np.floating):
        raise ValueError(
            f"expected floating joints of shape (persons, frames, joints, channels), got {joints.dtype} {joints.shape}"
        )
    return joints


def _seen(joints: np.ndarray) -> np.ndarray:
    """(persons, frames, joints) bool: the joint has all its coordinates."""
    return in_all_channels(~np.isnan(joints))


def _wide_share(body: np.ndarray) -> float:
    """Share of the frames with this body, (frames, joints, channels), in which it is too wide to be a person."""
    seen = ~np.isnan(body).any(axis=-1)
    body, seen = body[seen.any(axis=1), :, :2], seen[seen.any(axis=1), :, None]
    spread = np.where(seen, body, -np.inf).max(axis=1) - np.where(seen, body, np.inf).min(axis=1)
    return float(np.mean(spread[:, 0] > MAX_SPREAD_RATIO * spread[:, 1]))


def _motion(body: np.ndarray) -> float:
    """Summed variance over time of one body (frames, joints, channels); joints never seen count nothing."""
    seen = ~np.isnan(body).any(axis=-1, keepdims=True)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, body, 0).sum(axis=0) / count
    return float((np.where(seen, body - mean, 0) ** 2).sum(axis=0).sum(axis=-1) @ (1 / count[:, 0]))


def _interpolate(track: np.ndarray, seen: np.ndarray) -> None:
    """Fill the unseen frames of one joint's track (frames, channels) in place."""
    frames = np.arange(len(track))
    for channel in range(track.shape[1]):
        track[~seen, channel] = np.interp(frames[~seen], frames[seen], track[seen, channel])
