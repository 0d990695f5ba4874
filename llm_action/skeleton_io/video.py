"""Videos: the poses of persons, estimated picture by picture and kept beside the video.

A video is read once: `NAME.poses.safetensors` beside it holds what the pose estimator found, and counts as long as the
video and the estimator are the same. Joints are MediaPipe's 33; in metres, around the camera, or with `unit="px"` in
pixels of the picture. A mirrored video (`mirrored=True`: NTU RGB+D's, selfies as phones show them) is turned over.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from llm_action.config.atomic_files import file_hash
from llm_action.config.progress import ProgressBar
from llm_action.modeling.person_tracking import track_persons
from llm_action.modeling.plausibility import torso_unit
from llm_action.modeling.skeleton_recording import SkeletonRecording

from .files import bad_file
from .options import ReadOptions
from .pose_estimation import LAYOUT, PERSONS, PIP_LINE, Placing, Pose, PoseEstimator, estimator_name, mirrored_landmarks

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
_VERSION = "1"  # of what is kept beside a video
_USUAL_FPS = 30.0
_DOUBTFUL = 0.25  # share of frames without anybody from which on that is a doubt


class VideoPoses(NamedTuple):
    """What a pose estimator found in a video; rows are places in its lists, NaN where nobody is found.

    Attributes:
        world: (persons, frames, 33, 3) as `Pose` has them.
        image: (persons, frames, 33, 2) pixels.
        visibility: (persons, frames, 33).
        fps: frames per second.
        size: (width, height) in pixels.
    """

    world: np.ndarray
    image: np.ndarray
    visibility: np.ndarray
    fps: float
    size: tuple[int, int]


def is_video(head: bytes, suffix: str) -> bool:
    """Whether a file is a video, by its first bytes or its suffix."""
    container = (
        (head[:4] == b"RIFF" and head[8:12] == b"AVI ") or head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3"
    )
    return container or suffix in VIDEO_SUFFIXES


def read_video(path: Path, options: ReadOptions) -> SkeletonRecording:
    """The persons of a video, layout mediapipe33, with visibility as scores.

    Frames in which nobody is found are noted; if they are a quarter of all or more, that is a doubt.

    Raises:
        ValueError: not a readable video, nobody in it, or no pose estimator installed.
    """
    persons = PERSONS if options.persons is None else options.persons
    poses = tracked(video_poses(path, options.pose_model, persons))
    known: dict[str, Any] = {"fps": poses.fps, "scores": poses.visibility, "layout": LAYOUT.name, "name": path.stem}
    mirrored = bool(options.mirrored)
    notes = ["The video is mirrored: left and right are turned over."] if mirrored else []
    doubts = []
    if empty := int(np.isnan(poses.world).all(axis=(0, 2, 3)).sum()):
        said = f"Nobody was found in {empty} of {poses.world.shape[1]} frames"
        if empty < _DOUBTFUL * poses.world.shape[1]:
            notes.append(f"{said}.")
        else:
            doubts.append(f"{said}: what is done there counts for nothing. Show the whole body, in good light.")
    known |= {"notes": notes, "doubts": doubts}
    if options.unit == "px":
        joints = poses.image
        if mirrored:
            joints = mirrored_landmarks(joints) * [-1, 1] + [poses.size[0], 0]
        recording = SkeletonRecording(joints, up="-y", unit="px", **known)
    else:
        joints = placed(poses)
        if mirrored:  # turned by half a circle, so that turning over z, which follows, is turning over x
            joints = mirrored_landmarks(joints) * [-1, 1, -1]
        recording = SkeletonRecording(joints, up="-y", unit="m", mirrored=mirrored, **known)
    if mirrored:
        recording.scores = mirrored_landmarks(poses.visibility[..., None])[..., 0]
    return recording


def video_poses(path: Path, model: str | os.PathLike[str] | None = None, persons: int = PERSONS) -> VideoPoses:
    """The poses kept beside a video, else estimated and, where the folder can be written, kept.

    Raises:
        ValueError: see `read_video`.
    """
    kept = path.with_name(path.name + ".poses.safetensors")
    made_from = {
        "version": _VERSION,
        "video": file_hash(path),
        "estimator": estimator_name(model, persons),
    }
    poses = _load(kept, made_from)
    if poses is None:
        poses = estimate_poses(path, model, persons)
        _save(poses, kept, made_from)
    if np.isnan(poses.world).all():
        remedy = "nobody's body is seen well enough; check the video, or take another pose model (pose_model=)"
        raise bad_file(path, "a video of at least one person", f"nobody in {poses.world.shape[1]} frames", remedy)
    return poses


def estimate_poses(path: Path, model: str | os.PathLike[str] | None = None, persons: int = PERSONS) -> VideoPoses:
    """The poses in all frames of a video; shows progress on a terminal."""
    fps, size, count = video_facts(path)
    with PoseEstimator(model, persons) as estimator:
        shown = ProgressBar(pictures(path), path.name, count or None, unit=" pictures", disable=None)
        found = [estimator(picture, number / fps) for number, picture in enumerate(shown)]
    if not found:
        raise bad_file(path, "a video", "no picture in it", "the file is likely cut short or damaged: fetch it again")
    shape = (max(1, max(map(len, found))), len(found), LAYOUT.num_joints)
    world, image = np.full((*shape, 3), np.nan, np.float32), np.full((*shape, 2), np.nan, np.float32)
    visibility = np.zeros(shape, np.float32)
    for frame, row in enumerate(found):
        for person, pose in enumerate(row):
            world[person, frame], image[person, frame], visibility[person, frame] = pose
    return VideoPoses(world, image, visibility, fps, size)


def tracked(poses: VideoPoses) -> VideoPoses:
    """The same with a row a person, followed by where the picture shows them."""
    unit, _ = torso_unit(poses.image, LAYOUT)
    if len(poses.image) == 1 or not np.isfinite(unit):
        return poses
    # metres beside pixels are too small to decide who is near
    both, visibility, _ = track_persons(np.concatenate([poses.image, poses.world], -1), unit, poses.visibility)
    assert visibility is not None
    return poses._replace(image=both[..., :2], world=both[..., 2:], visibility=visibility)


def placed(poses: VideoPoses) -> np.ndarray:
    """World landmarks of persons, (persons, frames, 33, 3), where the camera saw them; see `Placing`."""
    joints = np.full_like(poses.world, np.nan)
    for person, row in enumerate(joints):
        place, last = Placing(poses.size), -1
        for frame in np.flatnonzero(~np.isnan(poses.world[person]).any(axis=(1, 2))):
            pose = Pose(poses.world[person, frame], poses.image[person, frame], poses.visibility[person, frame])
            row[frame], last = place(pose, (frame - last) / poses.fps), frame
    return joints


def pictures(path: str | os.PathLike[str] | int) -> Iterator[np.ndarray]:
    """The pictures of a video, (height, width, 3) uint8 RGB."""
    capture = open_capture(path)
    try:
        while True:
            there, picture = capture.read()
            if not there:
                return
            yield picture[:, :, ::-1]
    finally:
        capture.release()


def video_facts(path: str | os.PathLike[str] | int) -> tuple[float, tuple[int, int], int]:
    """Frames per second (30 where the video does not say), (width, height), and the number of frames (0: not said)."""
    capture = open_capture(path)
    try:
        fps, width, height, count = (capture.get(number) for number in (5, 3, 4, 7))
    finally:
        capture.release()
    return (fps if 0 < fps < 1000 else _USUAL_FPS), (int(width), int(height)), max(0, int(count))


def open_capture(source: str | os.PathLike[str] | int) -> Any:
    """OpenCV's capture of a file, a URL or a camera's number.

    Raises:
        ValueError: OpenCV is not installed, or cannot open it.
    """
    try:
        import cv2
    except ImportError as error:
        raise ValueError(f"expected OpenCV for a video, which is not installed ({error}): {PIP_LINE}") from None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said here
    capture = cv2.VideoCapture(source if isinstance(source, int) else os.fspath(source))
    if not capture.isOpened():
        capture.release()
        if isinstance(source, int):
            raise ValueError(f"camera {source}: cannot be opened; check that it is there and that nobody else uses it")
        raise ValueError(
            f"{source}: expected a video that OpenCV reads, found something else; the file is likely cut short or "
            "damaged, or in a codec that is not installed: convert it to mp4 (H.264)"
        )
    return capture


def _load(path: Path, made_from: dict[str, str]) -> VideoPoses | None:
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            if {name: about.get(name) for name in made_from} != made_from:
                return None
            world, image, visibility = (file.get_tensor(name) for name in ("world", "image", "visibility"))
            return VideoPoses(
                world, image, visibility, float(about["fps"]), (int(about["width"]), int(about["height"]))
            )
    except (OSError, SafetensorError, KeyError, ValueError):
        return None  # not there, or not what was kept


def _save(poses: VideoPoses, path: Path, made_from: dict[str, str]) -> None:
    about = {"fps": repr(poses.fps), "width": str(poses.size[0]), "height": str(poses.size[1]), **made_from}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        arrays = {"world": poses.world, "image": poses.image, "visibility": poses.visibility}
        save_file(arrays, temporary, about)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        warnings.warn(f"{path}: the poses are not kept, the next time takes as long: {error}", stacklevel=2)
