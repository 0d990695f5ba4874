"""Recognises live skeleton streams: every few frames the last frames of each stream are a clip to be recognised.

What overlapping windows share, and what is therefore done once:

- what the numbers mean is inferred from the first window in which somebody is seen, and holds from then on;
- a frame is checked and mapped to the model's joints once, and kept until no window needs it;
- the labels become a tree once a stream, and the language model reads the words in front of the action sentence once.

Nothing else can be kept if the results shall be those of the same clip in a file. Noise bodies, main persons and gaps
are judged over the window. Which way is up, where the person faces and stands, and the unit of length come from all of
its frames; it is resampled to the model's number of frames. So every number the VQ-VAE sees changes with each hop; its
encoder attends over the whole window; and other tokens in front change the language model's states of all that follow.

How streams are read and labels smoothed is this project's choice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .recording_conventions import Conventions, infer_conventions
from .skeleton_layouts import LAYOUTS, get_layout, map_joints
from .skeleton_recording import warn
from .skeleton_sequence import SkeletonSequence

Rank = Callable[[list[SkeletonSequence]], tuple[Tensor, Tensor, list[dict[str, Any]]]]
"""Windows to posteriors (windows, k) and numbers (windows, k) of their best labels, best first, and what else each
window's entries say: how familiar it is."""
_LEAST = 1e-12  # posterior: a single window shall not rule a label out for good


@dataclass(frozen=True)
class StreamResult:
    """What one window of a stream shows.

    Attributes:
        stream: the stream's name, None where there is only one.
        time: seconds from the stream's first frame to the window's last one.
        label, score: the window's best label and its posterior; None and 0 if nobody was seen in the window.
        ranking: the window's best labels, `[{"label", "score"}]`; empty if nobody was seen.
        track_label, track_score: the smoothed track's label and posterior; None and 0 if nobody was seen.
        skipped: frames by which this window comes later than one was due, a multiple of the hop; above 0 only if the
            stream is live and recognition slower than it.
    """

    stream: str | None
    time: float
    label: str | None
    score: float
    ranking: list[dict[str, Any]]
    track_label: str | None
    track_score: float
    skipped: int


class LabelTrack:
    """One label over time: log-posteriors smoothed exponentially, and a label that does not flicker.

    Args:
        smoothing: 0 <= smoothing < 1, the weight that the past keeps each hop in the mean of the log-posteriors,
            `smoothing * past + (1 - smoothing) * window`; 0 follows every window. Over skipped hops the past fades as
            if they had not been skipped.
        hysteresis: at least 1; another label takes over when its smoothed posterior is more than this many times that
            of the label that holds.

    Raises:
        ValueError: values out of these ranges.
    """

    def __init__(self, smoothing: float, hysteresis: float):
        if not 0 <= smoothing < 1:
            raise ValueError(f"Expected smoothing of at least 0 and below 1, got {smoothing}.")
        if not hysteresis >= 1:
            raise ValueError(f"Expected hysteresis of at least 1 (which means none), got {hysteresis}.")
        self.smoothing, self.hysteresis = smoothing, hysteresis
        self.reset()

    def reset(self) -> None:
        """Forgets the past."""
        self._smoothed: Tensor | None = None
        self._label = 0

    def update(self, log_posterior: Tensor, hops: int = 1) -> tuple[int, float]:
        """Index and smoothed posterior of the track's label after one more window, `hops` after the last.

        `log_posterior` (labels,) is the window's.
        """
        if self._smoothed is None:
            self._smoothed, self._label = log_posterior, int(log_posterior.argmax())
        past = self.smoothing**hops
        self._smoothed = past * self._smoothed + (1 - past) * log_posterior
        posterior = self._smoothed.softmax(0)
        if posterior.max() > self.hysteresis * posterior[self._label]:
            self._label = int(posterior.argmax())
        return self._label, float(posterior[self._label])


def recognize_streams(
    streams: Streams,
    *,
    labels: Sequence[str],
    rank: Rank,
    model_layout: str,
    window: int,
    hop: int,
    layout: str | None,
    fps: float,
    live: bool,
    smoothing: float,
    hysteresis: float,
    **conventions: Any,
) -> Iterator[StreamResult]:
    """Results of one or several named streams in the order of time; windows due together share a forward.

    Arguments and errors are those of `SkeletonActionRecognitionPipeline.stream`, and `rank` for the windows in the
    layout `model_layout`; wrong arguments raise at once, not with the first result.
    """
    for frames in streams.values():
        if isinstance(frames, str) or not hasattr(frames, "__iter__"):
            raise ValueError(f"Expected an iterable of frames, or a mapping of names to such, got {frames!r:.80}.")
    if not 0 < fps < float("inf"):
        raise ValueError(f"Expected fps above 0, got {fps}.")
    buffers = {name: FrameBuffer(window, hop, layout, model_layout, **conventions) for name in streams}
    tracks = {name: LabelTrack(smoothing, hysteresis) for name in streams}
    windows = (live_windows if live else replayed_windows)(buffers, streams)

    def results() -> Iterator[StreamResult]:
        with closing(windows):
            for due in windows:
                seen = {name: window.sequence for name, window in due.items() if window.sequence is not None}
                found = dict(zip(seen, _ranked(rank, list(seen.values()))))
                for name, window in due.items():
                    time, skipped = (window.end - 1) / fps, (window.hops - 1) * hop
                    if name in found:
                        scores, indices, said = found[name]
                        ranking = [
                            {"label": labels[index], "score": score, **said}
                            for score, index in zip(scores.tolist(), indices.tolist(), strict=True)
                        ]
                        index, share = tracks[name].update(_log_posterior(scores, indices, len(labels)), window.hops)
                        first = ranking[0]["label"], ranking[0]["score"]
                        yield StreamResult(name, time, *first, ranking, labels[index], share, skipped)
                    else:
                        tracks[name].reset()  # who comes next has nothing to do with who left
                        yield StreamResult(name, time, None, 0.0, [], None, 0.0, skipped)

    return results()


