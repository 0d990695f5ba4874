"""Recordings as films and pictures: persons in colours, original beside reconstruction, labels and scores burnt in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .animation import DEFAULT_FPS, write_gif
from .drawing import BACKGROUND, INK, SkeletonPanel, needed_extent, shortened, writable
from .overlay import draw_persons

SUFFIXES = (".gif", ".mp4", ".png")
PANEL = 360  # pixels
HEAD = 34  # of the name above a panel
FOOT = 84  # of the labels below
POSES = 8  # of a still picture
MOST_FRAMES = 56  # of a GIF, which may play thinned out
BLUE, SOFT, PALE = (31, 111, 178), (91, 104, 117), (226, 232, 240)
_SHOWN_LABELS = 3
_FILM_WIDTH = 960  # of a video with its skeleton, at most


@dataclass(frozen=True)
class Rendered:
    """A recording to draw.

    Attributes:
        sequence: as it was recorded.
        decoded: what its action sentence is decoded to; None without a model.
        ranking: `[{"label", "score"}]`; none without a model.
    """

    sequence: SkeletonSequence
    decoded: SkeletonSequence | None = None
    ranking: Sequence[dict[str, Any]] = ()


def render(recordings: Sequence[Rendered], path: str | os.PathLike, fps: float | None = None) -> Path:
    """Writes recordings that play at the same time, or, as a PNG, a strip of poses each.

    Args:
        recordings: one or more; those without a reconstruction stand side by side, the others below each other.
        path: of the .gif, .mp4 or .png to write.
        fps: speed; default that of the first recording that knows it, else 30.

    Returns:
        The path written.

    Raises:
        ValueError: nothing to draw, a wrong suffix, or an .mp4 without the extra mp4.
    """
    path = writable(path, SUFFIXES)
    if not recordings:
        raise ValueError("expected a recording to draw, got none")
    if path.suffix.lower() == ".png":
        strips = [_strip(one) for one in recordings]
        save_picture(_stacked(strips), path)
        return path
    fps = fps or next((one.sequence.fps for one in recordings if one.sequence.fps), DEFAULT_FPS)
    longest = max(one.sequence.num_frames for one in recordings)
    count = min(longest, MOST_FRAMES) if path.suffix.lower() == ".gif" else longest
    moments = np.linspace(0, longest - 1, count).round().astype(int).tolist()
    scenes = [_Scene(one) for one in recordings]
    pictures = (_grid([scene.draw(moment) for scene in scenes], moment / max(longest - 1, 1)) for moment in moments)
    return write_film(pictures, path, fps * count / longest)


def write_film(pictures: Iterable[Image.Image], path: Path, fps: float) -> Path:
    """Writes pictures of one size as a .gif or .mp4."""
    if path.suffix.lower() == ".gif":
        return write_gif(list(pictures), path, fps)
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ValueError(
            f"{path}: expected the writer of MP4, which is not installed; pip install 'llm-action[mp4]', or name a .gif"
        ) from error
    pictures = iter(pictures)
    first = next(pictures)
    temporary = path.with_name(f"{path.stem}.tmp.mp4")
    writer = imageio_ffmpeg.write_frames(str(temporary), first.size, fps=fps, macro_block_size=2, quality=8)
    writer.send(None)
    for picture in chain([first], pictures):
        writer.send(np.ascontiguousarray(picture))
    writer.close()
    os.replace(temporary, path)
    return path


def overlaid(
    pictures: Iterable[np.ndarray], sequence: SkeletonSequence, ranking: Sequence[dict[str, Any]] = ()
) -> Iterator[Image.Image]:
    """Draws the skeletons estimated in a video over its pictures.

    Args:
        pictures: (height, width, 3) uint8 RGB, one a frame of the video.
        sequence: joints in pixels of these pictures.
        ranking: labels to write below.

    Raises:
        ValueError: joints that are not in pixels.
    """
    if sequence.joints.shape[-1] != 2:
        raise ValueError(
            f"{sequence.name}: expected joints in pixels of the video, got 3-D joints; read with unit='px'"
        )
    layout = get_layout(sequence.layout)
    for number, pixels in enumerate(pictures):
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        scale = min(1.0, _FILM_WIDTH / picture.width)
        size = [2 * round(scale * side / 2) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BILINEAR)
        frame = number - sequence.first_frame
        if 0 <= frame < sequence.num_frames:
            persons = list(sequence.joints[:, frame] * scale)
            picture = Image.fromarray(draw_persons(np.asarray(picture), persons, layout))
        if ranking:
            foot = Image.new("RGB", (picture.width, FOOT), BACKGROUND)
            _write_ranking(foot, ranking, (0, 0), picture.width)
            picture = _stacked([picture, foot])
        yield picture


class _Scene:
    """The panels of one recording: itself, what it is decoded to, its labels."""

    def __init__(self, given: Rendered):
        self.given = given
        shown = [given.sequence, *([given.decoded] if given.decoded else [])]
        self.panels = [SkeletonPanel(one, PANEL, needed_extent(one)) for one in shown]
        self.foot = FOOT if given.ranking else 0
        titles = [given.sequence.name or "recording", "made of its tokens"]
        self.empty = Image.new("RGB", (PANEL * len(shown), HEAD + PANEL + self.foot), BACKGROUND)
        for number, title in zip(range(len(shown)), titles):
            _write(self.empty, title, (number * PANEL + 14, 10), PANEL - 28, 15, INK if number == 0 else SOFT)
        if given.ranking:
            _write_ranking(self.empty, given.ranking, (0, HEAD + PANEL), self.empty.width)

    def draw(self, moment: int) -> Image.Image:
        """At a frame of the recording, or, after it, at its end."""
        picture = self.empty.copy()
        last = max(self.given.sequence.num_frames - 1, 1)
        for number, panel in enumerate(self.panels):
            frame = moment if number == 0 else round(min(moment / last, 1.0) * (panel.points.shape[1] - 1))
            picture.paste(panel.draw(frame), (number * PANEL, HEAD))
        return picture


def _strip(given: Rendered) -> Image.Image:
    """Poses from beginning to end, those of the reconstruction below, labels at the bottom."""
    shown = [given.sequence, *([given.decoded] if given.decoded else [])]
    size = PANEL // 2
    foot = FOOT if given.ranking else 0
    picture = Image.new("RGB", (size * POSES, HEAD + size * len(shown) + foot), BACKGROUND)
    _write(picture, given.sequence.name or "recording", (14, 10), picture.width - 28, 15, INK)
    for row, sequence in enumerate(shown):
        panel = SkeletonPanel(sequence, size, needed_extent(sequence))
        moments = ((np.arange(POSES) + 0.5) / POSES * sequence.num_frames).astype(int)
        for column, frame in enumerate(moments.tolist()):
            picture.paste(panel.draw(frame), (column * size, HEAD + row * size))
        if row:
            _write(picture, "made of its tokens", (14, HEAD + row * size), picture.width - 28, 13, SOFT)
    if given.ranking:
        _write_ranking(picture, given.ranking, (0, HEAD + size * len(shown)), picture.width)
    return picture


def _grid(pictures: Sequence[Image.Image], progress: float) -> Image.Image:
    """Pictures below each other, single panels side by side as well; a bar at the bottom shows the time."""
    columns = int(np.ceil(np.sqrt(len(pictures)))) if pictures[0].width == PANEL else 1
    width, height = max(one.width for one in pictures), max(one.height for one in pictures)
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * width, rows * height + 6), BACKGROUND)
    for number, picture in enumerate(pictures):
        grid.paste(picture, (number % columns * width, number // columns * height))
    canvas = ImageDraw.Draw(grid)
    canvas.rectangle([0, grid.height - 5, grid.width, grid.height], fill=PALE)
    canvas.rectangle([0, grid.height - 5, progress * grid.width, grid.height], fill=BLUE)
    return grid


def _stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (max(one.width for one in pictures), sum(one.height for one in pictures)), BACKGROUND)
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole


def _write_ranking(picture: Image.Image, ranking: Sequence[dict[str, Any]], at: tuple[int, int], width: int) -> None:
    """The best labels with bars, within `FOOT` pixels."""
    canvas, rows = ImageDraw.Draw(picture), list(ranking)[:_SHOWN_LABELS]
    left, right = at[0] + 14, at[0] + min(width, 2 * PANEL) - 14
    middle = left + round(0.56 * (right - left))
    for number, one in enumerate(rows):
        y, first = at[1] + 6 + number * 25, number == 0
        _write(picture, str(one["label"]), (left, y), middle - left - 10, 17 if first else 14, INK if first else SOFT)
        end = right - 58
        canvas.rounded_rectangle([middle, y + 4, end, y + 16], 5, fill=PALE)
        canvas.rounded_rectangle([middle, y + 4, middle + max(4, one["score"] * (end - middle)), y + 16], 5, fill=BLUE)
        font = ImageFont.load_default(size=14)
        canvas.text((right, y + 2), f"{100 * one['score']:.1f} %", fill=INK, font=font, anchor="ra")


def _write(picture: Image.Image, text: str, at: tuple[int, int], width: int, size: int, fill: tuple) -> None:
    font, canvas = ImageFont.load_default(size=size), ImageDraw.Draw(picture)
    canvas.text(at, shortened(text, font, canvas, width), fill=fill, font=font)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a PNG whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    picture.save(temporary, format="PNG")
    os.replace(temporary, path)
