"""Videos and cameras on the command line, with made-up poses; what a model says of streams is tested with streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from motion import landmarks, motion, pixels
from PIL import Image

from llm_action.cli import main
from llm_action.modeling.skeleton_stream import StreamResult
from llm_action.skeleton_io import camera, read_skeleton, video
from llm_action.skeleton_io.pose_estimation import Pose
from llm_action.skeleton_io.video import VideoPoses

SIZE, FRAMES = (160, 120), 6


def pose(across: float, frame: int = 0) -> Pose:
    """Somebody in a small picture, so many pixels from its left."""
    places = motion("mediapipe33", FRAMES)
    image = pixels(places)[frame] / 12
    image[:, 0] += across - image[:, 0].mean()
    return Pose(landmarks(places)[frame], image, np.ones(33))


@pytest.fixture
def film(tmp_path, monkeypatch) -> Path:
    """A file of six grey pictures with two persons."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\x00\x00\x00\x18ftypisom")
    monkeypatch.setattr(camera, "video_facts", lambda source: (25.0, SIZE, FRAMES))
    monkeypatch.setattr(camera, "pictures", lambda source: iter(np.full((FRAMES, *SIZE[::-1], 3), 128, np.uint8)))
    return path


class Estimator:
    def __init__(self, *arguments):
        pass

    def __call__(self, picture, seconds) -> list[Pose]:
        return [pose(40), pose(120)]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


class Pipeline:
    """Says of every stream how many frames it had."""

    def stream(self, streams, *arguments, **options):
        assert (options["layout"], options["up"], options["unit"], options["live"]) == ("mediapipe33", "-y", "m", False)
        for name, frames in streams.items():
            shapes = {np.shape(frame) for frame in frames}
            assert shapes == {(33, 4)}
            yield StreamResult(name, 0.2, "waving", 0.9, [{"label": "waving", "score": 0.9}], "waving", 0.8, 0)


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr("llm_action.skeleton_io.pose_estimation.PoseEstimator", Estimator)
    monkeypatch.setattr("llm_action.commands.answering.load_answering", lambda *_: Pipeline())


def test_every_person_has_a_line(film, watched, capsys):
    assert main(["watch", "MODEL", "--camera", str(film)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"0.20 s, person {number}: waving 0.800, window waving 0.900" for number in (1, 2)]


def test_annotated_pictures_show_the_skeletons(film, watched, tmp_path):
    out = tmp_path / "annotated"
    assert main(["watch", "MODEL", "--camera", str(film), "--out", str(out)]) == 0
    files = sorted(out.iterdir())
    assert len(files) == FRAMES
    picture = np.asarray(Image.open(files[0])).astype(int)
    assert picture.shape == (*SIZE[::-1], 3)
    for across in (40, 120):
        drawn = np.abs(picture[:, across - 20 : across + 20] - 128).max()
        assert drawn > 50
    assert np.abs(picture[:, :8] - 128).max() < 20  # nobody is there


def test_an_annotated_video(film, watched, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="the extra video is not installed")
    out = tmp_path / "annotated.mp4"
    assert main(["watch", "MODEL", "--camera", str(film), "--out", str(out)]) == 0
    capture = cv2.VideoCapture(str(out))
    assert (capture.get(7), capture.get(5), capture.get(3)) == (FRAMES, 25, SIZE[0])


def test_a_camera_that_is_not_there(monkeypatch, capsys):
    pytest.importorskip("cv2", reason="the extra video is not installed")
    monkeypatch.setattr("llm_action.skeleton_io.pose_estimation.PoseEstimator", Estimator)
    assert main(["watch", "MODEL", "--camera", "97"]) == 2
    assert "camera 97: cannot be opened" in capsys.readouterr().err


def test_pose_writes_what_reads_back(film, monkeypatch, tmp_path):
    persons = [pose(40, frame) for frame in range(FRAMES)]
    world, image = (np.array([[getattr(one, name) for one in persons]]) for name in ("world", "image"))
    poses = VideoPoses(world, image, np.random.default_rng(0).uniform(0.8, 1, (1, FRAMES, 33)), 25.0, SIZE)
    monkeypatch.setattr(video, "estimate_poses", lambda *_: poses)
    out = tmp_path / "film.npz"
    assert main(["pose", str(film), "--out", str(out), "--pixels"]) == 0
    found = read_skeleton(out)
    np.testing.assert_allclose(found.joints, image, atol=1e-3)
    assert (found.layout, found.fps) == ("mediapipe33", 25.0)


def test_pose_of_something_else(tmp_path, capsys):
    other = tmp_path / "skeleton.npz"
    np.savez(other, joints=np.ones((4, 25, 3)))
    assert main(["pose", str(other), "--out", str(tmp_path / "x.npz")]) == 2
    assert "expected a video" in capsys.readouterr().err
