"""Prepares a data set: raw files are read in parallel, cleaned and written as an Arrow table, in constant memory.

The files are cut into parts of equal length in a fixed order; a worker reads, cleans and writes one part at a time. A
part is there whole or not at all, so an interrupted run goes on with the missing ones. The output is the same for any
number of workers, and of machines: see `shards`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import DatasetInfo

from llm_action.config.atomic_files import file_hash
from llm_action.config.folder_lock import lock_beside, sole_writer
from llm_action.config.progress import ProgressBar
from llm_action.config.reading import recorded
from llm_action.modeling.skeleton_cleaning import drop_noise_bodies, fill_missing, primary_persons
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import read_clip, read_skeleton

from .annotations import Span, cut
from .benchmark import Benchmark, Sample, Scan
from .prepared import COPIES, DOUBTFUL, MANIFEST, is_prepared, read_manifest
from .table import read_signals, sequence_to_row, table_features

FORMAT = 4
FILES_PER_PART = 256
_ROWS_PER_BATCH = 32
_PLAN = "plan.json"


@dataclass(frozen=True)
class Cleaning:
    """How files are read and cleaned.

    Args:
        max_persons: the persons who move most are kept, default 2.
        layout: joint layout of files that do not say theirs.
        fps: frames per second of files that do not say theirs.
        conventions: what else files do not say, as `read_skeleton` takes it.
    """

    max_persons: int = 2
    layout: str | None = None
    fps: float | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)

    def read(self, path: Path, clip: int | None = None, span: Span | None = None) -> SkeletonSequence:
        """Reads a sequence without noise bodies, surplus persons and tracking gaps.

        Args:
            clip: number of a clip in a file of many.
            span: of a long recording, what is cut out of it.
        """
        if clip is not None:
            sequence = read_clip(path, clip, self.layout, self.fps, **self.conventions)
        elif span is not None:
            sequence = cut(_long_recording(path, self), span)
        else:
            sequence = read_skeleton(path, self.layout, self.fps, **self.conventions)
        persons = primary_persons(drop_noise_bodies(sequence.joints), self.max_persons)
        joints = fill_missing(persons, get_layout(sequence.layout).parents)
        first = sequence.first_frame
        return SkeletonSequence(joints, sequence.layout, sequence.fps, name=sequence.name, first_frame=first)


_long: dict[Any, SkeletonSequence] = {}


def _long_recording(path: Path, cleaning: Cleaning) -> SkeletonSequence:
    """A recording that many clips are cut from, kept until another one is asked for."""
    key = (path, repr(cleaning))
    if key not in _long:
        _long.clear()
        _long[key] = read_skeleton(path, cleaning.layout, cleaning.fps, **cleaning.conventions)
    return _long[key]


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


def prepare(
    benchmark: Benchmark,
    scan: Scan,
    out: str | os.PathLike[str],
    *,
    cleaning: Cleaning | None = None,
    missing: Iterable[str] = (),
    workers: int | None = None,
    restart: bool = False,
) -> dict[str, Any]:
    """Writes a data set as a folder for `datasets.load_from_disk`, with `manifest.json` and `dropped.csv`.

    Where recordings were doubtful, there is `doubtful.csv`; where the test part of a protocol has recordings that its
    training part has too, number for number, there is `copies.csv`.

    Args:
        benchmark: its classes and protocols.
        scan: its files.
        out: the folder; while it grows it is called `out`.partial.
        cleaning: how files are read and cleaned.
        missing: names of samples to leave out, as the official lists of missing skeletons give them.
        workers: processes, default one a core; 1 reads in this process.
        restart: replace a folder of other files or settings, and begin anew.

    Returns:
        The manifest.

    Raises:
        ValueError: `out` holds something else and restart is False, or no file could be used.
        BlockingIOError: another process is preparing the same folder.
        OSError: reading or writing failed (a full disk); what was written is kept for the next run.
    """
    out, job = Path(out), plan_job(benchmark, scan, cleaning, missing)
    with sole_writer(out, lock_beside(out)):
        if not restart and (manifest := finished(out, job)) is not None:
            return manifest
        partial = out.with_name(out.name + ".partial")
        begin(partial, job, restart)
        if not is_prepared(partial):
            write_parts(partial, job, range(len(job.parts)), workers)
        return finish(partial, out, job)


def available_cores() -> int:
    """Counts the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_missing_list(path: str | os.PathLike[str]) -> list[str]:
    """Reads the sample names of an official list: its lines of one word; longer lines explain the list."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.strip().removesuffix(".skeleton") for line in lines if len(line.split()) == 1]


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


def finished(out: Path, job: Job) -> dict[str, Any] | None:
    """Reads the manifest of a folder that this job has written; None where there is no folder yet.

    Raises:
        ValueError: the folder holds something else.
    """
    if not out.exists() or not any(out.iterdir()):
        return None
    if is_prepared(out) and read_manifest(out)["plan"] == job.plan:
        return read_manifest(out)
    raise ValueError(f"{out}: holds something else; choose another --out, or pass --restart to replace it")


def begin(folder: Path, job: Job, restart: bool = False) -> None:
    """Makes a folder for parts; one of the same job is gone on with, what any other left goes."""
    made_from = read_manifest(folder)["plan"] if is_prepared(folder) else _plan_of(folder)
    if restart or made_from != job.plan:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write_json({"sha256": job.plan}, folder / _PLAN)
    for leftover in folder.glob("*.tmp"):  # of a run that was killed; it takes room
        leftover.unlink()


def begun(folder: Path, job: Job) -> bool:
    """Whether a folder holds parts of this job."""
    return _plan_of(folder) == job.plan


def _plan_of(folder: Path) -> str | None:
    plan = recorded(folder / _PLAN)
    return plan.get("sha256") if isinstance(plan, dict) else None


@contextmanager
def _parts_are_kept(folder: Path) -> Iterator[None]:
    """Says what becomes of the parts when writing fails; a file that cannot be read is named already."""
    try:
        yield
    except OSError as error:
        of_writing = error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(folder)
        if error.errno is None or not of_writing:
            raise
        raise OSError(
            error.errno,
            f"{folder}: {error.strerror}; parts written so far are kept, the same command goes on from here",
        ) from None


def write_parts(folder: Path, job: Job, indices: Collection[int], workers: int | None = None) -> None:
    """Writes those of some parts that are not there whole."""
    parts, cleaning, benchmark = job.parts, job.cleaning, job.benchmark
    todo = [index for index in indices if part_fault(folder, index) is not None]
    total = sum(len(parts[index]) for index in indices)
    done = total - sum(len(parts[index]) for index in todo)
    progress = ProgressBar(total=total, initial=done, desc=benchmark.name, unit="file", disable=None)
    workers = workers or available_cores()
    with progress, _parts_are_kept(folder):
        if workers == 1:
            for index in todo:
                progress.update(write_part(folder, index, parts[index], benchmark, cleaning))
            return
        size = min(workers, max(len(todo), 1))
        with ProcessPoolExecutor(size, _process_context(), _end_with_parent, (os.getpid(),)) as pool:
            # scans are plain data, a Benchmark's functions need not travel
            known = (benchmark.name, benchmark.labels, benchmark.layout, benchmark.protocols, "")
            about = Benchmark(*known, senses=benchmark.senses)
            tasks = [pool.submit(write_part, folder, index, parts[index], about, cleaning) for index in todo]
            try:
                for task in as_completed(tasks):
                    progress.update(task.result())
            except BrokenProcessPool:
                raise OSError(
                    f"{folder}: a worker was killed, perhaps for lack of memory; the same command goes on from here, "
                    "try fewer --workers"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def _process_context() -> multiprocessing.context.BaseContext:
    """Forks workers on Linux, which start at once and share the imported libraries; elsewhere the system's own way."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


