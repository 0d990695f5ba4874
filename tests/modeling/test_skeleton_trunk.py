"""The trunk: shapes of its features, any layout, joints that are treated alike, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_action.modeling.skeleton_layouts import LAYOUTS, SkeletonLayout, get_layout
from llm_action.modeling.skeleton_trunk import JointMixing, SkeletonTrunk, tree_adjacencies


def skeletons(layout: SkeletonLayout, batch: int = 2, frames: int = 16) -> torch.Tensor:
    return torch.randn(batch, frames, layout.num_joints, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("downsample", (1, 2, 4, 8))
def test_features_of_every_part_at_every_step_in_any_layout(name, downsample):
    layout = get_layout(name)
    trunk = SkeletonTrunk(layout, (8, 16, 24), downsample).eval()
    given = trunk(skeletons(layout))
    assert given.shape == (2, 16 // downsample, len(layout.body_parts), 24) and given.isfinite().all()
    assert trunk.joint_features(skeletons(layout)).shape == (2, layout.num_joints, 16 // downsample, 24)


def test_joints_are_treated_alike():
    """The same skeleton with its joints in another order, and what was learned of joints with them: equal features."""
    layout = get_layout("kinect20")
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1)).tolist()
    place = {joint: position for position, joint in enumerate(order)}
    shuffled = replace(
        layout,
        joints=tuple(layout.joints[joint] for joint in order),
        standard=tuple(layout.standard[joint] for joint in order),
        parents=tuple(place.get(layout.parents[joint], -1) for joint in order),
    )
    trunk, other = (SkeletonTrunk(each, (16, 16, 32)) for each in (layout, shuffled))
    trunk(skeletons(layout, 8))  # something for the normalisation to remember
    weights = {}
    for name, weight in trunk.state_dict().items():
        if name.endswith("adjacency"):
            weight = weight[:, order][..., order]
        if name.startswith("input_norm") and weight.ndim:
            weight = weight.view(20, -1)[order].flatten()
        weights[name] = weight
    for name, weight in other.state_dict().items():  # the tree is found from the parents
        assert not name.endswith("adjacency") or torch.equal(weight, weights[name])
    other.load_state_dict(weights)
    trunk.eval(), other.eval()
    given = other.joint_features(skeletons(layout)[:, :, order])
    torch.testing.assert_close(given, trunk.joint_features(skeletons(layout))[:, order], atol=1e-4, rtol=1e-4)
    # parts are the same joints, so a model of one order answers as one of the other
    torch.testing.assert_close(other(skeletons(layout)[:, :, order]), trunk(skeletons(layout)), atol=1e-4, rtol=1e-4)


def test_mixing_follows_the_tree_until_something_is_learned():
    layout = get_layout("kinect20")
    mixing = JointMixing(layout, 8, 8)
    hidden = torch.randn(3, 20, 5, 8)
    own, parent, children = mixing.values.weight.split(8)
    torch.nn.init.zeros_(mixing.values.bias)
    hand, wrist, hips = (layout.index(joint) for joint in ("left_hand", "left_wrist", "hip_center"))
    mixed = mixing(hidden)
    expected = hidden[:, hand] @ own.T + hidden[:, wrist] @ parent.T + hidden[:, hand] @ children.T
    torch.testing.assert_close(mixed[:, hand], expected)
    below = [joint for joint, above in layout.bones if above == hips]
    expected = hidden[:, hips] @ own.T + hidden[:, hips] @ parent.T + hidden[:, below].mean(1) @ children.T
    torch.testing.assert_close(mixed[:, hips], expected)


@pytest.mark.parametrize("name", LAYOUTS)
def test_adjacencies_are_averages(name):
    ways = tree_adjacencies(get_layout(name))
    np.testing.assert_allclose(ways.sum(-1), 1)
    assert (ways >= 0).all()


def test_a_body_that_stands_still_at_another_place_differs_in_its_place_alone():
    layout = get_layout("kinect20")
    trunk = SkeletonTrunk(layout, (8, 8))
    still = skeletons(layout)[:, :1].expand(-1, 16, -1, -1)
    here, there = trunk.inputs(still), trunk.inputs(still + torch.tensor([1.0, 2.0, 3.0]))
    changed = (here - there).abs().amax((0, 1, 2)) > 1e-5
    assert changed.nonzero().flatten().tolist() == [0, 1, 2]
    assert (here[..., 3:6] == 0).all()  # velocity


def test_velocity_does_not_depend_on_how_many_frames_are_left_out():
    layout = get_layout("kinect20")
    steady = skeletons(layout)[:, :1] + torch.arange(16.0)[None, :, None, None] / 10
    for downsample in (1, 2, 16):
        velocity = SkeletonTrunk(layout, (8, 8), downsample).inputs(steady)[:, 1:, :, 3:6]
        torch.testing.assert_close(velocity, torch.full_like(velocity, 0.4))
