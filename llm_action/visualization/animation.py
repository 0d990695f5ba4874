"""Animated skeletons side by side, as GIF: for instance a recording and what the VQ-VAE makes of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .drawing import BACKGROUND, INK, SkeletonPanel, needed_extent, writable, write_title

PANEL = 240  # pixels
TITLE = 20
DEFAULT_FPS = 30.0


def animate_skeletons(
    rows: Sequence[Sequence[SkeletonSequence]],
    path: str | os.PathLike,
    titles: Sequence[Sequence[str]] | None = None,
    fps: float | None = None,
    max_frames: int = 64,
) -> Path:
    """Writes a grid of sequences that play at the same time.

    All panels of a row have one scale. A sequence shorter than the longest one stands still at its end. A bar at the
    bottom shows the time.

    Args:
        rows: grid of sequences; rows may differ in length.
        path: of the .gif to write; folders are made.
        titles: one text a panel, shaped like `rows`.
        fps: speed of the sequences; default: that of the first sequence that knows it, else 30.
        max_frames: longer sequences are thinned out to this many frames and play no slower.

    Returns:
        The path written. The picture is 240 pixels a column wide and 240 (260 with titles) a row high, plus 4.

    Raises:
        ValueError: nothing to show, titles of another shape, a wrong suffix, or fps or max_frames not positive.
    """
    path = writable(path, (".gif",))
    sequences = [sequence for row in rows for sequence in row]
    _check(rows, sequences, titles, fps, max_frames)
    fps = fps or next((sequence.fps for sequence in sequences if sequence.fps), DEFAULT_FPS)
    longest = max(sequence.num_frames for sequence in sequences)
    shown = np.linspace(0, longest - 1, min(longest, max_frames)).round().astype(int)

    panels = [_row_of_panels(row) for row in rows]
    pictures = [_picture(panels, titles, frame, (k + 1) / len(shown)) for k, frame in enumerate(shown)]
    return write_gif(pictures, path, fps * len(shown) / longest)


def write_gif(pictures: list[Image.Image], path: Path, fps: float) -> Path:
    """Writes pictures of one size as an endless GIF, in the colours of the one in the middle."""
    palette = pictures[len(pictures) // 2].quantize(64)
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    temporary = path.with_name(path.name + ".tmp")
    milliseconds = max(20, round(1000 / fps))
    pictures[0].save(temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    os.replace(temporary, path)
    return path


def _check(rows, sequences, titles, fps, max_frames) -> None:
    if not sequences:
        raise ValueError("expected at least one sequence to animate, got none")
    for sequence in sequences:
        if not isinstance(sequence, SkeletonSequence):
            raise ValueError(
                f"expected rows of SkeletonSequence (list[list[SkeletonSequence]]), got a {type(sequence).__name__}; "
                "wrap a single sequence as [[sequence]]"
            )
    if titles is not None and [len(row) for row in titles] != [len(row) for row in rows]:
        raise ValueError(
            f"expected one title a panel in rows of {[len(row) for row in rows]}, got {[len(row) for row in titles]}"
        )
    if (fps is not None and fps <= 0) or max_frames < 1:
        raise ValueError(f"expected fps above 0 and max_frames of at least 1, got {fps} and {max_frames}")


def _row_of_panels(row: Sequence[SkeletonSequence]) -> list[SkeletonPanel]:
    extents: dict[int, float] = {}  # metres and pixels do not share a scale
    for sequence in row:
        channels = sequence.joints.shape[-1]
        extents[channels] = max(extents.get(channels, 0.0), needed_extent(sequence))
    return [SkeletonPanel(sequence, PANEL, extents[sequence.joints.shape[-1]]) for sequence in row]


def _picture(panels: list[list[SkeletonPanel]], titles, frame: int, progress: float) -> Image.Image:
    title = TITLE if titles else 0
    width, height = PANEL * max(map(len, panels)), (PANEL + title) * len(panels)
    picture = Image.new("RGB", (width, height + 4), BACKGROUND)
    for i, row in enumerate(panels):
        for j, panel in enumerate(row):
            corner = (j * PANEL, i * (PANEL + title))
            picture.paste(panel.draw(frame), (corner[0], corner[1] + title))
            if titles:
                write_title(picture, str(titles[i][j]), (corner[0], corner[1] + 3), PANEL)
    ImageDraw.Draw(picture).rectangle([0, height + 1, progress * (width - 1), height + 3], fill=INK)
    return picture
