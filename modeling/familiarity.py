"""Says how familiar a motion is beside those trained on, so that an answer to a strange one can say so.

Features of the motion are brought into a space in which the scatter within the classes is one in every direction; the
distance there to what was trained on is compared with that of familiar motions of people who were held out. Features
can come from any encoder (Mahalanobis distances on features: Lee et al., NeurIPS 2018; how they are calibrated is this
project's choice). `class_prototypes.motion_features` of normalised skeletons know neither camera nor place, and with
every subject held out in turn nothing has to be trained again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FAMILIARITY_FILE = "familiarity.safetensors"
THRESHOLD = 0.03
"""Motions that less than this share of held-out familiar ones lie further off than are unfamiliar."""

_DIMENSIONS = 60
_SHRINKAGE = 0.1  # share of the scatter that is taken to be the same in all directions
_MOST_FOLDS = 5
_QUANTILES = 201  # kept of the held-out distances
_TENSORS = ("centre", "projection", "points", "held_out")


class Familiarity:
    """Distance of motion features to those of a training set, calibrated on held-out people.

    Attributes:
        centre (features,), projection (features, dimensions): into the space of distances.
        points (points, dimensions): what was trained on, there.
        held_out (quantiles,): distances of familiar motions of held-out people, ascending.
    """

    def __init__(self, centre: Tensor, projection: Tensor, points: Tensor, held_out: Tensor):
        self.centre, self.projection, self.points, self.held_out = (
            tensor.float() for tensor in (centre, projection, points, held_out)
        )

    @classmethod
    def fitted(cls, features: np.ndarray, classes: Sequence[int], groups: Sequence[int]) -> Familiarity:
        """Fits features (recordings, views, features) of classes; whole groups (subjects) are held out in turn.

        Args:
            features: the first view is the recording as it is, the others what another camera or person could change.

        Raises:
            ValueError: fewer than two recordings of any class, or than two recordings to hold out.
        """
        classes, groups = np.asarray(classes), np.asarray(groups)
        if len(set(groups.tolist())) < 2:
            groups = np.arange(len(features))
        folds = np.unique(groups, return_inverse=True)[1] % _MOST_FOLDS
        distances = []
        for fold in np.unique(folds):
            held = (folds == fold) & np.isin(classes, classes[folds != fold])
            if held.any():
                distances.append(_fit(features[folds != fold], classes[folds != fold]).distances(features[held, 0]))
        if not distances:
            raise ValueError("Expected two recordings or more of a class, by two people if possible, to see how they differ.")
        found = _fit(features, classes)
        shares = np.linspace(0, 1, _QUANTILES)
        found.held_out = torch.from_numpy(np.quantile(np.concatenate(distances), shares)).float()
        return found

    def distances(self, features: np.ndarray) -> np.ndarray:
        """(batch,) distances of features (batch, features) to the nearest point."""
        places = (torch.as_tensor(features).float() - self.centre) @ self.projection
        return torch.cdist(places, self.points).amin(1).numpy()

    def familiarity(self, features: np.ndarray) -> np.ndarray:
        """(batch,) share of held-out familiar motions that lie further off than each of features (batch, features).

        About uniform over 0..1 where motions are familiar, 0 where one is stranger than all that were held out.
        """
        held_out = self.held_out.numpy()
        shares = np.linspace(1, 0, len(held_out))
        return np.interp(self.distances(features), held_out, shares, left=1.0, right=0.0)

    def save(self, folder: str | Path) -> None:
        """Writes `familiarity.safetensors`."""
        save_file({name: getattr(self, name).contiguous() for name in _TENSORS}, Path(folder) / FAMILIARITY_FILE)

    @classmethod
    def load(cls, file: str | Path) -> Familiarity:
        """Reads what `save` wrote.

        Raises:
            ValueError: a damaged file.
        """
        try:
            tensors = load_file(file)
            return cls(*(tensors[name] for name in _TENSORS))
        except (OSError, KeyError, SafetensorError) as error:
            raise ValueError(f"{file}: expected what export wrote ({error}); download or export it again.") from error


def _fit(features: np.ndarray, classes: np.ndarray) -> Familiarity:
    """The space and its points; without distances of people who were held out."""
    count, views = features.shape[:2]
    rows = features.reshape(count * views, -1).astype(np.float64)
    numbers = np.unique(np.repeat(classes, views), return_inverse=True)[1]
    centre = rows.mean(0)
    _, sizes, axes = np.linalg.svd(rows - centre, full_matrices=False)
    axes = axes[: max(1, min(_DIMENSIONS, int((sizes > 1e-6 * sizes[0]).sum())))]
    places = (rows - centre) @ axes.T
    means = np.stack([places[numbers == number].mean(0) for number in range(numbers.max() + 1)])
    apart = places - means[numbers]
    scatter = apart.T @ apart / max(1, len(rows) - len(means))
    even = np.eye(len(axes)) * max(np.trace(scatter) / len(axes), 1e-6)
    whitening = np.linalg.cholesky(np.linalg.inv((1 - _SHRINKAGE) * scatter + _SHRINKAGE * even))
    tensors = (centre, axes.T @ whitening, places @ whitening, np.zeros(1))
    return Familiarity(*map(torch.from_numpy, tensors))
