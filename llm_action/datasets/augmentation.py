"""Changes normalised skeleton sequences at random, as another subject or camera would.

The changes and their ranges are this project's choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset as TorchDataset

from llm_action.config.progress import ProgressBar
from llm_action.config.sections import Augmentation, SignalAugmentation
from llm_action.datasets import row_to_sequence, row_to_signal
from llm_action.datasets.cameras import Film
from llm_action.datasets.hub_table import HubTable, PartByPart
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.signal_sequence import at_moments, thinned
from llm_action.modeling.skeleton_normalization import interpolated, resample


def augment(
    persons: np.ndarray,
    ranges: Augmentation,
    num_frames: int,
    rng: np.random.Generator,
    film: Film | None = None,
) -> np.ndarray:
    """Changes and resamples (persons, frames, joints, 3) to (persons, num_frames, joints, 3); all persons alike.

    Args:
        persons: normalised, in torso lengths.
        film: shows persons as a camera sees them, in place of a turn; see `cameras`.
    """
    persons = interpolated(persons, drawn_moments(persons.shape[1], ranges, num_frames, rng))
    if ranges.limb_scale:
        persons = persons * (1 + rng.normal(0, ranges.limb_scale, (1, 1, persons.shape[2], 1)))
    yaw, pitch, roll = (rng.uniform(-most, most) for most in (ranges.yaw, ranges.pitch, ranges.roll))
    turn = _about(2, roll) @ _about(0, pitch) @ _about(1, yaw) if film is None else np.eye(3)
    persons = persons if film is None else film(persons, rng)
    sizes = rng.uniform(1 - ranges.scale, 1 + ranges.scale) * rng.uniform(1 - ranges.stretch, 1 + ranges.stretch, 3)
    persons = persons @ (turn.T * sizes)
    noise = rng.normal(0, ranges.noise, persons.shape)
    return (persons + (noise if film is None else noise * [1, 1, 0])).astype(np.float32)


def augment_signal(
    values: np.ndarray,
    ranges: SignalAugmentation,
    num_frames: int,
    rng: np.random.Generator,
    channel_scales: np.ndarray,
) -> np.ndarray:
    """Changes and resamples a signal (samples, channels) to (num_frames, channels), in its own unit.

    A generator in the state in which `augment` was given one cuts both senses of a recording at the same place, each
    within its own ranges.

    Args:
        channel_scales: (channels,) the standard deviation of each channel.
    """
    values = at_moments(values, drawn_moments(len(values), ranges, num_frames, rng))
    if ranges.rotation:
        turn = Rotation.from_rotvec(rng.normal(0, ranges.rotation, 3)).as_matrix()
        values = (values.reshape(num_frames, -1, 3) @ turn.T).reshape(num_frames, -1)
    values = values * rng.uniform(1 - ranges.scale, 1 + ranges.scale)
    return (values + channel_scales * rng.normal(0, ranges.noise, values.shape)).astype(np.float32)


def drawn_moments(
    count: int, ranges: Augmentation | SignalAugmentation, num_frames: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws a crop and a change of pace: (num_frames,) places among `count` samples."""
    share = rng.uniform(ranges.shortest_crop, 1)
    start = rng.uniform(0, 1 - share)
    last = count - 1
    moments = np.linspace(start * last, (start + share) * last, num_frames)
    if ranges.speed:
        moments = warped(moments, ranges.speed * rng.uniform(-1, 1, 2) / 2)
    return moments


def warped(moments: np.ndarray, swings: np.ndarray) -> np.ndarray:
    """Gives evenly spaced moments another pace in between; the first and the last stay.

    The pace at the share u of the way is 1 + swings[0] cos(pi u) + swings[1] cos(2 pi u). It is above 0 while the
    absolute swings add up to less than 1.
    """
    way = np.linspace(0, 1, len(moments))
    turns = np.pi * np.array([[1.0], [2.0]])
    way = way + (swings[:, None] * np.sin(turns * way) / turns).sum(0)
    return moments[0] + (moments[-1] - moments[0]) * way


