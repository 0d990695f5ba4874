"""The trunk of another sense than the skeleton: what its action tokenizer and a student read a signal with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .skeleton_trunk import Shortcut, TimeScales

_BLOCKS = 3  # at least


class SignalTrunk(nn.Module):
    """Signals to vectors of their steps (this project's design): `SkeletonTrunk`'s time scales, as of a single joint.

    Args:
        channels: of the signal.
        width: of a vector, a multiple of 4.
        downsample: frames a step stands for, a power of two, default 8; each factor of two is a block's stride.
    """

    means: Tensor
    scales: Tensor

    def __init__(self, channels: int, width: int, downsample: int = 2**_BLOCKS):
        super().__init__()
        self.width = width
        self.register_buffer("means", torch.zeros(channels))  # what the signal was standardised with
        self.register_buffer("scales", torch.ones(channels))
        self.inputs = nn.Linear(2 * channels, width)
        halvings = downsample.bit_length() - 1
        strides = [2 if block < halvings else 1 for block in range(max(_BLOCKS, halvings))]
        self.times = nn.ModuleList(TimeScales(width, stride) for stride in strides)
        self.shortcuts = nn.ModuleList(Shortcut(width, width, stride) for stride in strides)

    def steps(self, signals: Tensor) -> Tensor:
        """(batch, frames / downsample, width) of standardised signals (batch, frames, channels)."""
        differences = F.pad(signals.diff(dim=1), (0, 0, 1, 0))
        hidden = self.inputs(torch.cat([signals, differences], -1))[:, None]
        for time, shortcut in zip(self.times, self.shortcuts, strict=True):
            hidden = F.relu(time(hidden) + shortcut(hidden))
        return hidden[:, 0]

    def forward(self, signals: Tensor) -> Tensor:
        """(batch, width) of standardised signals (batch, frames, channels)."""
        return self.steps(signals).mean(1).float()

    def standardized(self, signals: Tensor) -> Tensor:
        """(batch, frames, channels) of signals in their own unit."""
        return (signals - self.means) / self.scales

    def of_those_there(self, signals: Tensor) -> Tensor:
        """(batch, width) of signals of which those that are NaN throughout are lacking: zeros."""
        there = ~signals.isnan().flatten(1).any(1)
        if not self.training:  # shapes that do not depend on the numbers, for ONNX
            return self(signals.nan_to_num()) * there[:, None]
        found = signals.new_zeros(len(signals), self.width)  # what is normalised is those that are there
        return found.index_put((there.nonzero()[:, 0],), self(signals[there])) if there.any() else found