@torch.no_grad()
def _ranked(rank: Rank, sequences: list[SkeletonSequence]) -> list[tuple[Tensor, Tensor, dict[str, Any]]]:
    """Posteriors (k,), numbers (k,) of each sequence's best labels, best first, and more to say; all in one batch."""
    if not sequences:
        return []
    posteriors, numbers, said = rank(sequences)
    return list(zip(posteriors.double().cpu(), numbers.cpu(), said, strict=True))


def _log_posterior(scores: Tensor, indices: Tensor, num_labels: int) -> Tensor:
    """(labels,) the log of every label's posterior; those not among the best share evenly what is left."""
    rest = (1 - scores.sum()).clamp(min=_LEAST) / max(1, num_labels - len(scores))
    posterior = rest.repeat(num_labels).index_copy(0, indices, scores.clamp(min=_LEAST))
    return posterior.log()


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
        layout: of the frames that come; None: the one whose bones fit.
        model_layout: of the windows.
        known: up, unit, mirrored, missing, image_size of the frames, as `SkeletonRecording` has them.

    Raises:
        ValueError: window or hop below 1, an unknown layout.
    """

    def __init__(self, window: int, hop: int, layout: Any, model_layout: str, **known: Any):
        for name, frames in (("window", window), ("hop", hop)):
            if not isinstance(frames, int) or frames < 1:
                raise ValueError(f"Expected a {name} of at least 1 frame, got {frames!r}.")
        self.window, self.hop, self.model_layout = window, hop, model_layout
        self._known = {**known, "layout": None if layout is None else get_layout(layout).name}
        self._conventions: Conventions | None = None  # inferred from the first window in which somebody is seen
        self.count = 0
        self.ended = False
        self._due_at = window
        # the newest window ends within the last hop; frames are as they came until their conventions are known
        self._frames: deque[np.ndarray] = deque(maxlen=window + hop - 1)
        self._shape: tuple[int, ...] | None = None  # (joints, channels) of the frames

    @property
    def due(self) -> bool:
        """Whether there is a window to take."""
        return 0 < self._due_at <= self.count

    def add(self, frame: Any) -> None:
        """Takes the next frame: (persons, joints, 2 to 4) or (joints, 2 to 4), NaN where missing; None: nobody.

        Raises:
            ValueError: a frame that fits neither these shapes, nor the layout, nor the frames before; names the frame.
        """
        try:
            self._frames.append(self._mapped(self._checked(frame)))
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
        if self._conventions is None:
            self._infer()
        frames = list(self._frames)[: len(self._frames) - (self.count - end)][-self.window :]
        return Window(end, hops, self._sequence(frames))

    def _checked(self, frame: Any) -> np.ndarray:
        joints = np.zeros(0, np.float32) if frame is None else np.asarray(frame, np.float32)
        if joints.size == 0:
            return np.zeros((0, 0, 0), np.float32)
        joints = joints[None] if joints.ndim == 2 else joints
        if joints.ndim != 3 or joints.shape[2] not in (2, 3, 4):
            raise ValueError(
                "expected joints (persons, joints, 2 or 3) or (joints, 2 or 3), None or nothing where nobody is seen, "
                f"got shape {joints.shape}"
            )
        self._shape = self._shape or joints.shape[1:]
        if joints.shape[1:] != self._shape:
            raise ValueError(f"expected (joints, channels) {self._shape} as before, got {joints.shape[1:]}")
        layout = self._known["layout"]
        if layout is not None and joints.shape[1] != get_layout(layout).num_joints:
            raise ValueError(
                f"expected {get_layout(layout).num_joints} joints (layout {layout!r}), got {joints.shape[1]}"
            )
        return joints

    def _infer(self) -> None:
        """Infers the conventions from the frames so far, and maps these; nothing where nobody is seen in them."""
        joints = _stacked(self._frames)
        if not np.nan_to_num(joints, posinf=0, neginf=0).any():
            return
        found = infer_conventions(joints, LAYOUTS, axes="MTVC", ids_trusted=True, **self._known)
        if found.conventions is None:
            raise ValueError(f"The first {len(self._frames)} frames of the stream: {found.refusal}")
        if found.warnings:
            warn(f"the stream's first {len(self._frames)} frames", found.warnings)
        self._conventions = found.conventions
        self._frames = deque(map(self._mapped, self._frames), self._frames.maxlen)

    def _mapped(self, joints: np.ndarray) -> np.ndarray:
        """A frame in the model's layout and the package's convention; as it came while its conventions are unknown."""
        if self._conventions is None or not joints.size:
            return joints
        converted = self._conventions.applied(joints[:, None])
        return map_joints(converted[:, 0], self._conventions.layout, self.model_layout)

    def _sequence(self, frames: Sequence[np.ndarray]) -> SkeletonSequence | None:
        if self._conventions is None:
            return None
        joints = _stacked(frames)
        return None if np.isnan(joints).all() else SkeletonSequence(joints, self.model_layout)


def _stacked(frames: Iterable[np.ndarray]) -> np.ndarray:
    """(persons, frames, joints, channels) of frames with different numbers of persons, NaN where one is not there."""
    frames = list(frames)
    most = max(frames, key=len)
    joints = np.full((len(most), len(frames), *most.shape[1:]), np.nan, np.float32)
    for index, frame in enumerate(frames):
        if len(frame):
            joints[: len(frame), index] = frame
    return joints


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
