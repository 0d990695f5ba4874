"""Prepares a data set: raw files are read in parallel, cleaned and written as an Arrow table, in constant memory.

The files are cut into parts of equal length in a fixed order; a worker reads, cleans and writes one part at a time. A
part is there whole or not at all, so an interrupted run goes on with the missing ones. The output is the same for any
number of workers, and of machines: see `shards`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_action.config.atomic_files import write_json
from llm_action.config.folder_lock import lock_beside, sole_writer
from llm_action.config.reading import recorded

from .benchmark import Benchmark, Scan
from .cleaning import Cleaning
from .job import Job, plan_job
from .prepared import is_prepared, read_manifest
from .table_description import describe_table
from .table_parts import parts_are_kept, write_parts

_PLAN = "plan.json"


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
        ValueError: `out` holds something else and restart is False; or no file could be used.
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


def finished(out: Path, job: Job) -> dict[str, Any] | None:
    """Reads the manifest of a folder that this job has written; None where there is no folder yet.

    Raises:
        ValueError: the folder holds something else.
    """
    if not out.exists() or not any(out.iterdir()):
        return None
    if is_prepared(out) and read_manifest(out)["plan"] == job.plan:
        return read_manifest(out)
    found = "a table of other files or settings" if is_prepared(out) else "something that prepare did not write"
    raise ValueError(f"{out}: holds {found}; choose another --out, or pass --restart to replace it")


def begin(folder: Path, job: Job, restart: bool = False) -> None:
    """Makes a folder for parts; one of the same job is gone on with, what any other left goes."""
    made_from = read_manifest(folder)["plan"] if is_prepared(folder) else _plan_of(folder)
    if restart or made_from != job.plan:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json({"sha256": job.plan}, folder / _PLAN)
    for leftover in folder.glob("*.tmp"):  # of a run that was killed; it takes room
        leftover.unlink()


def begun(folder: Path, job: Job) -> bool:
    """Whether a folder holds parts of this job."""
    return _plan_of(folder) == job.plan


def _plan_of(folder: Path) -> str | None:
    plan = recorded(folder / _PLAN)
    return plan.get("sha256") if isinstance(plan, dict) else None


def finish(folder: Path, out: Path, job: Job) -> dict[str, Any]:
    """Makes a folder that holds all parts the table `out`, which is replaced; returns the manifest.

    Raises:
        ValueError: no file could be used.
    """
    if not is_prepared(folder):
        with parts_are_kept(folder):
            describe_table(folder, job)
    for leftover in (*folder.glob("report-*.json"), folder / _PLAN):
        leftover.unlink(missing_ok=True)
    if out.exists():
        shutil.rmtree(out)
    os.replace(folder, out)
    return read_manifest(out)