def _end_with_parent(parent: int) -> None:
    """Lets a worker end soon after the process that started it was killed; otherwise it would wait for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def part_fault(folder: Path, index: int) -> str | None:
    """Says what is wrong with a part, by its content; None of one that is whole."""
    path = _part_path(folder, index)
    if not path.is_file():
        return f"{path.name} is missing"
    report = recorded(_report_path(folder, index))
    if not isinstance(report, dict) or not {"bytes", "sha256"} <= report.keys():
        return f"{_report_path(folder, index).name} is missing or damaged"
    if path.stat().st_size != report["bytes"] or file_hash(path) != report["sha256"]:
        return f"{path.name} is damaged"
    return None


def take_parts(sources: Iterable[Path], folder: Path) -> None:
    """Brings part after part with its report into a folder, without a copy where both are on one disk.

    Args:
        sources: folder of each part.
    """
    with _parts_are_kept(folder):
        for index, source in enumerate(sources):
            _take_part(source, folder, index)


def _take_part(source: Path, folder: Path, index: int) -> None:
    for path in (_report_path(source, index), _part_path(source, index)):
        target, temporary = folder / path.name, folder / f"{path.name}.tmp"
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:  # on another disk, or on one that knows no links
            shutil.copyfile(path, temporary)
            os.replace(temporary, target)


def write_part(folder: Path, index: int, samples: list[Sample], benchmark: Benchmark, cleaning: Cleaning) -> int:
    """Reads and writes one part and, before it appears, its report; returns the number of files."""
    path = _part_path(folder, index)
    schema = table_features(benchmark.labels, benchmark.protocols, benchmark.senses).arrow_schema
    report: dict[str, Any] = {
        "rows": 0,
        "frames": 0,
        "dropped": [],
        "doubtful": [],
        "recordings": [],
        "layouts": Counter(),
        "persons": Counter(),
    }
    report["subjects"] = Counter()
    report["counts"] = {protocol: Counter() for protocol in benchmark.protocols}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for start in range(0, len(samples), _ROWS_PER_BATCH):
                rows = _rows(samples[start : start + _ROWS_PER_BATCH], benchmark, cleaning, report)
                columns = {name: [row[name] for row in rows] for name in schema.names}
                writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))
        report |= {"file": path.name, "bytes": temporary.stat().st_size, "sha256": file_hash(temporary)}
        _write_json(report, _report_path(folder, index))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(samples)


def _rows(
    samples: list[Sample], benchmark: Benchmark, cleaning: Cleaning, report: dict[str, Any]
) -> list[dict[str, Any]]:
    rows = []
    for path, about in samples:
        about = dict(about)
        clip, span = about.pop("clip", None), about.pop("span", None)
        place = str(path) if clip is None and span is None else about["name"]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RecordingWarning)
            try:
                sequence = cleaning.read(path, clip, span)
                about["signals"] = read_signals(about.get("signals", {}), benchmark.senses)
                row = sequence_to_row(sequence, **about)
            except (ValueError, FileNotFoundError) as error:
                report["dropped"].append([place, str(error).removeprefix(f"{path}: ")])
                continue
        doubts = [str(one.message) for one in caught if issubclass(one.category, RecordingWarning)]
        report["doubtful"] += [[place, doubt] for doubt in doubts]
        rows.append(row)
        report["rows"] += 1
        report["frames"] += sequence.num_frames
        report["layouts"][sequence.layout] += 1
        report["persons"][str(sequence.num_persons)] += 1
        report["recordings"].append([_content_hash(sequence), about["name"], about["splits"]])
        report["subjects"][str(about["subject"])] += 1
        for protocol, part in about["splits"].items():
            report["counts"][protocol][part] += 1
    return rows


def _content_hash(sequence: SkeletonSequence) -> str:
    """The same for recordings that are the same number for number."""
    return hashlib.sha256(repr(sequence.joints.shape).encode() + sequence.joints.tobytes()).hexdigest()[:16]


def finish(folder: Path, out: Path, job: Job) -> dict[str, Any]:
    """Makes a folder that holds all parts the table `out`, which is replaced; returns the manifest.

    Raises:
        ValueError: no file could be used.
    """
    if not is_prepared(folder):
        with _parts_are_kept(folder):
            _describe(folder, job)
    for leftover in (*folder.glob("report-*.json"), folder / _PLAN):
        leftover.unlink(missing_ok=True)
    if out.exists():
        shutil.rmtree(out)
    os.replace(folder, out)
    return read_manifest(out)


def _describe(folder: Path, job: Job) -> None:
    """Writes the files that `load_from_disk` wants, the list of what was dropped, and last the manifest."""
    benchmark, num_parts = job.benchmark, len(job.parts)
    reports = [json.loads(_report_path(folder, index).read_text(encoding="utf-8")) for index in range(num_parts)]
    dropped = [*job.dropped, *((path, why) for report in reports for path, why in report["dropped"])]
    rows = sum(report["rows"] for report in reports)
    if rows == 0:
        why = dropped[0] if dropped else "nothing was found"
        raise ValueError(f"{folder}: none of the files could be used; the first one: {why}")
    with (folder / "dropped.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "why"), *dropped])
    doubtful = [(path, why) for report in reports for path, why in report["doubtful"]]
    if doubtful:
        with (folder / DOUBTFUL).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "why"), *doubtful])
    copies = _copies([recording for report in reports for recording in report["recordings"]], benchmark.protocols)
    if copies:
        with (folder / COPIES).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("protocol", "test recording", "training recording"), *copies])
    files = [{"filename": f"{_part_path(folder, index).name}"} for index in range(num_parts)]
    fingerprint = hashlib.sha256("".join(report["sha256"] for report in reports).encode()).hexdigest()[:16]
    _write_json(
        {
            "_data_files": files,
            "_fingerprint": fingerprint,
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        },
        folder / "state.json",
    )
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
    _write_json(manifest, folder / MANIFEST)


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


def _part_path(folder: Path, index: int) -> Path:
    return folder / f"data-{index:05}.arrow"


def _report_path(folder: Path, index: int) -> Path:
    return folder / f"report-{index:05}.json"


def _write_json(content: Any, path: Path) -> None:
    temporary = path.with_suffix(f".json.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(temporary, path)
