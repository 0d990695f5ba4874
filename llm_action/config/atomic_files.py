"""Files that appear whole or not at all."""

from __future__ import annotations

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
