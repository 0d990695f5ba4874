"""The trunk with a reader as a baseline: the average of its weights, and that it learns."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from llm_action.evaluation.trunk_classifier import fit_averaged, label_loss
from llm_action.modeling.student import ActionStudent, StudentConfig


def moves(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, dict, torch.Tensor]:
    """Somebody whose right or left hand rises."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(2, (count,), generator=generator)
    skeletons = 0.05 * torch.randn(count, 1, 16, 15, 3, generator=generator)
    for row, target in enumerate(targets):
        skeletons[row, 0, :, 5 if target else 8, 1] += torch.linspace(0, 1, 16)
    return skeletons, torch.ones(count, 1, dtype=torch.bool), {}, targets


@pytest.fixture
def student() -> ActionStudent:
    torch.manual_seed(0)
    return ActionStudent(
        StudentConfig(["left", "right"], layout="kinect15", num_frames=16, max_persons=1, widths=(8, 16))
    )


def test_it_learns_and_the_result_is_in_evaluation_mode(student):
    averaged = fit_averaged(student, (moves(16, seed) for seed in range(60)), 60, label_loss)
    skeletons, person_mask, _, targets = moves(64, 1000)
    assert not averaged.training
    with torch.no_grad():
        assert (averaged(skeletons, person_mask).argmax(1) == targets).float().mean() > 0.9


def test_the_result_is_an_average_of_the_way(student):
    """Weights that jump once are followed slowly, statistics of the batch normalisation too."""
    seen = []

    def after_step(step, averaged):
        seen.append((averaged.outputs.bias.detach().clone(), averaged.trunk.input_norm.running_mean.clone()))
        with torch.no_grad():
            student.outputs.bias.fill_(float(step > 20))

    fit_averaged(student, (moves(4, seed) for seed in range(40)), 40, label_loss, after_step)
    means = [float(bias.mean()) for bias, _ in seen]
    assert abs(means[20]) < 0.1 and means[20] < means[21] < 0.5 < means[30] < means[39] < 1
    moved = [(after - before).abs().max() for (_, before), (_, after) in pairwise(seen[20:])]
    assert max(moved) < 0.2 and all(move > 0 for move in moved)
