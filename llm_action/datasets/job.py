"""What a table is made from: its files, cut into parts, and a hash that two tables share only if they are the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .benchmark import Benchmark, Sample, Scan
from .cleaning import Cleaning

FORMAT = 4
FILES_PER_PART = 256


@dataclass(frozen=True)
class Job:
    """What a table is made from.

    Attributes:
        parts: files of each part, in the table's order.
        dropped: files that are left out, and why.
        plan: hash of settings, and of name, size and row of every file; tables of the same plan are the same.
    """

    benchmark: Benchmark
    cleaning: Cleaning
    parts: list[list[Sample]]
    dropped: list[tuple[str, str]]
    plan: str


def plan_job(benchmark: Benchmark, scan: Scan, cleaning: Cleaning | None = None, missing: Iterable[str] = ()) -> Job:
    """Cuts the files into parts of equal length and hashes what the table is made from."""
    cleaning, missing = cleaning or Cleaning(), set(missing)
    samples = [(path, about) for path, about in scan.samples if about["name"] not in missing]
    listed = [
        (str(path), "on the list of missing skeletons") for path, about in scan.samples if about["name"] in missing
    ]
    digest = hashlib.sha256()
    settings = [FORMAT, FILES_PER_PART, benchmark.name, benchmark.labels, benchmark.protocols, _said(cleaning)]
    settings += [{name: vars(sense) for name, sense in benchmark.senses.items()}] if benchmark.senses else []
    settings += [{"point_window": benchmark.point_window}] if benchmark.point_window else []
    for entry in (settings, *([path.name, path.stat().st_size, _without_folders(about)] for path, about in samples)):
        digest.update(json.dumps(entry, sort_keys=True).encode())
    parts = [samples[start : start + FILES_PER_PART] for start in range(0, len(samples), FILES_PER_PART)]
    return Job(benchmark, cleaning, parts, scan.dropped + listed, digest.hexdigest())


def _without_folders(about: dict[str, Any]) -> dict[str, Any]:
    """A sample's row, the files of its further senses by name and size."""
    files = {sense: Path(file) for sense, file in about.get("signals", {}).items() if file}
    named = {sense: [file.name, file.stat().st_size] for sense, file in files.items()}
    return {**about, "signals": named} if "signals" in about else about


def _said(cleaning: Cleaning) -> dict[str, Any]:
    """The settings that are not the default."""
    return {name: value for name, value in vars(cleaning).items() if name != "conventions" or value}


def read_missing_list(path: str | os.PathLike[str]) -> list[str]:
    """Reads the sample names of an official list: its lines of one word; longer lines explain the list."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.strip().removesuffix(".skeleton") for line in lines if len(line.split()) == 1]
