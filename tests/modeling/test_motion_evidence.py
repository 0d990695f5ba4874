"""What joints say for a label, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_action.datasets.synthetic import generate_sequence
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_descriptions import QUESTIONS, LabelDescription
from llm_action.modeling.motion_evidence import MotionEvidence, motion_numbers

ARMS, BODY = list(QUESTIONS).index("arms"), list(QUESTIONS).index("body")
RIGHT, LEFT, BOTH, NEITHER = range(4)


def answers(arms: int, body: int = 3) -> np.ndarray:
    numbers = np.zeros(len(QUESTIONS), np.int64)
    numbers[[ARMS, BODY]] = arms, body
    return numbers


class TestEvidence:
    DESCRIPTIONS = {  # noqa: RUF012
        "wave": LabelDescription(attributes={"arms": ("right arm", "left arm")}),
        "clap": LabelDescription(attributes={"arms": ("both arms",)}),
        "sit": LabelDescription(attributes={"body": ("down",)}),
    }
    MOTIONS = (("wave", RIGHT), ("wave", LEFT), ("wave", RIGHT), ("wave", BOTH), ("clap", BOTH), ("sit", NEITHER))

    @pytest.fixture
    def evidence(self) -> MotionEvidence:
        numbers = np.stack([answers(arms) for _, arms in self.MOTIONS])
        return MotionEvidence.gathered(numbers, [label for label, _ in self.MOTIONS], self.DESCRIPTIONS)

    def test_classes_count_alike(self, evidence):
        assert evidence.agreement["arms"] == pytest.approx((3 / 4 + 1 + 0.7) / 3, abs=1e-4)
        assert evidence.agreement["body"] == pytest.approx((0 + 0.7) / 2, abs=1e-4)  # the joints say it stays level
        assert evidence.agreement["turn"] == 0.7  # nobody said anything
        assert evidence.shares["arms"] == [0.3, 0.2, 0.3, 0.2]  # one more of each than was seen

    def test_scores_are_likelihood_ratios(self, evidence):
        scores = evidence.scores(np.stack([answers(LEFT), answers(BOTH)]), list(self.DESCRIPTIONS.values()))
        agreement = evidence.agreement["arms"]
        assert scores[0, 0] == pytest.approx(math.log(agreement / 0.5))
        assert scores[0, 1] == pytest.approx(math.log((1 - agreement) / 0.7))
        assert scores[1, 0] == pytest.approx(math.log((1 - agreement) / 0.5))
        assert scores[1, 1] == pytest.approx(math.log(agreement / 0.3))

    def test_a_label_without_attributes_has_none(self, evidence):
        assert evidence.scores(answers(LEFT)[None], [LabelDescription(("a greeting",))]).tolist() == [[0.0]]


def test_numbers_are_those_of_the_answers():
    extractor = SkeletonFeatureExtractor(layout="ntu25")
    sequences = [
        generate_sequence(label, subject, 2, 1) for label in ("squatting", "waving a hand") for subject in (1, 2, 3)
    ]
    numbers = motion_numbers(extractor, sequences)
    assert numbers.shape == (6, len(QUESTIONS))
    level = list(QUESTIONS["body"].answers).index("level")
    assert (numbers[:3, BODY] != level).all() and (numbers[3:, BODY] == level).all()
    assert motion_numbers(extractor, []).shape == (0, len(QUESTIONS))
