"""The schedule of small trainings, from one step on."""

import pytest
import torch

from llm_action.evaluation.schedule import one_cycle


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20, 100])
def test_any_number_of_steps_stays_below_the_highest_rate_and_ends_low(steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    schedule, rates = one_cycle(optimizer, 0.5, steps), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < steps:
            schedule.step()
    assert min(rates) > 0 and max(rates) <= 0.5
    if steps > 2:
        assert rates[-1] < 0.01 * max(rates) and rates[0] < max(rates)
    if steps == 100:
        assert rates.index(max(rates)) in (9, 10)
