"""Videos: what a pose estimator finds in them becomes a recording like any other.

Where a test needs the estimator itself it says so (`mediapipe`); elsewhere made-up poses stand in for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from motion import landmarks, motion

from llm_action.modeling.skeleton_layouts import get_layout, map_joints
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.skeleton_io import read_skeleton, recordings_in, video
from llm_action.skeleton_io.pose_estimation import PoseEstimator
from llm_action.skeleton_io.video import VideoPoses

SIZE = (1920, 1080)
FOCAL_LENGTH = 0.8 * SIZE[0]  # of the camera that is assumed
LAYOUT = get_layout("mediapipe33")
KINECT = get_layout("kinect20")
LIMBS = [
    KINECT.index(f"{side}_{joint}")
    for side in ("left", "right")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
]


def seen_by_camera(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World landmarks and pixels of (frames, 33, 3) in the package's frame, as a perfect estimator would give them."""
    x, y, z = np.moveaxis(places, -1, 0)
    pixels = np.stack([SIZE[0] / 2 - FOCAL_LENGTH * x / z, SIZE[1] / 2 - FOCAL_LENGTH * y / z], axis=-1)
    return landmarks(places), pixels


def poses_of(*persons: np.ndarray) -> VideoPoses:
    worlds, pictures = zip(*(seen_by_camera(places) for places in persons))
    visibility = np.random.default_rng(0).uniform(0.9, 1, (len(persons), len(persons[0]), 33))
    return VideoPoses(np.array(worlds), np.array(pictures), visibility, 25.0, SIZE)


@pytest.fixture
def filmed(tmp_path, monkeypatch):
    """Makes a file whose poses are made up; counts how often they were estimated."""

    def make(poses: VideoPoses, name: str = "film.mp4") -> Path:
        path = tmp_path / name
        path.write_bytes(b"\x00\x00\x00\x18ftypisom" + name.encode())
        monkeypatch.setattr(video, "estimate_poses", lambda *_: make.calls.append(1) or poses)
        return path

    make.calls = []
    return make


class TestPlaces:
    def test_a_person_is_where_the_camera_saw_it(self, filmed):
        places = motion("mediapipe33", 40)
        sequence = read_skeleton(filmed(poses_of(places)))
        assert (sequence.layout, sequence.fps, sequence.joints.shape) == ("mediapipe33", 25.0, (1, 40, 33, 3))
        # a body has depth, which the size of a person in a picture leaves out
        assert np.abs(sequence.joints[0] - places).max() < 0.12
        moved = np.ptp(sequence.joints[0].mean(1), axis=0)
        np.testing.assert_allclose(moved, np.ptp(places.mean(1), axis=0), atol=0.06)

    def test_pixels_are_those_of_the_picture(self, filmed):
        places = motion("mediapipe33")
        sequence = read_skeleton(filmed(poses_of(places)), unit="px")
        np.testing.assert_allclose(sequence.joints[0], seen_by_camera(places)[1], atol=1e-2)

    def test_persons_keep_their_rows_when_the_estimator_swaps_them(self, filmed):
        left, right = motion("mediapipe33", 20, -0.8), motion("mediapipe33", 20, 0.8)
        poses = poses_of(left, right)
        for part in poses[:3]:
            part[:, 10:] = part[::-1, 10:].copy()
        sequence = read_skeleton(filmed(poses))
        found = sequence.joints[np.argsort(sequence.joints[:, 0, 0, 0])]
        for one, places in zip(found, (left, right)):
            assert np.abs(one - places).max() < 0.15

    def test_landmarks_that_are_hardly_visible_are_missing(self, filmed):
        poses = poses_of(motion("mediapipe33"))
        poses.visibility[0, 3:6, LAYOUT.index("left_wrist")] = 0.1
        joints = read_skeleton(filmed(poses)).joints
        assert np.isnan(joints[0, 3:6, LAYOUT.index("left_wrist")]).all()
        assert np.isnan(joints).sum() == 9


