"""What every classifier of this project's comparisons is given: a split after the same normalisation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from llm_action.config.experiment import Experiment, tokenizer_config
from llm_action.datasets.augmentation import AugmentedSkeletons, normalized, plain_batch
from llm_action.datasets.cameras import filming
from llm_action.datasets.split import Split, augmentation_of, model_layout
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.skeleton_sequence import SkeletonSequence


def feature_extractor(
    experiment: Experiment, align_facing: bool | None = None, dimensions: int | None = None
) -> SkeletonFeatureExtractor:
    """The normalisation of an experiment, with facing alignment switched if `align_facing` is not None.

    Args:
        dimensions: of recordings of whose dimensions the experiment says nothing, default 3.
    """
    frames = tokenizer_config(experiment).num_frames
    align = experiment.align_facing if align_facing is None else align_facing
    return SkeletonFeatureExtractor(
        model_layout(experiment),
        frames,
        experiment.max_persons,
        align,
        dimensions=experiment.dimensions or dimensions or 3,
    )


class Recordings:
    """The training part of a split, normalised, and a way to bring any other sequence into the same shape.

    Attributes:
        persons: of every array; the most that a training sequence shows.
        targets: (sequences,) class ids.
    """

    def __init__(self, experiment: Experiment, split: Split, extractor: SkeletonFeatureExtractor):
        self.experiment, self.split, self.extractor = experiment, split, extractor
        self.sequences = normalized(split.train, extractor, "normalising skeletons")
        self.targets = np.array(split.train["label"])
        self.persons = max(map(len, self.sequences))

    def plain(self) -> tuple[np.ndarray, np.ndarray]:
        """skeletons (sequences, persons, frames, joints, 3), zeros for absent persons, and person_mask."""
        batch = plain_batch(
            [self.extractor.as_seen(persons) for persons in self.sequences], self.extractor.num_frames, self.persons
        )
        return batch["skeletons"], batch["person_mask"]

    def augmented(self, batch_size: int, batches: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches of skeletons, person_mask and targets under the experiment's augmentation, decided by its seed."""
        for skeletons, person_mask, rows in self.augmented_rows(batch_size, batches):
            yield skeletons, person_mask, torch.from_numpy(self.targets)[rows]

    def augmented_rows(self, batch_size: int, batches: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The same batches with each sequence's number, 0..sequences, instead of its target."""
        frames, seed = self.extractor.num_frames, self.experiment.seed
        sources = (self.sequences, np.arange(len(self.sequences)), augmentation_of(self.experiment))
        film = filming(self.extractor, self.experiment.cameras)
        stream = AugmentedSkeletons(*sources, frames, self.persons, batch_size * batches, seed, film)
        for start in range(0, len(stream), batch_size):
            items = [stream[item] for item in range(start, start + batch_size)]
            skeletons, person_mask, rows = (
                torch.from_numpy(np.stack([item[name] for item in items]))
                for name in ("skeletons", "person_mask", "labels")
            )
            yield skeletons, person_mask, rows

    def read(self, sequences: list[SkeletonSequence], views: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Recorded sequences as `plain` gives those of the training part; `views` as the extractor takes them."""
        features = self.extractor(sequences, views=views)
        return features["skeletons"][:, : self.persons], features["person_mask"][:, : self.persons]
