"""Folders that `prepare` wrote: an Arrow table for `datasets.load_from_disk`, and a manifest that describes it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path, PurePath
from typing import Any

from datasets import Dataset, load_from_disk

from llm_action.config.reading import damaged, read_json
from llm_action.modeling.skeleton_layouts import get_layout

from .benchmark import Benchmark, Sense
from .table import table_features

MANIFEST = "manifest.json"
_AGAIN = "run llm-action prepare again"
_ENTRIES = {
    *("dataset", "labels", "layout", "protocols", "default_protocol", "metric", "plan", "parts"),
    *("rows", "frames", "persons", "subjects", "counts", "dropped"),
}
DROPPED = "dropped.csv"
DOUBTFUL = "doubtful.csv"
COPIES = "copies.csv"
_REASONS_SHOWN = 5


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Whether `prepare` has written this folder to its end."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the manifest: dataset, layout, protocols and their counts, what was dropped, size and hash of each part.

    Raises:
        ValueError: it is damaged.
    """
    manifest = read_json(Path(folder) / MANIFEST)
    if not isinstance(manifest, dict) or not manifest.keys() >= _ENTRIES:
        raise ValueError(f"{Path(folder) / MANIFEST}: expected {', '.join(sorted(_ENTRIES))}; {_AGAIN}")
    return manifest


def prepared_benchmark(folder: str | os.PathLike[str]) -> Benchmark:
    """Says the classes, layout and protocols of a prepared folder."""
    return described(read_manifest(folder), Path(folder) / MANIFEST)


def described(manifest: dict[str, Any], where: str | os.PathLike[str]) -> Benchmark:
    """Says what a manifest does of classes, layout, protocols and senses; errors begin with `where`."""
    with damaged(Path(where), _AGAIN):
        senses = manifest.get("senses", {}).items()
        return Benchmark(
            str(manifest["dataset"]),
            tuple(map(str, manifest["labels"])),
            get_layout(manifest["layout"]).name,
            tuple(map(str, manifest["protocols"])),
            str(manifest["default_protocol"]),
            metric=str(manifest["metric"]),
            senses={name: Sense(tuple(map(str, of["channels"])), str(of["unit"])) for name, of in senses},
            point_window=manifest.get("point_window"),
        )


def open_prepared(folder: str | os.PathLike[str]) -> Dataset:
    """Opens the table, memory-mapped.

    Raises:
        FileNotFoundError: a part is gone.
        ValueError: a part has another size than it was written with, or the table is damaged.
    """
    with damaged(folder, _AGAIN):
        manifest = read_manifest(folder)
        for part in manifest["parts"]:
            path = Path(folder) / PurePath(part["file"]).name
            if not path.is_file():
                raise FileNotFoundError(f"{path}: this part of the prepared data is gone; {_AGAIN}")
            if path.stat().st_size != part["bytes"]:
                raise ValueError(f"{path}: expected {part['bytes']} bytes, found {path.stat().st_size}; {_AGAIN}")
        table = load_from_disk(str(folder))
        table.data.validate(full=True)  # a lost bit in a row's length would end the process that reads the row
        wanted = table_features(manifest["labels"], manifest["protocols"], manifest.get("senses", ()))
        if table.num_rows != manifest["rows"] or not wanted.keys() <= {*table.column_names, "camera"}:
            found = f"{table.num_rows} rows of {', '.join(table.column_names)}"
            raise ValueError(
                f"{folder}: expected {manifest['rows']} rows of {', '.join(wanted)}, found {found}; {_AGAIN}"
            )
    return table.rename_column("view", "camera") if "view" in table.column_names else table  # of format 2


def prepared_summary(manifest: dict[str, Any], benchmark: Benchmark, out: str | os.PathLike[str]) -> str:
    """Says what was written and dropped, and how each protocol compares with the complete release."""
    with damaged(out, _AGAIN):
        return "\n".join(_summary(manifest, benchmark, Path(out)))


def _summary(manifest: dict[str, Any], benchmark: Benchmark, out: Path) -> list[str]:
    with (out / DROPPED).open(newline="", encoding="utf-8") as file:
        reasons = Counter(row["why"] for row in csv.DictReader(file))
    size = f"{manifest['rows']} sequences of {len(manifest['labels'])} classes, {manifest['frames']} frames"
    lines = [f"{out}: {size}, joint layout {manifest['layout']}; {manifest['dropped']} files dropped"]
    lines += [f"  {count} x {why}" for why, count in reasons.most_common(_REASONS_SHOWN)]
    if len(reasons) > _REASONS_SHOWN:
        lines.append(f"  and other reasons: see {out / DROPPED}")
    if manifest.get("doubtful"):
        lines.append(f"  {manifest['doubtful']} sequences are doubtful: see {out / DOUBTFUL}")
    for protocol, counts in manifest["counts"].items():
        found = (counts.get("train", 0), counts.get("test", 0))
        official = benchmark.counts.get(protocol)
        verdict = ""
        if official is not None:
            verdict = " (complete)" if official == found else " (complete: {} / {})".format(*official)
            if sum(found) > sum(official):
                verdict += ", more than protocols have: pass the official list of missing skeletons as --missing-list"
        lines.append(f"{protocol}: {found[0]} train / {found[1]} test{verdict}")
        if copies := manifest.get("copies", {}).get(protocol):
            lines.append(
                f"  test recordings that are training recordings, number for number: {copies}; see {out / COPIES}"
            )
    if len(manifest["subjects"]) > 1:
        subjects = f"each of {len(manifest['subjects'])} subjects in turn (see {MANIFEST}), the others train"
        lines.append(f"leave_out_subject_N: {subjects}")
    return lines
