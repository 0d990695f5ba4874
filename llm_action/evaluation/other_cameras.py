"""What other cameras cost: the test recordings turned and tilted at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llm_action.datasets.split import Split
from llm_action.evaluation.evaluate import Scorer, evaluate
from llm_action.evaluation.ledger import Origin
from llm_action.modeling.skeleton_sequence import SKELETON, SkeletonSequence

MOST_TILT = 25.0  # degrees


def evaluate_elsewhere(
    score: Scorer, split: Split, origin: Origin, draws: int, batch_size: int = 16, senses: Sequence[str] = ()
) -> list[float]:
    """Top-1 on the test part as other cameras would have recorded it: one figure a draw of a camera for each recording.

    Args:
        score, split, origin, batch_size, senses: as `evaluate` takes them; every draw is entered in the ledger.

    Raises:
        ValueError: recordings without depth.
    """
    found = []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        about = replace(origin, command=f"{origin.command}, other cameras, draw {draw}")
        found.append(evaluate(_moved(score, rng), split, about, batch_size, senses=senses)["top1"])
    return found


def _moved(score: Scorer, rng: np.random.Generator) -> Scorer:
    def of_any(recording: Any) -> Any:
        if isinstance(recording, SkeletonSequence):
            return from_elsewhere(recording, rng)
        seen = recording.get(SKELETON)
        return recording if seen is None else {**recording, SKELETON: from_elsewhere(seen, rng)}

    return lambda recordings: score([of_any(one) for one in recordings])


def from_elsewhere(recording: SkeletonSequence, rng: np.random.Generator) -> SkeletonSequence:
    """The recording of a camera that stands anywhere around and is tilted by up to 25 degrees.

    Joints are turned about their mean, by any angle about the vertical and then about the camera's left-right axis.

    Raises:
        ValueError: the recording has no depth.
    """
    if recording.joints.shape[-1] != 3:
        raise ValueError(f"{recording.name}: expected joints in three dimensions, to turn them, got pixels.")
    yaw, pitch = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-MOST_TILT, MOST_TILT))
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    centre = np.nanmean(recording.joints, axis=(0, 1, 2))
    joints = (recording.joints - centre) @ (tilt @ turn).T + centre
    return replace(recording, joints=joints.astype(np.float32))
