"""Persons in front of a camera, or in a video, picture after picture: each in a place of its own.

A camera gives its newest picture; those that came while the last one was looked at are left out, so that nothing lags.
A file waits, and every picture of it is looked at, unless it is to be played like a camera.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .pose_estimation import LAYOUT, Placing, Pose, PoseEstimator
from .video import open_capture, pictures, video_facts

_FORGOTTEN = 2.0  # seconds after which somebody who is not seen has left
_REACH = 2.0  # torso lengths between two pictures of one person
_SHOULDERS, _HIPS = (
    (LAYOUT.index("left_shoulder"), LAYOUT.index("right_shoulder")),
    (
        LAYOUT.index("left_hip"),
        LAYOUT.index("right_hip"),
    ),
)


class Seen(NamedTuple):
    """One picture and who is in it.

    Attributes:
        number: of the picture, counted from 0; larger than the one before by more than one where some were left out.
        picture: (height, width, 3) uint8 RGB, mirrored if that was asked for; None of one that was left out.
        persons: the pose in each place, None where nobody is.
        joints: (33, 4) of each place, metres around the camera, y down, and visibility; None where nobody is.
    """

    number: int
    picture: np.ndarray | None
    persons: Sequence[Pose | None]
    joints: Sequence[np.ndarray | None]


class Watcher:
    """What a pose estimator sees of a camera, a URL or a file; an iterable of `Seen`, one for every picture.

    Args:
        source: a camera's number, a URL or a file.
        estimator: finds the persons.
        persons: places; a person keeps one as long as it is seen, and two seconds longer.
        live: whether pictures come at their own pace; of a file they are then given at its.
        mirrored: whether pictures are mirrored and are to be turned over.

    Raises:
        ValueError: the source cannot be opened.
    """

    def __init__(self, source: str | int, estimator: PoseEstimator, persons: int, live: bool, mirrored: bool = False):
        self.fps, self.size, _ = video_facts(source)
        self._source, self._estimator, self._live, self._mirrored = source, estimator, live, mirrored
        self._places = [_Place(self.size) for _ in range(persons)]

    def __iter__(self) -> Iterator[Seen]:
        last = -1
        nobody: list[Any] = [None] * len(self._places)
        for number, picture in self._pictures():
            for left_out in range(last + 1, number):
                yield Seen(left_out, None, nobody, nobody)
            last = number
            if self._mirrored:
                picture = picture[:, ::-1]
            yield self._seen(number, picture)

    def _pictures(self) -> Iterator[tuple[int, np.ndarray]]:
        if not self._live:
            return iter(enumerate(pictures(self._source)))
        of_file = isinstance(self._source, str) and Path(self._source).is_file()
        return newest_pictures(self._source, self.fps if of_file else None)

    def _seen(self, number: int, picture: np.ndarray) -> Seen:
        found = self._estimator(picture, number / self.fps)
        seconds = number / self.fps
        for place in self._places:
            place.leave(seconds)
        given: list[Pose | None] = [None] * len(self._places)
        pairs = sorted(
            (place.apart(pose), index, other)
            for index, place in enumerate(self._places)
            for other, pose in enumerate(found)
        )
        taken: set[int] = set()
        for apart, index, other in pairs:
            if given[index] is None and other not in taken and apart < np.inf:
                given[index] = found[other]
                taken.add(other)
        joints = [
            None if pose is None else place.take(pose, seconds) for place, pose in zip(self._places, given, strict=True)
        ]
        return Seen(number, picture, given, joints)


class _Place:
    """Where a person was seen last."""

    def __init__(self, size: tuple[int, int]):
        self._size = size
        self._empty()

    def _empty(self) -> None:
        self._last: Pose | None = None
        self._when = 0.0
        self._placing = Placing(self._size)

    def leave(self, seconds: float) -> None:
        if self._last is not None and seconds - self._when > _FORGOTTEN:
            self._empty()

    def apart(self, pose: Pose) -> float:
        """Torso lengths to a pose; infinite if it is another person's, and more than any distance if nobody is here."""
        if self._last is None:
            return 2 * _REACH
        torso = np.linalg.norm(_middle(pose, _SHOULDERS) - _middle(pose, _HIPS))
        distance = float(np.median(np.linalg.norm(pose.image - self._last.image, axis=-1)) / max(torso, 1.0))
        return distance if distance < _REACH else np.inf

    def take(self, pose: Pose, seconds: float) -> np.ndarray:
        joints = self._placing(pose, seconds - self._when)
        self._last, self._when = pose, seconds
        return np.concatenate([joints, pose.visibility[:, None]], axis=-1)


def _middle(pose: Pose, joints: tuple[int, int]) -> np.ndarray:
    return pose.image[list(joints)].mean(0)


def newest_pictures(source: str | int, pace: float | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Number and picture of the newest one whenever the next is asked for; those between are left out.

    Args:
        pace: pictures a second of a source that gives them as fast as they are read.
    """
    capture = open_capture(source)
    changed, newest = threading.Condition(), deque[tuple[int, np.ndarray]](maxlen=1)
    ended = closed = False

    def read() -> None:
        nonlocal ended
        number, started = 0, time.monotonic()
        while not closed:
            if pace is not None:
                time.sleep(max(0.0, started + number / pace - time.monotonic()))
            there, picture = capture.read()
            with changed:
                if not there:
                    ended = True
                else:
                    newest.append((number, picture[:, :, ::-1]))
                changed.notify()
            if not there:
                return
            number += 1

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: newest or ended)
                if not newest:
                    return
                item = newest.pop()
            yield item
    finally:
        closed = True
        reader.join(timeout=2)
        capture.release()


def branches(seen: Iterator[Any], count: int) -> list[Iterator[Any]]:
    """The same items for several readers, who may be threads of their own; each item is made once."""
    lock, waiting = threading.Lock(), [deque[Any]() for _ in range(count)]
    ended = False

    def branch(own: deque[Any]) -> Iterator[Any]:
        nonlocal ended
        while True:
            with lock:
                if not own:
                    if ended:
                        return
                    try:
                        item = next(seen)
                    except StopIteration:
                        ended = True
                        return
                    for queue in waiting:
                        queue.append(item)
                item = own.popleft()
            yield item

    return [branch(queue) for queue in waiting]
