"""What a user of small data sets would pick instead, from aeon: MiniRocket, and 1-NN with dynamic time warping.

aeon is an extra: pip install llm-action[bench].
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch

from llm_action.evaluation.evaluate import Classifier
from llm_action.evaluation.ledger import weights_fingerprint
from llm_action.evaluation.recordings import Recordings
from llm_action.modeling.skeleton_sequence import SkeletonSequence

_KERNELS = 10_000


def minirocket(recordings: Recordings, copies: int = 0, kernels: int = _KERNELS) -> Classifier:
    """aeon's `MiniRocketClassifier` (ridge on features of random convolutions), coordinates as channels.

    Args:
        copies: augmented copies of every training sequence beside the plain one.
    """
    skeletons, targets = recordings.plain()[0], recordings.targets
    if copies:
        parts = recordings.augmented(len(targets), copies)
        more, more_targets = zip(*((part.numpy(), its.numpy()) for part, _, its in parts), strict=True)
        skeletons, targets = np.concatenate([skeletons, *more]), np.concatenate([targets, *more_targets])
    classes, seed = len(recordings.split.labels), recordings.experiment.seed
    return fit_minirocket(
        _channels(skeletons),
        targets,
        classes,
        seed,
        lambda sequences: _channels(recordings.read(sequences)[0]),
        kernels,
    )


def fit_minirocket(
    inputs: np.ndarray,
    targets: np.ndarray,
    classes: int,
    seed: int,
    read: Callable[[list[Any]], np.ndarray],
    kernels: int = _KERNELS,
) -> Classifier:
    """MiniRocket on any channels (sequences, channels, frames); `read` makes them of recorded sequences."""
    classifier = _aeon("classification.convolution_based").MiniRocketClassifier(kernels, random_state=seed)
    classifier.fit(inputs.astype(np.float32), targets)
    ridge = classifier.estimator_

    def score(sequences: list[Any]) -> np.ndarray:
        decisions = classifier.pipeline_.decision_function(read(sequences).astype(np.float32))
        if decisions.ndim == 1:  # of two classes only the second's
            decisions = np.stack([-decisions, decisions], 1)
        scores = np.full((len(sequences), classes), -np.inf)
        scores[:, ridge.classes_] = decisions
        return scores

    weights = {"coefficients": np.asarray(ridge.coef_), "intercept": np.asarray(ridge.intercept_)}
    fingerprint = weights_fingerprint((name, torch.from_numpy(part)) for name, part in weights.items())
    return Classifier(score, sum(part.size for part in weights.values()), fingerprint, posterior=False)


def nearest_neighbour(recordings: Recordings, window: float = 0.2) -> Classifier:
    """1-NN with dependent multivariate DTW: one warping path for all coordinates, squared Euclidean costs.

    Args:
        window: Sakoe-Chiba band, the most that two moments may be apart, as a share of the sequence's length.
    """
    dtw_pairwise_distance = _aeon("distances").dtw_pairwise_distance
    templates, classes = _channels(recordings.plain()[0]).astype(np.float64), len(recordings.split.labels)

    def score(sequences: list[SkeletonSequence]) -> np.ndarray:
        inputs = _channels(recordings.read(sequences)[0]).astype(np.float64)
        distances = dtw_pairwise_distance(inputs, templates, window=window)
        scores = np.full((len(sequences), classes), -np.inf)
        for target in np.unique(recordings.targets):
            scores[:, target] = -distances[:, recordings.targets == target].min(1)
        return scores

    return Classifier(score, 0, posterior=False)


def _channels(skeletons: np.ndarray) -> np.ndarray:
    """(sequences, persons, frames, joints, 3) to (sequences, channels, frames)."""
    return np.moveaxis(skeletons, 2, -1).reshape(len(skeletons), -1, skeletons.shape[2])


def _aeon(module: str) -> ModuleType:
    try:
        return import_module(f"aeon.{module}")
    except ImportError as error:
        raise ImportError(f"needs aeon: pip install llm-action[bench] ({error})") from None
