"""One visitor's camera: pictures become skeletons, and the skeletons a stream that the model names."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_stream import StreamResult
from llm_action.visualization.overlay import draw_persons

from .estimator import LAYOUT, Estimator

FPS = 10  # pictures a second that the browser sends
_WINDOW, _HOP = 3 * FPS, FPS  # frames
_SURE = 0.3  # visibility below which a joint is missing
_PAUSE = 1.0  # seconds without a picture, after which somebody has stopped the camera
_WIDTH = 480  # pixels of what is shown


class CameraStream:
    """Takes pictures one after the other; a thread names what the last seconds show.

    Args:
        recognize: the pipeline.

    Attributes:
        latest: the newest result; None before the first.
        error: why nothing more is named; empty while all is well.
    """

    def __init__(self, recognize: Any):
        self.latest: StreamResult | None = None
        self.error = ""
        self._estimate = Estimator()
        self._start = self._newest = time.monotonic()
        self._frames: queue.Queue[np.ndarray | None] = queue.Queue()
        self._ended = False
        threading.Thread(target=self._name, args=(recognize,), daemon=True).start()

    @property
    def was_stopped(self) -> bool:
        """Whether nothing more is named, and the camera has been stopped since: what comes now is another stream."""
        return bool(self.error) and time.monotonic() - self._newest > _PAUSE

    def add(self, picture: np.ndarray) -> np.ndarray:
        """Takes a picture (height, width, 3) and gives it back with the skeleton drawn."""
        self._newest = time.monotonic()
        found = self._estimate(picture, self._newest - self._start)
        if found is None:
            self._frames.put(np.zeros(0, np.float32))  # nobody
            return _drawn(picture, None)
        joints = np.where(found.visibility[:, None] < _SURE, np.nan, found.joints)
        self._frames.put(joints.astype(np.float32))
        return _drawn(picture, np.where(found.visibility[:, None] < _SURE, np.nan, found.pixels))

    def close(self) -> None:
        """No more pictures come."""
        if not self._ended:
            self._ended = True
            self._frames.put(None)
            self._estimate.close()

    def _name(self, recognize: Any) -> None:
        try:
            self._follow(recognize)
        except Exception as error:  # the page says it
            traceback.print_exc()
            self.error = " ".join(str(error).split())

    def _follow(self, recognize: Any) -> None:
        known = {"layout": LAYOUT, "up": "-y", "unit": "m", "mirrored": False, "fps": FPS}
        for result in recognize.stream(self._arriving(), _WINDOW, _HOP, live=True, **known):
            self.latest = result

    def _arriving(self) -> Iterator[np.ndarray | None]:
        while not self._ended:
            frame = self._frames.get()
            if self._ended or frame is None:
                return
            yield frame if frame.size else None


def _drawn(picture: np.ndarray, pixels: np.ndarray | None) -> np.ndarray:
    """A smaller picture with the skeleton."""
    image = Image.fromarray(picture)
    scale = _WIDTH / image.width
    smaller = np.asarray(image.resize((_WIDTH, round(image.height * scale))))
    return draw_persons(smaller, [None if pixels is None else pixels * scale], get_layout(LAYOUT))
