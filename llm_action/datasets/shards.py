"""Prepares a data set on several machines: each writes a shard, and one joins them.

    llm-action prepare ntu60 --source NTU_FOLDER --out data/ntu60 --shard 2/8     # on one of eight machines
    llm-action prepare ntu60 --source NTU_FOLDER --out data/ntu60 --merge         # the same table as from one machine

Any scheduler's array job will do. Shards lie in `OUT.shards/K-of-N`; machines without a disk in common copy theirs
there before they are joined. Shard K of N holds the parts K, K + N, K + 2 N ... of the table.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_action.config.folder_lock import lock_beside, sole_writer

from .benchmark import Benchmark, Scan
from .cleaning import Cleaning
from .job import Job, plan_job
from .prepare import begin, begun, finish, finished
from .prepared import is_prepared
from .table_parts import part_fault, take_parts, write_parts


@dataclass(frozen=True)
class Shard:
    """The K-th of N shards, K from 1 on."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads K/N; raises a ValueError of anything else."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(int(found[1]), int(found[2])) if found else None
        if shard is None or not 1 <= shard.number <= shard.of:
            raise ValueError(f"--shard: expected K/N with K from 1 to N, like 2/8, got {text!r}")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def parts(self, job: Job) -> range:
        """Numbers of the parts it holds; none where there are more shards than parts."""
        return range(self.number - 1, len(job.parts), self.of)

    def folder(self, out: Path) -> Path:
        return _shards_folder(out) / f"{self.number}-of-{self.of}"


def prepare_shard(
    benchmark: Benchmark,
    scan: Scan,
    out: str | os.PathLike[str],
    shard: Shard,
    *,
    cleaning: Cleaning | None = None,
    missing: Iterable[str] = (),
    workers: int | None = None,
    restart: bool = False,
) -> Path:
    """Writes one shard of the table `out`; an interrupted one is gone on with.

    Args:
        benchmark, scan, cleaning, missing, workers, restart: as those of `prepare`, the same on every machine.

    Returns:
        The shard's folder; `out` where the table is there already.

    Raises:
        ValueError: `out` holds something else and restart is False.
        BlockingIOError: another process is writing the same shard.
        OSError: reading or writing failed; what was written is kept for the next run.
    """
    out, job = Path(out), plan_job(benchmark, scan, cleaning, missing)
    if not restart and finished(out, job) is not None:
        return out
    folder = shard.folder(out)
    with sole_writer(folder, lock_beside(folder)):
        begin(folder, job, restart)
        write_parts(folder, job, shard.parts(job), workers)
    return folder


def merge_shards(
    benchmark: Benchmark,
    scan: Scan,
    out: str | os.PathLike[str],
    *,
    cleaning: Cleaning | None = None,
    missing: Iterable[str] = (),
    restart: bool = False,
) -> dict[str, Any]:
    """Joins shards into the table `out`, bit for bit what `prepare` writes, and removes them; returns the manifest.

    Args:
        benchmark, scan, cleaning, missing, restart: as those of `prepare`, the same as for the shards.

    Raises:
        ValueError: a shard is missing, unfinished, damaged or of other files or settings; it is named. Or `out` holds
            something else and restart is False.
        BlockingIOError: another process is preparing the same folder.
    """
    out, job = Path(out), plan_job(benchmark, scan, cleaning, missing)
    with sole_writer(out, lock_beside(out)):
        manifest = None if restart else finished(out, job)
        if manifest is None:
            partial = out.with_name(out.name + ".partial")
            begin(partial, job, restart)
            if not is_prepared(partial):
                take_parts(_whole_shards(out, job), partial)
            manifest = finish(partial, out, job)
        shutil.rmtree(_shards_folder(out), ignore_errors=True)
    return manifest


def _whole_shards(out: Path, job: Job) -> list[Path]:
    """Finds the folder that holds each part; raises a ValueError that names the shards which are not as they should."""
    number = _number_of_shards(_shards_folder(out))
    folders, faults = [Path()] * len(job.parts), []
    for shard in (Shard(one, number) for one in range(1, number + 1)):
        fault = _fault(shard, out, job)
        if fault is not None:
            faults.append(f"shard {shard} {fault}")
        for index in shard.parts(job):
            folders[index] = shard.folder(out)
    if faults:
        raise ValueError(f"{_shards_folder(out)}: {'; '.join(faults)}. Run its command again, then --merge")
    return folders


def _fault(shard: Shard, out: Path, job: Job) -> str | None:
    folder, parts = shard.folder(out), shard.parts(job)
    if not folder.is_dir():
        return "is missing" if parts else None
    if not begun(folder, job):
        return "is of other files or settings"
    faults = [fault for index in parts if (fault := part_fault(folder, index)) is not None]
    if len(faults) > 1:
        return f"is not whole: {len(faults)} of its {len(parts)} parts are missing or damaged, the first: {faults[0]}"
    return f"is not whole: {faults[0]}" if faults else None


def _number_of_shards(folder: Path) -> int:
    named = [re.fullmatch(r"\d+-of-(\d+)", path.name) for path in folder.glob("*-of-*")]
    numbers = sorted({int(name[1]) for name in named if name})
    if len(numbers) != 1:
        found = "shards of " + " and of ".join(map(str, numbers)) if numbers else "none"
        remedy = "remove those that are not wanted" if numbers else "write them first with --shard 1/N to N/N"
        raise ValueError(f"{folder}: expected the shards of one table, found {found}; {remedy}")
    return numbers[0]


def _shards_folder(out: Path) -> Path:
    return out.with_name(out.name + ".shards")
