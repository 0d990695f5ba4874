"""What the joints themselves say for a label: its attributes against the answers computed from a motion.

Direct attribute prediction (Lampert et al., CVPR 2009), with questions weighed by how far they can be trusted (this
project's choice): on the training part descriptions and joints agree about "which arm moves" far more often than about
"is it repeated". An answer that fits a label counts log(agreement / share), one that does not log((1 - agreement) /
(1 - share)), where `share` is how often it would fit a training motion of any class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .feature_extraction_skeleton import SkeletonFeatureExtractor
from .label_descriptions import QUESTIONS, LabelDescription
from .motion_questions import motion_answers
from .skeleton_sequence import SkeletonSequence

_EXPECTED = 0.7  # agreement of a question that no label of the training part says anything about
_RAREST = 0.02  # share; what was hardly ever seen is no overwhelming evidence
_BATCH = 64


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
        agreement: probability that the joints' answer fits a motion's label.
        shares: of each answer among the training motions.
    """

    agreement: dict[str, float]
    shares: dict[str, list[float]]

    @classmethod
    def gathered(
        cls, numbers: np.ndarray, labels: Sequence[str], descriptions: Mapping[str, LabelDescription]
    ) -> MotionEvidence:
        """From training motions.

        Args:
            numbers: (sequences, questions), see `motion_numbers`.
            labels: of each sequence.
            descriptions: of the labels; classes count alike, and one more that fits 70 % of the time.
        """
        agreement, shares = {}, {}
        for column, (name, question) in zip(numbers.T, QUESTIONS.items(), strict=True):
            counts = np.bincount(column, minlength=len(question.answers)) + 1.0
            shares[name] = (counts / counts.sum()).round(4).tolist()
            fits = [
                float(np.isin(column[np.array(labels) == label], fitting).mean())
                for label in dict.fromkeys(labels)
                if (fitting := fitting_answers(descriptions[label], name))
            ]
            agreement[name] = round((sum(fits) + _EXPECTED) / (len(fits) + 1), 4)
        return cls(agreement, shares)

    def scores(self, numbers: np.ndarray, descriptions: Sequence[LabelDescription]) -> np.ndarray:
        """(sequences, labels) log-likelihood ratios of the labels' attributes; 0 of a label without any."""
        total = np.zeros((len(numbers), len(descriptions)))
        for column, name in zip(numbers.T, QUESTIONS, strict=True):
            agreement = self.agreement[name]
            for label, description in enumerate(descriptions):
                if fitting := fitting_answers(description, name):
                    share = np.clip(sum(self.shares[name][answer] for answer in fitting), _RAREST, 1 - _RAREST)
                    for_it, against = np.log(agreement / share), np.log((1 - agreement) / (1 - share))
                    total[:, label] += np.where(np.isin(column, fitting), for_it, against)
        return total


def fitting_answers(description: LabelDescription, name: str) -> list[int]:
    """The numbers of the answers that fit a label; none where the label says nothing about the question."""
    answers = list(QUESTIONS[name].answers)
    return [answers.index(answer) for answer in description.attributes.get(name, ())]
