"""What joints say for a label, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.action_attributes import ATTRIBUTES, value_numbers
from llm_action.modeling.attribute_likelihood import AttributeStatistics
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_descriptions import LabelDescription

ARMS, BODY = list(ATTRIBUTES).index("arms"), list(ATTRIBUTES).index("body")
RIGHT, LEFT, BOTH, NEITHER = range(4)


def shown(arms: int, body: int = 3) -> np.ndarray:
    numbers = np.zeros(len(ATTRIBUTES), np.int64)
    numbers[[ARMS, BODY]] = arms, body
    return numbers


class TestStatistics:
    DESCRIPTIONS = {  # noqa: RUF012
        "wave": LabelDescription(attributes={"arms": ("right arm", "left arm")}),
        "clap": LabelDescription(attributes={"arms": ("both arms",)}),
        "sit": LabelDescription(attributes={"body": ("down",)}),
    }
    MOTIONS = (("wave", RIGHT), ("wave", LEFT), ("wave", RIGHT), ("wave", BOTH), ("clap", BOTH), ("sit", NEITHER))

    @pytest.fixture
    def statistics(self) -> AttributeStatistics:
        numbers = np.stack([shown(arms) for _, arms in self.MOTIONS])
        return AttributeStatistics.gathered(numbers, [label for label, _ in self.MOTIONS], self.DESCRIPTIONS)

    def test_shares_count_one_more_of_each(self, statistics):
        assert statistics.shares["arms"] == [0.3, 0.2, 0.3, 0.2]

    def test_training_motions_move_what_is_expected_of_a_value(self, statistics):
        """Expected are 80 % as if of two classes, the rest by share: 0.2 * 0.3 / 0.7 for the right arm of both."""
        confusion = statistics.confusions["arms"]
        assert confusion[NEITHER] == pytest.approx([0.2 * 0.3 / 0.8, 0.2 * 0.2 / 0.8, 0.2 * 0.3 / 0.8, 0.8])
        clap = [2 * 0.2 * 0.3 / 0.7 / 3, 2 * 0.2 * 0.2 / 0.7 / 3, (1.6 + 1) / 3, 2 * 0.2 * 0.2 / 0.7 / 3]
        assert confusion[BOTH] == pytest.approx(clap, abs=1e-4)

    def test_a_motion_counts_for_the_described_value_that_explains_it(self, statistics):
        """Of a wave, half with the right arm and a quarter with the left: the right arm seen is mostly the right one.

        It is 0.8 * 0.3 = 0.24 likely by the right one and 0.2 * 0.3 / 0.8 * 0.2 = 0.015 by the left.
        """
        right, left = (np.array(statistics.confusions["arms"][side]) for side in (RIGHT, LEFT))
        weight = 2 + 0.5 * 0.24 / 0.255 + 0.25 * (0.04 / 0.7 * 0.3) / (0.04 / 0.7 * 0.3 + 0.16)
        weight += 0.25 * (0.06 / 0.7 * 0.3) / (0.06 / 0.7 * 0.3 + 0.015)
        assert right[RIGHT] == pytest.approx((1.6 + 0.5 * 0.24 / 0.255) / weight, abs=1e-4)
        assert left[LEFT] > right[LEFT] and right.sum() == pytest.approx(1, abs=1e-3)

    def test_scores_are_likelihood_ratios(self, statistics):
        meant = statistics.value_shares(list(self.DESCRIPTIONS.values()))
        scores = statistics.scores(np.stack([shown(LEFT), shown(BOTH)]), meant)
        right, left, both, _ = statistics.confusions["arms"]
        assert scores[0, 0] == pytest.approx(math.log((0.3 * right[LEFT] + 0.2 * left[LEFT]) / 0.5 / 0.2))
        assert scores[0, 1] == pytest.approx(math.log(both[LEFT] / 0.2))
        assert scores[1, 0] == pytest.approx(math.log((0.3 * right[BOTH] + 0.2 * left[BOTH]) / 0.5 / 0.3))
        assert scores[1, 1] == pytest.approx(math.log(both[BOTH] / 0.3))

    def test_no_value_rules_a_label_out(self):
        """However many classes never showed it."""
        described = {f"clap {number}": self.DESCRIPTIONS["clap"] for number in range(2000)}
        statistics = AttributeStatistics.gathered(np.repeat(shown(BOTH)[None], 2000, 0), list(described), described)
        score = statistics.scores(shown(LEFT)[None], statistics.value_shares([self.DESCRIPTIONS["clap"]])).item()
        assert score == pytest.approx(math.log(0.001 / 0.02))

    def test_a_label_without_attributes_has_none(self, statistics):
        meant = statistics.value_shares([LabelDescription(("a greeting",))])
        assert statistics.scores(shown(LEFT)[None], meant).tolist() == [[0.0]]

    def test_what_a_label_says_may_be_uncertain(self, statistics):
        """A name that means the right arm with 0.7 and both arms with 0.3."""
        meant = {"arms": np.array([[0.7, 0, 0.3, 0]])}
        right, _, both, _ = statistics.confusions["arms"]
        (score,) = statistics.scores(shown(BOTH)[None, [ARMS]], meant)
        assert score == pytest.approx(math.log((0.7 * right[BOTH] + 0.3 * both[BOTH]) / 0.3))


def test_numbers_are_those_of_the_values():
    extractor = SkeletonFeatureExtractor(layout="ntu25")
    sequences = [
        generate_sequence(label, subject, 2, 1) for label in ("squatting", "waving a hand") for subject in (1, 2, 3)
    ]
    numbers = value_numbers(*extractor(sequences).values(), "ntu25")
    assert numbers.shape == (6, len(ATTRIBUTES))
    level = list(ATTRIBUTES["body"].values).index("level")
    assert (numbers[:3, BODY] != level).all() and (numbers[3:, BODY] == level).all()
    assert value_numbers(*extractor([]).values(), "ntu25").shape == (0, len(ATTRIBUTES))
