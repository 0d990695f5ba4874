"""The small transformer a user would train: on joints a baseline of the recognizer, on tokens a probe of them.

A linear layer, learned positions, pre-norm attention layers, the mean over time; AdamW with a one-cycle schedule, label
smoothing and the experiment's augmentation (this project's choice). It makes tokens comparable with the joints they
were made from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm_action.config.experiment import Experiment
from llm_action.config.progress import ProgressBar
from llm_action.datasets.split import Split
from llm_action.evaluation.evaluate import Classifier, evaluate, over_views
from llm_action.evaluation.ledger import Origin, config_hash, weights_fingerprint
from llm_action.evaluation.recordings import Recordings
from llm_action.evaluation.schedule import one_cycle
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SkeletonSequence

BATCH = 64
Inputs = Callable[[Tensor, Tensor], Tensor]
"""skeletons (batch, persons, frames, joints, 3) and person_mask (batch, persons) to inputs (batch, steps, width)."""


class Probe(nn.Module):
    """(batch, steps, width) to class scores (batch, classes)."""

    def __init__(self, width: int, steps: int, classes: int, hidden: int = 128, layers: int = 4):
        super().__init__()
        self.inputs = nn.Linear(width, hidden)
        self.positions = nn.Parameter(0.02 * torch.randn(steps, hidden))
        layer = nn.TransformerEncoderLayer(hidden, 4, 2 * hidden, 0.1, "gelu", batch_first=True, norm_first=True)
        self.attention = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.outputs = nn.Linear(hidden, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.outputs(self.attention(self.inputs(inputs) + self.positions).mean(1))


def probe_steps(sequences: int) -> int:
    """Training steps for so many sequences: 80 epochs within 800..1500 steps, and never fewer than 46 epochs."""
    epoch = sequences / BATCH
    return round(max(46 * epoch, min(max(80 * epoch, 800), 1500)))


def joint_inputs(skeletons: Tensor, person_mask: Tensor) -> Tensor:
    """Joints and velocities of every frame, persons one after the other."""
    velocity = F.pad(skeletons.diff(dim=2), (0, 0, 0, 0, 1, 0))
    return torch.cat([skeletons, 4 * velocity], -1).flatten(3).flatten(1, 2)


def token_inputs(processor: LlmArProcessor) -> Inputs:
    """The vectors of the tokens, of continuous features the features; persons one after the other."""
    vqvae, scale = processor.vqvae.eval(), 2 / processor.vqvae.config.max_norm

    @torch.no_grad()
    def read(skeletons: Tensor, person_mask: Tensor) -> Tensor:
        vectors = vqvae.codebook(vqvae.latents(skeletons.flatten(0, 1))).vectors.unflatten(0, skeletons.shape[:2])
        return (scale * vectors * person_mask[..., None, None]).flatten(1, 2)

    return read


def train_probe(recordings: Recordings, inputs: Inputs, steps: int | None = None, views: int = 1) -> Classifier:
    """Trains the small transformer; `steps` default to `probe_steps`, `views` are those of `Classifier.score_views`."""
    steps = steps or probe_steps(len(recordings.sequences))
    example = inputs(*(torch.from_numpy(part[:1]) for part in recordings.plain()))
    torch.manual_seed(recordings.experiment.seed)
    probe = Probe(example.shape[2], example.shape[1], len(recordings.split.labels))
    optimizer = torch.optim.AdamW(probe.parameters(), 1e-3)
    schedule = one_cycle(optimizer, 1e-3, steps)
    batches = recordings.augmented(BATCH, steps)
    for skeletons, person_mask, targets in ProgressBar(batches, desc="probing with a small transformer", total=steps):
        loss = F.cross_entropy(probe(inputs(skeletons, person_mask)), targets, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    probe.eval()

    @torch.no_grad()
    def score(sequences: list[SkeletonSequence], views: int = 1) -> np.ndarray:
        return over_views(probe(inputs(*map(torch.from_numpy, recordings.read(sequences, views)))), views).numpy()

    return Classifier(
        score,
        sum(weight.numel() for weight in probe.parameters()),
        weights_fingerprint(probe.state_dict().items()),
        partial(score, views=views) if views > 1 else None,
    )


def probe_tokens(
    experiment: Experiment,
    processor: LlmArProcessor,
    split: Split,
    steps: int | None = None,
    command: str = "train",
) -> float:
    """Top-1 on the test part of the small transformer on the tokens' vectors; `command` is the ledger's."""
    return _probed(experiment, processor, split, token_inputs(processor), steps, f"{command}, probe of tokens")


def probe_joints(
    experiment: Experiment,
    processor: LlmArProcessor,
    split: Split,
    steps: int | None = None,
    command: str = "train",
) -> float:
    """Top-1 of the same transformer on joints and velocities, after the same normalisation."""
    return _probed(experiment, processor, split, joint_inputs, steps, f"{command}, probe of joints")


def _probed(
    experiment: Experiment, processor: LlmArProcessor, split: Split, inputs: Inputs, steps: int | None, command: str
) -> float:
    probe = train_probe(Recordings(experiment, split, processor.feature_extractor), inputs, steps)
    origin = Origin(f"{command}, seed {experiment.seed}", config_hash(experiment), probe.fingerprint)
    return evaluate(probe.score, split, origin)["top1"]
