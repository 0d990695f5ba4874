"""The formats of single data sets, the choice between them, and files that are not what they seem."""

import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
from motion import motion

from llm_action.skeleton_io import SKELETON_SUFFIXES, read_skeleton
from llm_action.skeleton_io.matlab import load_mat


def joints(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).round(6)


def test_utd_mhad(tmp_path):
    array = joints(20, 3, 7)
    scipy.io.savemat(tmp_path / "a1_s1_t1_skeleton.mat", {"d_skel": array})
    sequence = read_skeleton(tmp_path / "a1_s1_t1_skeleton.mat")
    assert (sequence.layout, sequence.fps, sequence.joints.shape) == ("kinect20_utd", 30.0, (1, 7, 20, 3))
    np.testing.assert_allclose(sequence.joints[0, 5, 2], array[2, :, 5], rtol=1e-6)


def test_utd_mhad_single_frame(tmp_path):
    scipy.io.savemat(tmp_path / "one.mat", {"d_skel": joints(20, 3, 1)[..., 0]})
    assert read_skeleton(tmp_path / "one.mat").num_frames == 1


def test_nw_ucla(tmp_path):
    array = joints(5, 20, 3)
    array[2, 11] = 0
    path = tmp_path / "a01_s01_e00_v01.json"
    path.write_text(json.dumps({"file_name": path.stem, "skeletons": array.tolist(), "label": 1}))
    sequence = read_skeleton(path)
    assert (sequence.layout, sequence.fps, sequence.joints.shape) == ("kinect20", 30.0, (1, 5, 20, 3))
    assert np.isnan(sequence.joints[0, 2, 11]).all()
    np.testing.assert_allclose(sequence.joints[0, 4], array[4], rtol=1e-6)


def test_smarthome_with_people_coming_and_going(tmp_path):
    poses = joints(3, 13, 3)
    poses[1] = poses[0] + 0.1
    person = [{"pose2d": [0.0] * 26, "pose3d": pose.T.ravel().tolist()} for pose in poses]
    path = tmp_path / "Walk_p02_r00_v01_c03.json"
    path.write_text(json.dumps({"njts": 13, "frames": [[], [person[0]], [person[1], person[2]]]}))
    sequence = read_skeleton(path)
    assert (sequence.layout, sequence.fps, sequence.joints.shape) == ("smarthome13", None, (2, 2, 13, 3))
    np.testing.assert_allclose(sequence.joints[0], poses[:2], rtol=1e-6)
    np.testing.assert_allclose(sequence.joints[1, 1], poses[2], rtol=1e-6)
    assert np.isnan(sequence.joints[1, 0]).all()
    assert sequence.first_frame == 1


def test_msr_action3d(tmp_path):
    rows = np.concatenate([joints(60, 3), np.linspace(0, 1, 60)[:, None]], axis=1)
    rows[25, :3] = 0
    path = tmp_path / "a01_s01_e01_skeleton3D.txt"
    np.savetxt(path, rows)
    sequence = read_skeleton(path)
    assert (sequence.layout, sequence.fps, sequence.joints.shape) == ("kinect20_msr", 15.0, (1, 3, 20, 3))
    assert np.isnan(sequence.joints[0, 1, 5]).all()
    np.testing.assert_allclose(sequence.joints[0, 2, 19], rows[59, :3], rtol=1e-6)
    assert sequence.scores is None, "the recorder's confidence is 0 for sound joints"


def test_fps_is_overridden_and_a_foreign_layout_refused(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"d_skel": joints(20, 3, 7)})
    assert read_skeleton(tmp_path / "a.mat", fps=12.5).fps == 12.5
    assert read_skeleton(tmp_path / "a.mat", layout="kinect20_utd").layout == "kinect20_utd"
    with pytest.raises(ValueError, match=r"a\.mat.*'kinect20_utd'.*layout='kinect20'.*to_layout"):
        read_skeleton(tmp_path / "a.mat", layout="kinect20")
    with pytest.raises(ValueError, match="unknown skeleton layout 'kinect'"):
        read_skeleton(tmp_path / "a.mat", layout="kinect")


