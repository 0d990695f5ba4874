"""Rebuilding skeletons from what was made of them: the action tokenizer's task, and one beside a student's labels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.student import ActionStudent

VELOCITY_WEIGHT = 0.5
_HUBER = 0.1  # torso lengths: beyond it errors count linearly


def reconstruction_loss(reconstruction: Tensor, skeletons: Tensor) -> Tensor:
    """Computes the smooth L1 between joint positions (batch, frames, joints, 3), in torso lengths."""
    return F.smooth_l1_loss(reconstruction, skeletons, beta=_HUBER)


def velocity_loss(reconstruction: Tensor, skeletons: Tensor) -> Tensor:
    """Computes the smooth L1 between frame-to-frame differences, in torso lengths."""
    return F.smooth_l1_loss(reconstruction.diff(dim=1), skeletons.diff(dim=1), beta=_HUBER)


class Rebuilder(nn.Module):
    """Rebuilds persons from a student's steps, while the student learns (this project's choice).

    Few recordings teach labels alone badly; joints are something to learn from in every one of them.
    """

    def __init__(self, student: ActionStudent):
        super().__init__()
        config = student.config
        self.joints, width = get_layout(config.layout).num_joints, config.hidden_size
        numbers = config.downsample * self.joints * 3
        self.layers = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1), nn.GELU(), nn.Conv1d(width, numbers, 3, padding=1)
        )

    def forward(self, steps: Tensor) -> Tensor:
        """Steps (persons, steps, hidden_size) to (persons, frames, joints, 3), in torso lengths."""
        frames = self.layers(steps.transpose(1, 2)).transpose(1, 2)
        return frames.unflatten(2, (-1, self.joints, 3)).flatten(1, 2)

    def loss(self, steps: Tensor, persons: Tensor) -> Tensor:
        """What is wrong with persons (persons, frames, joints, 3) as they are rebuilt."""
        rebuilt = self(steps).float()
        return reconstruction_loss(rebuilt, persons) + VELOCITY_WEIGHT * velocity_loss(rebuilt, persons)
