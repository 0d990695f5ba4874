"""What another sense than the skeleton recorded: numbers over time, and the way onto the skeleton's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .skeleton_recording import warn
from .skeleton_sequence import SkeletonSequence

_LONGEST_GAP = 0.2  # share of what the skeleton shows that may pass without a sample
_FEWEST_LOST = 5  # samples that make a gap: a slow sensor has none


@dataclass(eq=False)
class SignalSequence:
    """A stream of numbers: a worn sensor, or features of every frame of a video.

    Two things tell when a sample was taken: `times`, or `start` with a rate. Both count from the first frame of the
    skeleton's recording. A signal that says neither is taken to last as long as the skeleton does, and is stretched.

    Attributes:
        values: (samples, channels) float32, finite; (samples,) is accepted as one channel.
        name: file or sample name, used in messages.
        rate: samples per second, None when not known.
        channels: names of the channels; default "1", "2" ...
        unit: of the values, in words, such as "g, degrees/s".
        times: (samples,) seconds, rising; None where there are no time stamps.
        start: seconds at which the first sample was taken, None when not known.

    Raises:
        ValueError: on construction, when there are no samples, a value is not finite, times do not rise, names do not
            fit the channels, or a start comes without a rate.
    """

    values: np.ndarray
    name: str = ""
    rate: float | None = None
    channels: Sequence[str] = ()
    unit: str = ""
    times: np.ndarray | None = None
    start: float | None = None

    def __post_init__(self) -> None:
        about = f"{self.name}: " if self.name else ""
        try:
            self.values = _checked_values(self.values)
            count = self.values.shape[1]
            self.channels = tuple(map(str, self.channels)) or tuple(str(number + 1) for number in range(count))
            if len(self.channels) != count or len(set(self.channels)) != count:
                raise ValueError(
                    f"expected {count} different names for {count} channels, got {', '.join(self.channels)}"
                )
            self._check_finite()
            self._check_clock()
        except ValueError as error:
            raise ValueError(f"{about}{error}") from None

    def _check_finite(self) -> None:
        if not np.isfinite(self.values).all():
            sample, channel = np.argwhere(~np.isfinite(self.values))[0]
            raise ValueError(
                f"expected numbers, got {self.values[sample, channel]} in channel {self.channels[channel]!r} at sample "
                f"{sample}; fill the gap, for example with pandas' interpolate(), or cut it off"
            )

    def _check_clock(self) -> None:
        if self.rate is not None:
            if not np.isfinite(self.rate) or self.rate <= 0:
                raise ValueError(f"expected a rate above 0 (samples per second), got {self.rate}; None if not known")
            self.rate = float(self.rate)
        if self.times is not None:
            self.times = np.asarray(self.times, np.float64).reshape(-1)
            if len(self.times) != len(self.values):
                raise ValueError(f"expected a time for each of {len(self.values)} samples, got {len(self.times)}")
            if not np.isfinite(self.times).all() or (np.diff(self.times) <= 0).any():
                raise ValueError("expected times in seconds that rise from sample to sample; sort them, drop doubles")
            if self.rate is None and len(self.times) > 1:
                self.rate = float(1 / np.median(np.diff(self.times)))  # whatever gaps there are
        elif self.start is not None and self.rate is None:
            raise ValueError(
                f"the rate is missing: a signal that starts at {self.start} s needs its samples per second as rate, "
                "or times; without start it is stretched to the skeleton's length"
            )

    @property
    def num_samples(self) -> int:
        return self.values.shape[0]

    @property
    def clock(self) -> np.ndarray | None:
        """(samples,) the seconds after the skeleton's first frame at which samples were taken; None when not known."""
        if self.times is not None or self.start is None:
            return self.times
        assert self.rate is not None
        return self.start + np.arange(self.num_samples) / self.rate

    def with_channels(self, names: Sequence[str]) -> np.ndarray:
        """(samples, channels) of the channels `names`, found by name; by place where this signal names none.

        Raises:
            ValueError: other channels; says which.
        """
        if set(names) <= set(self.channels):
            return self.values[:, [self.channels.index(name) for name in names]]
        unnamed = self.channels == tuple(str(number + 1) for number in range(len(self.channels)))
        if unnamed and len(names) == len(self.channels):
            return self.values
        about = f"{self.name}: " if self.name else ""
        raise ValueError(f"{about}expected the channels {', '.join(names)}, got {', '.join(self.channels)}")


