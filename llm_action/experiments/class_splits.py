"""Which classes training leaves out: fixed random splits, and those of the literature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.datasets.split import load_split
from llm_action.datasets.unseen_splits import unseen_classes

_SPLIT_SEED = 7


@dataclass(frozen=True)
class ClassSplit:
    """Names of the classes that training leaves out, and of those of the others that weights are chosen on."""

    unseen: tuple[str, ...]
    validation: tuple[str, ...] = ()


def class_splits(labels: Sequence[str], unseen: int, splits: int, validation: int = 0) -> list[ClassSplit]:
    """Fixed random splits: the same for the same labels and numbers, whatever else is set.

    The classes are shuffled and dealt out, so every class is unseen once before one is unseen twice.

    Raises:
        ValueError: too few classes for the numbers, or no split.
    """
    if unseen < 2 or splits < 1 or validation < 0 or validation == 1 or len(labels) - unseen - validation < 2:
        raise ValueError(
            f"expected 2 unseen classes or more, 0 validation classes or 2 or more, 2 classes to train on and 1 split "
            f"or more, got {unseen}, {validation}, {len(labels) - unseen - validation} and {splits}"
        )
    rng, deck, found = np.random.default_rng(_SPLIT_SEED), list[str](), []
    for _ in range(splits):
        if len(deck) < unseen:  # what is left comes first, then a new deal of the others
            deck += [label for label in rng.permutation(list(labels)).tolist() if label not in deck]
        chosen, deck = deck[:unseen], deck[unseen:]
        others = [label for label in rng.permutation(list(labels)).tolist() if label not in chosen]
        found.append(ClassSplit(tuple(chosen), tuple(others[:validation])))
    return found


def named_split(dataset: str, name: str, labels: Sequence[str]) -> list[ClassSplit]:
    """A split of the literature, see `unseen_splits`."""
    return [ClassSplit(tuple(labels[number] for number in unseen_classes(dataset, name)))]


def shown_labels(experiment: Experiment, data_dir: str | None) -> list[str]:
    """The labels of which there are sequences to train on and to test."""
    data = load_split(experiment, data_dir)
    shown = set(data.train["label"]) & set(data.test["label"])
    return [label for number, label in enumerate(data.labels) if number in shown]
