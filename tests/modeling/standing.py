"""Somebody who stands, for motions made by hand."""

STANDING = {
    "hip_center": (0, 0, 0), "spine": (0, 0.5, 0), "shoulder_center": (0, 1, 0), "head": (0, 1.4, 0),
    "*_shoulder": (0.35, 0.9, 0), "*_elbow": (0.4, 0.35, 0), "*_wrist": (0.4, -0.1, 0), "*_hand": (0.4, -0.25, 0),
    "*_hip": (0.2, -0.05, 0), "*_knee": (0.2, -1, 0), "*_ankle": (0.2, -1.9, 0), "*_foot": (0.2, -2, -0.2),
}  # fmt: skip
"""Places in torso lengths: right is +x, up is +y, forward is -z; "*" is either side, x then that of the right."""
