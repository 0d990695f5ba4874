"""The parts of a table: each is read, cleaned and written by itself, and is there whole or not at all."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm_action.config.atomic_files import file_hash, write_json
from llm_action.config.progress import ProgressBar
from llm_action.config.reading import recorded
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .benchmark import Benchmark, Sample
from .cleaning import Cleaning
from .job import Job
from .table import read_signals, sequence_to_row, table_features

_ROWS_PER_BATCH = 32


@contextmanager
def parts_are_kept(folder: Path) -> Iterator[None]:
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
    with progress, parts_are_kept(folder):
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


def available_cores() -> int:
    """Counts the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    path = part_path(folder, index)
    if not path.is_file():
        return f"{path.name} is missing"
    report = recorded(report_path(folder, index))
    if not isinstance(report, dict) or not {"bytes", "sha256"} <= report.keys():
        return f"{report_path(folder, index).name} is missing or damaged"
    if path.stat().st_size != report["bytes"] or file_hash(path) != report["sha256"]:
        return f"{path.name} is damaged"
    return None


def take_parts(sources: Iterable[Path], folder: Path) -> None:
    """Brings part after part with its report into a folder, without a copy where both are on one disk.

    Args:
        sources: folder of each part.
    """
    with parts_are_kept(folder):
        for index, source in enumerate(sources):
            _take_part(source, folder, index)


def _take_part(source: Path, folder: Path, index: int) -> None:
    for path in (report_path(source, index), part_path(source, index)):
        target, temporary = folder / path.name, folder / f"{path.name}.tmp"
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:  # on another disk, or on one that knows no links
            shutil.copyfile(path, temporary)
            os.replace(temporary, target)


def write_part(folder: Path, index: int, samples: list[Sample], benchmark: Benchmark, cleaning: Cleaning) -> int:
    """Reads and writes one part and, before it appears, its report; returns the number of files."""
    path = part_path(folder, index)
    schema = table_features(benchmark.labels, benchmark.protocols, benchmark.senses).arrow_schema
    report: dict[str, Any] = {"rows": 0, "frames": 0, "dropped": [], "doubtful": [], "recordings": []}
    report |= {"layouts": Counter(), "persons": Counter(), "subjects": Counter()}
    report["counts"] = {protocol: Counter() for protocol in benchmark.protocols}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for start in range(0, len(samples), _ROWS_PER_BATCH):
                rows = _rows(samples[start : start + _ROWS_PER_BATCH], benchmark, cleaning, report)
                columns = {name: [row[name] for row in rows] for name in schema.names}
                writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))
        report |= {"file": path.name, "bytes": temporary.stat().st_size, "sha256": file_hash(temporary)}
        write_json(report, report_path(folder, index))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(samples)


def _rows(
    samples: list[Sample], benchmark: Benchmark, cleaning: Cleaning, report: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of the samples that can be read; what is found out about each sample enters the report."""
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


def part_path(folder: Path, index: int) -> Path:
    return folder / f"data-{index:05}.arrow"


def report_path(folder: Path, index: int) -> Path:
    return folder / f"report-{index:05}.json"
