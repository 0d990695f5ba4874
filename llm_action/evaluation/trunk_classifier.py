"""The strongest baseline a user would train on the same joints: the trunk that follows the skeleton, with a reader.

AdamW with a one-cycle schedule, label smoothing, the experiment's augmentation, rebuilding the joints as a task beside
the labels, and the moving average of the weights instead of a chosen epoch (this project's choice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from llm_action.config.progress import ProgressBar
from llm_action.evaluation.evaluate import Classifier, over_views
from llm_action.evaluation.ledger import weights_fingerprint
from llm_action.evaluation.rebuilding import Rebuilder
from llm_action.evaluation.recordings import Recordings
from llm_action.evaluation.schedule import one_cycle
from llm_action.modeling.base_model import fast_dtype
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.skeleton_trunk import SIZES
from llm_action.modeling.student import ActionStudent, StudentConfig

BATCH = 32
STEPS = 2400
LEARNING_RATE = 2e-3
READERS: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 64, "num_layers": 0},
    "large": {"hidden_size": 128, "num_layers": 2},
}
_LONGEST_AVERAGE = 500  # steps
_LONGEST_GRADIENT = 5.0
_SMOOTHING = 0.1


def train_trunk(
    recordings: Recordings,
    size: str = "large",
    steps: int = STEPS,
    views: int = 1,
    after_step: Callable[[int, nn.Module], None] | None = None,
) -> Classifier:
    """Trains the trunk with a reader; the result is the moving average of its weights.

    Args:
        size: see `skeleton_trunk.SIZES`.
        views: of `Classifier.score_views`.
        after_step: is given the number of steps made and the averaged model, for learning curves.
    """
    torch.manual_seed(recordings.experiment.seed)
    model = ActionStudent(student_config(recordings, size))
    batches = ((*seen, {}, targets) for *seen, targets in recordings.augmented(BATCH, steps))
    averaged = fit_averaged(model, batches, steps, label_loss, after_step, "training the trunk")

    @torch.no_grad()
    def score(sequences: list[SkeletonSequence], views: int = 1) -> np.ndarray:
        return over_views(averaged(*map(torch.from_numpy, recordings.read(sequences, views))), views).numpy()

    return Classifier(
        score,
        sum(weight.numel() for weight in model.parameters()),
        weights_fingerprint(averaged.state_dict().items()),
        partial(score, views=views) if views > 1 else None,
    )


def student_config(recordings: Recordings, size: str) -> StudentConfig:
    """Of a student that reads what the recordings' extractor gives, and answers their labels."""
    extractor = recordings.extractor
    reader = READERS[size]
    return StudentConfig(
        list(recordings.split.labels),
        layout=extractor.layout,
        num_frames=extractor.num_frames,
        max_persons=recordings.persons,
        align_facing=extractor.align_facing,
        own_layout=extractor.own_layout,
        geometry=extractor.geometry,
        dimensions=extractor.dimensions,
        widths=SIZES[size],
        hidden_size=reader["hidden_size"],
        num_layers=reader["num_layers"],
        point_window=recordings.split.point_window,
    )


def label_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with label smoothing."""
    return F.cross_entropy(scores, targets, label_smoothing=_SMOOTHING)


def fit_averaged(
    model: ActionStudent,
    batches: Iterable[tuple[Any, ...]],
    steps: int,
    loss_of: Callable[..., Tensor],
    after_step: Callable[[int, nn.Module], None] | None = None,
    title: str = "training",
) -> ActionStudent:
    """Trains a student, to rebuild the joints beside what `loss_of` asks; gives the moving average of its weights.

    It is in evaluation mode.

    Args:
        batches: skeletons, person_mask, signals, as the student takes them, and what `loss_of` takes beside the scores.
        after_step: as in `train_trunk`.
    """
    averaged = AveragedModel(model, avg_fn=_moved_average, use_buffers=True).eval()
    rebuilder = Rebuilder(model)
    weights = [*model.parameters(), *rebuilder.parameters()]
    optimizer = torch.optim.AdamW(weights, LEARNING_RATE)
    schedule = one_cycle(optimizer, LEARNING_RATE, steps)
    half = fast_dtype(torch.bfloat16, "cpu") == torch.bfloat16
    progress = ProgressBar(batches, desc=title, total=steps)
    for step, (skeletons, person_mask, signals, *targets) in enumerate(progress, 1):
        persons = skeletons[person_mask]
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            steps_seen = model.step_features(persons)
            pooled = model.pooled(steps_seen.float().mean(1), person_mask)
            scores = model.outputs(model.with_signals(pooled, signals))
            rebuilding = rebuilder.loss(steps_seen, persons)
        loss = loss_of(scores.float(), *targets) + rebuilding
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, _LONGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(model)
        if after_step is not None:
            after_step(step, averaged.module)
    trained = averaged.module
    assert isinstance(trained, ActionStudent)
    return trained


def _moved_average(averaged: Tensor, weight: Tensor, steps: Tensor | int) -> Tensor:
    """The mean of the first steps, later an exponential average."""
    share = max(1 / _LONGEST_AVERAGE, 9 / (float(steps) + 9))
    return averaged + (weight - averaged) * share