def test_no_such_file_folder_or_suffix(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.skeleton"):
        read_skeleton(tmp_path / "absent.skeleton")
    with pytest.raises(ValueError, match="a folder"):
        read_skeleton(tmp_path)
    (tmp_path / "clip.dat").write_bytes(b"\x01\x02\x00" * 9)
    with pytest.raises(ValueError, match=r"clip\.dat.*\.npz.*binary"):
        read_skeleton(tmp_path / "clip.dat")


@pytest.mark.parametrize(
    ("name", "content", "way_on"),
    [
        ("walk.c3d", b"\x02\x50" * 9, "ezc3d"),
        ("walk.fbx", b"Kaydara FBX Binary", "Blender"),
        ("walk.mat", b"\x89HDF\r\n", "h5py"),
        ("walk.mp4", b"\x00\x00\x00\x20ftyp", "video"),
    ],
)
def test_a_refusal_names_the_format_and_a_way_on(tmp_path, name, content, way_on):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=way_on):
        read_skeleton(tmp_path / name)


def test_archives_of_other_tools_are_named(tmp_path):
    np.savez(tmp_path / "amass.npz", poses=np.zeros((5, 156)), trans=np.zeros((5, 3)), betas=np.zeros(16))
    with pytest.raises(ValueError, match="smplx"):
        read_skeleton(tmp_path / "amass.npz")
    np.savez(tmp_path / "video.npz", positions_3d=np.array({"S1": 1}, dtype=object))
    with pytest.raises(ValueError, match="VideoPose3D.*human36m17"):
        read_skeleton(tmp_path / "video.npz")


def test_content_tells_the_format_whatever_the_name(tmp_path):
    path = tmp_path / "clip.json"
    path.write_text(json.dumps({"skeletons": joints(5, 20, 3).tolist()}))
    path.rename(tmp_path / "clip.txt")
    assert read_skeleton(tmp_path / "clip.txt").layout == "kinect20"
    np.save(tmp_path / "array.npy", motion("smarthome13"))
    (tmp_path / "array.npy").rename(tmp_path / "array.bin")
    assert read_skeleton(tmp_path / "array.bin").layout == "smarthome13"


BINARY = bytes(range(128, 256)) * 8
RUBBISH = [b"", BINARY, b"hello world\n", b"\n\n", b"{}", b"[1, 2]", b"3", b"-1\n", b"nan nan"]


@pytest.mark.parametrize("suffix", SKELETON_SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", BINARY, b"hello world\n", b"\n\n", b"{}", b"[1, 2]", b"3", b"-1\n", b"nan nan"]
)
def test_rubbish_is_a_value_error_that_names_the_file(tmp_path, suffix, content):
    path = tmp_path / f"rubbish{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected") as error:
        read_skeleton(path)
    assert str(path) in str(error.value)


def truncations(path):
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        yield whole[: int(len(whole) * share)]


