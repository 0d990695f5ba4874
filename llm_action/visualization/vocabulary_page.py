"""The page of an action tokenizer's vocabulary: every token as a small moving skeleton, and all of them in a disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from matplotlib import colormaps

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .drawing import needed_extent
from .pages import card, keys, write_page
from .svg import colour, skeleton_svg

_SECONDS = 1.6  # that a token's movement takes, slower than it is
_SHOWN = 0.005  # share of a token's uses from which a class is named
_RADIUS = 480  # units of the disk
_STYLE = (
    "<style>.cell{content-visibility:auto;contain-intrinsic-size:auto 280px}.cell:target{outline:3px solid var(--blue)}"
    ".disk a:hover circle,.disk a:focus circle{stroke:#000;stroke-width:4}</style>"
)


@dataclass(frozen=True)
class VocabularyEntry:
    """One token of a vocabulary.

    Attributes:
        name: as it is written, <a17>.
        count, share: uses in the training sentences, and their share of all uses.
        classes: those it speaks for most, with shares.
        joints: (frames, joints, 3) of the movement it is decoded to.
        neighbours: the nearest other tokens and how far off they are.
        place: in a disk of radius 1.
        group: what it is coloured by.
    """

    name: str
    count: int
    share: float
    classes: list[tuple[str, float]]
    joints: np.ndarray
    neighbours: list[tuple[str, float]]
    place: tuple[float, float]
    group: str


def write_vocabulary(
    entries: Sequence[VocabularyEntry], layout: str, size: int, path: str | os.PathLike, model: str = ""
) -> Path:
    """Writes the page.

    Args:
        entries: of the used tokens, in the order to show them.
        layout: of their joints.
        size: tokens that there are.
        path: of the .html to write.
        model: its name.

    Raises:
        ValueError: no tokens, or a wrong suffix.
    """
    if not entries:
        raise ValueError("expected a token to show, got none")
    groups = list(dict.fromkeys(entry.group for entry in sorted(entries, key=lambda entry: entry.group)))
    wheel = colormaps["tab20" if len(groups) > 10 else "tab10"]
    hues = colormaps["hsv"] if len(groups) > 20 else None
    paints = {
        group: colour([255 * part for part in (hues(k / len(groups)) if hues else wheel(k))[:3]])
        for k, group in enumerate(groups)
    }
    extent = float(np.median([needed_extent(_sequence(entry.joints, layout)) for entry in entries])) * 1.1
    head = (
        f'{_STYLE}<header><p class="soft">{escape(model)}</p><h1>{len(entries)} action tokens</h1>'
        f"<p>The training sentences use {len(entries)} of {size} tokens. Each is drawn as the movement it is decoded "
        "to, between the tokens that stand most often around it.</p></header>"
    )
    disk = card(
        "The codebook",
        _disk(entries, paints),
        keys(paints),
        about="Each dot is a token, the larger the more frequent, where its two main components lie in the codebook's "
        "disk: far from the centre everything is farther apart than it looks. A dot leads to its token.",
    )
    cells = "".join(_cell(entry, layout, extent, paints[entry.group]) for entry in entries)
    tokens = card("The tokens, the most frequent first", f'<ul class="grid" style="--cell:150px">{cells}</ul>')
    return write_page(f"Vocabulary {model}", [head, disk, tokens], path)


def _sequence(joints: np.ndarray, layout: str) -> SkeletonSequence:
    return SkeletonSequence(joints[None] + 1e-6, layout)


def _anchor(name: str) -> str:
    return "t" + "".join(letter for letter in name if letter.isalnum())


def _disk(entries: Sequence[VocabularyEntry], paints: dict[str, str]) -> str:
    side = 2 * _RADIUS + 40
    most = max(entry.count for entry in entries)
    dots = []
    for entry in sorted(entries, key=lambda entry: -entry.count):  # small ones over large ones
        x, y = (side / 2 + sign * part * _RADIUS for sign, part in zip((1, -1), entry.place, strict=True))
        radius = 5 + 22 * (entry.count / most) ** 0.5
        said = f"{entry.name}, {entry.share:.1%}, {entry.group}"
        dots.append(
            f'<a href="#{_anchor(entry.name)}" aria-label="{escape(said)}"><circle cx="{x:.0f}" cy="{y:.0f}" '
            f'r="{radius:.1f}" fill="{paints[entry.group]}" fill-opacity=".75" stroke="#fff" stroke-width="1.5">'
            f"<title>{escape(said)}</title></circle></a>"
        )
    rim = f'<circle cx="{side / 2}" cy="{side / 2}" r="{_RADIUS}" fill="#fbfcfd" stroke="#5b6875" stroke-width="2"/>'
    return (
        f'<svg class="disk" viewBox="0 0 {side} {side}" role="group" aria-label="The codebook as a disk" '
        f'style="max-width:640px;width:100%">{rim}{"".join(dots)}</svg>'
    )


def _cell(entry: VocabularyEntry, layout: str, extent: float, paint: str) -> str:
    classes = "<br>".join(f"{escape(label)} {share:.0%}" for label, share in entry.classes if share >= _SHOWN)
    near = ", ".join(
        f'<a href="#{_anchor(name)}" title="distance {distance:.2f}">{escape(name)}</a>'
        for name, distance in entry.neighbours
    )
    said = f"{entry.name}, a movement that speaks for {entry.classes[0][0]}" if entry.classes else entry.name
    extent = max(extent, needed_extent(_sequence(entry.joints, layout)))  # tall ones are not cut off
    moving = skeleton_svg(entry.joints[None], layout, said, seconds=_SECONDS, extent=extent)
    return (
        f'<li class="cell" id="{_anchor(entry.name)}" style="border-top:5px solid {paint}">{moving}'
        f"<b>{escape(entry.name)}</b> {entry.share:.2%}<br>{classes}<br>"
        f'<span class="soft">near: <span class="near">{near or "none"}</span></span></li>'
    )
