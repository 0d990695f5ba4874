"""Signals of other senses: what is refused, and how they come onto the skeleton's clock."""

import warnings

import numpy as np
import pytest

from llm_action.modeling.signal_sequence import (
    SignalSequence,
    at_moments,
    on_skeleton_clock,
    signal_from,
    standardized,
    stretched,
    thinned,
)
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SkeletonSequence


def movement(seconds):
    """What a sensor with two channels would show at any time, smooth enough for 70 samples a second."""
    seconds = np.asarray(seconds)
    return np.stack([np.sin(2 * seconds), 0.3 * seconds**2 - seconds], -1)


def skeleton(frames=61, fps=30.0, **more):
    joints = np.random.default_rng(0).normal(size=(1, frames, 20, 3)).astype(np.float32)
    return SkeletonSequence(joints, "kinect20", fps, **more)


def test_time_stamps_shifted_and_of_another_rate_meet_the_skeletons_frames():
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(-0.7, 3.1, 400))  # begins before the skeleton, ends after it, unevenly sampled
    values = on_skeleton_clock(SignalSequence(movement(times), times=times), skeleton())
    moments = np.linspace(0, 60 / 30, len(values))
    np.testing.assert_allclose(values, movement(moments), atol=5e-3)


def test_start_and_rate_say_the_same_as_time_stamps():
    times = 0.25 + np.arange(200) / 73
    stamped = on_skeleton_clock(SignalSequence(movement(times), times=times), skeleton())
    started = on_skeleton_clock(SignalSequence(movement(times), start=0.25, rate=73.0), skeleton())
    np.testing.assert_allclose(started, stamped, atol=1e-6)
    assert np.ptp(stamped[:15], axis=0).max() < 1e-6, "before its first sample a signal stays as it was there"


def test_frames_cut_from_the_skeletons_start_are_cut_from_the_signal_too():
    times = np.arange(300) / 100
    values = on_skeleton_clock(SignalSequence(movement(times), times=times), skeleton(30, first_frame=15))
    np.testing.assert_allclose(values[[0, -1]], movement([0.5, 44 / 30]), atol=1e-3)


def test_without_a_clock_a_signal_is_stretched_whatever_its_rate():
    slow, fast = (SignalSequence(movement(np.linspace(0, 2, count)), rate=50.0) for count in (120, 287))
    slow, fast = (on_skeleton_clock(signal, skeleton()) for signal in (slow, fast))
    stretched = [at_moments(values, np.linspace(0, len(values) - 1, 64)) for values in (slow, fast)]
    np.testing.assert_allclose(stretched[0], stretched[1], atol=1e-3)
    np.testing.assert_allclose(stretched[0], movement(np.linspace(0, 2, 64)), atol=1e-3)


def test_without_a_skeleton_the_whole_signal_counts():
    times = 5 + np.arange(100) / 50
    values = on_skeleton_clock(SignalSequence(movement(times), times=times), None)
    np.testing.assert_allclose(values, movement(times), atol=1e-3)


def test_thinning_averages_what_would_alias():
    buzz = np.tile([[1.0], [-1.0]], (500, 1)).astype(np.float32)  # at half the rate of sampling
    assert np.abs(thinned(buzz, 128)).max() < 1e-6
    values = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    np.testing.assert_allclose(thinned(values, 30), values.reshape(25, 4, 3).mean(1), atol=1e-6)
    assert thinned(values, 100) is values


