"""Finds what is done when in a long recording, person by person.

Windows of several lengths slide over each person. Whatever scores single clips scores the windows, so that nothing
beyond a window decides over what it shows. The mean posterior of the windows around a moment, smoothed over time, says
what is done at that moment. A segment is where one label stays likely; two repetitions are parted where its posterior
dips in between. A model of action points was trained on windows of one length, with the point in the middle, and is
asked through such windows alone: what it finds is short, and the peak is the point. All of that is this project's
choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .skeleton_cleaning import drop_noise_bodies
from .skeleton_sequence import SkeletonSequence

BACKGROUND = "nothing"
"""The usual name of the class of moments in which nothing is done."""

ScoreWindows = Callable[[list[SkeletonSequence]], Any]
"""Windows to their log-posteriors (windows, labels), an array or a tensor."""

_USUAL_FPS = 30.0  # frames a second where they are not known
_SCORED_AT_ONCE = 64  # windows
_SMALLEST_WINDOW = 0.5  # share of a window that has to lie within the recording
_OF_POINTS = {"hop": 0.1, "smoothing": 0.3, "threshold": 0.2, "shortest": 0.0}  # chosen on MSRC-12's odd subjects
_LEAST = 1e-6  # posterior, and what is lacking to certainty


@dataclass(frozen=True)
class Segmentation:
    """How segments are found; times in seconds.

    Args:
        lengths: of the windows.
        hop: between the windows of one length.
        smoothing: standard deviation of the Gaussian by which posteriors are averaged over time; 0 for none.
        threshold: posterior above which a label is taken to be done, 0..1.
        dip: nats by which a label's log-odds have to fall and rise again between two repetitions: of a label that is
            nearly sure, probabilities hardly dip.
        shortest: shorter segments are left out.

    Raises:
        ValueError: a value out of range.
    """

    lengths: tuple[float, ...] = (0.9, 1.5, 2.1)
    hop: float = 0.2
    smoothing: float = 0.15
    threshold: float = 0.4
    dip: float = 1.0
    shortest: float = 0.2

    @classmethod
    def of_model(cls, point_window: float | None) -> Segmentation:
        """What fits a model, by its `point_window` in seconds: None of one of whole actions."""
        if point_window is None:
            return cls()
        return cls(lengths=(point_window,), **_OF_POINTS)

    def __post_init__(self):
        if not self.lengths or min(*self.lengths, self.hop, self.hop) <= 0:
            raise ValueError(f"Expected lengths and a hop above 0 seconds, got {self.lengths} and {self.hop}.")
        if min(self.smoothing, self.shortest) < 0:
            raise ValueError(
                f"Expected smoothing and shortest of 0 seconds or more, got {self.smoothing}, {self.shortest}."
            )
        if not 0 < self.threshold < 1 or self.dip <= 0:
            raise ValueError(
                f"Expected a threshold between 0 and 1 and a dip above 0 nats, got {self.threshold} and {self.dip}."
            )


@dataclass(frozen=True)
class Segment:
    """One action in a long recording.

    Attributes:
        start, end, peak: seconds from the recording's first frame; the peak is the moment at which the label is
            likeliest, the middle of the movement. Of a model of action points it is the point, and start and end are
            when the point is likely, not the action's.
        label: what is done.
        score: the label's highest smoothed posterior.
        person: number of the person, from 0, among `each_person`.
        frames: the frames of start, end and peak.
    """

    start: float
    end: float
    peak: float
    label: str
    score: float
    person: int
    frames: tuple[int, int, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "frames": list(self.frames)}


def segments(
    recording: SkeletonSequence,
    score_windows: ScoreWindows,
    labels: Sequence[str],
    settings: Segmentation | None = None,
    background: str | None = BACKGROUND,
) -> Iterator[Segment]:
    """Finds the actions of each person of a recording; those of one person come in order of their ends.

    Beside the recording only some windows and what is smoothed are in memory, however long it is.

    Args:
        score_windows: as `ActionStudent.log_posterior`.
        labels: the columns of its scores.
        background: the label that means that nothing is done; one that is none of the labels is never found.
    """
    settings = settings or Segmentation()
    rate = recording.fps or _USUAL_FPS
    for number, person in enumerate(each_person(recording)):
        moments = _smoothed(_posteriors(person, score_windows, len(labels), settings, rate), settings)
        for label, start, end, peak, score in _stretches(moments, settings, len(labels)):
            if labels[label] == background or (end - start) < settings.shortest * rate:
                continue
            first, last, top = (round(moment + person.first_frame) for moment in (start, end, peak))
            times = first / rate, last / rate, top / rate
            yield Segment(*times, labels[label], score, number, (first, last, top))


def each_person(recording: SkeletonSequence) -> list[SkeletonSequence]:
    """A recording of each person, in the order of the recording's rows; noise bodies are left out."""
    scores = recording.scores
    if recording.num_persons == 1:
        return [recording]
    people = []
    kept = drop_noise_bodies(recording.joints)
    for row in range(recording.num_persons):
        joints = recording.joints[row : row + 1]
        if any(np.array_equal(joints[0], body, equal_nan=True) for body in kept):
            own = None if scores is None else scores[row : row + 1]
            people.append(replace(recording, joints=joints, scores=own))
    return people


