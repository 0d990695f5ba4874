"""What the joints themselves say for a label: its attributes against the answers computed from a motion.

Direct attribute prediction (Lampert et al., CVPR 2009) through a noisy channel (this project's choice): the training
part tells how often the joints answer c where a description says a. "Which arm moves" they get right far more often
than "is it repeated", and a hand told to reach the floor is missed more often than one told not to is seen there. A
label counts log(P(c | its answer) / P(c)) for each of its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .feature_extraction_skeleton import SkeletonFeatureExtractor
from .label_descriptions import QUESTIONS, LabelDescription
from .motion_questions import motion_answers
from .skeleton_sequence import SkeletonSequence

_AGREEMENT = 0.8  # expected of joints and description before any training motion is seen ...
_CLASSES = 2.0  # ... as if of so many classes
_RAREST = 0.02  # share; what was hardly ever seen is no overwhelming evidence
_IMPOSSIBLE = 1e-3  # likelihood below which one answer cannot rule a label out
_BATCH = 64

Told = dict[str, np.ndarray]
"""Each question of `QUESTIONS` to (labels, answers) shares of what the labels say, zeros where one says nothing."""


def motion_numbers(extractor: SkeletonFeatureExtractor, sequences: Sequence[SkeletonSequence]) -> np.ndarray:
    """(sequences, questions) the number of each question's answer, in the order of `QUESTIONS`."""
    rows = []
    for start in range(0, len(sequences), _BATCH):
        features = extractor(list(sequences[start : start + _BATCH]))
        for skeletons, mask in zip(features["skeletons"], features["person_mask"], strict=True):
            answers = motion_answers(skeletons[mask], extractor.layout)
            rows.append([list(question.answers).index(answers[name]) for name, question in QUESTIONS.items()])
    return np.array(rows, np.int64).reshape(-1, len(QUESTIONS))


@dataclass(frozen=True)
class MotionEvidence:
    """What training motions say about each question of `QUESTIONS`.

    Attributes:
        answered: question to (told, computed) probabilities of each answer of the joints, given the description's.
        shares: question to the share of each answer of the joints among the training motions.
    """

    answered: dict[str, list[list[float]]]
    shares: dict[str, list[float]]

    @classmethod
    def gathered(
        cls, numbers: np.ndarray, labels: Sequence[str], descriptions: Mapping[str, LabelDescription]
    ) -> MotionEvidence:
        """From training motions.

        Args:
            numbers: (sequences, questions), see `motion_numbers`.
            labels: of each sequence.
            descriptions: of the labels; classes count alike.
        """
        answered, shares, of_label = {}, {}, np.array(labels)
        for column, (name, question) in zip(numbers.T, QUESTIONS.items(), strict=True):
            answers = len(question.answers)
            share = (np.bincount(column, minlength=answers) + 1) / (len(column) + answers)
            expected = _expected(share)
            counts = _CLASSES * expected
            for label in dict.fromkeys(labels):
                if told := fitting_answers(descriptions[label], name):
                    found = np.bincount(column[of_label == label], minlength=answers) / (of_label == label).sum()
                    # of several told answers the one that explains what was found has been meant
                    meant = expected[told] * share[told, None]
                    counts[told] += meant / meant.sum(0) * found
            answered[name] = (counts / counts.sum(1, keepdims=True)).round(4).tolist()
            shares[name] = share.round(4).tolist()
        return cls(answered, shares)

    def told(self, descriptions: Sequence[LabelDescription]) -> Told:
        """What labels say: of several answers each as often as the joints give it."""
        found = {name: np.zeros((len(descriptions), len(question.answers))) for name, question in QUESTIONS.items()}
        for name, rows in found.items():
            share = np.array(self.shares[name])
            for row, description in zip(rows, descriptions, strict=True):
                if fitting := fitting_answers(description, name):
                    row[fitting] = share[fitting] / share[fitting].sum()
        return found

    def scores(self, numbers: np.ndarray, told: Told) -> np.ndarray:
        """(sequences, labels) log-likelihood ratios of what the labels say; 0 of a label that says nothing.

        Args:
            numbers: (sequences, questions), see `motion_numbers`.
            told: what the labels say.
        """
        total = np.zeros((len(numbers), len(next(iter(told.values())))))
        for column, (name, meant) in zip(numbers.T, told.items(), strict=True):
            says, likelihood = meant.any(1), meant @ np.array(self.answered[name])
            ratios = np.log(likelihood.clip(_IMPOSSIBLE) / np.array(self.shares[name]).clip(_RAREST))
            total[:, says] += ratios[says][:, column].T
        return total


def _expected(share: np.ndarray) -> np.ndarray:
    """(told, computed) probabilities if joints and description agree `_AGREEMENT` of the time, else by chance."""
    others = np.where(np.eye(len(share), dtype=bool), 0, share)
    return _AGREEMENT * np.eye(len(share)) + (1 - _AGREEMENT) * others / others.sum(1, keepdims=True)


def fitting_answers(description: LabelDescription, name: str) -> list[int]:
    """The numbers of the answers that fit a label; none where the label says nothing about the question."""
    answers = list(QUESTIONS[name].answers)
    return [answers.index(answer) for answer in description.attributes.get(name, ())]