def _about(axis: int, angle: float) -> np.ndarray:
    """Makes a rotation about axis 0 (left-right), 1 (vertical) or 2 (depth)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[second, first] = np.sin(angle)
    turn[first, second] = -np.sin(angle)
    return turn


def normalized(
    table: Dataset | HubTable, feature_extractor: SkeletonFeatureExtractor, title: str
) -> Sequence[np.ndarray]:
    """Normalises every sequence without resampling: (persons, frames, joints, 3) each, in torso lengths.

    They keep their depth whatever the model's dimensions: `SkeletonNormalizer.as_seen` is what it sees of them. Those
    of a table on the Hub are normalised part by part, as they are asked for.
    """
    if isinstance(table, HubTable):
        return PartByPart(table, lambda row: feature_extractor.normalize_in_space(row_to_sequence(row)))
    return [
        feature_extractor.normalize_in_space(row_to_sequence(row))
        for row in ProgressBar(table.with_format("numpy"), desc=title)
    ]


def aligned_signals(table: Dataset, sense: str, vqvae: ActionVQVAE) -> list[np.ndarray | None]:
    """Gathers a sense's signals (samples, channels) in its unit, at most two samples a frame; None where one lacks.

    Raises:
        ValueError: the table has no such column, or other channels.
    """
    if sense not in table.column_names:
        raise ValueError(
            f"expected a column {sense!r}, found {', '.join(table.column_names)}; prepare the data with it"
        )
    signals: list[np.ndarray | None] = []
    for row in table.select_columns([sense, "name"]).with_format("numpy"):
        values = row_to_signal(row, sense)
        if values is not None and values.shape[1] != len(vqvae.config.channels or ()):
            expected = ", ".join(vqvae.config.channels or ())
            raise ValueError(f"{row['name']}: expected the channels {expected} of {sense}, got {values.shape[1]}")
        signals.append(None if values is None else thinned(values, 2 * vqvae.config.num_frames))
    return signals


def item_rng(seed: int, item: int) -> np.random.Generator:
    """What augments an item of an `AugmentedStream`."""
    return np.random.default_rng((seed, 2, item))


class AugmentedStream(TorchDataset):
    """Streams differently augmented training sequences, enough for a whole training.

    Seed and number decide an item, so it is the same for any number of workers or ranks, and after a resume. Every
    pass over the sequences has an order of its own.

    Attributes:
        by_part: whether the sequences are of a table on the Hub, so that items are to be asked for in their order.
    """

    by_part = False

    def __init__(self, labels: Sequence[int] | np.ndarray, length: int, seed: int):
        self.labels, self.length, self.seed = labels, length, seed
        self._turn, self._order = -1, np.zeros(0, int)

    def __len__(self) -> int:
        return self.length

    def drawn(self, item: int) -> tuple[int, np.random.Generator]:
        """The number of an item's sequence, and what augments it."""
        turn, place = divmod(item, len(self.labels))
        if self._turn != turn:
            self._turn, self._order = turn, self.order(np.random.default_rng((self.seed, 1, turn)))
        return int(self._order[place]), item_rng(self.seed, item)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """The order of a pass."""
        return rng.permutation(len(self.labels))


class AugmentedSkeletons(AugmentedStream):
    """Augmented skeletons.

    Args:
        sequences: normalised, (persons, frames, joints, 3) each.
        labels: class ids.
        length: number of items.
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
        film: Film | None = None,
    ):
        super().__init__(labels, length, seed)
        self.sequences, self.augmentation, self.film = sequences, augmentation, film
        self.num_frames, self.max_persons = num_frames, max_persons
        self.by_part = isinstance(sequences, PartByPart)

    def __getitem__(self, item: int) -> dict[str, np.ndarray]:
        index, rng = self.drawn(item)
        persons = augment(self.sequences[index], self.augmentation, self.num_frames, rng, self.film)
        return {**padded(persons, self.max_persons), "labels": np.int64(self.labels[index])}

    def order(self, rng: np.random.Generator) -> np.ndarray:
        return self.sequences.table.shuffled(rng) if isinstance(self.sequences, PartByPart) else super().order(rng)


class AugmentedSignals(AugmentedStream):
    """Augmented signals of one sense, standardised, under the names of skeletons of one person each.

    Args:
        signals: (samples, channels) each, in their own unit.
        vqvae: whose channels, frames, means and scales are taken.
    """

    def __init__(
        self,
        signals: Sequence[np.ndarray],
        labels: Sequence[int] | np.ndarray,
        augmentation: SignalAugmentation,
        vqvae: ActionVQVAE,
        length: int,
        seed: int,
    ):
        super().__init__(labels, length, seed)
        self.signals, self.augmentation, self.num_frames = signals, augmentation, vqvae.config.num_frames
        self.means, self.scales = vqvae.channel_means.cpu().numpy(), vqvae.channel_scales.cpu().numpy()

    def __getitem__(self, item: int) -> dict[str, np.ndarray]:
        index, rng = self.drawn(item)
        values = augment_signal(self.signals[index], self.augmentation, self.num_frames, rng, self.scales)
        standardized = ((values - self.means) / self.scales).astype(np.float32)
        return {
            "skeletons": standardized[None],
            "person_mask": np.ones(1, bool),
            "labels": np.int64(self.labels[index]),
        }


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


def plain_batch(sequences: Sequence[np.ndarray], num_frames: int, max_persons: int) -> dict[str, np.ndarray]:
    """Makes a batch without augmentation.

    Args:
        sequences: normalised, (persons, frames, joints, 3) each.

    Returns:
        skeletons (batch, max_persons, num_frames, joints, 3) and person_mask (batch, max_persons).
    """
    rows = [padded(resample(persons, num_frames).astype(np.float32), max_persons) for persons in sequences]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