@pytest.mark.parametrize(
    "given, message",
    [
        ({"values": np.zeros((0, 3))}, "at least one sample"),
        ({"values": np.zeros((2, 3, 4))}, r"shape \(samples, channels\)"),
        ({"values": [[0.0, 1.0], [np.nan, 2.0]], "channels": ["x", "y"]}, "nan in channel 'x' at sample 1"),
        ({"values": np.full((3, 1), np.inf)}, "inf in channel"),
        ({"values": np.zeros((3, 2)), "channels": ["x"]}, "2 different names for 2 channels"),
        ({"values": np.zeros((3, 2)), "rate": 0.0}, "rate above 0"),
        ({"values": np.zeros((3, 2)), "start": 1.0}, "rate is missing"),
        ({"values": np.zeros((3, 2)), "times": [0, 1]}, "a time for each of 3 samples"),
        ({"values": np.zeros((3, 2)), "times": [0, 2, 1]}, "rise from sample to sample"),
        ({"values": "wave"}, "numeric array"),
    ],
)
def test_what_is_no_signal_is_refused_by_name(given, message):
    with pytest.raises(ValueError, match=f"worn.csv: .*{message}"):
        SignalSequence(**given, name="worn.csv")


def test_time_stamps_need_the_skeletons_clock():
    signal = SignalSequence(np.zeros((50, 1)), "worn", times=1.7e9 + np.arange(50) / 50)
    with pytest.raises(ValueError, match="frames per second are missing"):
        on_skeleton_clock(signal, skeleton(fps=None))
    with pytest.raises(ValueError, match=r"worn: .*1700000000.*seconds after the recording's first frame"):
        on_skeleton_clock(signal, skeleton())


def test_channels_are_found_by_name_and_unnamed_ones_by_place():
    values = np.arange(6.0).reshape(2, 3)
    named = SignalSequence(values, channels=["z", "x", "y"])
    np.testing.assert_array_equal(named.with_channels(["x", "y", "z"]), values[:, [1, 2, 0]])
    np.testing.assert_array_equal(SignalSequence(values).with_channels(["x", "y", "z"]), values)
    with pytest.raises(ValueError, match="expected the channels x, w, got z, x, y"):
        named.with_channels(["x", "w"])
    with pytest.raises(ValueError, match="expected the channels x, y, got 1, 2, 3"):
        SignalSequence(values).with_channels(["x", "y"])


def test_signals_of_arrays_and_mappings():
    assert signal_from([1.0, 2.0], "worn").values.shape == (2, 1)
    mapped = signal_from({"values": np.zeros((4, 2)), "rate": 50, "unit": "g", "times": None}, "worn")
    assert (mapped.rate, mapped.unit, mapped.name) == (50.0, "g", "worn")
    assert signal_from(mapped) is mapped
    with pytest.raises(ValueError, match="mapping with the key values"):
        signal_from({"data": [1]})


def test_samples_that_are_missing_are_made_up_and_said():
    """A gap in the time stamps, and a signal that ends before the skeleton does."""
    times = np.arange(200) / 100
    torn = times[(times < 0.5) | (times > 1.2)]
    with pytest.warns(RecordingWarning, match=r"worn: no sample was taken from 0\.49 to 1\.21 s, .* 0\.00 to 2\.00 s"):
        values = on_skeleton_clock(SignalSequence(movement(torn), "worn", times=torn), skeleton())
    straight = np.interp(np.linspace(0, 2, len(values)), torn, movement(torn)[:, 1])
    np.testing.assert_allclose(values[:, 1], straight, atol=1e-5)
    assert SignalSequence(movement(torn), times=torn).rate == pytest.approx(100), "the sensor's, not the mean"
    with pytest.warns(RecordingWarning, match=r"no sample was taken from 0\.90 to 2\.00 s"):
        values = on_skeleton_clock(SignalSequence(movement(times[:91]), times=times[:91]), skeleton())
    np.testing.assert_allclose(values[-1], movement(0.9), atol=1e-5)


def test_a_slow_sensor_has_no_gaps():
    seconds = np.arange(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on_skeleton_clock(SignalSequence(seconds, times=seconds - 0.5), skeleton())


def test_what_is_lacking_is_nan_throughout_once_standardised():
    values = np.random.default_rng(0).normal(5, 3, (64, 2)).astype(np.float32)
    rows = standardized([values, None], 64, values.mean(0), values.std(0))
    np.testing.assert_allclose(rows[0].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows[0].std(0), 1, atol=1e-5)
    assert np.isnan(rows[1]).all() and stretched(values, 16).shape == (16, 2)
