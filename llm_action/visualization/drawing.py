"""Skeletons drawn with pillow: one fixed oblique view, left and right in different colours, a floor grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from llm_action.modeling.skeleton_layouts import SkeletonLayout, get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

VIEW_YAW, VIEW_PITCH = np.deg2rad(20.0), np.deg2rad(12.0)
OVERSAMPLING = 2  # pillow's lines are not smooth: draw larger, then shrink
BACKGROUND, FLOOR, INK = (255, 255, 255), (224, 224, 224), (40, 40, 40)
# (middle, left, right) of each person; further persons take turns
PERSON_COLOURS = (
    ((70, 70, 70), (31, 119, 180), (214, 69, 43)),
    ((150, 150, 150), (44, 160, 140), (200, 140, 30)),
    ((110, 90, 130), (112, 72, 168), (201, 66, 130)),
    ((120, 120, 90), (90, 130, 40), (150, 90, 50)),
)


def project(sequence: SkeletonSequence) -> np.ndarray:
    """Projects joints onto a picture, (persons, frames, joints, 2): rightwards, upwards, in metres (2D: pixels).

    3D joints are seen as their camera saw them (in Kinect coordinates x grows to the sensor's left), a little from
    above and from the side; pixels, whose y grows downwards, as they are.
    """
    if sequence.joints.shape[-1] == 2:
        return sequence.joints * [1.0, -1.0]
    return _project_points(sequence.joints)


def _project_points(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    right = -x * np.cos(VIEW_YAW) + z * np.sin(VIEW_YAW)
    away = x * np.sin(VIEW_YAW) + z * np.cos(VIEW_YAW)
    return np.stack([right, y * np.cos(VIEW_PITCH) + away * np.sin(VIEW_PITCH)], axis=-1)


class SkeletonPanel:
    """A square part of a picture that shows one sequence, always at the same place and scale.

    Args:
        sequence: what to show.
        size: width and height in pixels.
        extent: metres (2D: pixels of the video) that fill the panel; default: what the sequence needs.
    """

    def __init__(self, sequence: SkeletonSequence, size: int, extent: float | None = None):
        self.size = size * OVERSAMPLING
        self.layout = get_layout(sequence.layout)
        self.points = project(sequence)
        self.floor = _floor_lines(sequence.joints) if sequence.joints.shape[-1] == 3 else np.empty((0, 2, 2))
        low, high = _bounds(self.points)
        self.centre = (low + high) / 2
        self.extent = extent or needed_extent(sequence)

    def draw(self, frame: int) -> Image.Image:
        """One frame as an RGB picture; a frame after the last shows the last."""
        image = Image.new("RGB", (self.size, self.size), BACKGROUND)
        canvas = ImageDraw.Draw(image)
        for start, end in self._pixels(self.floor):
            canvas.line([*start, *end], fill=FLOOR, width=OVERSAMPLING)
        frame = min(frame, self.points.shape[1] - 1)
        for person, pixels in enumerate(self._pixels(self.points[:, frame])):
            palette = PERSON_COLOURS[person % len(PERSON_COLOURS)]
            draw_person(canvas, pixels, self.layout, palette, max(2, self.size // 75))
        return image.resize((self.size // OVERSAMPLING,) * 2, Image.Resampling.BOX)

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        return self.size / 2 + (points - self.centre) * [1, -1] * self.size / self.extent


def draw_person(
    canvas: ImageDraw.ImageDraw, pixels: np.ndarray, layout: SkeletonLayout, palette: tuple, width: float
) -> None:
    """Draws one person's joints (joints, 2), NaN where missing, with lines so wide; the head is a disk."""
    seen = np.isfinite(pixels).all(axis=1)
    sides = [joint_colour(joint) for joint in layout.joints]
    for joint, parent in layout.bones:
        if seen[joint] and seen[parent]:
            canvas.line([*pixels[joint], *pixels[parent]], fill=palette[sides[joint]], width=round(width))
    for joint in np.flatnonzero(seen).tolist():
        radius = width * (2.0 if layout.standard[joint] == "head" else 0.8)
        canvas.circle(tuple(pixels[joint]), radius, fill=palette[sides[joint]])


def needed_extent(sequence: SkeletonSequence) -> float:
    """Measures the side of a square that holds the whole sequence with some margin, in the units of `project`."""
    low, high = _bounds(project(sequence))
    return float(max((high - low).max(), 1e-3) * 1.15)


def _bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of all points but the wildest, so that one stray joint does not shrink the picture."""
    flat = points.reshape(-1, 2)
    flat = flat[np.isfinite(flat).all(axis=1)]
    return np.percentile(flat, 0.2, axis=0), np.percentile(flat, 99.8, axis=0)


def _floor_lines(joints: np.ndarray) -> np.ndarray:
    """A half-metre grid under the persons, (lines, 2 ends, 2)."""
    flat = joints.reshape(-1, 3)
    flat = flat[np.isfinite(flat).all(axis=1)]
    height = np.percentile(flat[:, 1], 0.5)
    (left, near), (right, far) = np.percentile(flat[:, [0, 2]], [1, 99], axis=0) + np.array([[-0.4], [0.4]])
    across = [[(x, height, near), (x, height, far)] for x in np.linspace(left, right, round((right - left) / 0.5) + 2)]
    along = [[(left, height, z), (right, height, z)] for z in np.linspace(near, far, round((far - near) / 0.5) + 2)]
    return _project_points(np.array(across + along))


def joint_colour(name: str) -> int:
    """Says which of a person's three colours a joint has: the middle's, the left's or the right's."""
    return 1 if name.startswith("left_") else 2 if name.startswith("right_") else 0


def write_title(image: Image.Image, text: str, at: tuple[int, int], width: int) -> None:
    """Writes a centred text above a panel, shortened to its width."""
    font, canvas = ImageFont.load_default(size=13), ImageDraw.Draw(image)
    text = shortened(text, font, canvas, width - 6)
    canvas.text((at[0] + width / 2, at[1]), text, fill=INK, font=font, anchor="ma")


def shortened(text: str, font: Any, canvas: ImageDraw.ImageDraw, width: float) -> str:
    """Shortens a text until it is no wider than so many pixels."""
    while len(text) > 1 and canvas.textlength(text, font=font) > width:
        text = text[:-2].rstrip("…") + "…"
    return text


def writable(path: str | os.PathLike, suffixes: tuple[str, ...]) -> Path:
    """Makes the folder of a path and returns the path.

    Raises:
        ValueError: another suffix than one of `suffixes`.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: expected a file name that ends in {' or '.join(suffixes)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
