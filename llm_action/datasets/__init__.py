"""Benchmarks as Hugging Face datasets: one row a sequence, one column a protocol ("train", "test" or "")."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from datasets import Dataset

from . import msr_action3d, nw_ucla, utd_mhad
from .benchmark import Benchmark
from .table import build_table, row_to_sequence, sequence_to_row, table_features

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "build_table",
    "load_benchmark",
    "row_to_sequence",
    "sequence_to_row",
    "table_features",
]


def _synthetic() -> Benchmark:
    from . import synthetic

    layout = synthetic.LAYOUT.name
    return Benchmark(
        "synthetic", synthetic.LABELS, layout, synthetic.PROTOCOLS, synthetic.PROTOCOLS[0], synthetic.build_synthetic
    )


_BENCHMARKS: dict[str, Callable[[], Benchmark]] = {
    "synthetic": _synthetic,
    "utd_mhad": lambda: utd_mhad.BENCHMARK,
    "nw_ucla": lambda: nw_ucla.BENCHMARK,
    "msr_action3d": lambda: msr_action3d.BENCHMARK,
}


class _Registry(Mapping[str, Benchmark]):
    """Benchmarks by name; the synthetic one is imported when it is asked for, because it brings a motion simulator."""

    def __getitem__(self, name: str) -> Benchmark:
        return _BENCHMARKS[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(_BENCHMARKS)

    def __len__(self) -> int:
        return len(_BENCHMARKS)


BENCHMARKS: Mapping[str, Benchmark] = _Registry()


def load_benchmark(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """A benchmark as a table.

    Args:
        name: key of `BENCHMARKS`.
        data_dir: folder of the unpacked release; not needed for "synthetic", which is made on the spot.

    Returns:
        Columns name, label (ClassLabel with the official names), subject, view, layout, fps (frames per second), shape
        (persons, frames, joints, channels), joints (float32, flattened, NaN where missing), and one column a protocol
        with "train", "test" or "". `row_to_sequence` gives a row's SkeletonSequence.

    Raises:
        ValueError: unknown name, or a file that cannot be read.
        FileNotFoundError: the folder is not there or has no files of that data set.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; known benchmarks: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name].build(data_dir)
