"""From a benchmark table to what the stages train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from tqdm import tqdm

from llm_action.datasets import describe_dataset, open_dataset, row_to_sequence
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor, resample
from llm_action.training.augmentation import Augmentation
from llm_action.training.experiment import Experiment


@dataclass
class Split:
    """The two parts of a protocol, as tables of `llm_action.datasets`."""

    train: Dataset
    test: Dataset
    labels: list[str]
    protocol: str


def load_split(experiment: Experiment, data_dir: str | None) -> Split:
    """The training and test part of an experiment's protocol.

    With `holdout_subjects` the test part is those training subjects' sequences and the official one stays unseen.

    Args:
        experiment: its `dataset` is a benchmark's name or a folder that `llm-action prepare` wrote.
        data_dir: of a benchmark, the unpacked release or the folder that `llm-action prepare` made of it.

    Raises:
        ValueError: unknown data set or protocol, or a part without sequences.
        FileNotFoundError: the data folder.
    """
    benchmark, table = open_dataset(experiment.dataset, data_dir)
    protocol = protocol_name(benchmark, experiment.protocol)
    parts, subjects = protocol_parts(table, protocol), np.array(table["subject"])
    train, test = parts == "train", parts == "test"
    if experiment.holdout_subjects:
        held_out = np.isin(subjects, experiment.holdout_subjects)
        train, test = train & ~held_out, train & held_out
    for name, part in (("training", train), ("test", test)):
        if not part.any():
            raise ValueError(
                f"{experiment.dataset}: the {name} part of {protocol!r} is empty; check holdout_subjects and the data."
            )
    labels = table.features["label"].names
    return Split(table.select(np.flatnonzero(train)), table.select(np.flatnonzero(test)), labels, protocol)


def model_layout(experiment: Experiment) -> str:
    """The layout the VQ-VAE sees: the experiment's, else the data set's in the SDK's joint order."""
    layout = experiment.layout or describe_dataset(experiment.dataset).layout
    return "kinect20" if layout.startswith("kinect20") else layout


def normalized(table: Dataset, feature_extractor: SkeletonFeatureExtractor, title: str) -> list[np.ndarray]:
    """Every sequence normalised but not resampled: a list of (persons, frames, joints, 3) in torso lengths."""
    return [feature_extractor.normalize(row_to_sequence(row)) for row in tqdm(table.with_format("numpy"), desc=title)]


class AugmentedSkeletons(TorchDataset):
    """A stream of differently augmented training sequences, long enough for a whole training.

    Item `i` is decided by (seed, i) alone: the same whatever the number of workers or ranks and after a resume. Every
    pass over the sequences has an order of its own.

    Args:
        sequences: normalised, (persons, frames, joints, 3) each.
        labels: class ids.
        length: number of items.
    """

    def __init__(
        self, sequences, labels, augmentation: Augmentation, num_frames: int, max_persons: int, length: int, seed: int
    ):
        self.sequences, self.labels, self.augmentation = sequences, labels, augmentation
        self.num_frames, self.max_persons, self.length, self.seed = num_frames, max_persons, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> dict[str, np.ndarray]:
        turn, place = divmod(item, len(self.sequences))
        index = np.random.default_rng((self.seed, 1, turn)).permutation(len(self.sequences))[place]
        rng = np.random.default_rng((self.seed, 2, item))
        persons = self.augmentation(self.sequences[index], self.num_frames, rng)
        return {**padded(persons, self.max_persons), "labels": np.int64(self.labels[index])}


class Passes(Sampler[int]):
    """The order of a whole training: pass after pass over the examples, each pass shuffled anew.

    Decided by the seed alone and known to its end from the start, so that a resumed training takes up the very next
    example; a Trainer that shuffles at every epoch does not. A batch holds examples of one prompt length (two persons'
    prompts are twice as long as one's); which ones, and the order of the batches, is left to chance: sorting by
    exact lengths, answers counted, would sort a batch by class.

    Args:
        lengths: tokens of each example's prompt.
        batch_size: examples that should be of one length.
        total: examples of the whole training.
    """

    def __init__(self, lengths: list[int], batch_size: int, total: int, seed: int):
        self.lengths, self.batch_size, self.total, self.seed = np.array(lengths), batch_size, total, seed

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        for start in range(0, self.total, len(self.lengths)):
            order = self._one_pass(np.random.default_rng((self.seed, 4, start)))
            yield from order[: self.total - start]

    def _one_pass(self, rng: np.random.Generator) -> list[int]:
        batches, rest = [], []
        for length in np.unique(self.lengths):
            examples = rng.permutation(np.flatnonzero(self.lengths == length)).tolist()
            whole = len(examples) // self.batch_size * self.batch_size
            batches += [examples[i : i + self.batch_size] for i in range(0, whole, self.batch_size)]
            rest += examples[whole:]
        shuffled = [batches[i] for i in rng.permutation(len(batches))]
        return [index for batch in shuffled for index in batch] + rest


def padded(persons: np.ndarray, max_persons: int) -> dict[str, np.ndarray]:
    """skeletons (max_persons, frames, joints, 3), zeros for absent persons, and person_mask (max_persons,)."""
    skeletons = np.zeros((max_persons, *persons.shape[1:]), np.float32)
    skeletons[: len(persons)] = persons
    return {"skeletons": skeletons, "person_mask": np.arange(max_persons) < len(persons)}


def plain_batch(sequences: list[np.ndarray], num_frames: int, max_persons: int) -> dict[str, np.ndarray]:
    """A batch without augmentation: skeletons (batch, persons, frames, joints, 3) and person_mask (batch, persons)."""
    rows = [padded(resample(persons, num_frames).astype(np.float32), max_persons) for persons in sequences]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
