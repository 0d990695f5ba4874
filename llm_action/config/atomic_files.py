"""Files that appear whole or not at all, and the hash that tells whether one still is."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def write_text(text: str, path: Path) -> None:
    """Writes a text file atomically; makes its folder if need be. Several processes may write the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(content: Any, path: Path) -> None:
    """Writes JSON atomically."""
    write_text(json.dumps(content, indent=2), path)


def file_hash(path: Path) -> str:
    """Computes the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