class TestNobody:
    """Frames in which nobody is found are counted: a note, and where they are many a doubt."""

    @pytest.fixture
    def seen_in(self, filmed):
        def read(frames: int):
            poses = poses_of(motion("mediapipe33", 40), motion("mediapipe33", 40, 0.8))
            poses.world[:, frames:] = poses.image[:, frames:] = np.nan
            poses.world[1, 20:] = poses.image[1, 20:] = np.nan  # one person less is not nobody
            return read_skeleton(filmed(poses))

        return read

    def test_where_somebody_is_always_found_nothing_is_said(self, seen_in, recwarn):
        assert not any("Nobody" in note for note in seen_in(40).notes)
        assert not any("Nobody" in str(one.message) for one in recwarn)

    def test_few_are_a_note(self, seen_in, recwarn):
        assert "Nobody was found in 9 of 40 frames." in seen_in(31).notes
        assert not any("Nobody" in str(one.message) for one in recwarn)

    @pytest.mark.parametrize("unit", (None, "px"))
    def test_many_are_a_doubt(self, filmed, unit):
        poses = poses_of(motion("mediapipe33", 40))
        poses.world[:, 5:15] = poses.image[:, 5:15] = np.nan
        with pytest.warns(RecordingWarning, match=r"film: Nobody was found in 10 of 40 frames: .*Show the whole body"):
            read_skeleton(filmed(poses), unit=unit)


class TestMirrored:
    """A mirrored video shows somebody's right arm as the left arm of a person on the other side."""

    @pytest.fixture
    def mirrored(self) -> VideoPoses:
        places = motion("mediapipe33", 30, 0.3) * [-1, 1, 1]  # the mirror image
        twin = {left: right for pair in LAYOUT.left_right for left, right in (pair, pair[::-1])}
        names = [twin.get(joint, joint) for joint in range(33)]
        return poses_of(places[:, names])

    @pytest.mark.parametrize("unit", (None, "px"))
    def test_turned_over_it_is_the_recording(self, filmed, mirrored, unit):
        expected = read_skeleton(filmed(poses_of(motion("mediapipe33", 30, 0.3)), "true.mp4"), unit=unit)
        found = read_skeleton(filmed(mirrored, "mirrored.mp4"), unit=unit, mirrored=True)
        np.testing.assert_allclose(found.joints, expected.joints, atol=1e-3)
        assert any("mirrored" in note for note in found.notes)

    def test_scores_go_with_their_joints(self, filmed, mirrored):
        mirrored.visibility[0, :, LAYOUT.index("left_wrist")] = 0.1
        found = read_skeleton(filmed(mirrored), mirrored=True)
        assert np.isnan(found.joints[0, :, LAYOUT.index("right_wrist")]).all()


class TestKept:
    def test_poses_are_estimated_once(self, filmed):
        path = filmed(poses_of(motion("mediapipe33")))
        first, second = read_skeleton(path), read_skeleton(path)
        np.testing.assert_array_equal(first.joints, second.joints)
        assert len(filmed.calls) == 1
        assert recordings_in(path.parent) == [path]  # what is kept is no recording

    @pytest.mark.parametrize("change", ("content", "persons", "damaged"))
    def test_another_video_or_estimator_is_estimated_anew(self, filmed, change):
        path = filmed(poses_of(motion("mediapipe33")))
        read_skeleton(path)
        if change == "content":
            path.write_bytes(path.read_bytes() + b"more")
        if change == "damaged":
            path.with_name("film.mp4.poses.safetensors").write_bytes(b"nonsense")
        read_skeleton(path, persons=1 if change == "persons" else None)
        assert len(filmed.calls) == 2

    def test_where_nothing_can_be_written_it_says_so_and_answers(self, filmed, monkeypatch):
        path = filmed(poses_of(motion("mediapipe33")))

        def full(*_):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(video, "save_file", full)
        with pytest.warns(UserWarning, match="not kept"):
            assert read_skeleton(path).num_frames == 12
        assert [file.name for file in path.parent.iterdir()] == ["film.mp4"]


