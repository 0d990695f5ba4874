"""What a benchmark is, and how its files are found."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Benchmark:
    """A data set with its official classes and protocols.

    Attributes:
        name: key in `BENCHMARKS`.
        labels: class names, in label order.
        layout: skeleton layout of its sequences.
        protocols: names of the protocol columns.
        default_protocol: the one to report.
        build: data folder -> table; FileNotFoundError when the folder or its files are not there.
    """

    name: str
    labels: tuple[str, ...]
    layout: str
    protocols: tuple[str, ...]
    default_protocol: str
    build: Callable[[str | os.PathLike[str] | None], Dataset]


def find_files(
    data_dir: str | os.PathLike[str] | None, name: str, subfolder: str, pattern: str, official_count: int
) -> list[tuple[Path, re.Match[str]]]:
    """Files of a benchmark, sorted by name, each with the match of its name.

    Args:
        data_dir: the folder with the files, or the one that holds `subfolder`, or `name`/`subfolder`.
        name: the benchmark.
        subfolder: folder of the official release that holds the files.
        pattern: regular expression that a whole file name must match.
        official_count: how many files the release has; another number is logged as a warning.

    Raises:
        FileNotFoundError: no such folder, or no file of that kind in it.
    """
    if data_dir is None:
        raise FileNotFoundError(f"{name}: expected the folder of the data set, found none; pass data_dir")
    root = Path(data_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: expected the folder of {name}, found no such folder; download it first")
    for folder in (root, root / subfolder, root / name / subfolder):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [(path, match) for path in paths if (match := re.fullmatch(pattern, path.name))]
        if found:
            if len(found) != official_count:
                logger.warning(
                    "%s: found %d files of %s, the release has %d: results are not comparable to published ones",
                    folder,
                    len(found),
                    name,
                    official_count,
                )
            return found
    raise FileNotFoundError(
        f"{root}: expected files of {name} named like {pattern} here or in {subfolder}/, found none; "
        "check that this is the unpacked release"
    )


def split_by(number: int, train: frozenset[int]) -> str:
    """ "train" when the subject or view is one of the training ones, else "test"."""
    return "train" if number in train else "test"
