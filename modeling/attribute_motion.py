"""Which measures of a motion an action's attributes lead one to expect.

A generative reading (after Verma and Rai, ECML 2017): a class's mean measures follow linearly from its attributes, by a
ridge regression over the classes trained on and their mirror images. What this leaves of the means is scatter between
classes, and comes on top of the scatter within them. So attributes are not taken to be independent, and a hand that is
high counts for how high it is. The measures and how much this counts are this project's choice.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .action_attributes import ATTRIBUTES, mirrored_values
from .motion_measures import SIDE

_RIDGE = 3.0  # of the regression from attributes
_EVEN = 0.2  # share of the scatter in which measures are taken to be independent
_LEAST = 0.01  # variance; of measures that never vary
_WEIGHT = 0.2  # share of the log-likelihood that counts
_RIGHT_HANDED = 0.85  # share of what either arm may do that the right one does
_RIGHT, _LEFT = (list(ATTRIBUTES["arms"].values).index(arm) for arm in ("right arm", "left arm"))
_FIELDS = ("centre", "scale", "usual", "towards", "metric")


@dataclass(frozen=True)
class AttributeMotion:
    """The measures to expect of attributes; as a row of numbers these are the shares of all values, one by one.

    Attributes:
        centre, scale: (measures,) bring measures to one size.
        usual: (values,) what stands for an attribute that a label leaves out: the mean of the classes trained on.
        towards: (measures, values) how much measures speak for each value.
        metric: (values, values) how far apart two labels' expectations are.
    """

    centre: np.ndarray
    scale: np.ndarray
    usual: np.ndarray
    towards: np.ndarray
    metric: np.ndarray

    @classmethod
    def gathered(
        cls, measures: np.ndarray, mirrored: np.ndarray, labels: Sequence[str], meant: Mapping[str, np.ndarray]
    ) -> AttributeMotion | None:
        """From training motions; None where fewer than two classes have attributes.

        Args:
            measures: (sequences, measures), see `motion_measures`.
            mirrored: the same of the mirrored sequences.
            labels: of each sequence.
            meant: attribute to (classes, values) shares of what each class means, in the order in which the classes
                first come in `labels`; zeros where it says nothing.
        """
        names = list(dict.fromkeys(labels))
        has_some = np.logical_or.reduce([shares.any(1) for shares in meant.values()])
        classes = np.flatnonzero(has_some)
        if len(classes) < 2:
            return None
        numbers = np.array([names.index(label) for label in labels])
        shares = {name: of[classes] for name, of in meant.items()}
        rows = [measures[numbers == one].astype(np.float64) for one in classes]
        shares = _one_arm(shares, np.array([of_class[:, SIDE].mean() < 0 for of_class in rows]))
        rows += [mirrored[numbers == one].astype(np.float64) for one in classes]
        shares = {name: np.concatenate([of, of[:, mirrored_values(name)]]) for name, of in shares.items()}
        everything = np.concatenate(rows)
        centre, scale = everything.mean(0), everything.std(0) + 1e-3
        rows = [(of_class - centre) / scale for of_class in rows]
        means = np.stack([of_class.mean(0) for of_class in rows])
        apart = np.concatenate([of_class - mean for of_class, mean in zip(rows, means, strict=True)])
        usual = np.concatenate([_mean_said(of) for of in shares.values()])
        given = _filled(shares, usual)
        middle, attributes = means.mean(0), given - given.mean(0)
        alike = attributes @ attributes.T
        inverse = np.linalg.inv(alike + _RIDGE * np.eye(len(alike)))
        expected = attributes.T @ inverse @ (means - middle)
        # each class is predicted without itself: a mean is not to be judged by what it has itself brought in
        left = (means - middle - attributes @ expected) / (1 - np.diag(alike @ inverse))[:, None]
        scatter = apart.T @ apart / len(apart) + left.T @ left / len(left)
        scatter = (1 - _EVEN) * scatter + np.diag(_EVEN * np.diag(scatter) + _LEAST)
        towards = np.linalg.solve(scatter, expected.T)
        return cls(centre + middle * scale, scale, given.mean(0), towards, expected @ towards)

    def scores(self, measures: np.ndarray, meant: Mapping[str, np.ndarray]) -> np.ndarray:
        """(sequences, labels) log-likelihoods, up to a number a sequence; 0 is that of a label that says nothing.

        Args:
            measures: (sequences, measures).
            meant: attribute to (labels, values) shares of what the labels mean.
        """
        speaks = (measures - self.centre) / self.scale @ self.towards
        found = []
        for left, share in ((False, _RIGHT_HANDED), (True, 1 - _RIGHT_HANDED)):
            one_arm = _one_arm(meant, np.full(len(meant["arms"]), left))
            attributes = _filled(one_arm, self.usual) - self.usual
            distances = ((attributes @ self.metric) * attributes).sum(1)
            found.append(np.log(share) + speaks @ attributes.T - distances / 2)
        # a label that allows either arm is a mixture of the two; of others both are the same
        return _WEIGHT * np.logaddexp(*found)

    def packed(self) -> dict[str, str]:
        """As texts of float32 numbers, for a config."""
        return {name: base64.b64encode(getattr(self, name).astype("<f4").tobytes()).decode() for name in _FIELDS}

    @classmethod
    def unpacked(cls, texts: Mapping[str, str]) -> AttributeMotion:
        """From what `packed` gives."""
        flat = {name: np.frombuffer(base64.b64decode(texts[name]), "<f4").astype(np.float64) for name in _FIELDS}
        values = len(flat["usual"])
        return cls(**flat | {name: flat[name].reshape(-1, values) for name in ("towards", "metric")})


def _one_arm(shares: Mapping[str, np.ndarray], left: np.ndarray) -> dict[str, np.ndarray]:
    """Shares whose one arm is the left one where `left` (labels,), else the right one, where a label allows both."""
    arms = shares["arms"].copy()
    both = (arms[:, _RIGHT] > 0) & (arms[:, _LEFT] > 0)
    total = arms[:, _RIGHT] + arms[:, _LEFT]
    arms[both, _RIGHT], arms[both, _LEFT] = np.where(left, 0, total)[both], np.where(left, total, 0)[both]
    return {**shares, "arms": arms}


def _mean_said(shares: np.ndarray) -> np.ndarray:
    said = shares[shares.any(1)]
    return said.mean(0) if len(said) else np.full(shares.shape[1], 1 / shares.shape[1])


def _filled(shares: Mapping[str, np.ndarray], usual: np.ndarray) -> np.ndarray:
    """(labels, values) all shares side by side, with the usual ones of what a label leaves out."""
    ends = np.cumsum([len(attribute.values) for attribute in ATTRIBUTES.values()])[:-1]
    parts = zip(ATTRIBUTES, np.split(usual, ends), strict=True)
    return np.concatenate(
        [np.where(shares[name].any(1, keepdims=True), shares[name], part) for name, part in parts], axis=1
    )
