"""Everybody with the same bones: directions are kept, lengths are those of one reference body."""

from __future__ import annotations

import numpy as np

from .skeleton_layouts import get_layout

_SMALLEST_BONE = 1e-4  # torso lengths; shorter ones (a joint that stands in for another) have no direction

# A standing body in shares of its stature, (right, up, forward); of paired joints the right one. Heights and half
# widths from shoulders to ankles, and the lengths of hand and foot, are the segment lengths of Drillis and Contini
# (1966); joints between and beside them (spine, head, face, hand, fingers) are placed by this project.
_STATURE: dict[str, tuple[float, float, float]] = {
    "hip_center": (0, 0.530, 0),
    "spine": (0, 0.674, 0),
    "shoulder_center": (0, 0.818, 0),
    "neck": (0, 0.844, 0),
    "head": (0, 0.935, 0),
    "nose": (0, 0.925, 0.06),
    "shoulder": (0.129, 0.818, 0),
    "elbow": (0.129, 0.630, 0),
    "wrist": (0.129, 0.485, 0),
    "hand": (0.129, 0.431, 0),
    "hand_tip": (0.129, 0.377, 0),
    "index": (0.129, 0.431, 0.02),
    "pinky": (0.129, 0.431, -0.02),
    "thumb": (0.129, 0.445, 0.035),
    "hip": (0.0955, 0.530, 0),
    "knee": (0.0955, 0.285, 0),
    "ankle": (0.0955, 0.039, 0),
    "heel": (0.0955, 0, -0.04),
    "foot": (0.0955, 0, 0.112),
    "foot_index": (0.0955, 0, 0.112),
    "eye": (0.018, 0.936, 0.05),
    "eye_inner": (0.009, 0.936, 0.052),
    "eye_outer": (0.027, 0.936, 0.045),
    "ear": (0.042, 0.930, 0),
    "mouth": (0.015, 0.895, 0.05),
}
_TORSO = _STATURE["shoulder_center"][1] - _STATURE["hip_center"][1]


def reference_body(layout: str) -> np.ndarray:
    """The standing reference body, (joints, 3) in torso lengths: origin at the hips' centre, right along +x, y up."""
    return np.stack([_place(joint) for joint in get_layout(layout).joints])


def normalize_bones(persons: np.ndarray, layout: str) -> np.ndarray:
    """Gives every bone the length it has in the reference body, joint after joint from the root outwards.

    Args:
        persons: (persons, frames, joints, 3) in torso lengths, no NaN.
        layout: whose tree is followed; the root keeps its path.

    Returns:
        The same shape. A bone of length 0 stays one: it has no direction.
    """
    tree, reference = get_layout(layout), reference_body(layout)
    rebuilt = persons.copy()
    for joint, parent in sorted(tree.bones, key=lambda bone: _depth(tree.parents, bone[0])):
        bone = persons[:, :, joint] - persons[:, :, parent]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        wanted = np.where(length > _SMALLEST_BONE, np.linalg.norm(reference[joint] - reference[parent]), 0)
        rebuilt[:, :, joint] = rebuilt[:, :, parent] + bone * wanted / np.maximum(length, _SMALLEST_BONE)
    return rebuilt


def _place(joint: str) -> np.ndarray:
    side, _, paired = joint.partition("_")
    x, y, z = _STATURE[paired if side in ("left", "right") else joint]
    return np.array([-x if side == "left" else x, y - _STATURE["hip_center"][1], z]) / _TORSO


def _depth(parents: tuple[int, ...], joint: int) -> int:
    return 0 if parents[joint] < 0 else 1 + _depth(parents, parents[joint])
