"""Class prototypes: the mean of each class and the scatter around it, in motion features computed from the joints.

Action tokens keep what tells the classes of stage 1 apart, and lose much of what tells later classes apart. So a class
that is learned from a few examples has a prototype as well (this project's choice). The distances are those of a linear
discriminant analysis (Fisher, 1936), whose scatter within classes comes from all classes. The mean of n examples lies
itself 1/n of the scatter off, so distances are measured in units of 1 + 1/n. Other people and cameras scatter more than
the examples do, so a prototype counts for a share of its log-likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

_FREQUENCIES = 12  # of a joint's path, half a period of the slowest is the whole sequence
_PERCENTILES = (5, 25, 50, 75, 95)  # of a joint's place over time
_ENDS = 16  # the part of the sequence that its beginning and end each are: a sixteenth
_MEAN_SPEED, _TOP_SPEED = 1 / 8, 1 / 32  # of the sequence's length: makes speeds as large as places
_DIMENSIONS = 120
_SHRINKAGE = 0.1  # share of the scatter that is taken to be the same in all directions
_CERTAINTY = 0.15  # share of the log-likelihood, chosen on left-out training subjects of three data sets


def motion_features(skeletons: np.ndarray) -> np.ndarray:
    """(batch, features) float32 of normalised skeletons (batch, persons, frames, joints, 3), in torso lengths.

    For each coordinate of each joint of each person: the slowest 12 frequencies of its path (discrete cosine
    transform), five percentiles of its place, mean and top speed, and the way from beginning to end.
    """
    paths = np.moveaxis(skeletons, 2, 1)
    frames = paths.shape[1]
    paths = paths.reshape(len(paths), frames, math.prod(paths.shape[2:])).astype(np.float64)
    orders = np.arange(_FREQUENCIES)[:, None]
    waves = np.where(orders, np.sqrt(2), 1) * np.cos(np.pi * orders * (np.arange(frames) + 0.5) / frames)
    speed, ends = np.abs(np.diff(paths, axis=1)) * frames, max(1, frames // _ENDS)
    parts = [
        np.einsum("kf,sfc->skc", waves / frames, paths),
        np.moveaxis(np.percentile(paths, _PERCENTILES, axis=1), 0, 1),
        speed.mean(1, keepdims=True) * _MEAN_SPEED,
        speed.max(1, keepdims=True) * _TOP_SPEED,
        (paths[:, -ends:].mean(1) - paths[:, :ends].mean(1))[:, None],
    ]
    rows = np.concatenate(parts, 1)
    return rows.reshape(len(rows), math.prod(rows.shape[1:])).astype(np.float32)


class ClassPrototypes(nn.Module):
    """Class means of motion features, in a space where the scatter within classes is one in every direction.

    Buffers: centre (features,), projection (features, dimensions), means (classes, dimensions), counts (classes,) of
    the examples behind each mean.
    """

    centre: Tensor
    projection: Tensor
    means: Tensor
    counts: Tensor

    def __init__(self, centre: Tensor, projection: Tensor, means: Tensor, counts: Tensor):
        super().__init__()
        for name, value in (("centre", centre), ("projection", projection), ("means", means), ("counts", counts)):
            self.register_buffer(name, value.float())

    @classmethod
    def fitted(cls, features: Sequence[np.ndarray]) -> ClassPrototypes:
        """From the features (examples, views, features) of each class; one without examples is never recognised.

        Several views of an example show what scatters with the camera; the example still counts once.

        Raises:
            ValueError: no class with two examples or views.
        """
        counts = np.array([len(of_class) for of_class in features])
        seen = np.array([of_class.shape[0] * of_class.shape[1] for of_class in features])
        if seen.max() < 2:
            raise ValueError(f"Expected a class of two examples or more, to see how they differ: {counts.tolist()}.")
        rows = np.concatenate([of_class.reshape(-1, of_class.shape[2]) for of_class in features]).astype(np.float64)
        targets = np.repeat(np.arange(len(counts)), seen)
        centre = rows.mean(0)
        _, sizes, axes = np.linalg.svd(rows - centre, full_matrices=False)
        axes = axes[: max(1, min(_DIMENSIONS, int((sizes > 1e-6 * sizes[0]).sum())))]
        places = (rows - centre) @ axes.T
        sums = np.stack([places[targets == number].sum(0) for number in range(len(counts))])
        means = sums / seen.clip(1)[:, None]
        apart = places - means[targets]
        scatter = apart.T @ apart / (len(rows) - np.count_nonzero(counts))
        even = np.eye(len(axes)) * max(np.trace(scatter) / len(axes), 1e-6)
        whitening = np.linalg.cholesky(np.linalg.inv((1 - _SHRINKAGE) * scatter + _SHRINKAGE * even))
        return cls(*map(torch.from_numpy, (centre, axes.T @ whitening, means @ whitening, counts)))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) log-likelihoods, up to a number a row, of features (batch, features)."""
        places = (features.to(self.centre) - self.centre) @ self.projection
        distances = torch.cdist(places, self.means).square() / (1 + 1 / self.counts)
        return (-0.5 * _CERTAINTY * distances).masked_fill(self.counts == 0, -torch.inf)
