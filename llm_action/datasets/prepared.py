"""Folders that `prepare` wrote: an Arrow table for `datasets.load_from_disk`, and a manifest that describes it."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk

from .benchmark import Benchmark, Sense

MANIFEST = "manifest.json"
DOUBTFUL = "doubtful.csv"
_REASONS_SHOWN = 5


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Whether `prepare` has written this folder to its end."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the manifest: dataset, layout, protocols and their counts, what was dropped, size and hash of each part."""
    return json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))


def prepared_benchmark(folder: str | os.PathLike[str]) -> Benchmark:
    """Says the classes, layout and protocols of a prepared folder."""
    manifest = read_manifest(folder)
    return Benchmark(
        manifest["dataset"],
        tuple(manifest["labels"]),
        manifest["layout"],
        tuple(manifest["protocols"]),
        manifest["default_protocol"],
        metric=manifest["metric"],
        senses={name: Sense(tuple(of["channels"]), of["unit"]) for name, of in manifest.get("senses", {}).items()},
    )


def open_prepared(folder: str | os.PathLike[str]) -> Dataset:
    """Opens the table, memory-mapped.

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
    table = load_from_disk(str(folder))
    return table.rename_column("view", "camera") if "view" in table.column_names else table  # of format 2


def prepared_summary(manifest: dict[str, Any], benchmark: Benchmark, out: str | os.PathLike[str]) -> str:
    """Says what was written and dropped, and how each protocol compares with the complete release."""
    with (Path(out) / "dropped.csv").open(newline="", encoding="utf-8") as file:
        reasons = Counter(row["why"] for row in csv.DictReader(file))
    lines = [f"{out}: {manifest['rows']} sequences, {manifest['frames']} frames; {manifest['dropped']} files dropped"]
    lines += [f"  {count} x {why}" for why, count in reasons.most_common(_REASONS_SHOWN)]
    if len(reasons) > _REASONS_SHOWN:
        lines.append(f"  and other reasons: see {Path(out) / 'dropped.csv'}")
    if manifest.get("doubtful"):
        lines.append(f"  {manifest['doubtful']} sequences are doubtful: see {Path(out) / DOUBTFUL}")
    for protocol, counts in manifest["counts"].items():
        found = (counts.get("train", 0), counts.get("test", 0))
        official = benchmark.counts.get(protocol)
        verdict = ""
        if official is not None:
            verdict = " (complete)" if official == found else " (complete: {} / {})".format(*official)
            if sum(found) > sum(official):
                verdict += ", more than protocols have: pass the official list of missing skeletons as --missing-list"
        lines.append(f"{protocol}: {found[0]} train / {found[1]} test{verdict}")
    if len(manifest["subjects"]) > 1:
        subjects = f"each of {len(manifest['subjects'])} subjects in turn (see {MANIFEST}), the others train"
        lines.append(f"leave_out_subject_N: {subjects}")
    return "\n".join(lines)
