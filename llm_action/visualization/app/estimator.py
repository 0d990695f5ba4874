"""The pose estimator of the video extra, for pictures that come one after the other."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple

import numpy as np

LAYOUT = "mediapipe33"
_MODULE = "llm_action.skeleton_io.pose_estimation"


class Seen(NamedTuple):
    """One person in a picture.

    Attributes:
        joints: (33, 3) metres around the camera, y down.
        pixels: (33, 2) in the picture.
        visibility: (33,) 0..1.
    """

    joints: np.ndarray
    pixels: np.ndarray
    visibility: np.ndarray


def has_estimator() -> bool:
    """Whether videos and cameras can be used here."""
    return all(importlib.util.find_spec(name) for name in (_MODULE, "mediapipe"))


class Estimator:
    """Finds one person in picture after picture."""

    def __init__(self) -> None:
        self._parts = importlib.import_module(_MODULE)
        self._find = self._parts.PoseEstimator(persons=1)
        self._place: Any = None
        self._last = 0.0

    def __call__(self, picture: np.ndarray, seconds: float) -> Seen | None:
        """The person in a picture, (height, width, 3) uint8 RGB, of a moment after the last one's."""
        found = self._find(picture, seconds)
        if not found:
            return None
        self._place = self._place or self._parts.Placing((picture.shape[1], picture.shape[0]))
        joints = self._place(found[0], seconds - self._last)
        self._last = seconds
        return Seen(joints, found[0].image, found[0].visibility)

    def close(self) -> None:
        self._find.__exit__(None, None, None)