def _posteriors(
    person: SkeletonSequence, score_windows: ScoreWindows, num_labels: int, settings: Segmentation, rate: float
) -> Iterator[tuple[float, np.ndarray | None]]:
    """(frame, posterior (labels,)) every hop, the mean over the windows around it; None where nobody is seen."""
    waiting: list[tuple[float, list[SkeletonSequence]]] = []
    hop = max(1.0, settings.hop * rate)
    for moment in np.arange(0.0, person.num_frames, hop).tolist():
        found = [_window(person, moment, length * rate) for length in settings.lengths]
        waiting.append((float(moment), [window for window in found if window is not None]))
        if sum(len(windows) for _, windows in waiting) >= _SCORED_AT_ONCE:
            yield from _scored(waiting, score_windows, num_labels)
            waiting = []
    yield from _scored(waiting, score_windows, num_labels)


def _scored(
    waiting: list[tuple[float, list[SkeletonSequence]]], score_windows: ScoreWindows, num_labels: int
) -> Iterator[tuple[float, np.ndarray | None]]:
    windows = [window for _, of_moment in waiting for window in of_moment]
    posteriors = np.exp(np.asarray(score_windows(windows), np.float64)) if windows else np.zeros((0, num_labels))
    if posteriors.shape != (len(windows), num_labels):
        raise ValueError(
            f"Expected log-posteriors of shape {(len(windows), num_labels)} (windows, labels), got {posteriors.shape}."
        )
    start = 0
    for moment, of_moment in waiting:
        end = start + len(of_moment)
        yield moment, posteriors[start:end].mean(0) if of_moment else None
        start = end


def _window(person: SkeletonSequence, moment: float, length: float) -> SkeletonSequence | None:
    """The frames around a moment; None where nobody is seen or most of the window lies outside the recording."""
    first, end = round(moment - length / 2), round(moment + length / 2)
    frames = slice(max(first, 0), min(end, person.num_frames))
    joints = person.joints[:, frames]
    seen = ~np.isnan(joints).all(axis=(0, 2, 3))
    if seen.sum() < max(2, _SMALLEST_WINDOW * (end - first)):
        return None
    scores = None if person.scores is None else person.scores[:, frames]
    return replace(person, joints=joints, scores=scores, notes=())


def _smoothed(
    moments: Iterable[tuple[float, np.ndarray | None]], settings: Segmentation
) -> Iterator[tuple[float, np.ndarray | None]]:
    """Averages posteriors over time; moments in which nobody is seen neither count nor are filled."""
    reach = int(np.ceil(2 * settings.smoothing / settings.hop))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) * settings.hop / max(settings.smoothing, 1e-9)) ** 2)
    near: deque[tuple[float, np.ndarray | None] | None] = deque([None] * (reach + 1), maxlen=2 * reach + 1)

    def middle() -> tuple[float, np.ndarray | None]:
        centre = near[reach]
        assert centre is not None
        if centre[1] is None:
            return centre
        counted = [
            (weight, one[1])
            for weight, one in zip(weights, near, strict=True)
            if one is not None and one[1] is not None
        ]
        total = sum(weight for weight, _ in counted)
        return centre[0], sum(weight * posterior for weight, posterior in counted) / total

    for moment in moments:
        near.append(moment)
        if len(near) == 2 * reach + 1 and near[reach] is not None:
            yield middle()
    while reach and any(one is not None for one in list(near)[reach + 1 :]):
        near.append(None)
        if near[reach] is not None:
            yield middle()


class _Stretch:
    """One label over time: since when it is likely, how high it rose, and whether it has dipped since.

    Heights are log-odds.
    """

    def __init__(self) -> None:
        self.start: float | None = None

    def begin(self, moment: float, height: float) -> None:
        self.start, self.height = moment, height
        self.low: float | None = None  # height of the deepest dip since the last peak, once it is one
        self.low_at = moment
        self.weight = self.weighted = 0.0

    def count(self, moment: float, height: float) -> None:
        """Adds a moment to the mean by which the peak is placed, weighted by its odds."""
        weight = np.exp(height)
        self.weight += weight
        self.weighted += weight * moment

    def ended(self, label: int, end: float) -> tuple[int, float, float, float, float]:
        assert self.start is not None
        found = label, self.start, end, self.weighted / self.weight, _posterior(self.height)
        self.start = None
        return found


def _stretches(
    moments: Iterable[tuple[float, np.ndarray | None]], settings: Segmentation, num_labels: int
) -> Iterator[tuple[int, float, float, float, float]]:
    """(label, start, end, peak, score) of every stretch in which a label is likely, frames and posterior."""
    labels = [_Stretch() for _ in range(num_labels)]
    likely = _log_odds(np.array(settings.threshold))
    moment = 0.0
    for moment, posterior in moments:
        if posterior is None:
            posterior = np.zeros(num_labels)
        for label, (stretch, height) in enumerate(zip(labels, _log_odds(posterior).tolist(), strict=True)):
            if stretch.start is None:
                if height >= likely:
                    stretch.begin(moment, height)
                    stretch.count(moment, height)
                continue
            if height < likely:
                yield stretch.ended(label, moment)
                continue
            if stretch.low is not None and height > stretch.low + settings.dip:  # it rises again
                yield stretch.ended(label, stretch.low_at)
                stretch.begin(stretch.low_at, height)
            elif height < (stretch.height - settings.dip if stretch.low is None else stretch.low):
                stretch.low, stretch.low_at = height, moment
            stretch.height = max(stretch.height, height)
            stretch.count(moment, height)
    for label, stretch in enumerate(labels):
        if stretch.start is not None:
            yield stretch.ended(label, moment)


def _log_odds(posterior: np.ndarray) -> np.ndarray:
    shares = posterior.clip(_LEAST, 1 - _LEAST)
    return np.log(shares / (1 - shares))


def _posterior(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))
