"""From a benchmark table to what the stages train on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import ClassLabel, Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from tqdm import tqdm

from llm_action.datasets import describe_dataset, open_dataset, row_to_sequence
from llm_action.datasets.descriptions import load_descriptions
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor, resample
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.training.augmentation import Augmentation
from llm_action.training.experiment import Experiment
from llm_action.training.pretraining import joined, relabelled


@dataclass
class Split:
    """The two parts of a protocol, as tables of `llm_action.datasets`."""

    train: Dataset
    test: Dataset
    labels: list[str]
    protocol: str
    unseen: frozenset[str] = frozenset()

    @property
    def trained_labels(self) -> list[str]:
        """The labels but those of classes that training leaves out."""
        return [label for label in self.labels if label not in self.unseen]


def load_split(experiment: Experiment, data_dir: str | None) -> Split:
    """The training and test part of an experiment's protocol.

    With `holdout_subjects` or `holdout_views` the test part is those subjects' and views' training sequences and the
    official one stays unseen. Classes in `unseen` are left out of the training part alone. The
    training parts of `also` come on top, their further classes behind the data set's own.

    Args:
        experiment: its `dataset` is a benchmark's name or a folder that `llm-action prepare` wrote.
        data_dir: of a benchmark, the unpacked release or the folder that `llm-action prepare` made of it.

    Raises:
        ValueError: unknown data set, protocol or unseen class, or a part without sequences.
        FileNotFoundError: the data folder.
    """
    benchmark, table = open_dataset(experiment.dataset, data_dir)
    unseen = label_numbers(table.features["label"].names, experiment.unseen)
    protocol = protocol_name(benchmark, experiment.protocol)
    parts = protocol_parts(table, protocol)
    train, test = parts == "train", parts == "test"
    if experiment.holdout_subjects or experiment.holdout_views:
        held_out = np.isin(table["subject"], experiment.holdout_subjects)
        held_out |= np.isin(table["view"], experiment.holdout_views)
        train, test = train & ~held_out, train & held_out
    train &= ~np.isin(table["label"], unseen)
    for name, part in (("training", train), ("test", test)):
        if not part.any():
            raise ValueError(
                f"{experiment.dataset}: the {name} part of {protocol!r} is empty; check holdout_subjects, "
                "holdout_views and the data."
            )
    if experiment.training_examples_per_class:
        train = _few_of_each(train, np.array(table["label"]), experiment)
    labels = table.features["label"].names
    if experiment.recognizer.label_names == "neutral":
        labels = [f"class {number}" for number in range(1, len(labels) + 1)]
        table = table.cast_column("label", ClassLabel(names=labels))
    left_out = frozenset(labels[number] for number in unseen)
    trained, tested = table.select(np.flatnonzero(train)), table.select(np.flatnonzero(test))
    if experiment.also:
        trained = joined(trained, experiment.also, experiment.unseen)
        labels = trained.features["label"].names
        tested = relabelled(tested, labels)
    return Split(trained, tested, labels, protocol, left_out)


def label_numbers(labels: list[str], names: list[str]) -> list[int]:
    """The class ids of some labels; ValueError naming one that is none."""
    unknown = sorted(set(names) - set(labels))
    if unknown:
        raise ValueError(f"unknown class {unknown[0]!r}; the data set has {', '.join(labels)}")
    return [labels.index(name) for name in names]


def described_labels(experiment: Experiment, labels: Sequence[str]) -> dict[str, LabelDescription]:
    """The description of every label: the user's own, else that shipped for a data set trained on, else any shipped.

    Raises:
        FileNotFoundError, ValueError: see `known_descriptions`.
    """
    return load_descriptions(labels, dataset_names(experiment), experiment.recognizer.descriptions)


def dataset_names(experiment: Experiment) -> list[str]:
    """Of the data sets trained on, the one that is tested first."""
    return [
        describe_dataset(name).name for name in (experiment.dataset, *(each["dataset"] for each in experiment.also))
    ]


def _few_of_each(train: np.ndarray, labels: np.ndarray, experiment: Experiment) -> np.ndarray:
    """`train` (rows,) with so many rows of each class left; a larger number keeps those of a smaller one."""
    order = np.random.default_rng((experiment.seed, 5)).permutation(len(labels))
    kept = np.zeros_like(train)
    for label in np.unique(labels):
        of_label = order[train[order] & (labels[order] == label)]
        kept[of_label[: experiment.training_examples_per_class]] = True
    return kept


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
