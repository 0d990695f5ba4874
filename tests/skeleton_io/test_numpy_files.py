import numpy as np
import pytest
from motion import motion

from llm_action.modeling.skeleton_recording import recording_of
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import read_skeleton, write_npz


def joints(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_npz_round_trip(tmp_path):
    array = joints(2, 5, 20, 3)
    array[1, :2] = np.nan
    scores = np.random.default_rng(1).uniform(0.5, 1, (2, 5, 20)).astype(np.float32)
    write_npz(SkeletonSequence(array, "kinect20_msr", 15, scores), tmp_path / "clip.npz")
    sequence = read_skeleton(tmp_path / "clip.npz")
    np.testing.assert_array_equal(sequence.joints, array)
    np.testing.assert_array_equal(sequence.scores, scores)
    assert (sequence.layout, sequence.fps, sequence.name) == ("kinect20_msr", 15.0, "clip")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]


def test_npz_round_trip_of_joints_alone(tmp_path):
    write_npz(SkeletonSequence(joints(5, 17, 2), "coco17"), tmp_path / "clip.npz")
    sequence = read_skeleton(tmp_path / "clip.npz")
    assert (sequence.fps, sequence.scores, sequence.joints.shape) == (None, None, (1, 5, 17, 2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body[..., [0, 2, 1]] * [1, -1, 1], {"up": "z"}),
        (lambda body: body * [1, 1, -1], {"mirrored": True}),
        (lambda body: body * 1000, {"unit": "mm"}),
        (lambda body: body.transpose(2, 0, 1), {"axes": "CTV"}),
        (lambda body: np.where(np.arange(body.shape[1])[:, None] == 5, -7.0, body), {"missing": -7.0}),
    ],
    ids=lambda value: "" if callable(value) else next(iter(value)),
)
def test_an_archive_says_what_a_mapping_may_say(tmp_path, change, said):
    body = motion("kinect20", 40)
    np.savez(tmp_path / "said.npz", joints=change(body), layout="kinect20", **said)
    found = read_skeleton(tmp_path / "said.npz").joints
    expected = recording_of({"joints": change(body), "layout": "kinect20", **said}).joints
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if "missing" not in said:
        np.testing.assert_allclose(found[0], body, atol=1e-4)
    assert np.isnan(found[0, :, 5]).all() == ("missing" in said)


def test_many_recordings_in_one_array_are_no_crowd(tmp_path):
    clips = np.stack([motion("kinect20", 12, shift) for shift in range(16)])
    np.savez(tmp_path / "clips.npz", joints=clips, layout="kinect20")
    with pytest.raises(ValueError, match="16 recordings.*axes=MTVC"):
        read_skeleton(tmp_path / "clips.npz")
    crowd = read_skeleton(tmp_path / "clips.npz", axes="MTVC")
    write_npz(crowd, tmp_path / "crowd.npz")
    assert read_skeleton(tmp_path / "crowd.npz").num_persons == crowd.num_persons == 16


def test_write_npz_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    write_npz(SkeletonSequence(joints(5, 17, 2), "coco17"), tmp_path / "clip.npz")

    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", broken)
    with pytest.raises(OSError, match="disk full"):
        write_npz(SkeletonSequence(joints(9, 17, 2), "coco17"), tmp_path / "clip.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]
    assert read_skeleton(tmp_path / "clip.npz").num_frames == 5


def test_write_npz_errors(tmp_path):
    sequence = SkeletonSequence(joints(5, 17, 2), "coco17")
    with pytest.raises(ValueError, match=r"ending in \.npz"):
        write_npz(sequence, tmp_path / "clip.npy")
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_npz(sequence, tmp_path / "absent" / "clip.npz")


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_npy_of_one_or_more_persons(tmp_path, dtype):
    array = (np.stack([motion("ntu25"), motion("ntu25", shift=1.5)]) * 1000).astype(dtype)
    np.save(tmp_path / "two.npy", array)
    np.save(tmp_path / "one.npy", array[0])
    assert read_skeleton(tmp_path / "two.npy", layout="ntu25").joints.shape == (2, 12, 25, 3)
    joints_of_one = read_skeleton(tmp_path / "one.npy", layout="ntu25").joints[0]
    np.testing.assert_allclose(joints_of_one, array[0].astype(np.float32) / 1000, rtol=1e-6, atol=1e-9)


def test_the_layout_is_taken_from_the_joint_count_only_when_that_is_clear(tmp_path):
    np.save(tmp_path / "clip.npy", motion("smarthome13"))
    assert read_skeleton(tmp_path / "clip.npy").layout == "smarthome13"
    np.save(tmp_path / "clip.npy", joints(5, 20, 3))
    with pytest.raises(ValueError, match=r"clip\.npy.*kinect20.*form no body.*layout="):
        read_skeleton(tmp_path / "clip.npy")
    for layout in ("ntu25", "body25", "kinect20_msr", "coco17", "human36m17"):
        np.save(tmp_path / "clip.npy", motion(layout))
        assert read_skeleton(tmp_path / "clip.npy").layout == layout
    np.save(tmp_path / "clip.npy", joints(5, 19, 3))
    with pytest.raises(ValueError, match=r"19 joints.*ntu25 \(25\).*JSON"):
        read_skeleton(tmp_path / "clip.npy")
    with pytest.raises(ValueError, match=r"25 joints for layout 'ntu25', got 19"):
        read_skeleton(tmp_path / "clip.npy", layout="ntu25")


def test_pickled_objects_are_not_loaded(tmp_path):
    objects = np.array([{"joints": 1}], dtype=object)
    np.save(tmp_path / "clip.npy", objects)
    np.savez(tmp_path / "clip.npz", joints=objects)
    for name in ("clip.npy", "clip.npz"):
        with pytest.raises(ValueError, match=f"{name}.*pickled objects are not read"):
            read_skeleton(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weights": joints(5, 25, 3)}, "'joints'.*weights"),
        ({"joints": joints(5, 7, 11)}, r"shape \(5, 7, 11\)"),
        ({"joints": joints(5, 25, 4)}, "fourth channel"),
        ({"joints": joints(0, 20, 3), "layout": "kinect20"}, "at least one person and one frame"),
        ({"joints": joints(5, 13, 3) * np.nan}, "no joint was seen"),
        ({"joints": np.full((5, 25, 3), "x")}, "expected numbers"),
        ({"joints": joints(5, 25, 3), "layout": "ntu24"}, "unknown skeleton layout"),
        ({"joints": joints(5, 25, 3), "layout": "coco17"}, "17 joints"),
        ({"joints": joints(5, 25, 3), "fps": [30, 30]}, "one number as 'fps'"),
        ({"joints": joints(5, 13, 3), "fps": -3}, "fps above 0"),
        ({"joints": joints(5, 13, 3), "scores": np.ones((5, 12))}, "scores of shape"),
    ],
)
def test_bad_archives_are_explained(tmp_path, arrays, message):
    np.savez(tmp_path / "clip.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        read_skeleton(tmp_path / "clip.npz")
    assert str(tmp_path / "clip.npz") in str(error.value)


def test_a_layout_that_contradicts_the_archive(tmp_path):
    np.savez(tmp_path / "clip.npz", joints=joints(5, 20, 3), layout="kinect20")
    with pytest.raises(ValueError, match="'kinect20' in the file"):
        read_skeleton(tmp_path / "clip.npz", layout="kinect20_msr")
