"""Says how familiar a motion is beside those trained on, so that an answer to a strange one can say so.

Features of the motion are brought into a space in which the scatter within the classes is one in every direction. Two
distances count there: the angle to the nearest class mean, seen from the middle of all of them and in the directions in
which they differ, tells other actions; the distance to the nearest class mean tells what is no action at all (after Lee
et al., NeurIPS 2018, and angles to class means in few-shot learning). A third one is how much less it moves than any
familiar motion. They are compared with those of familiar motions of people who were held out; how is this project's
choice.

Features can come from any encoder. `class_prototypes.motion_features` of bodies with the bones of the reference body,
without their mean posture, know neither camera nor place nor proportions, and with every subject held out in turn
nothing has to be trained again. Of the training set only means and scatter are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .class_prototypes import motion_features
from .skeleton_geometry import normalize_bones
from .skeleton_normalization import SkeletonNormalizer
from .skeleton_sequence import SkeletonSequence

FAMILIARITY_FILE = "familiarity.safetensors"
THRESHOLD = 0.03
"""Motions that are less familiar than this are unfamiliar."""

_DIMENSIONS = 150
_SHRINKAGE = 0.1  # share of the scatter that is taken to be the same in all directions
_MOST_FOLDS = 5
_USUAL = 0.97, 0.995, 0.995  # quantiles of the held-out angles, distances and stillnesses
_FAR = 1.0, 3.0, 3.0  # times these count alike
_ELSEWHERE = 2.2  # times as far do motions of one name lie where camera, sensor and task are others
_QUANTILES = 201  # kept of the held-out distances
_TENSORS, _LONGEST = ("centre", "projection", "means", "usual", "held_out"), "longest"


class Familiarity:
    """Distance of motion features to those of a training set, calibrated on held-out people.

    Attributes:
        centre (features,), projection (features, dimensions): into the space of distances.
        means (classes, dimensions): there.
        usual (3,): a large angle, distance and stillness of a familiar motion.
        held_out (quantiles,): distances of familiar motions of held-out people, ascending.
        longest: seconds that the longest familiar recordings last, 0 where that is not known.
    """

    def __init__(self, centre: Tensor, projection: Tensor, means: Tensor, usual: Tensor, held_out: Tensor):
        self.longest = 0.0
        self.centre, self.projection, self.means, self.usual, self.held_out = (
            tensor.float() for tensor in (centre, projection, means, usual, held_out)
        )
        self._middle = self.means.mean(0)
        apart = self.means - self._middle
        _, sizes, axes = torch.linalg.svd(apart, full_matrices=False)
        self._axes = axes[sizes > 1e-4 * sizes[0].clamp(min=1e-12)].T

    @classmethod
    def fitted(cls, features: np.ndarray, classes: np.ndarray, groups: np.ndarray) -> Familiarity:
        """Fits features (recordings, views, features) of classes; whole groups (subjects) are held out in turn.

        Args:
            features: the first view is the recording as it is, the others what another camera or person could change.

        Raises:
            ValueError: fewer than two classes, or no class with two recordings.
        """
        if len(set(groups.tolist())) < 2:
            groups = np.arange(len(features))
        folds = np.unique(groups, return_inverse=True)[1] % _MOST_FOLDS
        found = []
        for fold in np.unique(folds):
            known = folds != fold
            held = ~known & np.isin(classes, classes[known])
            if held.any() and len(np.unique(classes[known])) > 1:
                found.append(_fitted(features[known], classes[known])._raw(features[held, 0]))
        if not found:
            raise ValueError(
                "Expected two classes or more, and two recordings or more of a class, by two people if possible, to "
                "see how they differ."
            )
        raw = torch.cat(found).double()
        whole = _fitted(features, classes)
        large = torch.stack([torch.quantile(raw[:, kind], share) for kind, share in enumerate(_USUAL)])
        whole.usual = (large * torch.tensor(_FAR)).float().clamp(min=1e-6)
        combined = (raw / whole.usual.double()).amax(1)
        whole.held_out = torch.quantile(combined, torch.linspace(0, 1, _QUANTILES, dtype=torch.float64)).float()
        return whole

    def distances(self, features: np.ndarray) -> np.ndarray:
        """(batch,) distances of features (batch, features) to the nearest class, 1 where they are large."""
        return (self._raw(features) / self.usual).amax(1).numpy()

    def familiarity(self, features: np.ndarray) -> np.ndarray:
        """(batch,) share of held-out familiar motions that lie further off than each of features (batch, features).

        What another camera, sensor and task add to the distance is taken off first, so most familiar motions are near
        1, and what is near 0 is stranger than all that were held out would be elsewhere.
        """
        held_out = self.held_out.numpy()
        shares = np.linspace(1, 0, len(held_out))
        return np.interp(self.distances(features) / _ELSEWHERE, held_out, shares, left=1.0, right=0.0)

    def with_classes(self, features: Sequence[np.ndarray], longest: float = 0.0) -> Familiarity:
        """With further classes, each of features (recordings, views, features).

        Args:
            longest: seconds that the longest of their recordings last, 0 where that is not known.
        """
        rows = [torch.as_tensor(of_class).float().flatten(0, 1).mean(0) for of_class in features]
        means = (torch.stack(rows) - self.centre) @ self.projection
        means = torch.cat([self.means, means])
        more = Familiarity(self.centre, self.projection, means, self.usual, self.held_out)
        more.longest = max(self.longest, longest) if self.longest else 0.0
        return more

    def save(self, folder: str | Path) -> None:
        """Writes `familiarity.safetensors`."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        save_file({**tensors, _LONGEST: torch.tensor(self.longest)}, Path(folder) / FAMILIARITY_FILE)

    @classmethod
    def load(cls, file: str | Path) -> Familiarity | None:
        """Reads what `save` wrote; None of a file from before stillness counted, whose features were others.

        Raises:
            ValueError: a damaged file.
        """
        try:
            tensors = load_file(file)
            known = cls(*(tensors[name] for name in _TENSORS))
            known.longest = float(tensors.get(_LONGEST, 0.0))
            return known if len(tensors["usual"]) == len(_USUAL) else None
        except (OSError, KeyError, SafetensorError) as error:
            raise ValueError(f"{file}: expected what export wrote ({error}); download or export it again.") from error

    def _raw(self, features: np.ndarray | Tensor) -> Tensor:
        """(batch, 3) angle (1 - cosine) and distance to the nearest class mean, and how little it moves."""
        features = torch.as_tensor(features).float()
        places = (features - self.centre) @ self.projection
        directions, means = (
            torch.nn.functional.normalize((of - self._middle) @ self._axes, dim=1) for of in (places, self.means)
        )
        angle, distance = 1 - (directions @ means.T).amax(1), torch.cdist(places, self.means).amin(1)
        return torch.stack([angle, distance, 1 / features.norm(dim=1).clamp(min=1e-6)], dim=1)


