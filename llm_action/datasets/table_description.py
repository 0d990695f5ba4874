"""The files that make a folder of whole parts a table: what `load_from_disk` wants, lists, and the manifest."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datasets import DatasetInfo

from llm_action.config.atomic_files import write_json
from llm_action.config.reading import read_json

from .job import FORMAT, Job
from .prepared import COPIES, DOUBTFUL, DROPPED, MANIFEST
from .table import table_features
from .table_parts import report_path


def describe_table(folder: Path, job: Job) -> None:
    """Writes what `load_from_disk` wants, the lists of what was dropped, is doubtful or a copy, and last the manifest.

    Raises:
        ValueError: no file could be used.
    """
    benchmark, num_parts = job.benchmark, len(job.parts)
    reports = [read_json(report_path(folder, index)) for index in range(num_parts)]
    dropped = [*job.dropped, *((path, why) for report in reports for path, why in report["dropped"])]
    rows = sum(report["rows"] for report in reports)
    if rows == 0:
        why = ": ".join(dropped[0]) if dropped else "nothing was found"
        raise ValueError(f"{folder}: none of the files could be used; the first one: {why}")
    _write_rows(folder / DROPPED, ("file", "why"), dropped)
    doubtful = [(path, why) for report in reports for path, why in report["doubtful"]]
    if doubtful:
        _write_rows(folder / DOUBTFUL, ("file", "why"), doubtful)
    copies = _copies([recording for report in reports for recording in report["recordings"]], benchmark.protocols)
    if copies:
        _write_rows(folder / COPIES, ("protocol", "test recording", "training recording"), copies)
    write_json(_state(reports), folder / "state.json")
    features = table_features(benchmark.labels, benchmark.protocols, benchmark.senses)
    DatasetInfo(features=features, dataset_name=benchmark.name).write_to_directory(str(folder))
    layouts = _sum(report["layouts"] for report in reports)
    manifest = {
        "format": FORMAT,
        "dataset": benchmark.name,
        "labels": list(benchmark.labels),
        "layout": max(layouts, key=lambda name: layouts[name]),
        "protocols": list(benchmark.protocols),
        "default_protocol": benchmark.default_protocol,
        "metric": benchmark.metric,
        **({"senses": {name: vars(sense) for name, sense in benchmark.senses.items()}} if benchmark.senses else {}),
        **({"point_window": benchmark.point_window} if benchmark.point_window else {}),
        "rows": rows,
        "frames": sum(report["frames"] for report in reports),
        "persons": _sum(report["persons"] for report in reports),
        "subjects": _sum(report["subjects"] for report in reports),
        "counts": {name: _sum(report["counts"][name] for report in reports) for name in benchmark.protocols},
        "dropped": len(dropped),
        "doubtful": len(doubtful),
        "copies": dict(Counter(protocol for protocol, _, _ in copies)),
        "plan": job.plan,
        "parts": [{name: report[name] for name in ("file", "rows", "bytes", "sha256")} for report in reports],
    }
    write_json(manifest, folder / MANIFEST)


def _write_rows(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def _state(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What `load_from_disk` reads: which files, in which order."""
    fingerprint = hashlib.sha256("".join(report["sha256"] for report in reports).encode()).hexdigest()[:16]
    return {
        "_data_files": [{"filename": report["file"]} for report in reports],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }


def _copies(recordings: list[list[Any]], protocols: Iterable[str]) -> list[tuple[str, str, str]]:
    """Protocol, test recording and training recording of the test recordings that a training part has, too."""
    found = []
    for protocol in protocols:
        trained = {content: name for content, name, splits in recordings if splits.get(protocol) == "train"}
        tested = ((content, name) for content, name, splits in recordings if splits.get(protocol) == "test")
        found += [(protocol, name, trained[content]) for content, name in tested if content in trained]
    return found


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items(), key=lambda entry: (len(entry[0]), entry[0])))  # 2 before 10
