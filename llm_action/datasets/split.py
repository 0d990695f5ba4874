"""The training and test part of an experiment, and the names and descriptions of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset

from llm_action.config.experiment import Experiment
from llm_action.config.sections import Augmentation
from llm_action.datasets import describe_dataset, open_dataset
from llm_action.datasets.descriptions import load_descriptions
from llm_action.datasets.extra_datasets import beside, joined, relabelled
from llm_action.datasets.hub_table import HubTable
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.modeling.label_descriptions import LabelDescription

_POINT_CROP, _POINT_SPEED = 0.9, 0.2  # move the middle of a window by a twentieth of its length each, at most


@dataclass
class Split:
    """The two parts of a protocol, as tables of `llm_action.datasets`.

    Attributes:
        unseen: classes that training leaves out.
        dataset: the data set's name; of a prepared folder of one's own the folder's.
        held_out: whether `test` is a held-out share of the training part, not the protocol's test part.
        point_window: seconds of the windows about action points that its sequences are; None of whole actions.
    """

    train: Dataset
    test: Dataset
    labels: list[str]
    protocol: str
    unseen: frozenset[str] = frozenset()
    dataset: str = ""
    held_out: bool = False
    point_window: float | None = None

    @property
    def trained_labels(self) -> list[str]:
        """The labels but those of classes that training leaves out."""
        return [label for label in self.labels if label not in self.unseen]


def load_split(experiment: Experiment, data_dir: str | None) -> Split:
    """Splits an experiment's data by its protocol.

    With `holdout_subjects` or `holdout_cameras` the test part is the training sequences of those subjects and cameras;
    the official test part is not touched. Classes in `unseen` are left out of the training part alone. The training
    parts of `extra_datasets` come on top, their further classes behind the data set's own; those whose folder is not
    said are looked for beside `data_dir`.

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
    hold_out = bool(experiment.holdout_subjects or experiment.holdout_cameras)
    if hold_out:
        held_out = np.isin(table["subject"], experiment.holdout_subjects)
        held_out |= np.isin(table["camera"], experiment.holdout_cameras)
        train, test = train & ~held_out, train & held_out
    train &= ~np.isin(table["label"], unseen)
    for name, part in (("training", train), ("test", test)):
        if not part.any():
            raise ValueError(
                f"{experiment.dataset}: the {name} part of {protocol!r} is empty; check holdout_subjects, "
                "holdout_cameras and the data."
            )
    if experiment.training_examples_per_class:
        train = _few_of_each(train, np.array(table["label"]), experiment)
    labels = table.features["label"].names
    if experiment.recognizer.label_names == "neutral":
        labels = [f"class {number}" for number in range(1, len(labels) + 1)]
        table = table.cast_column("label", ClassLabel(names=labels))
    left_out = frozenset(labels[number] for number in unseen)
    trained, tested = table.select(np.flatnonzero(train)), table.select(np.flatnonzero(test))
    if experiment.extra_datasets and isinstance(trained, HubTable):
        raise ValueError(
            f"{experiment.dataset}: a table on the Hub is read part by part and cannot be joined with extra_datasets; "
            "name a folder that llm-action prepare wrote."
        )
    if experiment.extra_datasets:
        sources = [beside(source, data_dir) for source in experiment.extra_datasets]
        windows = {describe_dataset(each["dataset"]).point_window for each in sources} | {benchmark.point_window}
        if len(windows) > 1:
            raise ValueError(
                f"{experiment.dataset}: expected data sets of action points alone or of whole actions alone, got both."
            )
        trained = joined(trained, sources, experiment.unseen)
        labels = trained.features["label"].names
        tested = relabelled(tested, labels)
    name = dataset_name(experiment.dataset)
    return Split(trained, tested, labels, protocol, left_out, name, hold_out, benchmark.point_window)


def dataset_name(dataset: str) -> str:
    """Names a data set without its path: a benchmark's own, or that of a folder prepared from one's own data."""
    name = describe_dataset(dataset).name
    return Path(dataset.partition("@")[0]).name if name == "folder" else name


def label_numbers(labels: list[str], names: list[str]) -> list[int]:
    """Finds the class ids of some labels; raises a ValueError that names one that is none."""
    unknown = sorted(set(names) - set(labels))
    if unknown:
        raise ValueError(f"unknown class {unknown[0]!r}; the data set has {', '.join(labels)}")
    return [labels.index(name) for name in names]


def described_labels(experiment: Experiment, labels: Sequence[str]) -> dict[str, LabelDescription]:
    """Looks up every label's description: the user's own, else that of a data set trained on, else any shipped one.

    Raises:
        FileNotFoundError, ValueError: see `known_descriptions`.
    """
    return load_descriptions(labels, dataset_names(experiment), experiment.recognizer.descriptions)


def dataset_names(experiment: Experiment) -> list[str]:
    """Names the data sets trained on; the first is the one that is tested."""
    return [
        describe_dataset(name).name
        for name in (experiment.dataset, *(each["dataset"] for each in experiment.extra_datasets))
    ]


def _few_of_each(train: np.ndarray, labels: np.ndarray, experiment: Experiment) -> np.ndarray:
    """Keeps so many rows of each class of `train` (rows,); a larger number keeps those of a smaller one."""
    order = np.random.default_rng((experiment.seed, 5)).permutation(len(labels))
    kept = np.zeros_like(train)
    for label in np.unique(labels):
        of_label = order[train[order] & (labels[order] == label)]
        kept[of_label[: experiment.training_examples_per_class]] = True
    return kept


def model_dimensions(experiment: Experiment, split: Split) -> int:
    """Says in how many dimensions the model sees persons: as the experiment says, else as the recordings have."""
    channels = (int(shape[-1]) for shape in split.train["shape"] if shape is not None and len(shape))
    return experiment.dimensions or max(channels, default=3)


def augmentation_of(experiment: Experiment) -> Augmentation:
    """The experiment's augmentation; of windows about action points one that leaves the middle in the middle."""
    ranges = experiment.augmentation
    if describe_dataset(experiment.dataset).point_window is None:
        return ranges
    crop, speed = max(ranges.shortest_crop, _POINT_CROP), min(ranges.speed, _POINT_SPEED)
    return replace(ranges, shortest_crop=crop, speed=speed)


def model_layout(experiment: Experiment) -> str:
    """Says the layout that the VQ-VAE sees: the experiment's, else the data set's in the SDK's joint order."""
    layout = experiment.layout or describe_dataset(experiment.dataset).layout
    return "kinect20" if layout.startswith("kinect20") else layout