class TestBadInput:
    @pytest.mark.parametrize("module", ("mediapipe", "cv2"))
    def test_without_the_extra_the_line_that_installs_it(self, tmp_path, monkeypatch, module):
        path = tmp_path / "film.mp4"
        path.write_bytes(b"\x00\x00\x00\x18ftypisom")
        monkeypatch.setitem(sys.modules, module, None)
        if module == "mediapipe":
            monkeypatch.setattr(video, "video_facts", lambda path: (25.0, SIZE, 0))
        with pytest.raises(ValueError, match=r"pip install 'llm-action\[video\]'"):
            read_skeleton(path)

    def test_a_damaged_video(self, tmp_path):
        pytest.importorskip("mediapipe", reason="the extra video is not installed")
        path = tmp_path / "film.mp4"
        path.write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(1000))
        with pytest.raises(ValueError, match=r"film\.mp4: expected a video"):
            read_skeleton(path)

    def test_nobody_in_it(self, tmp_path):
        pytest.importorskip("mediapipe", reason="the extra video is not installed")
        path = tmp_path / "film.mp4"
        written(path, np.zeros((4, 120, 160, 3), np.uint8))
        with pytest.raises(ValueError, match="nobody in 4 frames"):
            read_skeleton(path)

    def test_a_pose_model_that_is_none(self, tmp_path):
        pytest.importorskip("mediapipe", reason="the extra video is not installed")
        with pytest.raises(FileNotFoundError, match="no such pose model"):
            PoseEstimator(tmp_path / "absent.task")
        (tmp_path / "bad.task").write_bytes(b"nonsense")
        with pytest.raises(ValueError, match="expected a pose model of MediaPipe"):
            PoseEstimator(tmp_path / "bad.task")


def written(path: Path, pictures: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2", reason="the extra video is not installed")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, pictures.shape[2:0:-1])
    for picture in pictures:
        writer.write(picture)
    writer.release()


@pytest.mark.real_data
class TestRealVideo:
    """The colour video of an NTU recording, which is mirrored, beside the Kinect's joints."""

    @pytest.fixture(scope="class")
    def pair(self, data_root, tmp_path_factory):
        pytest.importorskip("mediapipe", reason="the extra video is not installed")
        path = data_root / "video/S001C001P001R001A001_rgb.avi"
        if not path.is_file():
            pytest.skip(f"no {path}")
        link = tmp_path_factory.mktemp("video") / path.name  # poses are kept beside it
        link.symlink_to(path)
        return link, read_skeleton(data_root / "ntu_samples/S001C001P001R001A001.skeleton")

    @staticmethod
    def error(found, expected) -> float:
        """Mean distance of twelve joints in metres after the best similarity of every frame (Kabsch, Umeyama)."""
        distances = []
        pairs = (map_joints(one.joints, one.layout, "kinect20")[0][:, LIMBS] for one in (found, expected))
        for one, other in zip(*pairs):
            one, other = one - one.mean(0), other - other.mean(0)
            left, sizes, right = np.linalg.svd(one.T @ other)
            signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
            scale = (sizes * signs).sum() / (one**2).sum()
            distances.append(np.linalg.norm(scale * one @ (left * signs) @ right - other, axis=-1).mean())
        return float(np.mean(distances))

    def test_mirrored_it_is_what_the_kinect_saw(self, pair):
        path, kinect = pair
        found = read_skeleton(path, mirrored=True)
        assert found.joints.shape == (1, kinect.num_frames, 33, 3)
        assert self.error(found, kinect) < 0.07
        assert self.error(read_skeleton(path), kinect) > 0.1  # left is right
