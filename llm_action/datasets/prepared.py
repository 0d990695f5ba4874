"""Folders that `prepare` wrote: an Arrow table for `datasets.load_from_disk`, and a manifest that describes it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk

from .benchmark import Benchmark

MANIFEST = "manifest.json"


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Whether `prepare` has written this folder to its end."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest: dataset, layout, protocols and their counts, what was dropped, and each part's size and hash."""
    return json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))


def prepared_benchmark(folder: str | os.PathLike[str]) -> Benchmark:
    """Classes, layout and protocols of a prepared folder."""
    manifest = read_manifest(folder)
    return Benchmark(
        manifest["dataset"],
        tuple(manifest["labels"]),
        manifest["layout"],
        tuple(manifest["protocols"]),
        manifest["default_protocol"],
        metric=manifest["metric"],
    )


def open_prepared(folder: str | os.PathLike[str]) -> Dataset:
    """The table, memory-mapped.

    Raises:
        FileNotFoundError: a part is gone.
        ValueError: a part has another size than it was written with.
    """
    for part in read_manifest(folder)["parts"]:
        path = Path(folder) / part["file"]
        if not path.is_file():
            raise FileNotFoundError(f"{path}: this part of the prepared data is gone; run llm-action prepare again")
        if path.stat().st_size != part["bytes"]:
            raise ValueError(
                f"{path}: expected {part['bytes']} bytes, found {path.stat().st_size}; run llm-action prepare again"
            )
    return load_from_disk(str(folder))


def damaged_parts(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the parts whose content is not what the manifest's hash says; reads everything."""
    parts = read_manifest(folder)["parts"]
    return [part["file"] for part in parts if file_hash(Path(folder) / part["file"]) != part["sha256"]]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
