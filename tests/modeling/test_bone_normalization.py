"""Bones of one length: what is kept of a body, what is made equal."""

from __future__ import annotations

import numpy as np
import pytest

from llm_action.modeling.skeleton_geometry import normalize_bones, reference_body
from llm_action.modeling.skeleton_layouts import LAYOUTS, get_layout
from llm_action.modeling.skeleton_normalization import SkeletonNormalizer
from llm_action.modeling.skeleton_sequence import SkeletonSequence


def bones(persons: np.ndarray, layout: str) -> np.ndarray:
    """(persons, frames, bones, 3)"""
    children, parents = zip(*get_layout(layout).bones)
    return persons[:, :, list(children)] - persons[:, :, list(parents)]


def anybody(layout: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 5, get_layout(layout).num_joints, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lengths_become_the_reference_s_and_directions_stay(layout):
    persons = anybody(layout)
    given, before = bones(normalize_bones(persons, layout), layout), bones(persons, layout)
    lengths = np.linalg.norm(given, axis=-1)
    wanted = np.linalg.norm(bones(reference_body(layout)[None, None], layout), axis=-1)
    wanted = np.where(np.isnan(wanted), np.linalg.norm(before, axis=-1), wanted)  # no joint of the reference body
    np.testing.assert_allclose(lengths, wanted, atol=1e-12)
    cosine = (given * before).sum(-1) / np.maximum(lengths * np.linalg.norm(before, axis=-1), 1e-12)
    np.testing.assert_allclose(cosine[lengths > 0], 1)
    root = get_layout(layout).root
    np.testing.assert_array_equal(normalize_bones(persons, layout)[:, :, root], persons[:, :, root])


def test_an_arm_by_hand():
    """Upper arm 0.188 and forearm 0.145 of the stature, torso 0.288 of it."""
    layout = get_layout("kinect20")
    persons = np.repeat(reference_body("kinect20")[None, None], 3, axis=1)
    shoulder, elbow, wrist, hand = (layout.index(f"right_{joint}") for joint in ("shoulder", "elbow", "wrist", "hand"))
    persons[:, :, elbow] = persons[:, :, shoulder] + [2.0, 0, 0]  # a far too long arm, stretched sideways, then up
    persons[:, :, wrist] = persons[:, :, elbow] + [0, 0.1, 0]
    persons[:, :, hand] = persons[:, :, wrist]
    given = normalize_bones(persons, "kinect20")[0, 0]
    np.testing.assert_allclose(given[elbow] - given[shoulder], [0.188 / 0.288, 0, 0], atol=1e-9)
    np.testing.assert_allclose(given[wrist] - given[elbow], [0, 0.145 / 0.288, 0], atol=1e-9)
    np.testing.assert_array_equal(given[hand], given[wrist])  # no direction, no length


def test_the_reference_is_a_body():
    body, layout = reference_body("ntu25"), get_layout("ntu25")
    np.testing.assert_allclose(normalize_bones(body[None, None], "ntu25")[0, 0], body, atol=1e-12)
    assert body[layout.index("hip_center")] == pytest.approx([0, 0, 0])
    assert body[layout.index("shoulder_center")] == pytest.approx([0, 1, 0])
    for left, right in layout.left_right:
        np.testing.assert_allclose(body[left] * [-1, 1, 1], body[right])
    assert body[layout.index("head"), 1] > 1 and body[layout.index("right_hip"), 0] > 0


def test_people_of_other_proportions_become_alike():
    from llm_action.datasets.synthetic.sequences import perform_action

    joints = perform_action("waving a hand", subject=1).astype(np.float32)
    layout = get_layout("ntu25")
    longer = joints.copy()  # the same movement with arms half as long again
    for side in ("left", "right"):
        for joint in ("elbow", "wrist", "hand", "hand_tip", "thumb"):
            index = layout.index(f"{side}_{joint}")
            shoulder = joints[:, :, layout.index(f"{side}_shoulder")]
            longer[:, :, index] = shoulder + 1.5 * (joints[:, :, index] - shoulder)
    normalizer = SkeletonNormalizer("ntu25")
    plain = [normalizer.normalize(SkeletonSequence(body, "ntu25", 30.0)) for body in (joints, longer)]
    one, other = (normalize_bones(body, "ntu25") for body in plain)
    np.testing.assert_allclose(one, other, atol=0.01)  # longer arms make the body that is the unit a little larger
    assert np.abs(plain[1] - one).max() > 0.1