def on_skeleton_clock(signal: SignalSequence, skeleton: SkeletonSequence | None) -> np.ndarray:
    """(samples, channels) what a signal shows while the skeleton is seen, evenly spaced at about the signal's rate.

    Without a skeleton, or where the signal's time stamps are not known, that is the whole signal. Before its first and
    after its last sample a signal is taken to stay as it was there, between two to go straight from one to the other.
    Warns with a `RecordingWarning` where that is done for a fifth of what the skeleton shows, or more.

    Raises:
        ValueError: time stamps and a skeleton without frames per second, or that lie wholly outside its recording.
    """
    clock = signal.clock
    if clock is None:
        return signal.values
    begin, end = clock[0], clock[-1]
    about = f"{signal.name}: " if signal.name else ""
    if skeleton is not None:
        if skeleton.fps is None:
            raise ValueError(
                f"{about}has time stamps, but the skeleton's frames per second are missing; pass fps, or leave the "
                "times out to stretch the signal"
            )
        begin = skeleton.first_frame / skeleton.fps
        end = begin + (skeleton.num_frames - 1) / skeleton.fps
        if clock[-1] < begin or clock[0] > end:
            raise ValueError(
                f"{about}its samples were taken from {clock[0]:.3f} to {clock[-1]:.3f} s, the skeleton is seen from "
                f"{begin:.3f} to {end:.3f} s; give times in seconds after the recording's first frame"
            )
        _warn_of_gap(signal, clock, begin, end)
    count = max(1, round((end - begin) * (signal.rate or 0)) + 1)
    moments = np.linspace(begin, end, count)
    return np.stack([np.interp(moments, clock, channel) for channel in signal.values.T], 1).astype(np.float32)


def _warn_of_gap(signal: SignalSequence, clock: np.ndarray, begin: float, end: float) -> None:
    moments = np.concatenate([[begin], clock[(clock > begin) & (clock < end)], [end]])
    apart = np.diff(moments)
    widest = int(apart.argmax())
    if signal.rate and apart[widest] > max(_LONGEST_GAP * (end - begin), _FEWEST_LOST / signal.rate):
        doubt = (
            f"no sample was taken from {moments[widest]:.2f} to {moments[widest + 1]:.2f} s, the skeleton is seen from "
            f"{begin:.2f} to {end:.2f} s. What is missing is made up from the samples beside; check the times, or "
            "leave this signal out."
        )
        warn(signal.name, (doubt,))


def beside(skeleton: SkeletonSequence | None, given: Any, sense: str, channels: Sequence[str]) -> np.ndarray:
    """(samples, channels) what a further sense shows while the skeleton is seen, in the order of `channels`.

    Args:
        given: see `signal_from`.

    Raises:
        ValueError: other channels; see `SignalSequence` and `on_skeleton_clock`.
    """
    signal = signal_from(given, sense)
    return on_skeleton_clock(replace(signal, values=signal.with_channels(channels), channels=channels), skeleton)


def thinned(values: np.ndarray, at_most: int) -> np.ndarray:
    """(samples, channels) means of as many neighbours as leave `at_most` samples or fewer, so that nothing aliases."""
    group = -(-len(values) // at_most)
    if group == 1:
        return values
    starts = np.arange(0, len(values), group)
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])[:, None].astype(values.dtype)


def at_moments(values: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """(moments, channels) of (samples, channels) at moments in samples, linear between them."""
    samples = np.arange(len(values))
    return np.stack([np.interp(moments, samples, channel) for channel in values.T], 1).astype(np.float32)


def stretched(values: np.ndarray, frames: int) -> np.ndarray:
    """(frames, channels) of a whole signal (samples, channels)."""
    values = thinned(values, 2 * frames)
    return at_moments(values, np.linspace(0, len(values) - 1, frames))


def standardized(
    signals: Sequence[np.ndarray | None], frames: int, means: np.ndarray, scales: np.ndarray
) -> np.ndarray:
    """(batch, frames, channels) float32 of signals (samples, channels), NaN throughout where one is lacking.

    Args:
        means, scales: (channels,) what is taken off, and what the rest is divided by.
    """
    rows = np.full((len(signals), frames, len(means)), np.nan, np.float32)
    for row, signal in zip(rows, signals, strict=True):
        if signal is not None:
            row[:] = (stretched(signal, frames) - means) / scales
    return rows


def signal_from(given: Any, name: str = "", **known: Any) -> SignalSequence:
    """Makes a `SignalSequence` of an array (samples, channels), a mapping with the key values, or of one itself.

    Args:
        known: fields that the input does not say.
    """
    if hasattr(given, "with_channels"):  # duck-typed: hub code has a class of its own
        return given
    if isinstance(given, Mapping):
        given = {key: value for key, value in given.items() if value is not None}
        if "values" not in given:
            raise ValueError(f"Expected a mapping with the key values, got the keys {sorted(given)}.")
        return SignalSequence(**{"name": name, **known, **given})
    return SignalSequence(given, name, **known)


def _checked_values(values: Any) -> np.ndarray:
    try:
        values = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError("expected values as a numeric array (samples, channels)") from None
    given = values.shape
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise ValueError(f"expected values of shape (samples, channels), got {given}")
    if not values.size:
        raise ValueError(f"expected at least one sample and one channel, got shape {given}; leave this signal out")
    return values
