"""What can be measured of a motion: where hands, elbows, knees and feet are, how far from what, and how they move.

Attributes put such measures into words by thresholds; here they are as they are, for `attribute_motion`. The choice of
measures is this project's. Lengths are in torso lengths; those that vary by factors are given as logarithms.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .action_attributes import seen_body, turning_points
from .skeleton_layouts import get_layout

_LAYOUT = get_layout("kinect20")
_SIDES = ("right", "left")
_LOW_HIGH, _ALL = (5, 95), (5, 50, 95)  # percentiles over time
_SMALL = 0.05  # below it a length's logarithm says nothing
_LIFT = 0.3  # change of a hand's height that counts as lifting it
_MOST_TURNS = 12
SIDE = 0
"""Number of the measure that is positive where the right hand moves more than the left."""


def motion_measures(skeletons: np.ndarray, person_mask: np.ndarray, layout: str) -> np.ndarray:
    """(batch, measures) float32 of the first persons of a batch.

    Args:
        skeletons, person_mask: as `SkeletonFeatureExtractor` gives them, (batch, persons, frames, joints, 3) and
            (batch, persons).
        layout: name of the joints' layout.
    """
    bodies = [seen_body(persons[mask], layout) for persons, mask in zip(skeletons, person_mask, strict=True)]
    return np.array([_measures(body) for body in bodies], np.float32).reshape(len(bodies), -1)


def mirrored(skeletons: np.ndarray, layout: str) -> np.ndarray:
    """Normalised skeletons (..., joints, 3) as a mirror shows them: x is reversed, left and right are swapped."""
    swapped = np.arange(skeletons.shape[-2])
    for left, right in get_layout(layout).left_right:
        swapped[[left, right]] = right, left
    return skeletons[..., swapped, :] * np.array([-1, 1, 1], skeletons.dtype)


def _measures(body: np.ndarray) -> np.ndarray:
    """(measures,) of joints (frames, 20, 3) along right, up, forward."""
    joints = {name: body[:, number] for number, name in enumerate(_LAYOUT.joints)}
    shoulders, hips = joints["shoulder_center"], joints["hip_center"]
    hands = [joints[f"{side}_hand"] - shoulders for side in _SIDES]
    spreads = [hand.std(0) for hand in hands]
    active = int(np.linalg.norm(spreads[0]) < np.linalg.norm(spreads[1]))
    found = [
        *_activity(spreads, active),
        *_places(joints, hands, shoulders, hips),
        *_distances(joints, hands),
        *_trunk(joints, shoulders - hips, hips),
        *_feet(joints, hips),
        *_way(hands, active, joints),
    ]
    return np.concatenate([np.ravel(one) for one in found])


def _activity(spreads: list[np.ndarray], active: int) -> Iterable[np.ndarray]:
    """How much each hand moves, and along which axes."""
    much = [_log(np.linalg.norm(spread)) for spread in spreads]
    yield much[0] - much[1]
    yield np.array([max(much), min(much)])
    yield from map(_log, spreads)
    along = _log(spreads[active])
    yield along
    yield along - along.mean()


def _places(
    joints: dict[str, np.ndarray], hands: list[np.ndarray], shoulders: np.ndarray, hips: np.ndarray
) -> Iterable[np.ndarray]:
    for hand, side in zip(hands, _SIDES, strict=True):
        yield np.percentile(hand, _ALL, axis=0)
        yield np.percentile(joints[f"{side}_elbow"] - shoulders, _LOW_HIGH, axis=0)
        yield np.percentile(joints[f"{side}_knee"] - hips, _LOW_HIGH, axis=0)
        yield np.percentile(joints[f"{side}_ankle"] - hips, _LOW_HIGH, axis=0)
    for extreme in (np.maximum, np.minimum):  # whichever hand it is
        yield extreme(*(np.percentile(hand, _LOW_HIGH, axis=0) for hand in hands))


def _distances(joints: dict[str, np.ndarray], hands: list[np.ndarray]) -> Iterable[np.ndarray]:
    chest = (joints["shoulder_center"] + joints["spine"]) / 2
    for side in _SIDES:
        hand = joints[f"{side}_hand"]
        for other in (joints["head"], chest, joints[f"{side}_hip"]):
            yield np.percentile(np.linalg.norm(hand - other, axis=1), (5, 50))
        yield np.percentile((hand - joints[f"{side}_knee"])[:, 1], 5)
    yield np.percentile(np.linalg.norm(hands[0] - hands[1], axis=1), _ALL)


def _trunk(joints: dict[str, np.ndarray], trunk: np.ndarray, hips: np.ndarray) -> Iterable[np.ndarray]:
    ends = max(1, len(trunk) // 10)
    tilt = np.arctan2(trunk[:, [0, 2]], np.abs(trunk[:, 1:2]))
    low, high = np.percentile(tilt, _LOW_HIGH, axis=0)
    yield np.stack([low, high, high - tilt[:ends].mean(0)])
    height = hips[:, 1] - np.minimum(joints["right_ankle"][:, 1], joints["left_ankle"][:, 1])
    start, end = height[:ends].mean(), height[-ends:].mean()
    yield np.array([start - end, min(start, end) - np.percentile(height, 5), np.ptp(height), height.mean()])
    across = joints["right_shoulder"] - joints["left_shoulder"]
    heading = np.unwrap(np.arctan2(across[:, 2], across[:, 0]))
    yield np.array([np.ptp(heading), heading[-ends:].mean() - heading[:ends].mean()])


def _feet(joints: dict[str, np.ndarray], hips: np.ndarray) -> Iterable[np.ndarray]:
    feet = [joints[f"{side}_ankle"] for side in _SIDES]
    widest = [_log(_extent(foot).max()) for foot in feet]
    yield np.array([*widest, max(widest), min(widest)])
    yield _log(np.array([_path(foot) for foot in feet]))
    yield _log(np.array([np.linalg.norm(_extent(hips)[[0, 2]]), _path(hips[:, [0, 2]])]))
    yield _turns(*feet)


def _way(hands: list[np.ndarray], active: int, joints: dict[str, np.ndarray]) -> Iterable[np.ndarray]:
    """The way of the hand that moves more: while it is raised, how it turns, how evenly it goes."""
    hand = hands[active]
    height = hand[:, 1]
    raised = height > (height.min() + height.max()) / 2 if np.ptp(height) > _LIFT else np.ones(len(hand), bool)
    steps = np.diff(hand, axis=0)[raised[1:] & raised[:-1]]
    net, gone = steps.sum(0), np.linalg.norm(steps, axis=1).sum()
    loop = hand[raised][:, :2] - hand[raised][:, :2].mean(0)
    ahead = np.roll(loop, -1, axis=0)
    area = (loop[:, 0] * ahead[:, 1] - loop[:, 1] * ahead[:, 0]).sum() / 2 / max(np.prod(np.ptp(loop, axis=0)), 0.1)
    along = _log(hand[raised].std(0))
    yield net
    yield np.array([area, abs(area), np.linalg.norm(net) / max(gone, 0.1), raised.mean()])
    yield along - along.mean()
    yield _log(np.array([_path(one) for one in hands]))
    yield np.array([_turns(*hands, *(joints[f"{side}_ankle"] for side in _SIDES)), _turns(hand)])
    speed = np.linalg.norm(np.diff(hand, axis=0), axis=1)
    top, rests = np.percentile(speed, 98), speed < np.percentile(speed, 95) / 4
    yield np.array([np.log((top + 0.01) / (speed.mean() + 0.01)), rests.mean()])
    right, left = (np.diff(one, axis=0) for one in hands)
    yield (right * left).sum(0) / (np.sqrt((right**2).sum(0) * (left**2).sum(0)) + 0.05)  # together or in turn


def _turns(*ways: np.ndarray) -> np.ndarray:
    return _log(np.array(min(turning_points(np.concatenate(ways, axis=1)), _MOST_TURNS)))


def _log(lengths: np.ndarray | np.floating | float) -> np.ndarray:
    return np.log(np.asarray(lengths) + _SMALL)


def _path(positions: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum())


def _extent(positions: np.ndarray) -> np.ndarray:
    return np.subtract(*np.percentile(positions, (95, 5), axis=0))
