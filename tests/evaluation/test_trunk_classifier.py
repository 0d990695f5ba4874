"""The trunk with a classifier: persons, the average of its weights, and that it learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llm_action.evaluation.trunk_classifier import TrunkClassifier, update_average
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_trunk import SIZES, SkeletonTrunk


@pytest.fixture
def classifier() -> TrunkClassifier:
    torch.manual_seed(0)
    return TrunkClassifier(SkeletonTrunk(get_layout("kinect15"), (8, 16), 4), classes=3, steps=4).eval()


def test_absent_persons_say_nothing_and_the_order_of_persons_does_not_matter(classifier):
    skeletons = torch.randn(2, 2, 16, 15, 3)
    mask = torch.tensor([[True, False], [True, True]])
    given = classifier(skeletons, mask)
    changed = skeletons.clone()
    changed[0, 1] = 100.0
    torch.testing.assert_close(classifier(changed, mask), given)
    torch.testing.assert_close(classifier(skeletons.flip(1), mask.flip(1)), given)
    assert given.shape == (2, 3) and not torch.allclose(classifier(skeletons, mask.new_ones(2, 2)), given)


def test_the_average_of_the_weights_follows_them():
    model = torch.nn.Linear(1, 1)
    averaged, means = copy.deepcopy(model), []
    for step in range(1, 4001):
        for weight in model.parameters():
            weight.data.fill_(float(step > 2000))
        update_average(averaged, model, step)
        means.append(float(averaged.bias))
    assert abs(means[100]) < 0.01 and 0.1 < means[2050] < 0.3 and means[-1] > 0.95


def test_the_small_one_costs_at_most_40_million_operations_a_person():
    small = TrunkClassifier(SkeletonTrunk(get_layout("kinect20"), SIZES["small"], 4), classes=60, steps=16)
    with FlopCounterMode(display=False) as counter, torch.no_grad():  # in training, whose attention is not fused
        small.train()(torch.randn(1, 1, 64, 20, 3), torch.ones(1, 1, dtype=torch.bool))
    assert small.trunk.flops(64) < counter.get_total_flops() <= 40e6
