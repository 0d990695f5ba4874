"""Recognition of live skeleton streams: every few frames the last frames of each stream are a clip to be recognised.

What overlapping windows share, and what is therefore done once:

- a frame is checked and mapped to the model's joints when it arrives, and kept until no window needs it;
- the labels become a tree once a stream, and the language model keeps what it read of the words in front of the action
  sentence.

Nothing else can be kept if the results shall be those of the same clip in a file. Noise bodies, main persons and gaps
are judged over the window; its first frames are its origin and direction, its median torso is its unit of length, and
it is resampled to the model's number of frames. So every number the VQ-VAE sees changes with each hop; its encoder
attends over the whole window; and other tokens in front change the language model's states of all that follow.

How streams are read and labels smoothed is this project's choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .label_scoring import SCORE_TOLERANCE
from .label_search import RankedLabels
from .label_tree import LabelTree
from .modeling_llm_ar import LlmArForActionRecognition
from .processing_llm_ar import LlmArProcessor
from .skeleton_sequence import SkeletonSequence
from .stream_windows import FrameBuffer, Streams, live_windows, replayed_windows

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
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    streams: Streams,
    *,
    tree: LabelTree | None,
    window: int,
    hop: int,
    layout: str | None,
    fps: float,
    live: bool,
    smoothing: float,
    hysteresis: float,
    top_k: int | None,
) -> Iterator[StreamResult]:
    """Results of one or several named streams in the order of time; windows due together share a forward.

    `tree` has the candidate labels, None stands for the classes trained on. Other arguments and errors are those of
    `SkeletonActionRecognitionPipeline.stream`; wrong arguments are told at once.
    """
    for frames in streams.values():
        if isinstance(frames, str) or not hasattr(frames, "__iter__"):
            raise ValueError(f"Expected an iterable of frames, or a mapping of names to such, got {frames!r:.80}.")
    if not 0 < fps < float("inf"):
        raise ValueError(f"Expected fps above 0, got {fps}.")
    model_layout = processor.feature_extractor.layout
    buffers = {name: FrameBuffer(window, hop, layout, model_layout) for name in streams}
    tracks = {name: LabelTrack(smoothing, hysteresis) for name in streams}
    windows = (live_windows if live else replayed_windows)(buffers, streams)
    tree = tree or model.trained_labels

    def results() -> Iterator[StreamResult]:
        with closing(windows):
            for due in windows:
                seen = {name: window.sequence for name, window in due.items() if window.sequence is not None}
                found = dict(zip(seen, _ranked(model, processor, tree, list(seen.values()), top_k)))
                for name, window in due.items():
                    time, skipped = (window.end - 1) / fps, (window.hops - 1) * hop
                    if name in found:
                        scores, indices = found[name]
                        ranking = [
                            {"label": tree.labels[index], "score": score}
                            for score, index in zip(scores.tolist(), indices.tolist(), strict=True)
                        ]
                        index, share = tracks[name].update(_log_posterior(scores, indices, len(tree)), window.hops)
                        first = ranking[0]["label"], ranking[0]["score"]
                        yield StreamResult(name, time, *first, ranking, tree.labels[index], share, skipped)
                    else:
                        tracks[name].reset()  # who comes next has nothing to do with who left
                        yield StreamResult(name, time, None, 0.0, [], None, 0.0, skipped)

    return results()


@torch.no_grad()
def _ranked(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    tree: LabelTree,
    sequences: Sequence[SkeletonSequence],
    top_k: int | None,
) -> list[tuple[Tensor, Tensor]]:
    """Posteriors (k,) and numbers (k,) of each sequence's best labels, best first; all sequences in one batch."""
    if not sequences:
        return []
    prompts = processor(sequences, return_tensors="pt").to(model.device)
    ranked: RankedLabels = model.rank(**prompts, tree=tree, k=top_k, tolerance=SCORE_TOLERANCE)
    return list(zip(ranked.posterior_bounds()[0].double().cpu(), ranked.indices.cpu(), strict=True))


def _log_posterior(scores: Tensor, indices: Tensor, num_labels: int) -> Tensor:
    """(labels,) the log of every label's posterior; those not among the best share evenly what is left."""
    rest = (1 - scores.sum()).clamp(min=_LEAST) / max(1, num_labels - len(scores))
    posterior = rest.repeat(num_labels).index_copy(0, indices, scores.clamp(min=_LEAST))
    return posterior.log()
