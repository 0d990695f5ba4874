"""Skeletons and curves as SVG for pages: sharp at any size, moving without a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .drawing import PERSON_COLOURS, joint_colour, needed_extent, project

SIZE = 200  # units that a skeleton's picture is wide and high
HEAT = ((226, 232, 240), (251, 191, 36), (194, 37, 12))  # nothing, some, much
_HEAT_STEPS = 5


def colour(rgb: Sequence[float]) -> str:
    """Writes a colour of 0..255 numbers as pages do."""
    return "#" + "".join(f"{round(part):02x}" for part in rgb)


def heat(weight: float) -> str:
    """Gives a weight 0..1 a colour, from pale over yellow to red."""
    stops = np.array(HEAT, float)
    place = float(np.clip(weight, 0, 1)) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    return colour(stops[low] + (stops[low + 1] - stops[low]) * (place - low))


def skeleton_svg(
    joints: np.ndarray,
    layout: str,
    text: str,
    *,
    seconds: float | None = None,
    weights: np.ndarray | None = None,
    extent: float | None = None,
    css: str = "",
) -> str:
    """Draws a skeleton as an SVG picture.

    Args:
        joints: (persons, frames, joints, 3) as a model sees them, y up. Several frames move, over and over.
        layout: of the joints.
        text: what a screen reader says.
        seconds: that the movement takes; default 2.
        weights: (persons, joints) 0..1, how much each joint counts; drawn as dots, the larger and redder the more.
        extent: side of the square that is shown, in the joints' unit; default what they need.
        css: class of the picture.
    """
    sequence = SkeletonSequence(np.nan_to_num(joints, nan=0.0) + 1e-6, layout)  # a joint at zero is no missing one
    points = project(sequence)
    flat = points.reshape(-1, 2)
    low, high = np.percentile(flat, 0.5, axis=0), np.percentile(flat, 99.5, axis=0)
    scale = SIZE / (extent or needed_extent(sequence))
    pixels = SIZE / 2 + (points - (low + high) / 2) * [scale, -scale]
    time = max(0.4, seconds or 2.0)
    parts = []
    for person, person_pixels in enumerate(pixels):
        parts += _bones(person_pixels, layout, PERSON_COLOURS[person % len(PERSON_COLOURS)], time)
        if weights is not None:
            parts += _dots(person_pixels, weights[person], time)
    inside = f"<title>{escape(text)}</title>" + "".join(parts)
    return (
        f'<svg class="skeleton {css}" viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{escape(text)}">{inside}</svg>'
    )


def _bones(pixels: np.ndarray, layout: str, palette: tuple, seconds: float) -> list[str]:
    """Paths of one person's (frames, joints, 2) bones, one a colour."""
    found = get_layout(layout)
    sides = [joint_colour(joint) for joint in found.joints]
    paths = []
    for side, rgb in enumerate(palette):
        ends = np.array([bone for bone in found.bones if sides[bone[0]] == side], int).reshape(-1, 2)
        if len(ends):
            lines = [
                "".join(f"M{a[0]:.0f} {a[1]:.0f}L{b[0]:.0f} {b[1]:.0f}" for a, b in frame[ends]) for frame in pixels
            ]
            paths.append(_path(lines, seconds, f'stroke="{colour(rgb)}" stroke-width="4"'))
    heads = [joint for joint, name in enumerate(found.standard) if name == "head"]
    for head in heads:
        lines = [f"M{x:.0f} {y:.0f}h0" for x, y in pixels[:, head]]
        paths.append(_path(lines, seconds, f'stroke="{colour(palette[0])}" stroke-width="18"'))
    return paths


def _dots(pixels: np.ndarray, weights: np.ndarray, seconds: float) -> list[str]:
    """Paths of dots at joints, one a step of the colours."""
    steps = np.ceil(np.clip(weights, 0, 1) * _HEAT_STEPS).astype(int)
    paths = []
    for step in range(1, _HEAT_STEPS + 1):
        joints = np.flatnonzero(steps == step)
        if len(joints):
            lines = ["".join(f"M{x:.0f} {y:.0f}h0" for x, y in frame[joints]) for frame in pixels]
            width = 6 + 2 * step
            paths.append(_path(lines, seconds, f'stroke="{heat(step / _HEAT_STEPS)}" stroke-width="{width}"'))
    return paths


def _path(lines: list[str], seconds: float, style: str) -> str:
    """A path that becomes one line after the other."""
    start = f'<path fill="none" stroke-linecap="round" {style} d="{lines[0]}"'
    if len(lines) == 1:
        return start + "/>"
    values = ";".join([*lines, lines[-1]])  # it rests a moment before it begins again
    return (
        f'{start}><animate attributeName="d" dur="{seconds:.2f}s" repeatCount="indefinite" values="{values}"/></path>'
    )


def thinned(joints: np.ndarray, frames: int) -> np.ndarray:
    """Keeps at most so many of the frames of (persons, frames, joints, 3), evenly spread."""
    count = joints.shape[1]
    return joints[:, np.unique(np.linspace(0, count - 1, min(count, frames)).round().astype(int))]
