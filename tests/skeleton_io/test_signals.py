"""Files of other senses, written by other libraries than the readers use where there is one."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.io

from llm_action import read_signal

VALUES = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


def test_utd_mhad(tmp_path):
    scipy.io.savemat(tmp_path / "a1_s1_t1_inertial.mat", {"d_iner": VALUES.astype(np.float64)})
    signal = read_signal(tmp_path / "a1_s1_t1_inertial.mat")
    np.testing.assert_array_equal(signal.values, VALUES)
    assert (signal.rate, signal.unit, signal.name) == (50.0, "g, degrees/s", "a1_s1_t1_inertial")
    assert signal.channels[0] == "acceleration x" and signal.clock is None


def test_a_real_recording(data_root):
    """Somebody at rest: the sensor shows gravity, one g, in its median."""
    signal = read_signal(data_root / "utd_mhad" / "inertial" / "a24_s1_t1_inertial.mat")
    assert signal.num_samples > 100
    assert 0.8 < np.median(np.linalg.norm(signal.values[:, :3], axis=1)) < 1.2


@pytest.mark.parametrize("suffix, separator", [(".csv", ","), (".tsv", "\t")])
def test_tables_with_and_without_a_clock(tmp_path, suffix, separator):
    file = tmp_path / f"worn{suffix}"
    table = pd.DataFrame(VALUES[:, :2], columns=["x", "y"])
    table.to_csv(file, sep=separator, index=False)
    signal = read_signal(file, rate=20)
    np.testing.assert_allclose(signal.values, VALUES[:, :2], rtol=1e-6)
    assert (signal.channels, signal.rate, signal.clock) == (("x", "y"), 20.0, None)
    table.insert(1, "time_ms", 250 + 40 * np.arange(40))
    table.to_csv(file, sep=separator, index=False)
    signal = read_signal(file)
    assert signal.channels == ("x", "y") and signal.rate == pytest.approx(25)
    np.testing.assert_allclose(signal.clock, 0.25 + np.arange(40) / 25)


TIMES = np.arange(40) / 50


def rows(times, separator=","):
    return [separator.join([str(time), *map(str, sample)]) for time, sample in zip(times, VALUES[:, :3])]


PROGRAMS = {
    "phyphox": ['"Time (s)","ax (m/s^2)","ay (m/s^2)","az (m/s^2)"', *rows(TIMES)],
    "in German": ["Time (s);ax;ay;az", *(row.replace(".", ",") for row in rows(TIMES, ";"))],
    "Sensor Logger": ["time,seconds_elapsed,ax,ay,az",
                      *(f"{17e17 + 2e7 * n:.0f},{row}" for n, row in enumerate(rows(TIMES)))],
    "Xsens DOT": ["sep=,", "OutputRate: 50Hz", "", "PacketCounter,SampleTimeFine,ax,ay,az",
                  *(f"{n},{row}" for n, row in enumerate(rows((1e6 * TIMES).astype(int))))],
    "dates": ["timestamp,ax,ay,az", *rows([f"2024-05-01T10:00:{time:09.6f}Z" for time in TIMES])],
    "times of day": ["time,ax,ay,az", *rows([f"10:00:{time:06.3f}" for time in TIMES])],
    "a remark": ["# sampling rate: 50", "index,ax,ay,az", *rows(range(40))],
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_sensors_programs_write(tmp_path, program):
    (tmp_path / "worn.csv").write_text("\n".join(PROGRAMS[program]))
    signal = read_signal(tmp_path / "worn.csv")
    assert [name.split()[0] for name in signal.channels] == ["ax", "ay", "az"]
    np.testing.assert_allclose(signal.values, VALUES[:, :3], rtol=1e-5)
    assert signal.rate == pytest.approx(50, rel=1e-3)
    if program in ("phyphox", "in German", "Xsens DOT"):
        np.testing.assert_allclose(signal.clock, TIMES, atol=1e-6)
    else:  # stamps count from a year or a day, or there are none
        assert signal.clock is None


def test_json_of_numbers(tmp_path):
    records = [{"t": float(t), "ax": float(x), "ay": float(y)} for t, (x, y) in zip(TIMES, VALUES[:, :2])]
    columns = {"rate": 50, "ax": VALUES[:, 0].tolist(), "ay": VALUES[:, 1].tolist()}
    for content in (records, columns):
        (tmp_path / "worn.json").write_text(json.dumps(content))
        signal = read_signal(tmp_path / "worn.json")
        assert signal.channels == ("ax", "ay") and signal.rate == pytest.approx(50)
        np.testing.assert_allclose(signal.values, VALUES[:, :2], rtol=1e-5)


def test_numpy_files(tmp_path):
    np.save(tmp_path / "worn.npy", VALUES)
    np.testing.assert_array_equal(read_signal(tmp_path / "worn.npy").values, VALUES)
    np.savez(tmp_path / "features.npz", VALUES)
    np.testing.assert_array_equal(read_signal(tmp_path / "features.npz").values, VALUES)
    known = {"rate": 25.0, "channels": list("abcdef"), "unit": "g", "start": 0.5}
    np.savez(tmp_path / "worn.npz", values=VALUES, **known)
    signal = read_signal(tmp_path / "worn.npz")
    assert (signal.rate, signal.channels, signal.unit, signal.start) == (25.0, tuple("abcdef"), "g", 0.5)


def test_what_cannot_be_read_is_named_with_a_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_signal(tmp_path / "none.csv")
    files = {
        "video.avi": (b"x", "convert it"),
        "cut.mat": (b"MATLAB 5.0", "fetch it again"),
        "numbers.csv": (b"1,2\n3,4\n", "names of the channels into the first line"),
        "words.csv": (b"x,y\n1,left\n", "could not convert"),
        "gap.csv": (b"x,y\n1,2\n3,\n", "nan in channel 'y' at sample 1"),
        "empty.csv": (b"x,y\n", "names alone"),
        "words.json": (b'["left", "right"]', "records or columns of numbers"),
        "object.npy": (b"\x93NUMPY", "arrays saved by numpy"),
    }
    for name, (content, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: .*{message}"):
            read_signal(tmp_path / name)
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickled\.npy"):
        read_signal(tmp_path / "pickled.npy")
    np.savez(tmp_path / "two.npz", a=VALUES, b=VALUES)
    with pytest.raises(ValueError, match="one named values, found a, b"):
        read_signal(tmp_path / "two.npz")
