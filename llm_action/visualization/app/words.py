"""Errors of readers and models in the words of somebody who sees a page, not a program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAY_IT = "What the file does not say"  # the heading under which a reader's options are
OPTIONS = {
    "layout": "Joint layout",
    "up": "Axis that points up",
    "unit": "Unit of the coordinates",
    "mirrored": "Handedness of the axes",
    "axes": "Order of an array's axes",
    "columns": "Columns of a table",
    "image_size": "Width and height of the video",
    "missing": "Number that marks missing joints",
}
"""What a reader can be told, and what the page calls it."""

_OF_PROGRAMS = {
    "pass “": "choose “",
    "what is done in turn, or again, is told apart by segment()": (
        "“What happens when?” tells apart what is done in turn, or again"
    ),
    "image_size as (width, height) or '1920x1080'": "the width and height of the video as 1920x1080",
    "write it so or leave it out": "write it so or leave it empty",
    "leave layout out and convert with .to_layout(...)": "choose “as the file says” for it",
    "leave layout out": "choose “as the file says” for it",
    "” True or False": "”",
    "” True, as stated; try False": "” left-handed or mirrored, as stated; try right-handed",
    "” False, as stated; try True": "” right-handed, as stated; try left-handed or mirrored",
}
_PARTS = re.compile(r"expected (?P<expected>.+?),? (?:found|got|came) (?P<came>.+?)(?:; (?P<remedy>.+))?$", re.I)
_OPTION = re.compile(rf"\b({'|'.join(OPTIONS)})=(\w|['\"(\[-])?")


@dataclass(frozen=True)
class Trouble:
    """What went wrong: in one line, what was expected, what came, what to do about it; parts may be empty."""

    headline: str
    expected: str = ""
    came: str = ""
    remedy: str = ""


def trouble(error: Exception, files: Sequence[str]) -> Trouble:
    """What to say of an error that a recording caused or, without files, names of one's own."""
    text = " ".join(str(error).split())
    for file in files:  # uploads lie in folders nobody has seen
        text = text.replace(f"{file}: ", "").replace(file, Path(file).name)
    options = {found[1] for found in _OPTION.finditer(text)}
    text = _in_the_page_s_names(text).replace(" (np.savez(path, joints=...))", "")
    found = _PARTS.search(text)
    remedy = _sentence((found["remedy"] or "") if found else "")
    if options:
        remedy = f"{remedy} You can say it under “{SAY_IT}”.".strip()
    headline = f"{Path(files[0]).name} could not be recognised." if files else "These names cannot be chosen among."
    if found is None:
        return Trouble(headline, came=_sentence(text), remedy=remedy)
    return Trouble(headline, found["expected"], found["came"], remedy)


def doubt_in_words(doubt: str, name: str) -> str:
    """A `RecordingWarning` of a recording of that name, with the page's names of options."""
    return _sentence(_in_the_page_s_names(doubt.removeprefix(f"{name}: ")))


def no_model(error: str) -> Trouble:
    """What to say where the model cannot be loaded."""
    return Trouble(
        "The model could not be loaded, so nothing can be recognised.",
        came=error,
        remedy="Those who run this page have to mend it: check the model's folder or name, then start the page again.",
    )


def unforeseen(error: Exception) -> Trouble:
    """What to say of an error that nobody foresaw."""
    return Trouble(
        "This page made a mistake.",
        came=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
        remedy="It is not your recording's fault. Try again; if it comes back, tell those who run this page.",
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _in_the_page_s_names(text: str) -> str:
    named = _OPTION.sub(lambda found: f"“{OPTIONS[found[1]]}”" + (f" {found[2]}" if found[2] else ""), text)
    for program, page in _OF_PROGRAMS.items():
        named = named.replace(program, page)
    return named
