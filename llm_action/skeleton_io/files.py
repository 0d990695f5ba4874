"""What all readers share: error texts, and text, JSON and tables of numbers from disk."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from llm_action.config.reading import read_text, shortened

__all__ = [
    "bad_file",
    "check_room",
    "check_unpacked",
    "naming",
    "natural_key",
    "parse_json",
    "parse_numbers",
    "parse_rows",
    "plain_rows",
    "read_json",
    "read_text",
]

# An archive may unpack to so many bytes, or to so many times its size; compressed recordings are a tenth of theirs.
_UNPACKED, _PACKING = 1 << 26, 100
_ROOM = 20_000_000  # numbers that persons by frames may have, whoever is seen


def bad_file(path: Path | str, expected: str, found: str, remedy: str) -> ValueError:
    """The error of every reader: the file, what was expected, what came, what to do."""
    return ValueError(f"{path}: expected {expected}, found {shortened(found)}; {remedy}")


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Makes a ValueError that names the file of everything that its content makes go wrong; an OSError passes."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # numpy, json, scipy and zipfile each have their own
        if type(error) is not ValueError:
            found, remedy = f"{type(error).__name__}: {error}", "the file is likely damaged: fetch it again"
            raise bad_file(path, "what files of this format hold", found, remedy) from error
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {shortened(str(error)) if len(str(error)) > 1000 else error}") from None


def check_unpacked(archive: zipfile.ZipFile, names: Iterable[str]) -> None:
    """Refuses members of an archive that would fill the memory: far larger than the archive, as no recording is.

    Raises:
        ValueError: says both sizes.
    """
    infos = [archive.getinfo(name) for name in names]
    packed, unpacked = sum(info.compress_size for info in infos), sum(info.file_size for info in infos)
    if unpacked > max(_UNPACKED, _PACKING * packed):
        raise ValueError(f"an archive of {packed / 1e6:.1f} MB that unpacks to {unpacked / 1e6:.0f} MB")


def read_json(path: Path) -> Any:
    return parse_json(path, read_text(path))


def parse_json(path: Path, text: str) -> Any:
    """The content of JSON text; of JSON Lines the list of the lines' contents."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise bad_file(path, "JSON", f"broken JSON ({error})", "fetch the file again") from None
    except ValueError as error:
        lines = text.strip().splitlines()
        try:
            if len(lines) > 1 and "Extra data" in str(error):
                return [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            pass
        raise bad_file(path, "JSON", f"broken JSON ({error})", "the file is likely cut short: fetch it again") from None


def check_room(persons: int, frames: int, numbers: int, seen: int) -> None:
    """Refuses ids that change so often that nearly all of persons by frames would be empty, and fill the memory.

    Args:
        numbers: of a person in a frame.
        seen: persons in all frames together.

    Raises:
        ValueError: says how many ids there are.
    """
    if persons * frames * numbers > _ROOM and persons * frames > 20 * seen:
        raise ValueError(
            f"expected persons who keep their id, found {persons} ids in {frames} frames, in which {seen} were seen; "
            "give each person one id"
        )


def parse_rows(path: Path, lines: list[str], expected: str) -> np.ndarray:
    """(rows, columns) float64 of lines of numbers; ValueError when a line has no numbers or another column count."""
    if not any(line.strip() for line in lines):
        raise bad_file(path, expected, "no lines", "the file is likely cut short or damaged: fetch it again")
    try:
        return np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
    except ValueError as error:
        remedy = "the file is likely cut short or damaged: fetch it again"
        raise bad_file(path, expected, str(error).partition(";")[0], remedy) from None


def plain_rows(text: str, mark: str) -> np.ndarray | None:
    """(rows, columns) float64 of a text of numbers with one mark between two of them; None of any other.

    Far faster than `np.loadtxt`, which reads more.
    """
    content = text.strip().replace("\r\n", "\n").encode()
    letters = np.frombuffer(content, np.uint8)
    between = np.flatnonzero((letters == ord(mark)) | (letters == ord("\n")))
    ends = np.append(between, len(content))
    last = np.flatnonzero(letters[between] == ord("\n"))  # number of each line but the last one's
    columns = int(last[0]) + 1 if len(last) else len(ends)
    rows = len(last) + 1
    if rows * columns != len(ends) or (last != np.arange(1, rows) * columns - 1).any():
        return None
    numbers = parse_numbers(content, np.append(0, between + 1), ends)
    return None if numbers is None else numbers.reshape(rows, columns)


def parse_numbers(content: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """The numbers between ascending starts and ends, float64; None where one is no number.

    Arrow gets a column of texts that lie where they are: each number, and up to the next one a null.
    """
    count = 2 * starts.size
    offsets = np.empty(count + 1, np.int32)
    offsets[:-1:2], offsets[1::2] = starts.ravel(), ends.ravel()
    offsets[-1] = offsets[-2]
    valid = b"\x55" * (count // 8 + 1)  # every other bit
    texts = pa.StringArray.from_buffers(count, *map(pa.py_buffer, (offsets, content, valid)))
    try:
        numbers = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return np.frombuffer(numbers.buffers()[1], np.float64, count)[::2]


def natural_key(name: str) -> list[Any]:
    """Sorts frame2 before frame10."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name)]
