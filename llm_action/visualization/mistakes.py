"""What was confused: a mistaken sequence beside a typical one of the class it was taken for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .drawing import BACKGROUND, SkeletonPanel, needed_extent, writable, write_title

PANEL = 120  # pixels
TITLE = 24
GAP = 36


@dataclass
class Mistake:
    """A pair of confused classes.

    Args:
        true, predicted: the classes' names.
        count: sequences of `true` that were taken for `predicted`; rate: their share of the class, 0..1.
        mistaken: one of them.
        typical: a training sequence of `predicted`.
    """

    true: str
    predicted: str
    count: int
    rate: float
    mistaken: SkeletonSequence
    typical: SkeletonSequence


def plot_mistakes(mistakes: Sequence[Mistake], path: str | os.PathLike, frames: int = 6) -> Path:
    """Draws a row a pair: on the left the mistaken sequence, on the right the typical one, both from start to end.

    Args:
        mistakes: one row each; each sequence has a scale of its own.
        path: of the .png to write.
        frames: pictures of each sequence, evenly spaced in time.

    Raises:
        ValueError: no mistakes, `frames` below 1, or a wrong suffix.
    """
    path = writable(path, (".png",))
    if not mistakes or frames < 1:
        raise ValueError(f"expected a mistake and a frame to show, got {len(mistakes)} mistakes and {frames} frames")
    strip = PANEL * frames
    picture = Image.new("RGB", (2 * strip + GAP, (PANEL + TITLE) * len(mistakes)), BACKGROUND)
    for row, mistake in enumerate(mistakes):
        top = row * (PANEL + TITLE)
        times = "once" if mistake.count == 1 else f"{mistake.count} times"
        share = f"{times}, {mistake.rate:.0%} of the class"
        titles = f"{mistake.true}, taken for {mistake.predicted} ({share})", f"typical {mistake.predicted}"
        for left, title, sequence in zip((0, strip + GAP), titles, (mistake.mistaken, mistake.typical), strict=True):
            write_title(picture, title, (left, top + 5), strip)
            _draw_strip(picture, sequence, (left, top + TITLE), frames)
    temporary = path.with_name(path.name + ".tmp")
    picture.save(temporary, format="PNG")
    os.replace(temporary, path)
    return path


def _draw_strip(picture: Image.Image, sequence: SkeletonSequence, corner: tuple[int, int], frames: int) -> None:
    panel = SkeletonPanel(sequence, PANEL, needed_extent(sequence))
    moments = (np.arange(frames) + 0.5) / frames  # at the very start and end many just stand
    for k, frame in enumerate((moments * sequence.num_frames).astype(int).tolist()):
        picture.paste(panel.draw(frame), (corner[0] + k * PANEL, corner[1]))
