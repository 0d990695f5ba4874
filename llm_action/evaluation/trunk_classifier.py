"""The strongest baseline a user would train on the same joints: the trunk that follows the skeleton, with a classifier.

AdamW with a one-cycle schedule, label smoothing, the experiment's augmentation, and the moving average of the weights
instead of a chosen epoch (this project's choice).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm_action.config.progress import ProgressBar
from llm_action.evaluation.evaluate import Classifier, over_views
from llm_action.evaluation.ledger import weights_fingerprint
from llm_action.evaluation.recordings import Recordings
from llm_action.modeling.base_model import fast_dtype
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.skeleton_trunk import SIZES, SkeletonTrunk

BATCH = 32
STEPS = 2400
LEARNING_RATE = 2e-3
_AVERAGED_STEPS = 500  # over which weights are averaged
_LONGEST_GRADIENT = 5.0


class TrunkClassifier(nn.Module):
    """Class scores (batch, classes) of skeletons (batch, persons, frames, joints, 3) and person_mask (batch, persons).

    The body parts' features of every step become one vector; attention layers with learned positions put the steps in
    an order, which a mean over time alone forgets; then the mean over steps and persons.

    Args:
        steps: of the trunk's features, frames / downsample.
    """

    def __init__(self, trunk: SkeletonTrunk, classes: int, steps: int, hidden: int = 128, dropout: float = 0.3):
        super().__init__()
        self.trunk = trunk
        self.inputs = nn.Linear(len(trunk.parts) * trunk.width, hidden)
        self.positions = nn.Parameter(0.02 * torch.randn(steps, hidden))
        layer = nn.TransformerEncoderLayer(hidden, 4, 2 * hidden, dropout, "gelu", batch_first=True, norm_first=True)
        self.attention = nn.TransformerEncoder(layer, 2, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        self.outputs = nn.Linear(hidden, classes)

    def forward(self, skeletons: Tensor, person_mask: Tensor) -> Tensor:
        steps = self.inputs(self.trunk(skeletons[person_mask]).flatten(2)) + self.positions
        features = self.attention(steps).mean(1).float()
        rows = person_mask.nonzero()[:, 0]
        summed = features.new_zeros(len(skeletons), features.shape[1]).index_add(0, rows, features)
        return self.outputs(self.dropout(summed / person_mask.sum(1, keepdim=True)))


def train_trunk(
    recordings: Recordings,
    size: str = "large",
    steps: int = STEPS,
    views: int = 1,
    downsample: int = 4,
    after_step: Callable[[int, nn.Module], None] | None = None,
) -> Classifier:
    """Trains the trunk with a classifier; the result is the moving average of its weights.

    Args:
        size: see `skeleton_trunk.SIZES`.
        views: of `Classifier.score_views`.
        after_step: is given the number of steps made and the averaged model, for learning curves.
    """
    torch.manual_seed(recordings.experiment.seed)
    layout = get_layout(recordings.extractor.layout)
    trunk = SkeletonTrunk(layout, SIZES[size], downsample)
    model = TrunkClassifier(trunk, len(recordings.split.labels), recordings.extractor.num_frames // downsample)
    averaged = copy.deepcopy(model).eval()
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    half = fast_dtype(torch.bfloat16, "cpu") == torch.bfloat16
    batches = recordings.augmented(BATCH, steps)
    for step, (skeletons, person_mask, targets) in enumerate(
        ProgressBar(batches, desc="training the trunk", total=steps), 1
    ):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = model(skeletons, person_mask)
        loss = F.cross_entropy(scores.float(), targets, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _LONGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        update_average(averaged, model, step)
        if after_step is not None:
            after_step(step, averaged)

    @torch.no_grad()
    def score(sequences: list[SkeletonSequence], views: int = 1) -> np.ndarray:
        return over_views(averaged(*map(torch.from_numpy, recordings.read(sequences, views))), views).numpy()

    return Classifier(
        score,
        sum(weight.numel() for weight in model.parameters()),
        weights_fingerprint(averaged.state_dict().items()),
        partial(score, views=views) if views > 1 else None,
    )


@torch.no_grad()
def update_average(averaged: nn.Module, model: nn.Module, step: int) -> None:
    """Moves the averaged weights to the model's: by the mean of the first steps, later by an exponential average."""
    share = max(1 / _AVERAGED_STEPS, 9 / (step + 9))
    for mean, weight in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, share)
