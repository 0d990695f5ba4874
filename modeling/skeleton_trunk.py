"""The trunk that follows the skeleton: weights shared over joints, learned ways between joints, several time scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .skeleton_layouts import SkeletonLayout

SIZES: dict[str, tuple[int, ...]] = {"small": (32, 56, 56), "large": (32, 64, 64, 128, 128)}
"""Widths of the blocks."""

_CHANNELS = 9  # of a joint: place, velocity, bone
_HEADS = 8
_TAPS = 5
_DILATIONS = (1, 2)
_VELOCITY_SCALE = 4.0  # brings differences of neighbouring frames to the order of magnitude of positions
_BONE_SCALE = 2.0


class SkeletonTrunk(nn.Module):
    """Skeletons to features of every joint and body part at every step (this project's design, after CTR-GCN).

    Each block mixes joints (`JointMixing`), then time (`TimeScales`), with batch normalisation and a residual path
    each. Tensors are (batch, joints, steps, channels) throughout, in memory too, so that every layer is one matrix
    product. What is learned of single joints are the adjacencies and the normalisation of the inputs.

    Args:
        layout: the skeleton, any.
        widths: of the blocks, multiples of 8; see `SIZES`.
        downsample: frames a step stands for, a power of two: first every second frame is left out, then steps are
            halved where widths grow; what is left is left out at the beginning too.
    """

    def __init__(self, layout: SkeletonLayout, widths: Sequence[int], downsample: int = 4):
        super().__init__()
        self.parts = [list(joints) for joints in layout.body_parts.values()]
        self.parents = [joint if joint == layout.root else parent for joint, parent in enumerate(layout.parents)]
        self.frame_stride, *strides = _strides(widths, downsample)
        self.input_norm = nn.BatchNorm1d(layout.num_joints * _CHANNELS)
        inputs = [_CHANNELS, *widths[:-1]]
        self.blocks = nn.Sequential(
            *(
                TrunkBlock(layout, width_in, width, stride)
                for width_in, width, stride in zip(inputs, widths, strides, strict=True)
            )
        )
        self.width = widths[-1]

    def forward(self, skeletons: Tensor) -> Tensor:
        """Skeletons (batch, frames, joints, 3), one person each, to (batch, steps, body parts, width)."""
        hidden = self.joint_features(skeletons)
        return torch.stack([hidden[:, part].mean(1) for part in self.parts], dim=2)

    def joint_features(self, skeletons: Tensor) -> Tensor:
        """Skeletons (batch, frames, joints, 3) to (batch, joints, steps, width)."""
        inputs = self.inputs(skeletons)
        normed = self.input_norm(inputs.flatten(2).flatten(0, 1)).view(inputs.shape)
        return self.blocks(normed.transpose(1, 2))

    def inputs(self, skeletons: Tensor) -> Tensor:
        """(batch, frames / frame stride, joints, 9): place, velocity, bone to the parent."""
        places = skeletons[:, :: self.frame_stride]
        velocity = F.pad(places.diff(dim=1), (0, 0, 0, 0, 1, 0)) * (_VELOCITY_SCALE / self.frame_stride)
        bones = (places - places[:, :, self.parents]) * _BONE_SCALE
        return torch.cat([places, velocity, bones], dim=-1)


class TrunkBlock(nn.Module):
    """(batch, joints, steps, channels) to (batch, joints, steps / stride, width)."""

    def __init__(self, layout: SkeletonLayout, channels: int, width: int, stride: int):
        super().__init__()
        self.mixing = JointMixing(layout, channels, width)
        self.mixing_norm = ChannelNorm(width)
        self.mixing_shortcut = nn.Identity() if channels == width else Shortcut(channels, width)
        self.time = TimeScales(width, stride)
        alike = channels == width and stride == 1
        self.shortcut = nn.Identity() if alike else Shortcut(channels, width, stride)

    def forward(self, hidden: Tensor) -> Tensor:
        mixed = F.relu(self.mixing_norm(self.mixing(hidden)) + self.mixing_shortcut(hidden))
        return F.relu(self.time(mixed) + self.shortcut(hidden))


class JointMixing(nn.Module):
    """Every joint gets a sum over all joints of linear maps of their channels, along learned adjacencies.

    There are three linear maps; their adjacencies begin as the joint itself, its parent, its children. Each head, an
    eighth of the channels, learns its own.
    """

    def __init__(self, layout: SkeletonLayout, channels: int, width: int):
        super().__init__()
        self.tree = tree_adjacencies(layout)
        ways, joints, _ = self.tree.shape
        self.values = nn.Linear(channels, ways * width)
        self.adjacency = nn.Parameter(torch.empty(_HEADS, joints, ways, joints))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begins with the tree."""
        with torch.no_grad():
            tree = torch.from_numpy(self.tree).to(self.adjacency.dtype)
            self.adjacency.copy_(tree.transpose(0, 1).expand_as(self.adjacency))

    def forward(self, hidden: Tensor) -> Tensor:
        batch, joints, steps, _ = hidden.shape
        heads, _, ways, _ = self.adjacency.shape
        values = self.values(hidden).view(batch, joints, steps, ways, heads, -1)
        values = values.permute(0, 4, 3, 1, 2, 5).reshape(batch, heads, ways * joints, -1)
        mixed = self.adjacency.flatten(2).to(values.dtype) @ values
        return mixed.view(batch, heads, joints, steps, -1).permute(0, 2, 3, 1, 4).flatten(3)


class TimeScales(nn.Module):
    """What happens over time, a quarter of the channels each: convolutions at two dilations, the maximum, one step.

    (batch, joints, steps, channels) to (batch, joints, steps / stride, channels).
    """

    def __init__(self, width: int, stride: int):
        super().__init__()
        quarter = width // 4
        self.stride = stride
        self.projection = nn.Linear(width, 3 * quarter)
        self.norm = ChannelNorm(3 * quarter)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(quarter, quarter, (1, _TAPS), (1, stride), (0, dilation * (_TAPS // 2)), (1, dilation))
            for dilation in _DILATIONS
        )
        self.own = nn.Linear(width, width - 3 * quarter)
        self.out_norm = ChannelNorm(width)

    def forward(self, hidden: Tensor) -> Tensor:
        near, far, most = F.relu(self.norm(self.projection(hidden))).permute(0, 3, 1, 2).chunk(3, dim=1)
        moved = [convolve(part) for convolve, part in zip(self.convolutions, (near, far), strict=True)]
        moved.append(F.max_pool2d(most, (1, 3), (1, self.stride), (0, 1)))
        branches = [part.permute(0, 2, 3, 1) for part in moved]
        return self.out_norm(torch.cat([*branches, self.own(hidden[:, :, :: self.stride])], dim=-1))


class Shortcut(nn.Module):
    """A residual path that changes the width, or leaves out steps."""

    def __init__(self, channels: int, width: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.projection = nn.Linear(channels, width)
        self.norm = ChannelNorm(width)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(self.projection(hidden[:, :, :: self.stride]))


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of the last dimension."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.reshape(-1, input.shape[-1])).view(input.shape)


def tree_adjacencies(layout: SkeletonLayout) -> np.ndarray:
    """(3, joints, joints), rows adding up to 1: the joint itself, its parent, its children (itself where it has none).

    The root is its own parent.
    """
    own = np.eye(layout.num_joints)
    parent, children = own.copy(), np.zeros_like(own)
    for joint, above in layout.bones:
        parent[joint] = own[above]
        children[above, joint] = 1
    leaves = children.sum(1) == 0
    children[leaves] = own[leaves]
    return np.stack([own, parent, children / children.sum(1, keepdims=True)])


def _strides(widths: Sequence[int], downsample: int) -> list[int]:
    """Of the frames and of every block: 2 where widths grow, as often as `downsample` allows beside the frames' 2."""
    strides, left = [], max(downsample // 2, 1)
    for before, width in zip([widths[0], *widths[:-1]], widths, strict=True):
        stride = 2 if width > before and left > 1 else 1
        left //= stride
        strides.append(stride)
    return [left * min(downsample, 2), *strides]
