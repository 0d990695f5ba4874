"""Measures how far apart familiar motions lie, so that a model can say when a motion is strange."""

from __future__ import annotations

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.config.sections import Augmentation
from llm_action.datasets import row_to_sequence
from llm_action.datasets.augmentation import augment
from llm_action.datasets.split import Split
from llm_action.modeling.class_prototypes import motion_features
from llm_action.modeling.familiarity import Familiarity
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.skeleton_normalization import resample

_SEQUENCES = 2000  # as many as are needed; evenly spread over the training part
_VIEWS = 3  # beside the recording as it is
# what another camera, body or beginning of the recording changes makes no motion strange
_CHANGES = Augmentation(
    yaw=0.5, pitch=0.25, roll=0.1, scale=0.1, stretch=0.05, shortest_crop=0.7, noise=0.01, limb_scale=0.05, speed=0.3
)


def gather_familiarity(experiment: Experiment, extractor: SkeletonFeatureExtractor, split: Split) -> Familiarity | None:
    """Fits the training part, subject by subject held out; None where every class has a single recording."""
    rows = np.unique(np.linspace(0, len(split.train) - 1, _SEQUENCES).astype(int))
    table = split.train.select(rows).with_format("numpy")
    features = []
    for number, row in enumerate(table):
        person = extractor.normalize(row_to_sequence(row))[:1]
        rng, frames = np.random.default_rng((experiment.seed, 6, number)), extractor.num_frames
        changed = [augment(person, _CHANGES, frames, rng) for _ in range(_VIEWS)]
        features.append(motion_features(np.stack([resample(person, frames), *changed])))
    try:
        return Familiarity.fitted(np.stack(features), table["label"], table["subject"])
    except ValueError:
        return None