@pytest.mark.parametrize("suffix", [".mat", ".json", ".txt", ".npy", ".npz", ".pkl"])
def test_truncated_files_are_named(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    array = joints(1, 7, 20, 3)
    if suffix == ".mat":
        scipy.io.savemat(path, {"d_skel": array[0].transpose(1, 2, 0)}, do_compression=True)
    elif suffix == ".json":
        path.write_text(json.dumps({"skeletons": array[0].tolist()}))
    elif suffix == ".txt":
        np.savetxt(path, joints(140, 4))
    elif suffix == ".npy":
        np.save(path, motion("kinect20", 7))
    elif suffix == ".npz":
        np.savez(path, joints=array, layout="kinect20")
    else:
        import pickle

        annotation = {"frame_dir": "a", "label": 1, "keypoint": array}
        path.write_bytes(pickle.dumps({"split": {}, "annotations": [annotation]}))
    assert read_skeleton(path, layout="kinect20" if suffix in (".npy", ".pkl") else None).num_frames == 7
    for part in truncations(path):
        path.write_bytes(part)
        with pytest.raises(ValueError, match="expected") as error:
            read_skeleton(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("packed", (False, True))
def test_a_damaged_matlab_file_is_read_or_refused_in_plain_words(tmp_path, packed):
    """In a process of its own: a reader that trusts what it finds has been seen to end the whole process."""
    path = tmp_path / "clip.mat"
    scipy.io.savemat(path, {"d_skel": joints(20, 3, 30)}, do_compression=packed)
    code = """
import pathlib, re, sys
from llm_action.skeleton_io.matlab import load_mat
path = pathlib.Path(sys.argv[1])
whole = path.read_bytes()
for place in range(128, 260):
    for value in (0, 5, 77, 255):
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1:])
        try:
            load_mat(path)
        except ValueError as error:
            assert not re.search("[A-Z][a-z]+Error|Exception", str(error)), error
            print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused") > 100


@pytest.mark.parametrize("packed", (False, True))
def test_matlab_s_numbers_are_those_of_scipy(tmp_path, packed):
    values = {kind: np.arange(24).reshape(2, 3, 4).astype(kind) for kind in ("f8", "f4", "i1", "u2", "i4", "u8")}
    scipy.io.savemat(tmp_path / "all.mat", {**values, "words": "abc", "inner": {"a": 1}}, do_compression=packed)
    found = load_mat(tmp_path / "all.mat")
    assert found.keys() == values.keys()
    for name, value in values.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    with pytest.raises(ValueError, match=r"found one of version 7\.3; save it with save"):
        load_mat(tmp_path / "new.mat")


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".json", {"skeletons": np.zeros((3, 20, 3)).tolist()}, "no joint was seen"),
        (".json", {"skeletons": []}, r"\(frames, 20, 3\)"),
        (".json", {"skeletons": np.ones((3, 25, 3)).tolist()}, r"\(3, 25, 3\)"),
        (".json", {"skeletons": [[[1, 2], [3]]]}, "20"),
        (".json", {"skeletons": "none"}, "20"),
        (".json", {"frames": [[], []]}, "2 frames without anyone"),
        (".json", {"frames": []}, "at least one person"),
        (".json", {"frames": [[{"pose3d": [1.0] * 51}]]}, r"39 numbers.*\(51,\)"),
        (".json", {"frames": [[{"pose2d": [1.0] * 26}]]}, "pose3d"),
        (".json", {"frames": 3}, "pose3d"),
        (".json", {"poses": []}, "'skeletons'.*'frames'.*poses"),
        (".mat", {"d_skel": np.zeros((25, 3, 4))}, r"\(20, 3, frames\).*\(25, 3, 4\)"),
        (".mat", {"d_iner": np.zeros((4, 6))}, "'d_skel'"),
        (".mat", {"d_skel": np.zeros((20, 3, 0))}, r"frame|\(20, 3, frames\)"),
        (".mat", {"d_skel": "text"}, r"numbers, found 'd_skel' as char"),
        (".mat", {"d_skel": np.full((20, 3, 4), 1j)}, r"as complex numbers \(20, 3, 4\)"),
        (".txt", np.ones((30, 4)), "20 rows.*30 rows of 4"),
        (".txt", np.ones((40, 3)), "3 columns without a header.*columns="),
        (".txt", np.zeros((40, 4)), "no joint was seen"),
        (".txt", np.full((40, 4), np.nan), "no joint was seen"),
    ],
)
def test_wrong_contents_are_explained(tmp_path, suffix, content, message):
    path = tmp_path / f"clip{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(content))
    elif suffix == ".mat":
        scipy.io.savemat(path, content)
    else:
        np.savetxt(path, content)
    with pytest.raises(ValueError, match=message) as error:
        read_skeleton(path)
    assert str(path) in str(error.value)
