"""Stage 1 on several data sets at once: other skeletons are mapped to the model's layout by joint name."""

from __future__ import annotations

import numpy as np

from llm_action.datasets import open_dataset
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_tree import normalize_label
from llm_action.training.data import Split, normalized
from llm_action.training.experiment import Experiment


def stage_one_sequences(
    experiment: Experiment, split: Split, extractor: SkeletonFeatureExtractor
) -> tuple[list[np.ndarray], list[int], int]:
    """What the action tokenizer learns from: the split's training part and those of the data sets in `vqvae.also`.

    A class of the same name is the same class. Classes in `experiment.unseen` are left out of every data set, by name:
    whether another name means the same is for the user to say (leave that data set out).

    Returns:
        Normalised sequences (persons, frames, joints, 3), their class ids, and the number of classes.

    Raises:
        FileNotFoundError, ValueError: a data set that cannot be opened.
    """
    sequences = normalized(split.train, extractor, "normalising skeletons")
    classes = list(split.train["label"])
    numbers = {_key(label): number for number, label in enumerate(split.labels)}
    unseen = {_key(label) for label in experiment.unseen}
    for source in experiment.vqvae.also:
        benchmark, table = open_dataset(source["dataset"], source.get("data"))
        names = [_key(label) for label in table.features["label"].names]
        wanted = protocol_parts(table, protocol_name(benchmark)) == "train"
        wanted &= ~np.isin(table["label"], [number for number, name in enumerate(names) if name in unseen])
        table = table.select(np.flatnonzero(wanted))
        sequences += normalized(table, extractor, f"normalising skeletons of {benchmark.name}")
        classes += [numbers.setdefault(names[label], len(numbers)) for label in table["label"]]
    return sequences, classes, len(numbers)


def _key(label: str) -> str:
    return normalize_label(label).casefold()