def familiarity_features(skeletons: np.ndarray, layout: str) -> np.ndarray:
    """(batch, features) of normalised skeletons (batch, persons, frames, joints, 3): the first person's motion.

    All zero where nothing moves: the mean posture is taken off.
    """
    bodies = normalize_bones(skeletons[:, 0], layout)
    return motion_features((bodies - bodies.mean(axis=1, keepdims=True))[:, None])


def familiarity_entry(familiarity: float | None) -> dict[str, Any]:
    """What an entry of a ranking says of it; nothing where it is not known."""
    if familiarity is None:
        return {}
    return {"familiarity": round(familiarity, 4), **({"unfamiliar": True} if familiarity < THRESHOLD else {})}


def familiarity_entries(
    familiarity: Familiarity | None, normalizer: SkeletonNormalizer, sequences: Sequence[SkeletonSequence | None]
) -> list[dict[str, Any]]:
    """What the entries of each recording's ranking say of it; nothing where it is not known, or no skeleton there."""
    there = [sequence for sequence in sequences if sequence is not None]
    if familiarity is None or not there:
        return [{} for _ in sequences]
    skeletons = normalizer.arrays(there)[0]
    shares = iter(familiarity.familiarity(familiarity_features(skeletons, normalizer.layout)).tolist())
    return [{} if sequence is None else familiarity_entry(next(shares)) for sequence in sequences]


def _fitted(features: np.ndarray, classes: np.ndarray) -> Familiarity:
    """Space and means, not calibrated yet."""
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
    tensors = (centre, axes.T @ whitening, means @ whitening, np.ones(len(_USUAL)), np.zeros(1))
    return Familiarity(*map(torch.from_numpy, tensors))
