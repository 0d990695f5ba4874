"""Random views of a normalised skeleton sequence (this project's choice): what a subject or a camera could change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_action.modeling.feature_extraction_skeleton import interpolated


@dataclass
class Augmentation:
    """Ranges of the random changes; zero (one for `shortest_crop`) switches a change off.

    Args:
        yaw: turn about the vertical, radians, uniform in +-yaw.
        pitch: turn about the left-right axis, radians, uniform in +-pitch.
        roll: turn about the depth axis, radians, uniform in +-roll.
        scale: size, uniform in 1 +- scale.
        stretch: size along each axis of the room, uniform in 1 +- stretch.
        shortest_crop: shortest share of the sequence that is kept, uniform in shortest_crop..1 at a random place.
        noise: standard deviation of each coordinate's noise, torso lengths.
        limb_scale: standard deviation of a per-joint stretch of the offset from the root.
        speed: how much slower or faster parts of a movement become, below 1: the pace varies smoothly over the sequence
            within 1 +- speed of its mean.
        joint_dropout: probability that a joint is lost between two random frames; it then moves in a straight line, as
            `skeleton_cleaning.fill_missing` has a joint do that a tracker lost.

    There is no mirroring: a left swipe would become a right one.

    Raises:
        ValueError: speed outside 0..1 (time would run backwards) or a joint_dropout that is no probability.
    """

    yaw: float = 0.9
    pitch: float = 0.6
    roll: float = 0.2
    scale: float = 0.3
    stretch: float = 0.2
    shortest_crop: float = 0.5
    noise: float = 0.02
    limb_scale: float = 0.1
    speed: float = 0.7
    joint_dropout: float = 0.0

    def __post_init__(self):
        if not (0 <= self.speed < 1 and 0 <= self.joint_dropout <= 1):
            raise ValueError(
                f"Expected speed in 0..1 (below 1) and joint_dropout in 0..1, got {self.speed}, {self.joint_dropout}."
            )

    def __call__(self, persons: np.ndarray, num_frames: int, rng: np.random.Generator) -> np.ndarray:
        """Changes and resamples (persons, frames, joints, 3) to (persons, num_frames, joints, 3); all persons alike."""
        share = rng.uniform(self.shortest_crop, 1)
        start = rng.uniform(0, 1 - share)
        last = persons.shape[1] - 1
        moments = np.linspace(start * last, (start + share) * last, num_frames)
        if self.speed:
            moments = warped(moments, self.speed * rng.uniform(-1, 1, 2) / 2)
        persons = interpolated(persons, moments)
        if self.joint_dropout:
            persons = _lose_joints(persons, self.joint_dropout, rng)
        if self.limb_scale:
            persons = persons * (1 + rng.normal(0, self.limb_scale, (1, 1, persons.shape[2], 1)))
        yaw, pitch, roll = (rng.uniform(-most, most) for most in (self.yaw, self.pitch, self.roll))
        turn = _about(2, roll) @ _about(0, pitch) @ _about(1, yaw)
        sizes = rng.uniform(1 - self.scale, 1 + self.scale) * rng.uniform(1 - self.stretch, 1 + self.stretch, 3)
        persons = persons @ (turn.T * sizes)
        return (persons + rng.normal(0, self.noise, persons.shape)).astype(np.float32)


def warped(moments: np.ndarray, swings: np.ndarray) -> np.ndarray:
    """Evenly spaced moments with another pace in between, first and last kept.

    The pace at the share u of the way is 1 + swings[0] cos(pi u) + swings[1] cos(2 pi u); above 0 while the absolute
    swings add up to less than 1.
    """
    way = np.linspace(0, 1, len(moments))
    turns = np.pi * np.array([[1.0], [2.0]])
    way = way + (swings[:, None] * np.sin(turns * way) / turns).sum(0)
    return moments[0] + (moments[-1] - moments[0]) * way


def _lose_joints(persons: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    person, joint = np.nonzero(rng.random((persons.shape[0], persons.shape[2])) < probability)
    begin, end = np.sort(rng.integers(0, persons.shape[1], (2, len(joint))), axis=0)
    frames = np.arange(persons.shape[1])[:, None]
    share = ((frames - begin) / np.maximum(end - begin, 1))[..., None]  # (frames, lost joints, 1)
    tracks = persons[person, :, joint].swapaxes(0, 1)
    first, last = persons[person, begin, joint], persons[person, end, joint]
    lost = (frames > begin) & (frames < end)
    persons = persons.copy()
    persons[person, :, joint] = np.where(lost[..., None], first + share * (last - first), tracks).swapaxes(0, 1)
    return persons


def _about(axis: int, angle: float) -> np.ndarray:
    """Rotation about axis 0 (left-right), 1 (vertical) or 2 (depth)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[second, first] = np.sin(angle)
    turn[first, second] = -np.sin(angle)
    return turn
