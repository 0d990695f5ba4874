"""Skeletons and labels drawn into the pictures of a video, and such pictures written as a video or one by one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from llm_action.modeling.skeleton_layouts import SkeletonLayout

from .drawing import PERSON_COLOURS, draw_person

VIDEO_SUFFIX = ".mp4"


def draw_persons(
    picture: np.ndarray, persons: Sequence[np.ndarray | None], layout: SkeletonLayout, texts: Sequence[str] = ()
) -> np.ndarray:
    """Draws the persons' bones into a picture, left and right in different colours, and a text above each head.

    Args:
        picture: (height, width, 3) uint8 RGB.
        persons: (joints, 2) pixels each, NaN where a joint is missing; None: nobody.
        texts: one a person.

    Returns:
        A new picture of the same shape.
    """
    image = Image.fromarray(np.ascontiguousarray(picture))
    canvas, width = ImageDraw.Draw(image), max(2, image.height // 130)
    size = max(12, image.height // 30)
    font = ImageFont.load_default(size=size)
    for number, joints in enumerate(persons):
        if joints is None or not (seen := np.isfinite(joints).all(axis=1)).any():
            continue
        draw_person(canvas, joints, layout, PERSON_COLOURS[number % len(PERSON_COLOURS)], width)
        if number < len(texts) and texts[number]:
            top = joints[seen][np.argmin(joints[seen][:, 1])]
            at = (float(np.clip(top[0], 0, image.width)), max(float(top[1]) - 2 * width, 1.2 * size))
            canvas.text(at, texts[number], fill="white", font=font, anchor="md", stroke_width=2, stroke_fill="black")
    return np.asarray(image)


class PictureWriter:
    """Writes pictures as an .mp4, or as JPEG files into a folder.

    Args:
        path: ends in .mp4, or names a folder; made if need be.
        fps: of the video.
        size: (width, height).

    Raises:
        ValueError: another suffix, or OpenCV cannot write the video.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float, size: tuple[int, int]):
        self.path = Path(path)
        self._number, self._video = 0, None
        if self.path.suffix.lower() not in ("", VIDEO_SUFFIX):
            raise ValueError(f"{path}: expected a file name that ends in {VIDEO_SUFFIX}, or a folder")
        if not self.path.suffix:
            self.path.mkdir(parents=True, exist_ok=True)
            return
        import cv2

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._video = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not self._video.isOpened():
            raise ValueError(f"{path}: OpenCV cannot write this video; write into a folder instead")

    def write(self, picture: np.ndarray, times: int = 1) -> None:
        """Adds a picture, (height, width, 3) uint8 RGB; to a video so many times."""
        if self._video is None:
            Image.fromarray(picture).save(self.path / f"frame_{self._number:06d}.jpg", quality=90)
        else:
            for _ in range(times):
                self._video.write(np.ascontiguousarray(picture[:, :, ::-1]))
        self._number += times

    def close(self) -> None:
        if self._video is not None:
            self._video.release()
