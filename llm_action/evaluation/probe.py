"""What tokens keep for recognition: a small transformer that reads nothing but their embeddings, or the raw joints.

The probe is the alternative a user would train (this project's choice): a linear layer, learned positions, pre-norm
attention layers, the mean over time, AdamW with a one-cycle schedule and label smoothing. Read by it, tokens can be
compared with the joints they were made from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.data import AugmentedSkeletons, Split, normalized, plain_batch
from llm_action.training.experiment import Experiment

_BATCH = 64


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


def probe_tokens(experiment: Experiment, processor: LlmArProcessor, split: Split, steps: int = 800) -> float:
    """Top-1 on the test part of a probe that reads the tokens' vectors (persons one after the other)."""
    vqvae, scale = processor.vqvae.eval(), 2 / processor.vqvae.config.max_norm

    @torch.no_grad()
    def read(skeletons: Tensor, person_mask: Tensor) -> Tensor:
        codes = vqvae.encode(skeletons.flatten(0, 1)).unflatten(0, skeletons.shape[:2])
        return (scale * vqvae.codebook.lookup(codes) * person_mask[..., None, None]).flatten(1, 2)

    return _train_and_score(read, experiment, processor, split, steps)


def probe_joints(experiment: Experiment, processor: LlmArProcessor, split: Split, steps: int = 800) -> float:
    """Top-1 of the same probe on joints and velocities, after the same normalisation."""

    def read(skeletons: Tensor, person_mask: Tensor) -> Tensor:
        velocity = F.pad(skeletons.diff(dim=2), (0, 0, 0, 0, 1, 0))
        return torch.cat([skeletons, 4 * velocity], -1).flatten(3).flatten(1, 2)

    return _train_and_score(read, experiment, processor, split, steps)


def _train_and_score(
    read: Callable[[Tensor, Tensor], Tensor],
    experiment: Experiment,
    processor: LlmArProcessor,
    split: Split,
    steps: int,
) -> float:
    extractor = processor.feature_extractor
    train, test = (normalized(part, extractor, "normalising skeletons") for part in (split.train, split.test))
    persons = max(len(sequence) for sequence in train)
    stream = AugmentedSkeletons(
        train,
        split.train["label"],
        experiment.augmentation,
        extractor.num_frames,
        persons,
        steps * _BATCH,
        experiment.seed,
    )
    batch = plain_batch([sequence[:persons] for sequence in test], extractor.num_frames, persons)
    inputs = read(torch.from_numpy(batch["skeletons"]), torch.from_numpy(batch["person_mask"]))
    torch.manual_seed(experiment.seed)
    probe = Probe(inputs.shape[2], inputs.shape[1], len(split.labels))
    optimizer = torch.optim.AdamW(probe.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps, pct_start=0.1)
    for step in trange(steps, desc="training the probe"):
        rows = [stream[step * _BATCH + row] for row in range(_BATCH)]
        skeletons, mask, labels = (
            torch.from_numpy(np.stack([row[name] for row in rows])) for name in ("skeletons", "person_mask", "labels")
        )
        loss = F.cross_entropy(probe(read(skeletons, mask)), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        predicted = probe.eval()(inputs).argmax(-1)
    return float((predicted == torch.tensor(split.test["label"])).float().mean())
