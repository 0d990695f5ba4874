"""What all readers share: error texts, and text, JSON and tables of numbers from disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def bad_file(path: Path, expected: str, found: str, remedy: str) -> ValueError:
    """The error of every reader: the file, what was expected, what came, what to do."""
    return ValueError(f"{path}: expected {expected}, found {found}; {remedy}")


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Every ValueError from within names the file."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {error}") from None


def read_text(path: Path) -> str:
    """The file as text; ValueError when it is binary."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise bad_file(path, "a text file", "binary data", "check that the suffix fits the format") from None


def read_json(path: Path) -> Any:
    return parse_json(path, read_text(path))


def parse_json(path: Path, text: str) -> Any:
    """The content of JSON text; of JSON Lines the list of the lines' contents."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise bad_file(path, "JSON", f"broken JSON ({error})", "fetch the file again") from None
    except json.JSONDecodeError as error:
        lines = text.strip().splitlines()
        try:
            if len(lines) > 1 and error.msg == "Extra data":
                return [json.loads(line) for line in lines]
        except (json.JSONDecodeError, RecursionError):
            pass
        raise bad_file(path, "JSON", f"broken JSON ({error})", "the file is likely cut short: fetch it again") from None


def parse_rows(path: Path, lines: list[str], expected: str) -> np.ndarray:
    """(rows, columns) float64 of lines of numbers; ValueError when a line has no numbers or another column count."""
    if not any(line.strip() for line in lines):
        raise bad_file(path, expected, "no lines", "the file is likely cut short or damaged: fetch it again")
    try:
        return np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
    except ValueError as error:
        remedy = "the file is likely cut short or damaged: fetch it again"
        raise bad_file(path, expected, str(error).partition(";")[0], remedy) from None


def natural_key(name: str) -> list[Any]:
    """Sorts frame2 before frame10."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name)]


def rate_of(seconds: np.ndarray) -> float | None:
    """Frames per second of time stamps in seconds: from their median step; None when there is none."""
    steps = np.diff(np.unique(np.asarray(seconds, np.float64)))
    steps = steps[np.isfinite(steps)]
    if not len(steps) or np.median(steps) <= 0:
        return None
    return round(float(1 / np.median(steps)), 3)
