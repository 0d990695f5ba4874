"""Reads files that may be damaged or come from somebody else; whatever is wrong with one is said in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST = 500  # letters


def shortened(text: str) -> str:
    """Puts a text on one line and cuts it if it is longer than a reader wants."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


@contextmanager
def damaged(path: str | os.PathLike[str], remedy: str) -> Iterator[None]:
    """Turns whatever goes wrong with a file's content into one ValueError that names the file; an OSError passes.

    Args:
        remedy: what to do, "run llm-action prepare again".
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # every library has its own for damaged content
        if type(error) is ValueError and str(error).startswith(str(path)):
            raise
        reason = shortened(str(error))
        name = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise ValueError(f"{path}: damaged, or something else than expected ({name}{reason}); {remedy}") from error


def read_text(path: Path) -> str:
    """Reads UTF-8, with or without a byte order mark, and UTF-16 with one (as Excel's "Unicode text" has it).

    Raises:
        ValueError: it is no text.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise ValueError(
            f"{path}: expected a text file, found binary data; check that the suffix fits the format"
        ) from None


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or its lists are nested too deeply.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, found broken JSON ({error}); fetch or write the file again") from None


def recorded(path: Path) -> Any:
    """Reads JSON that an earlier run may have left; None where there is none, or it is damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None
