"""The attributes of an action: a question to ask of a text, and the value that the joints of a recording show.

A value computed from the joints needs no label. So a language model that is asked for it learns what action tokens mean
rather than which class they belong to. Attributes and thresholds are this project's choice; lengths are in torso
lengths, for skeletons as `SkeletonFeatureExtractor` normalises them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .skeleton_layouts import get_layout, map_joints


@dataclass(frozen=True)
class Attribute:
    """One property of a movement.

    Attributes:
        question: that asks for it.
        values: each possible value and its phrase in a description.
    """

    question: str
    values: dict[str, str]


def _yes_no(question: str, yes: str, no: str) -> Attribute:
    return Attribute(question, {"yes": yes, "no": no})


ATTRIBUTES: dict[str, Attribute] = {
    "arms": Attribute(
        "Which arm moves most?",
        {
            "right arm": "the right arm moves",
            "left arm": "the left arm moves",
            "both arms": "both arms move",
            "neither arm": "the arms hang still",
        },
    ),
    "hands": Attribute(
        "How high do the hands get?",
        {
            "above the head": "a hand goes above the head",
            "at the head": "a hand goes up to the head",
            "at the chest": "a hand goes up to the chest",
            "at the hips": "the hands stay at the hips",
        },
    ),
    "direction": Attribute(
        "Which way does the hand move most?",
        {
            "sideways": "the hand moves sideways",
            "up and down": "the hand moves up and down",
            "forward and back": "the hand moves forward and back",
        },
    ),
    "sweep": Attribute(
        "Where does the raised hand go?",
        {
            "to the left": "the raised hand goes to the left",
            "to the right": "the raised hand goes to the right",
            "neither side": "the raised hand ends where it began",
        },
    ),
    "turn": Attribute(
        "Which way does the hand circle?",
        {
            "clockwise": "the hand circles clockwise",
            "counter-clockwise": "the hand circles counter-clockwise",
            "neither way": "the hand does not circle",
        },
    ),
    "reach": _yes_no(
        "Does a hand reach far from the body?", "a hand reaches far from the body", "the hands stay close to the body"
    ),
    "together": _yes_no("Do the hands come together?", "the hands come together", "the hands stay apart"),
    "floor": _yes_no(
        "Do the hands go down to the knees?", "a hand goes down to the knees", "the hands stay above the knees"
    ),
    "body": Attribute(
        "How does the body move?",
        {
            "down": "the body goes down",
            "up": "the body goes up",
            "down and up": "the body goes down and up",
            "level": "the body stays level",
        },
    ),
    "feet": Attribute(
        "What do the feet do?",
        {
            "stay": "the feet stay where they are",
            "step": "a foot takes a step",
            "keep stepping": "the feet keep stepping",
        },
    ),
    "lean": _yes_no("Does the trunk lean forward?", "the trunk leans forward", "the trunk stays upright"),
    "repeated": _yes_no("Is the movement repeated?", "the movement is repeated", "the movement is done once"),
}


_MIRRORED = {"right arm": "left arm", "to the left": "to the right", "clockwise": "counter-clockwise"}
_MIRRORED |= {other: one for one, other in _MIRRORED.items()}


def mirrored_values(name: str) -> list[int]:
    """The number that each value of an attribute has in a mirror."""
    values = list(ATTRIBUTES[name].values)
    return [values.index(_MIRRORED.get(value, value)) for value in values]


_LAYOUT = get_layout("kinect20")
_SMOOTHING = 3  # frames
_STILL_ARM = 0.15  # standard deviation of a hand's place, seen from the trunk, that counts as no movement
_BOTH = 0.6  # of the other hand's standard deviation, for both to move
_CHEST = 0.35  # a hand this far above the hips is at the chest
_LIFT = 0.3  # change of a hand's height that counts as lifting it
_SWEEP = 0.4  # way to one side
_MEET = 0.45  # hands this close have come together
_NEAR = 0.2  # a hand this far above the knees is as low as they are
_SINK = 0.3  # change of the hips' height above the feet
_STEP = 0.25  # way a foot has to go
_WALK = 2.0  # horizontal way of the hips that takes more than one step
_FAR = 0.7  # share of the arm's length, horizontally
_LEAN = 25.0  # degrees


def attribute_values(persons: np.ndarray, layout: str) -> dict[str, str]:
    """The value of each of `ATTRIBUTES` that the first person's joints show.

    Args:
        persons: (persons, frames, joints, 3) normalised: torso lengths, y up.
        layout: name of the joints' layout.
    """
    body = _Body(seen_body(persons, layout))
    return {
        "arms": body.arms(),
        "hands": body.highest_hand(),
        "direction": body.direction(),
        "sweep": body.sweep(),
        "turn": body.turn(),
        "reach": _yes(body.reach() > _FAR),
        "together": _yes(np.percentile(np.linalg.norm(body["right_hand"] - body["left_hand"], axis=-1), 5) < _MEET),
        "floor": _yes(body.lowest_hand() < _NEAR),
        "body": body.sinking(),
        "feet": body.feet(),
        "lean": _yes(body.lean() > _LEAN),
        "repeated": _yes(body.turning_points() >= 4),
    }


def seen_body(persons: np.ndarray, layout: str) -> np.ndarray:
    """The first person's joints (frames, 20, 3), smoothed, along the axes right, up, forward.

    Args:
        persons, layout: as `attribute_values` takes them.
    """
    return _in_body_axes(_smooth(np.nan_to_num(map_joints(persons[:1], layout, _LAYOUT.name)[0])))


def value_numbers(skeletons: np.ndarray, person_mask: np.ndarray, layout: str) -> np.ndarray:
    """The values that the joints show, as numbers.

    Args:
        skeletons, person_mask: as `SkeletonFeatureExtractor` gives them, (batch, persons, frames, joints, 3) and
            (batch, persons).
        layout: name of the joints' layout.

    Returns:
        (batch, attributes) int64, the number of each attribute's value, in the order of `ATTRIBUTES`.
    """
    rows = []
    for persons, mask in zip(skeletons, person_mask, strict=True):
        values = attribute_values(persons[mask], layout)
        rows.append([list(attribute.values).index(values[name]) for name, attribute in ATTRIBUTES.items()])
    return np.array(rows, np.int64).reshape(-1, len(ATTRIBUTES))


class _Body:
    """One person's joints (frames, 20, 3) along the axes right, up, forward."""

    def __init__(self, joints: np.ndarray):
        self.joints = joints
        # a hand's way seen from the trunk, so that walking moves no arm
        self.hands = {side: self[f"{side}_hand"] - self["shoulder_center"] for side in ("right", "left")}
        self.paths = {side: _path(hand) for side, hand in self.hands.items()}

    def __getitem__(self, joint: str) -> np.ndarray:
        return self.joints[:, _LAYOUT.index(joint)]

    def arms(self) -> str:
        # how far from its mean place rather than how long a way: jitter makes a way of its own
        right, left = (float(np.linalg.norm(self.hands[side].std(0))) for side in ("right", "left"))
        if max(right, left) < _STILL_ARM:
            return "neither arm"
        if min(right, left) > _BOTH * max(right, left):
            return "both arms"
        return "right arm" if right > left else "left arm"

    def active_hand(self) -> np.ndarray:
        """(frames, 3): the hand that moves more, from the trunk."""
        return self.hands["right" if self.paths["right"] >= self.paths["left"] else "left"]

    def raised(self) -> np.ndarray:
        """(frames,) bool: where the active hand is in the upper half of its way; everywhere if it is not lifted."""
        height = (self.active_hand() + self["shoulder_center"] - self["hip_center"])[:, 1]
        lifted = np.ptp(height) > _LIFT
        return height > (height.min() + height.max()) / 2 if lifted else np.ones(len(height), bool)

    def highest_hand(self) -> str:
        hand = np.maximum(self["right_hand"][:, 1], self["left_hand"][:, 1])
        for joint, above, value in (
            ("head", 0.0, "above the head"),
            ("shoulder_center", 0.0, "at the head"),
            ("hip_center", _CHEST, "at the chest"),
        ):
            if np.percentile(hand - self[joint][:, 1], 95) > above:
                return value
        return "at the hips"

    def lowest_hand(self) -> float:
        """How far a hand stays above its knee."""
        over = [self[f"{side}_hand"][:, 1] - self[f"{side}_knee"][:, 1] for side in ("right", "left")]
        return float(np.percentile(np.minimum(*over), 5))

    def direction(self) -> str:
        spread = self.active_hand()[self.raised()].std(0)
        return ("sideways", "up and down", "forward and back")[int(spread.argmax())]

    def sweep(self) -> str:
        raised = self.raised()
        net = float(np.diff(self.active_hand()[:, 0])[raised[1:] & raised[:-1]].sum())
        return "neither side" if abs(net) < _SWEEP else "to the right" if net > 0 else "to the left"

    def turn(self) -> str:
        """By the area that the raised hand goes round, seen by the person; a circle fills pi / 4 of its box."""
        path = self.active_hand()[self.raised()][:, :2]
        path = path - path.mean(0)
        ahead = np.roll(path, -1, axis=0)
        area = (path[:, 0] * ahead[:, 1] - path[:, 1] * ahead[:, 0]).sum() / 2
        box = float(np.prod(np.ptp(path, axis=0)))
        if box < 0.1 or abs(area) < 0.5 * box:
            return "neither way"
        return "counter-clockwise" if area > 0 else "clockwise"

    def reach(self) -> float:
        """The farthest a hand gets from its shoulder horizontally, as a share of the arm."""
        shares = []
        for side in ("right", "left"):
            bones = [self[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hand")]
            arm = sum(np.median(np.linalg.norm(b - a, axis=-1)) for a, b in pairwise(bones))
            away = np.linalg.norm((bones[-1] - bones[0])[:, [0, 2]], axis=-1)
            shares.append(np.percentile(away, 95) / max(arm, 1e-3))
        return float(max(shares))

    def sinking(self) -> str:
        # above the feet, as walking towards a tilted camera is no rising
        height = self["hip_center"][:, 1] - np.minimum(self["right_ankle"][:, 1], self["left_ankle"][:, 1])
        ends = max(1, len(height) // 10)
        start, end, low = height[:ends].mean(), height[-ends:].mean(), np.percentile(height, 5)
        if start - end > _SINK:
            return "down"
        if end - start > _SINK:
            return "up"
        return "down and up" if min(start, end) - low > _SINK else "level"

    def feet(self) -> str:
        feet = [self[f"{side}_ankle"] for side in ("right", "left")]
        widest = max(float(_extent(foot).max()) for foot in feet)
        if widest < _STEP:
            return "stay"
        walked = float(np.linalg.norm(_extent(self["hip_center"])[[0, 2]]))
        return "keep stepping" if max(map(_path, feet)) > 4 * widest or walked > _WALK else "step"

    def lean(self) -> float:
        """Degrees the trunk tilts forward beyond its start."""
        trunk = self["shoulder_center"] - self["hip_center"]
        angle = np.degrees(np.arctan2(trunk[:, 2], np.abs(trunk[:, 1])))
        return float(np.percentile(angle, 95) - angle[: max(1, len(angle) // 10)].mean())

    def turning_points(self) -> int:
        """How often the hands or feet turn back."""
        moving = [*self.hands.values(), self["right_ankle"], self["left_ankle"]]
        return turning_points(np.concatenate(moving, axis=1))


def turning_points(ways: np.ndarray) -> int:
    """How often ways (frames, coordinates) turn back, along the direction in which they move fastest."""
    along = ways @ np.linalg.svd(np.diff(ways, axis=0), full_matrices=False)[2][0]
    slack, turns, rising = 0.25 * np.ptp(along), 0, None
    extreme = along[0]
    for value in along[1:]:
        if rising is None:
            rising = value > extreme if abs(value - extreme) > slack else None
            extreme = value if rising is not None else extreme
        elif (value > extreme) == rising:
            extreme = value
        elif abs(value - extreme) > slack:
            turns, rising, extreme = turns + 1, not rising, value
    return turns


def _in_body_axes(joints: np.ndarray) -> np.ndarray:
    """(frames, 20, 3) along right, up and forward of the person, whatever way it faced the camera."""
    across = np.zeros(3)
    for part in ("shoulder", "hip"):
        sides = (joints[:, _LAYOUT.index(f"{side}_{part}")] for side in ("right", "left"))
        right_side, left_side = sides
        across += np.median(right_side - left_side, axis=0)
    across[1] = 0
    length = np.linalg.norm(across)
    right = across / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])
    up = np.array([0.0, 1.0, 0.0])
    return joints @ np.stack([right, up, np.cross(up, right)], axis=1)


def _smooth(joints: np.ndarray) -> np.ndarray:
    """A moving average over time; the ends are repeated."""
    padded = np.concatenate([joints[:1]] * (_SMOOTHING // 2) + [joints] + [joints[-1:]] * (_SMOOTHING // 2))
    return sum(padded[i : i + len(joints)] for i in range(_SMOOTHING)) / _SMOOTHING


def _path(positions: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=-1).sum())


def _extent(positions: np.ndarray) -> np.ndarray:
    """(3,) how far apart positions (frames, 3) lie along each axis, but for outliers."""
    return np.subtract(*np.percentile(positions, (95, 5), axis=0))


def _yes(fact: bool | np.bool_) -> str:
    return "yes" if fact else "no"
