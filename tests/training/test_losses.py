"""The context term: minus the mutual information of a token and its context."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from llm_action.training.losses import ContextPredictor

CODES, PLACES = 4, 8


def after_training(sentences: torch.Tensor, steps: int = 250) -> float:
    """The term of sentences (number, places), averaged over the last steps of training the predictor on them."""
    torch.manual_seed(0)
    predictor = ContextPredictor(CODES, CODES, PLACES)
    optimizer = torch.optim.Adam(predictor.parameters(), 3e-3)
    assignments, values = F.one_hot(sentences, CODES).float(), []
    for _ in range(steps):
        batch = assignments[torch.randint(len(sentences), (64,))]
        loss = predictor(batch, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return sum(values[-20:]) / 20


def test_tokens_that_follow_from_the_others_tell_all():
    starts = torch.arange(CODES)[:, None]
    assert after_training((starts + torch.arange(PLACES)) % CODES) == pytest.approx(-math.log(CODES), abs=0.15)


def test_independent_tokens_tell_nothing():
    sentences = torch.randint(CODES, (4096, PLACES), generator=torch.Generator().manual_seed(1))
    assert after_training(sentences) == pytest.approx(0, abs=0.1)


def test_one_token_everywhere_is_no_way_out():
    assert after_training(torch.zeros(8, PLACES, dtype=torch.long)) == pytest.approx(0, abs=0.02)
