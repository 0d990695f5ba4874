"""The trunk that follows the skeleton: weights shared over joints, learned ways between joints, several time scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .skeleton_layouts import SkeletonLayout

SIZES: dict[str, tuple[int, ...]] = {"small": (24, 48, 48), "large": (64, 64, 128, 128, 128)}
"""Widths of the blocks."""

_CHANNELS = 12  # of a joint: place relative to the root, root path, bone, velocity
_HEADS = 8
_TAPS = 5
_DILATIONS = (1, 2)
_VELOCITY_SCALE = 4.0  # brings frame-to-frame differences to the order of magnitude of positions


class SkeletonTrunk(nn.Module):
    """Skeletons to features of every body part at every step (this project's design, after CTR-GCN).

    Each block mixes joints, then time: a linear layer, the heads' adjacencies (`JointMixing`), and a convolution over
    time at two dilations. Tensors are (batch, joints, steps, channels) throughout, in memory too, so that every layer
    is one matrix product. What is learned of single joints are the adjacencies and one vector a joint.

    Args:
        layout: the skeleton, any.
        widths: of the blocks, multiples of 8; see `SIZES`.
        downsample: frames a step stands for, a power of two: halved first at the stem, then where widths grow, the rest
            at the stem.
        dropout: between joint mixing and time, while training, default 0.
    """

    def __init__(self, layout: SkeletonLayout, widths: Sequence[int], downsample: int = 4, dropout: float = 0.0):
        super().__init__()
        self.root, self.parts = layout.root, [list(joints) for joints in layout.body_parts.values()]
        self.parents = [joint if joint == layout.root else parent for joint, parent in enumerate(layout.parents)]
        strides = _strides(widths, downsample)
        stem = strides[0]
        self.stem = nn.Conv2d(_CHANNELS, widths[0], (1, 2 * stem + 1), (1, stem), (0, stem))
        self.joints = nn.Parameter(0.02 * torch.randn(layout.num_joints, 1, widths[0]))
        inputs = [widths[0], *widths[:-1]]
        self.blocks = nn.Sequential(
            *(
                TrunkBlock(layout, width_in, width, stride, dropout)
                for width_in, width, stride in zip(inputs, widths, strides[1:], strict=True)
            )
        )
        self.norm = nn.LayerNorm(widths[-1])
        self.width = widths[-1]

    def forward(self, skeletons: Tensor) -> Tensor:
        """Skeletons (batch, frames, joints, 3), one person each, to (batch, steps, body parts, width)."""
        hidden = self.norm(self.joint_features(skeletons))
        return torch.stack([hidden[:, part].mean(1) for part in self.parts], dim=2)

    def joint_features(self, skeletons: Tensor) -> Tensor:
        """Skeletons (batch, frames, joints, 3) to (batch, joints, steps, width)."""
        hidden = over_time(self.stem, self.inputs(skeletons).transpose(1, 2)) + self.joints
        return self.blocks(hidden)

    def inputs(self, skeletons: Tensor) -> Tensor:
        """(batch, frames, joints, 12): place relative to the root, root path, bone to the parent, velocity."""
        root = skeletons[:, :, self.root : self.root + 1]
        velocity = F.pad(skeletons.diff(dim=1), (0, 0, 0, 0, 1, 0)) * _VELOCITY_SCALE
        bones = skeletons - skeletons[:, :, self.parents]
        return torch.cat([skeletons - root, root.expand_as(skeletons), 2 * bones, velocity], dim=-1)

    def flops(self, num_frames: int) -> int:
        """Of one person, a multiplication and an addition each counting one, norms and activations left out."""
        joints, steps = len(self.joints), num_frames // self.stem.stride[1]
        total = steps * self.stem.weight.numel()
        for block in self.blocks.children():
            assert isinstance(block, TrunkBlock)
            total += steps * block.project.weight.numel() + steps * joints * block.project.out_features
            steps //= block.stride
            total += steps * block.time_weights()
        return 2 * joints * total


class TrunkBlock(nn.Module):
    """Pre-norm residual block, (batch, joints, steps, channels) to (batch, joints, steps / stride, width)."""

    def __init__(self, layout: SkeletonLayout, channels: int, width: int, stride: int, dropout: float):
        super().__init__()
        self.stride = stride
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, width)
        self.mixing = JointMixing(layout, _HEADS)
        self.middle_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.scales = nn.ModuleList(
            nn.Conv2d(width, width // 2, (1, _TAPS), (1, stride), (0, dilation * (_TAPS // 2)), dilation=(1, dilation))
            for dilation in _DILATIONS
        )
        self.shortcut = nn.Linear(channels, width) if channels != width else None

    def forward(self, hidden: Tensor) -> Tensor:
        mixed = F.relu(self.middle_norm(self.mixing(self.project(self.norm(hidden)))))
        mixed = self.dropout(mixed)
        moved = torch.cat([over_time(scale, mixed) for scale in self._scales()], dim=-1)
        if self.stride > 1:
            hidden = hidden.unflatten(2, (-1, self.stride)).mean(3)
        return moved + (hidden if self.shortcut is None else self.shortcut(hidden))

    def time_weights(self) -> int:
        """Numbers multiplied with every joint's channels at every step that the block gives."""
        own = sum(scale.weight.numel() for scale in self._scales())
        return own if self.shortcut is None else own + self.shortcut.weight.numel()

    def _scales(self) -> list[nn.Conv2d]:
        return [scale for scale in self.scales if isinstance(scale, nn.Conv2d)]


class JointMixing(nn.Module):
    """Every head's share of the channels goes from joint to joint along an adjacency of its own.

    Adjacencies begin with the skeleton's tree, one head after the other: the joint itself, its parent, its children,
    the mean of all joints. What is learned is added to that.
    """

    tree: Tensor

    def __init__(self, layout: SkeletonLayout, heads: int):
        super().__init__()
        ways = tree_adjacencies(layout)
        self.register_buffer("tree", ways.repeat(-(-heads // len(ways)), 1, 1)[:heads])
        self.learned = nn.Parameter(0.01 * torch.randn_like(self.tree))

    def forward(self, hidden: Tensor) -> Tensor:
        batch, joints, steps, channels = hidden.shape
        heads = len(self.learned)
        split = hidden.view(batch, joints, steps, heads, -1).permute(3, 1, 0, 2, 4).reshape(heads, joints, -1)
        mixed = torch.bmm((self.tree + self.learned).to(split.dtype), split)
        mixed = mixed.view(heads, joints, batch, steps, channels // heads)
        return mixed.permute(2, 1, 3, 0, 4).reshape(batch, joints, steps, channels)


def tree_adjacencies(layout: SkeletonLayout) -> Tensor:
    """(4, joints, joints), rows adding up to 1: the joint itself, its parent, its children, all joints."""
    joints = layout.num_joints
    own = torch.eye(joints)
    parent = own.clone()
    for joint, above in layout.bones:
        parent[joint] = own[above]
    children = own + torch.zeros_like(own)
    for joint, above in layout.bones:
        children[above, joint] = 1
    return torch.stack([own, parent, children / children.sum(1, keepdim=True), torch.full_like(own, 1 / joints)])


def over_time(convolution: nn.Conv2d, hidden: Tensor) -> Tensor:
    """A (1, taps) convolution over the steps of (batch, joints, steps, channels)."""
    return convolution(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _strides(widths: Sequence[int], downsample: int) -> list[int]:
    """Of the stem and of every block: 2 where widths grow, as often as `downsample` allows beside the stem's 2."""
    strides, left = [], max(downsample // 2, 1)
    for before, width in zip([widths[0], *widths[:-1]], widths, strict=True):
        stride = 2 if width > before and left > 1 else 1
        left //= stride
        strides.append(stride)
    return [left * min(downsample, 2), *strides]
