"""Measures how far apart familiar motions lie, so that a model can say when a motion is strange."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.config.sections import Augmentation
from llm_action.datasets import row_to_sequence
from llm_action.datasets.augmentation import augment
from llm_action.datasets.cameras import filming
from llm_action.datasets.split import Split
from llm_action.modeling.familiarity import Familiarity, familiarity_features
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.skeleton_normalization import resample
from llm_action.modeling.skeleton_sequence import SkeletonSequence

_SEQUENCES = 2000  # as many as are needed; evenly spread over the training part
_NEARLY_ALL = 0.995
_VIEWS = 3  # beside the recording as it is
# what another camera, body or beginning of the recording changes makes no motion strange
_CHANGES = Augmentation(
    yaw=0.5, pitch=0.25, roll=0.1, scale=0.1, stretch=0.05, shortest_crop=0.7, noise=0.01, limb_scale=0.05, speed=0.3
)


def gather_familiarity(experiment: Experiment, extractor: SkeletonFeatureExtractor, split: Split) -> Familiarity | None:
    """Fits the training part, subject by subject held out; None where there is too little to fit."""
    rows = np.unique(np.linspace(0, len(split.train) - 1, _SEQUENCES).astype(int))
    table = split.train.select(rows).with_format("numpy")
    sequences = list(map(row_to_sequence, table))
    features = [
        changed_features(extractor.normalize_in_space(sequence), extractor, experiment.seed + number)
        for number, sequence in enumerate(sequences)
    ]
    try:
        known = Familiarity.fitted(np.stack(features), np.array(table["label"]), np.array(table["subject"]))
    except ValueError:
        return None
    known.longest = longest_of(sequences)
    return known


def longest_of(sequences: Sequence[SkeletonSequence]) -> float:
    """Seconds of the longest of some recordings, leaving out one in 200; 0 where the rate of most is not known."""
    seconds = [sequence.num_frames / sequence.fps for sequence in sequences if sequence.fps]
    return float(np.quantile(seconds, _NEARLY_ALL)) if len(seconds) > len(sequences) / 2 else 0.0


def changed_features(persons: np.ndarray, extractor: SkeletonFeatureExtractor, seed: int) -> np.ndarray:
    """(views, features) of a recording as `normalize_in_space` gives it, first as it is, then changed."""
    person, frames, rng = persons[:1], extractor.num_frames, np.random.default_rng((seed, 6))
    film = filming(extractor)
    changed = [augment(person, _CHANGES, frames, rng, film=film) for _ in range(_VIEWS)]
    return familiarity_features(np.stack([resample(extractor.as_seen(person), frames), *changed]), extractor.layout)
