"""The windows of skeleton streams that are due for recognition, at the reader's pace or at the streams' own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .skeleton_layouts import get_layout, map_joints
from .skeleton_sequence import SkeletonSequence


@dataclass(frozen=True)
class Window:
    """The frames to recognise next.

    Attributes:
        end: frames of the stream up to and with the window's last one.
        hops: hops since the window before; more than 1 if windows were skipped.
        sequence: the frames, in the model's layout; None if nobody was seen in any of them.
    """

    end: int
    hops: int
    sequence: SkeletonSequence | None


class FrameBuffer:
    """The last frames of one stream, in the model's joints, and the windows that are due.

    The first window is due when `window` frames came, the next ones every `hop` frames. A stream that ends before has
    one window: all its frames.

    Args:
        window, hop: frames.
        layout: of the frames that come.
        model_layout: of the windows.

    Raises:
        ValueError: window or hop below 1, no or an unknown layout.
    """

    def __init__(self, window: int, hop: int, layout: str | None, model_layout: str):
        for name, frames in (("window", window), ("hop", hop)):
            if not isinstance(frames, int) or frames < 1:
                raise ValueError(f"Expected a {name} of at least 1 frame, got {frames!r}.")
        if layout is None:
            raise ValueError("Expected layout= with a stream: it says which joint is which.")
        self.window, self.hop = window, hop
        self.layout, self.model_layout = get_layout(layout).name, model_layout
        self.count = 0
        self.ended = False
        self._due_at = window
        self._frames: deque[np.ndarray] = deque(maxlen=window + hop - 1)  # the newest window ends within the last hop
        self._shape: tuple[int, ...] | None = None  # (joints, channels) of the frames

    @property
    def due(self) -> bool:
        """Whether there is a window to take."""
        return 0 < self._due_at <= self.count

    def add(self, frame: Any) -> None:
        """Takes the next frame: (persons, joints, 2 or 3) or (joints, 2 or 3), NaN where missing; None: nobody.

        Raises:
            ValueError: a frame that fits neither these shapes, nor the layout, nor the frames before; names the frame.
        """
        try:
            self._frames.append(self._mapped(frame))
        except (TypeError, ValueError) as error:
            raise ValueError(f"Frame {self.count} of the stream: {error}") from None
        self.count += 1

    def end(self) -> None:
        """No more frames come."""
        self.ended = True
        if self._due_at == self.window:
            self._due_at = min(self.window, self.count)

    def take(self) -> Window:
        """The newest window that is due; those due before it are skipped."""
        hops = 1 + (self.count - self._due_at) // self.hop
        end = self._due_at + (hops - 1) * self.hop
        self._due_at = end + self.hop
        frames = list(self._frames)[: len(self._frames) - (self.count - end)][-self.window :]
        return Window(end, hops, self._sequence(frames))

    def _mapped(self, frame: Any) -> np.ndarray:
        joints = np.zeros(0, np.float32) if frame is None else np.asarray(frame, np.float32)
        if joints.size == 0:
            return np.zeros((0, 0, 0), np.float32)
        joints = joints[None] if joints.ndim == 2 else joints
        if joints.ndim != 3 or joints.shape[2] not in (2, 3):
            raise ValueError(
                "expected joints (persons, joints, 2 or 3) or (joints, 2 or 3), None or nothing where nobody is seen, "
                f"got shape {joints.shape}"
            )
        self._shape = self._shape or joints.shape[1:]
        if joints.shape[1:] != self._shape:
            raise ValueError(f"expected (joints, channels) {self._shape} as before, got {joints.shape[1:]}")
        return map_joints(np.where(np.isfinite(joints), joints, np.float32(np.nan)), self.layout, self.model_layout)

    def _sequence(self, frames: Sequence[np.ndarray]) -> SkeletonSequence | None:
        most = max(frames, key=len)
        joints = np.full((len(most), len(frames), *most.shape[1:]), np.nan, np.float32)
        for index, frame in enumerate(frames):
            if len(frame):
                joints[: len(frame), index] = frame
        return None if np.isnan(joints).all() else SkeletonSequence(joints, self.model_layout)


Buffers = Mapping[str | None, FrameBuffer]
Streams = Mapping[str | None, Iterable[Any]]
DueWindows = Generator[dict[str | None, Window], None, None]  # those of one moment, by the stream's name


def replayed_windows(buffers: Buffers, streams: Streams) -> DueWindows:
    """The windows of streams that wait: each is read as far as its next window, none is skipped."""
    sources = {name: iter(frames) for name, frames in streams.items()}
    while not all(buffer.ended for buffer in buffers.values()):
        for name, buffer in buffers.items():
            while not (buffer.due or buffer.ended):
                try:
                    frame = next(sources[name])
                except StopIteration:
                    buffer.end()
                else:
                    buffer.add(frame)
        yield {name: buffer.take() for name, buffer in buffers.items() if buffer.due}


def live_windows(buffers: Buffers, streams: Streams) -> DueWindows:
    """The newest windows of streams that do not wait: a thread for each takes its frames as they come."""
    changed, closed = threading.Condition(), False
    errors: list[Exception] = []

    def read(buffer: FrameBuffer, frames: Iterable[Any]) -> None:
        try:
            for frame in frames:
                with changed:
                    if closed:
                        return
                    buffer.add(frame)
                    changed.notify()
        except Exception as error:  # raised again where the windows are asked for
            errors.append(error)
        with changed:
            buffer.end()
            changed.notify()

    def something_to_say() -> bool:
        due = any(buffer.due for buffer in buffers.values())
        return bool(errors) or due or all(buffer.ended for buffer in buffers.values())

    for name, frames in streams.items():
        threading.Thread(target=read, args=(buffers[name], frames), daemon=True).start()
    try:
        while True:
            with changed:
                changed.wait_for(something_to_say)
                due = {name: buffer.take() for name, buffer in buffers.items() if buffer.due}
            if errors:
                raise errors[0]
            if not due:
                return
            yield due
    finally:
        closed = True
