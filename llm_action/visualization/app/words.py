"""Errors of readers and models in the words of somebody who sees a page, not a program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SAY_IT = "What the file does not say"  # the heading under which a reader's options are

_PARTS = re.compile(r"expected (?P<expected>.+?),? (?:found|got) (?P<came>.+?)(?:; (?P<remedy>.+))?$", re.I | re.S)
_OPTION = re.compile(r"\b(layout|axes|up|unit|image_size|missing|mirrored)\s*=")


@dataclass(frozen=True)
class Trouble:
    """What went wrong: in one line, what was expected, what came, what to do about it; parts may be empty."""

    headline: str
    expected: str = ""
    came: str = ""
    remedy: str = ""


def trouble(error: Exception, files: list[str]) -> Trouble:
    """What to say of an error that a recording or names of one's own caused."""
    text = " ".join(str(error).split())
    for file in files:  # uploads lie in folders nobody has seen
        text = text.replace(f"{file}: ", "").replace(file, Path(file).name)
    text = re.sub(r"/\S*/(?=[^/\s])", "", text)
    name = Path(files[0]).name if files else "This"
    headline = f"{name} could not be recognised."
    found = _PARTS.search(text)
    remedy = (found["remedy"] or "") if found else ""
    if _OPTION.search(text):
        remedy = f"{_sentence(remedy)} You can say so below, under “{SAY_IT}”.".strip()
    if found is None:
        return Trouble(headline, came=_sentence(text), remedy=remedy)
    return Trouble(headline, _sentence(found["expected"]), _sentence(found["came"]), _sentence(remedy))


def unforeseen(error: Exception) -> Trouble:
    """What to say of an error that nobody foresaw."""
    return Trouble(
        "This page made a mistake.",
        came=_sentence(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"),
        remedy="It is not your recording's fault. Try again; if it comes back, tell those who run this page.",
    )


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
