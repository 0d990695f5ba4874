"""Random views of a normalised skeleton sequence (this project's choice): what a subject or a camera could change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_action.modeling.feature_extraction_skeleton import resample


@dataclass
class Augmentation:
    """Ranges of the random changes; zero (one for `shortest_crop`) switches a change off.

    Args:
        yaw: turn about the vertical, radians, uniform in +-yaw.
        pitch: turn about the left-right axis, radians, uniform in +-pitch.
        scale: size, uniform in 1 +- scale.
        shortest_crop: shortest share of the sequence that is kept, uniform in shortest_crop..1 at a random place.
        noise: standard deviation of each coordinate's noise, torso lengths.
        limb_scale: standard deviation of a per-joint stretch of the offset from the root.
    """

    yaw: float = 0.6
    pitch: float = 0.2
    scale: float = 0.15
    shortest_crop: float = 0.7
    noise: float = 0.01
    limb_scale: float = 0.0

    def __call__(self, persons: np.ndarray, num_frames: int, rng: np.random.Generator) -> np.ndarray:
        """Changes and resamples (persons, frames, joints, 3) to (persons, num_frames, joints, 3); all persons alike."""
        share = rng.uniform(self.shortest_crop, 1)
        start = rng.uniform(0, 1 - share)
        persons = resample(persons, num_frames, start, start + share)
        if self.limb_scale:
            persons = persons * (1 + rng.normal(0, self.limb_scale, (1, 1, persons.shape[2], 1)))
        turn = _about_x(rng.uniform(-self.pitch, self.pitch)) @ _about_y(rng.uniform(-self.yaw, self.yaw))
        persons = persons @ (turn.T * rng.uniform(1 - self.scale, 1 + self.scale))
        return (persons + rng.normal(0, self.noise, persons.shape)).astype(np.float32)


def _about_y(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _about_x(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
