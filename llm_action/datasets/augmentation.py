"""Randomly changed versions of a normalised skeleton sequence: what another subject or camera would change.

The changes and their ranges are this project's choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from llm_action.config.sections import Augmentation
from llm_action.datasets import row_to_sequence
from llm_action.datasets.cameras import Film
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor, interpolated, resample


def augment(
    persons: np.ndarray,
    ranges: Augmentation,
    num_frames: int,
    rng: np.random.Generator,
    joint_dropout: float = 0.0,
    film: Film | None = None,
) -> np.ndarray:
    """Changes and resamples (persons, frames, joints, 3) to (persons, num_frames, joints, 3); all persons alike.

    Args:
        persons: normalised, in torso lengths.
        joint_dropout: see `OnTrial`.
        film: shows persons as a camera sees them, in place of a turn; see `cameras`.
    """
    share = rng.uniform(ranges.shortest_crop, 1)
    start = rng.uniform(0, 1 - share)
    last = persons.shape[1] - 1
    moments = np.linspace(start * last, (start + share) * last, num_frames)
    if ranges.speed:
        moments = warped(moments, ranges.speed * rng.uniform(-1, 1, 2) / 2)
    persons = interpolated(persons, moments)
    if joint_dropout:
        persons = _lose_joints(persons, joint_dropout, rng)
    if ranges.limb_scale:
        persons = persons * (1 + rng.normal(0, ranges.limb_scale, (1, 1, persons.shape[2], 1)))
    yaw, pitch, roll = (rng.uniform(-most, most) for most in (ranges.yaw, ranges.pitch, ranges.roll))
    turn = _about(2, roll) @ _about(0, pitch) @ _about(1, yaw) if film is None else np.eye(3)
    persons = persons if film is None else film(persons, rng)
    sizes = rng.uniform(1 - ranges.scale, 1 + ranges.scale) * rng.uniform(1 - ranges.stretch, 1 + ranges.stretch, 3)
    persons = persons @ (turn.T * sizes)
    noise = rng.normal(0, ranges.noise, persons.shape)
    return (persons + (noise if film is None else noise * [1, 1, 0])).astype(np.float32)


def warped(moments: np.ndarray, swings: np.ndarray) -> np.ndarray:
    """Gives evenly spaced moments another pace in between; the first and the last stay.

    The pace at the share u of the way is 1 + swings[0] cos(pi u) + swings[1] cos(2 pi u). It is above 0 while the
    absolute swings add up to less than 1.
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
    """Makes a rotation about axis 0 (left-right), 1 (vertical) or 2 (depth)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[second, first] = np.sin(angle)
    turn[first, second] = -np.sin(angle)
    return turn


def normalized(table: Dataset, feature_extractor: SkeletonFeatureExtractor, title: str) -> list[np.ndarray]:
    """Normalises every sequence without resampling: a list of (persons, frames, joints, 3) in torso lengths.

    They keep their depth whatever the model's dimensions; `SkeletonFeatureExtractor.as_seen` is what it sees of them.
    """
    rows = tqdm(table.with_format("numpy"), desc=title)
    return [feature_extractor.normalize_in_space(row_to_sequence(row)) for row in rows]


class AugmentedSkeletons(TorchDataset):
    """A stream of differently augmented training sequences, long enough for a whole training.

    Seed and number decide an item, so it is the same for any number of workers or ranks, and after a resume. Every
    pass over the sequences has an order of its own.

    Args:
        sequences: normalised, (persons, frames, joints, 3) each.
        labels: class ids.
        length: number of items.
        joint_dropout: see `OnTrial`.
        film: see `augment`.
    """

    def __init__(
        self,
        sequences: Sequence[np.ndarray],
        labels: Sequence[int] | np.ndarray,
        augmentation: Augmentation,
        num_frames: int,
        max_persons: int,
        length: int,
        seed: int,
        joint_dropout: float = 0.0,
        film: Film | None = None,
    ):
        self.film = film
        self.sequences, self.labels, self.augmentation = sequences, labels, augmentation
        self.joint_dropout = joint_dropout
        self.num_frames, self.max_persons, self.length, self.seed = num_frames, max_persons, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> dict[str, np.ndarray]:
        turn, place = divmod(item, len(self.sequences))
        index = np.random.default_rng((self.seed, 1, turn)).permutation(len(self.sequences))[place]
        rng = np.random.default_rng((self.seed, 2, item))
        persons = augment(self.sequences[index], self.augmentation, self.num_frames, rng, self.joint_dropout, self.film)
        return {**padded(persons, self.max_persons), "labels": np.int64(self.labels[index])}


def padded(persons: np.ndarray, max_persons: int) -> dict[str, np.ndarray]:
    """Adds absent persons.

    Args:
        persons: (persons, frames, joints, 3).

    Returns:
        skeletons (max_persons, frames, joints, 3), zeros for absent persons, and person_mask (max_persons,).
    """
    skeletons = np.zeros((max_persons, *persons.shape[1:]), np.float32)
    skeletons[: len(persons)] = persons
    return {"skeletons": skeletons, "person_mask": np.arange(max_persons) < len(persons)}


def plain_batch(sequences: list[np.ndarray], num_frames: int, max_persons: int) -> dict[str, np.ndarray]:
    """Makes a batch without augmentation.

    Args:
        sequences: normalised, (persons, frames, joints, 3) each.

    Returns:
        skeletons (batch, max_persons, num_frames, joints, 3) and person_mask (batch, max_persons).
    """
    rows = [padded(resample(persons, num_frames).astype(np.float32), max_persons) for persons in sequences]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
