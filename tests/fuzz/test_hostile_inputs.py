"""Some hundred hostile inputs of a fixed seed, and kinds that once did harm; `python -m tests.fuzz` tries more."""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))
judge, mutations, seeds, targets = (
    importlib.import_module(f"tests.fuzz.{name}") for name in ("judge", "mutations", "seeds", "targets")
)

INPUTS = 250


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    matplotlib.get_configdir(), matplotlib.get_cachedir()  # so that no forked process makes them
    return targets.all_targets(tmp_path_factory.mktemp("sound"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sound_inputs_are_read(sound, tmp_path):
    """Else the hostile ones would test nothing."""
    unread = {"train_label.pkl", "hostile.yaml"}  # beside another file; hostile as it is
    inputs = [
        (one, path) for one in sound for path in one.inputs if path.name not in unread and one.name != "small file"
    ]

    def trial(number):
        return inputs[number][0].name, inputs[number][0].read, inputs[number][1]

    faults = {
        inputs[number][1].name: verdict
        for number, _, verdict in judge.verdicts(range(len(inputs)), trial, inputs[0][1].parents[1])
        if verdict.kind != "answer" and "read_clips(path)" not in verdict.detail  # a file of many recordings
    }
    assert faults == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_hostile_inputs_end_in_an_answer_or_one_clear_error():
    """In a process of its own: one forked from threads that computed may wait for them for ever."""
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", str(INPUTS), "--seed", "0"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert f"{INPUTS} inputs;" in done.stdout


def verdict_on(read, path: Path):
    ((_, _, verdict),) = judge.verdicts(range(1), lambda number: ("one", read, path), path.parent)
    return verdict


def refused(path: Path, text: str) -> None:
    verdict = verdict_on(targets.read_recording, path)
    assert verdict.kind == "error" and text in verdict.detail, verdict


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("make", mutations.PICKLES, ids=lambda make: make.__name__)
def test_hostile_pickles_are_refused_at_once(tmp_path, make):
    (tmp_path / "clip.pkl").write_bytes(make())
    verdict = verdict_on(targets.read_recording, tmp_path / "clip.pkl")
    assert verdict.kind == "error", verdict
    assert verdict.peak < 200_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_archives_that_unpack_to_gigabytes_are_refused_unread(tmp_path):
    header = mutations.npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 8000000, 25, 3)}", b"")
    (tmp_path / "clip.npz").write_bytes(mutations.bomb("joints.npy", header, 2_400_000_000))
    refused(tmp_path / "clip.npz", "unpacks to 2400 MB")
    (tmp_path / "clips.zip").write_bytes(mutations.bomb("clips.pkl", b"\x80\x04", 2_400_000_000))
    refused(tmp_path / "clips.zip", "unpacks to 2400 MB")


def test_a_recording_that_compresses_well_is_read(tmp_path):
    joints = np.zeros((1, 20_000, 25, 3), np.float32)  # of a person who stands still for ten minutes
    joints[:] = seeds.motion("ntu25", 1)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("joints.npy", mutations.saved(joints))
        archive.writestr("layout.npy", mutations.saved(np.array("ntu25")))
    (tmp_path / "clip.npz").write_bytes(file.getvalue())
    from llm_action.skeleton_io import read_skeleton

    assert read_skeleton(tmp_path / "clip.npz").num_frames == 20_000


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("<f4", "(1, 100000000, 25, 3)"), ("|V0", "(9223372036854775807, 2)"), ("|O", "(2,)"), ("<f4", "(-5, 3)")],
)
def test_headers_that_lie_are_refused(tmp_path, kind, shape):
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}"
    (tmp_path / "clip.npy").write_bytes(mutations.npy(text, bytes(240)))
    refused(tmp_path / "clip.npy", "expected arrays saved by numpy")


def test_plain_pickles_come_as_they_were(tmp_path):
    """The unpickler is our own in part: what it reads is what pickle reads."""
    from llm_action.skeleton_io.pickles import load_pickle

    content = {
        "a": [1, 2.5, None, True, "x", b"y"],
        "b": (1, (2, 3)),
        3: {"c": {1, 2}, "d": frozenset("q")},
        "e": bytearray(b"z"),
    }
    content["again"] = content["b"]
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
        assert load_pickle(tmp_path / "a.pkl") == content


_KEYS = [
    *("frames", "skeletons", "people", "data", "annotations", "keypoints", "image_id", "instances", "instance_info"),
    *("bodies", "joint_positions", "pose3d", "pose_landmarks", "landmarks", "x", "y", "z", "keypoint_scores", "id"),
    *("skeleton", "pose", "score", "frame_index", "pose_keypoints_2d", "meta_info"),
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=20,
)


@settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=_JSON)
def test_no_json_makes_a_reader_fail_otherwise(tmp_path, content):
    from llm_action.skeleton_io import read_skeleton

    (tmp_path / "clip.json").write_text(json.dumps(content))
    try:
        targets.check_sequence(read_skeleton(tmp_path / "clip.json"))
    except ValueError as error:
        assert type(error) is ValueError and str(error).startswith(str(tmp_path / "clip.json"))
