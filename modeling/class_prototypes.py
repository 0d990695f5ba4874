"""Classes known by examples: where the mean of their motions lies, and what their names mean.

Action tokens keep what tells the classes of stage 1 apart, and lose much of what tells later classes apart. So a class
that is learned from a few examples has a prototype as well (this project's choice), in a space where the scatter within
classes, old and new, is one in every direction (Fisher, 1936). What counts is the angle to the mean, seen from the
middle of all candidates: a few examples tell its direction better than its length. What the joints show of the
attributes that a name means is added, as if it were one more example, so that one example is not worse than none.

Everything here was chosen on left-out training people, cameras and classes of three data sets.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .action_attributes import ATTRIBUTES, value_numbers
from .skeleton_layouts import get_layout, map_joints

_FREQUENCIES = 12  # of a joint's path, half a period of the slowest is the whole sequence
_PERCENTILES = (5, 25, 50, 75, 95)  # of a joint's place over time
_ENDS = 16  # the part of the sequence that its beginning and end each are: a sixteenth
_MEAN_SPEED, _TOP_SPEED = 1 / 8, 1 / 32  # of the sequence's length: makes speeds as large as places
_PACE = 1 / 4  # the same of speeds that stand beside distances
_OF_VELOCITIES = (5, 25, 75, 95)
_OF_SPEEDS = (25, 50, 75, 95)
_OF_THE_WAY = (5, 95)
_BODY = get_layout("kinect20")
_BETWEEN = ("hip_center", "shoulder_center", "head", *(f"{side}_{part}" for side in ("left", "right")
            for part in ("elbow", "hand", "knee", "foot")))  # fmt: skip
_DIMENSIONS = 180
_GIVEN = 0.5  # share of the scatter that is that of the examples given now: their camera is the one that counts
_SHRINKAGE = 0.1  # share of the scatter that is taken to be the same in all directions
_CERTAINTY = 8.0  # nats of a cosine: about as sure as it is right
_DOUBT = 0.15  # nats by which a class that the language model does not know has to be better than those that it knows
_EARLIER_CERTAINTY = 0.15  # share of the log-likelihood, of models that were adapted before angles counted


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


def posture_features(skeletons: np.ndarray, layout: str) -> np.ndarray:
    """(batch, features) float32 of the same skeletons, that say which postures and speeds there are and not when.

    Clips of one action begin, pause and end at different moments, which these do not see. For each person: percentiles
    of every joint's place beside the hips, of its velocity and speed, of the distances between eleven joints, and how
    far the hips go. Joints of no body are taken as they are.
    """
    joints = map_joints(skeletons, layout, _BODY.name)
    if np.isnan(joints).all():
        joints, root, between = skeletons, get_layout(layout).root, list[int]()
    else:
        joints, root, between = np.nan_to_num(joints), _BODY.index("hip_center"), sorted(map(_BODY.index, _BETWEEN))
    persons = joints.reshape(-1, *joints.shape[2:])
    hips, velocity = persons[:, :, root], np.diff(persons, axis=1) * persons.shape[1] * _PACE
    ends = np.array(list(itertools.combinations(between, 2)), int).reshape(-1, 2)
    apart = np.linalg.norm(persons[:, :, ends[:, 0]] - persons[:, :, ends[:, 1]], axis=-1)
    parts = [
        np.percentile(persons - hips[:, :, None], _PERCENTILES, axis=1),
        np.percentile(velocity, _OF_VELOCITIES, axis=1),
        np.percentile(np.linalg.norm(velocity, axis=-1), _OF_SPEEDS, axis=1),
        np.percentile(apart, _PERCENTILES, axis=1),
        np.percentile(hips - hips.mean(1, keepdims=True), _OF_THE_WAY, axis=1),
    ]
    rows = np.concatenate([np.moveaxis(part, 0, 1).reshape(len(persons), -1) for part in parts], 1)
    return rows.reshape(len(skeletons), -1).astype(np.float32)


def example_features(skeletons: np.ndarray, layout: str) -> np.ndarray:
    """(batch, features) float32 of examples: `motion_features`, which earlier models know, and `posture_features`."""
    return np.concatenate([motion_features(skeletons), posture_features(skeletons, layout)], axis=1)


def prompt_features(skeletons: np.ndarray, person_mask: np.ndarray, layout: str, views: int = 1) -> np.ndarray:
    """(batch, features) float32 of what is to be recognised: `example_features` and the attributes' `value_numbers`.

    Args:
        skeletons, person_mask: as `SkeletonFeatureExtractor` gives them, a recording's views one after the other.
        views: the first view of each recording shows its attributes.
    """
    shown = np.flatnonzero(person_mask[::views].any(1))
    numbers = np.zeros((len(person_mask[::views]), len(ATTRIBUTES)), np.float32)
    numbers[shown] = value_numbers(skeletons[::views][shown], person_mask[::views][shown], layout)
    return np.concatenate([example_features(skeletons, layout), numbers.repeat(views, 0)], axis=1)


class ClassPrototypes(nn.Module):
    """Class means of motions, in a space where the scatter within classes is one in every direction.

    Buffers: centre (features,), projection (features, dimensions), means (classes, dimensions), counts (classes,) of
    the examples behind each mean; few (classes,) bool, those learned from a few examples; taught (classes,) bool, those
    that the language model names; meant (attributes, values, classes), how much likelier each class is where the joints
    show a value, in nats, by its name. The last three are None in a model of earlier versions.
    """

    centre: Tensor
    projection: Tensor
    means: Tensor
    counts: Tensor
    few: Tensor | None
    taught: Tensor | None
    meant: Tensor | None

    def __init__(
        self,
        centre: Tensor,
        projection: Tensor,
        means: Tensor,
        counts: Tensor,
        few: Tensor | None = None,
        taught: Tensor | None = None,
        meant: Tensor | None = None,
    ):
        super().__init__()
        for name, value in (("centre", centre), ("projection", projection), ("means", means), ("counts", counts)):
            self.register_buffer(name, value.float())
        for name, flags in (("few", few), ("taught", taught)):
            self.register_buffer(name, None if flags is None else flags.bool())
        self.register_buffer("meant", None if meant is None else meant.float())

    @classmethod
    def fitted(
        cls,
        known: Sequence[np.ndarray],
        given: Sequence[np.ndarray],
        few: Sequence[bool],
        taught: Sequence[bool],
        meant: np.ndarray | None = None,
        skipped: int = 0,
    ) -> ClassPrototypes:
        """From the features (examples, views, features) of each class, known before and given now.

        A class's mean is that of all known and of all given examples, each half. Several views of an example show what
        scatters with the camera; the example still counts once.

        Args:
            few, taught: see the class; `few` and not `taught` are classes that the language model never saw.
            meant: see the class; default: names mean nothing.
            skipped: features at the beginning that do not count.

        Raises:
            ValueError: no class with two examples or views.
        """
        parts = [
            [rows[..., skipped:].astype(np.float64) for rows in of_class] for of_class in zip(known, given, strict=True)
        ]
        flat = [rows.reshape(-1, rows.shape[2]) for of_class in parts for rows in of_class]
        counts = np.array([sum(map(len, of_class)) for of_class in parts])
        if max(map(len, flat)) < 2:
            raise ValueError(f"Expected a class of two examples or more, to see how they differ: {counts.tolist()}.")
        rows, groups = np.concatenate(flat), np.repeat(np.arange(len(flat)), list(map(len, flat)))
        centre = rows.mean(0)
        _, sizes, axes = np.linalg.svd(rows - centre, full_matrices=False)
        axes = axes[: max(1, min(_DIMENSIONS, int((sizes > 1e-6 * sizes[0]).sum())))]
        places = (rows - centre) @ axes.T
        there = np.bincount(groups, minlength=len(flat))
        means = np.stack([places[groups == number].sum(0) for number in range(len(flat))]) / there.clip(1)[:, None]
        apart, now = places - means[groups], groups % 2 == 1
        share = _GIVEN if 0 < now.sum() < len(now) else now.mean()
        weights = np.where(now, share / max(1, now.sum()), (1 - share) / max(1, (~now).sum()))
        scatter = apart.T @ (apart * weights[:, None])
        even = np.eye(len(axes)) * max(np.trace(scatter) / len(axes), 1e-6)
        whitening = np.linalg.cholesky(np.linalg.inv((1 - _SHRINKAGE) * scatter + _SHRINKAGE * even))
        halves = (there > 0).reshape(-1, 2)
        of_classes = means.reshape(-1, 2, len(axes)).sum(1) / halves.sum(1).clip(1)[:, None]
        if meant is None:
            meant = np.zeros((len(ATTRIBUTES), max(len(one.values) for one in ATTRIBUTES.values()), len(counts)))
        front = np.zeros((skipped, whitening.shape[1]))
        tensors = (
            np.concatenate([front[:, 0], centre]),
            np.concatenate([front, axes.T @ whitening]),
            of_classes @ whitening,
            counts,
            np.array(few, bool),
            np.array(taught, bool),
            meant,
        )
        return cls(*map(torch.from_numpy, tensors))

    def forward(self, features: Tensor, numbers: Sequence[int] | None = None) -> Tensor:
        """(batch, candidates) what `prompt_features` say of each candidate, in nats, up to a number a row.

        Args:
            features: (batch, features).
            numbers: of the candidates, default all classes. A class without examples is known by its name alone.
        """
        chosen = torch.tensor(range(len(self.means)) if numbers is None else numbers, device=self.means.device)
        features = features.to(self.centre)
        places = (features[:, : len(self.centre)] - self.centre) @ self.projection
        means, counts = self.means[chosen], self.counts[chosen]
        if self.meant is None or self.few is None:
            distances = torch.cdist(places, means).square() / (1 + 1 / counts)
            return (-0.5 * _EARLIER_CERTAINTY * distances).masked_fill(counts == 0, -torch.inf)
        has_some = (counts > 0)[:, None]
        middle = (means * has_some).sum(0) / has_some.sum().clamp(min=1)
        angles = F.normalize(places - middle, dim=1) @ (F.normalize(means - middle, dim=1) * has_some).T
        shown = features[:, len(features[0]) - len(self.meant) :].long()
        of_names = self.meant[torch.arange(len(self.meant), device=shown.device), shown][..., chosen].sum(1)
        return _CERTAINTY * angles + of_names / (1 + self._examples(chosen))

    def _examples(self, chosen: Tensor) -> Tensor:
        """Scalar, how many examples there are of each candidate that was learned from a few; 0 without any."""
        assert self.few is not None
        few = self.counts[chosen][self.few[chosen]]
        return few.mean() if len(few) else self.counts.new_zeros(())

    def joined(self, words: Tensor, features: Tensor, numbers: Sequence[int]) -> Tensor:
        """(batch, candidates) scores of language model and prototypes together.

        Among classes it was trained on the language model decides, as before; prototypes decide between those and the
        ones learned from a few examples, and among the latter, together with the language model if it was taught them.

        Args:
            words: (batch, candidates) the language model's log-likelihoods.
            features, numbers: see `forward`.
        """
        evidence = self(features, numbers).to(words)
        if self.few is None or self.taught is None:
            return words + evidence
        numbers = list(numbers)
        few, taught = self.few[numbers], self.taught[numbers]
        if not few.any():
            return words
        if not few.all():
            evidence = torch.where(few, evidence, evidence[:, ~few].amax(1, keepdim=True))
        if taught.all():
            return words + (1 + self._examples(torch.tensor(numbers, device=words.device))).to(words) * evidence
        if taught.any():
            named = words + evidence
            level = evidence[:, taught].amax(1, keepdim=True) - named[:, taught].amax(1, keepdim=True)
            evidence = torch.where(taught, named + level, evidence - _DOUBT)
        return evidence
