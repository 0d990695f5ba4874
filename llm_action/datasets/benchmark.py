"""What a benchmark is, and how its files are found."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset

logger = logging.getLogger(__name__)


Sample = tuple[Path, dict[str, Any]]  # a file, and its row but for the skeleton (arguments of `sequence_to_row`)


@dataclass(frozen=True)
class Sense:
    """Another sense than the skeleton, of which a data set has a column.

    Attributes:
        channels: names of its channels.
        unit: of its values, in words.
    """

    channels: tuple[str, ...]
    unit: str = ""


@dataclass
class Scan:
    """What a folder holds of a benchmark, nothing read yet.

    Attributes:
        samples: in the order of the rows to come.
        dropped: (file, why) of files left out by their name.
    """

    samples: list[Sample]
    dropped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """A data set with its official classes and protocols.

    Attributes:
        name: key in `BENCHMARKS`, or "folder" for data of one's own.
        labels: class names, in label order.
        layout: skeleton layout of its sequences.
        protocols: names of the protocol columns.
        default_protocol: the one to report.
        scan: data folder -> what is there; FileNotFoundError when the folder or its files are not there. None where
            there is nothing to scan (made-up skeletons, prepared folders).
        build: data folder -> table; None: scan and read into memory.
        metric: what the benchmark reports, a key of `classification_metrics`.
        prepared_only: too large for memory: `llm-action prepare` first.
        counts: (training, test) sequences of the complete release, by protocol.
        senses: the further senses by name, each a column of the table.
        point_window: seconds of the windows about action points that its sequences are; None of whole actions.
    """

    name: str
    labels: tuple[str, ...]
    layout: str
    protocols: tuple[str, ...]
    default_protocol: str
    scan: Callable[[str | os.PathLike[str] | None], Scan] | None = None
    build: Callable[[str | os.PathLike[str] | None], Dataset] | None = None
    metric: str = "top1"
    prepared_only: bool = False
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    senses: Mapping[str, Sense] = field(default_factory=dict)
    point_window: float | None = None


def find_files(
    data_dir: str | os.PathLike[str] | None, name: str, subfolder: str, pattern: str, official_count: int
) -> list[tuple[Path, re.Match[str]]]:
    """Finds the files of a benchmark, sorted by name, each with the match of its name.

    Args:
        data_dir: the folder with the files, or the one that holds `subfolder`, or `name`/`subfolder`.
        name: the benchmark.
        subfolder: folder of the official release that holds the files.
        pattern: regular expression that a whole file name must match.
        official_count: how many files the release has; another number is logged as a warning.

    Raises:
        FileNotFoundError: no such folder, or no file of that kind in it.
    """
    root = checked_folder(data_dir, name)
    for folder in (root, root / subfolder, root / name / subfolder):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [(path, match) for path in paths if (match := re.fullmatch(pattern, path.name))]
        if found:
            _warn_of_count(folder, name, len(found), official_count)
            return found
    raise FileNotFoundError(
        f"{root}: expected files of {name} named like {pattern} here or in {subfolder}/, found none; "
        "check that this is the unpacked release"
    )


def files_below(
    data_dir: str | os.PathLike[str] | None,
    name: str,
    suffix: str,
    describe: Callable[[str], dict[str, Any] | None],
    official_count: int | None,
) -> Scan:
    """Finds samples anywhere below a folder, sorted by name.

    Files with the suffix whose name is no sample's are dropped.

    Args:
        data_dir: the folder.
        name: the benchmark.
        suffix: of its files.
        describe: a file's stem -> its row but the skeleton, None where the benchmark has no such sample.
        official_count: how many files the release has, None where that is not known; another number is warned of.

    Raises:
        FileNotFoundError: no such folder, or no sample below it.
        ValueError: two files bear one name.
    """
    root = checked_folder(data_dir, name)
    scan, seen = Scan([]), dict[str, Path]()
    for path in sorted(root.rglob(f"*{suffix}"), key=lambda path: (path.name, str(path))):
        about = describe(path.stem)
        if about is None:
            scan.dropped.append((path.relative_to(root).as_posix(), f"its name is none of {name}"))
        elif path.stem in seen:
            raise ValueError(f"{path}: expected every sample once, found {seen[path.stem]} too; remove one of them")
        else:
            seen[path.stem] = path
            scan.samples.append((path, about))
    if not scan.samples:
        raise FileNotFoundError(
            f"{root}: expected {suffix} files of {name} below it, found none; unpack the release there"
        )
    _warn_of_count(root, name, len(scan.samples), official_count)
    return scan


def checked_folder(data_dir: str | os.PathLike[str] | None, name: str) -> Path:
    """Returns the folder as a path; raises FileNotFoundError where there is none."""
    if data_dir is None:
        raise FileNotFoundError(f"{name}: expected the folder of the data set, found none; pass --data (data_dir)")
    root = Path(data_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: expected the folder of {name}, found no such folder; download it first")
    return root


def _warn_of_count(folder: Path, name: str, found: int, official_count: int | None) -> None:
    if official_count is not None and found != official_count:
        logger.warning(
            "%s: found %d files of %s, the release has %d: results are not comparable to published ones",
            folder,
            found,
            name,
            official_count,
        )


def split_by(number: int, train: frozenset[int]) -> str:
    """Says "train" of a subject or camera that is one of the training ones, else "test"."""
    return "train" if number in train else "test"
