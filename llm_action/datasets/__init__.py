"""Benchmarks as Hugging Face datasets: one row a sequence, one column a protocol ("train", "test" or "")."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from . import msr_action3d, ntu, nw_ucla, smarthome, uav_human, utd_mhad
from .benchmark import Benchmark
from .hub_table import hub_manifest, is_hub_table, open_hub_table
from .prepared import described, is_prepared, open_prepared, prepared_benchmark
from .table import build_table, row_to_senses, row_to_sequence, row_to_signal, sequence_to_row, table_features

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "build_table",
    "describe_dataset",
    "load_benchmark",
    "open_dataset",
    "row_to_senses",
    "row_to_sequence",
    "row_to_signal",
    "sequence_to_row",
    "table_features",
]


def _synthetic() -> Benchmark:
    from .synthetic import sequences as synthetic

    layout = synthetic.LAYOUT.name
    return Benchmark(
        "synthetic",
        synthetic.LABELS,
        layout,
        synthetic.PROTOCOLS,
        synthetic.PROTOCOLS[0],
        build=synthetic.build_synthetic,
    )


_BENCHMARKS: dict[str, Callable[[], Benchmark]] = {
    "synthetic": _synthetic,
    "utd_mhad": lambda: utd_mhad.BENCHMARK,
    "nw_ucla": lambda: nw_ucla.BENCHMARK,
    "msr_action3d": lambda: msr_action3d.BENCHMARK,
    "ntu60": lambda: ntu.NTU60,
    "ntu120": lambda: ntu.NTU120,
    "smarthome": lambda: smarthome.SMARTHOME,
    "uav_human": lambda: uav_human.UAV_HUMAN,
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
    """Reads a benchmark as a table.

    Args:
        name: key of `BENCHMARKS`.
        data_dir: folder of the unpacked release; not needed for "synthetic", which is made on the spot.

    Returns:
        Columns name, label (ClassLabel with the official names), subject, camera (where it is seen from), layout, fps
        (frames per second), shape (persons, frames, joints, channels), joints (float32, flattened, NaN where missing),
        one column a protocol with "train", "test" or "", and one a further sense. `row_to_sequence` gives a row's
        SkeletonSequence, `row_to_signal` the values of a further sense.

    Raises:
        ValueError: unknown name, a data set that must be prepared first, or a file that cannot be read.
        FileNotFoundError: the folder is not there or has no files of that data set.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; known benchmarks: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if benchmark.prepared_only:
        raise ValueError(
            f"{name} is too large to be read anew each time: run llm-action prepare {name} --source RELEASE "
            f"--out FOLDER once and pass that folder instead of {data_dir}"
        )
    if benchmark.build is not None:
        return benchmark.build(data_dir)
    assert benchmark.scan is not None
    scan = benchmark.scan(data_dir)
    return build_table(scan.samples, benchmark.labels, benchmark.protocols, name, benchmark.senses)


def open_dataset(
    dataset: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> tuple[Benchmark, Any]:
    """Opens a data set: a benchmark, a folder that `llm-action prepare` wrote, or such a table on the Hub.

    Args:
        dataset: key of `BENCHMARKS`, a folder that `llm-action prepare` wrote, or user/name or user/name@revision of a
            table that `llm-action push-data` put on the Hub; that one is a `HubTable`, read part by part.
        data_dir: of a benchmark, the folder of the unpacked release or the one `llm-action prepare` made of it.

    Raises:
        ValueError: unknown data set, or a prepared folder of another one.
        FileNotFoundError: a folder is not there.
        OSError: the Hub has no such table, or cannot be reached.
    """
    benchmark = describe_dataset(dataset)
    if is_hub_table(dataset):
        return benchmark, open_hub_table(str(dataset))
    if is_prepared(dataset):
        return benchmark, open_prepared(dataset)
    if data_dir is not None and is_prepared(data_dir):
        found = prepared_benchmark(data_dir)
        if (found.name, found.labels) != (benchmark.name, benchmark.labels):
            raise ValueError(
                f"{data_dir}: expected {dataset}, found a prepared folder of {found.name}; pass the right one"
            )
        return benchmark, open_prepared(data_dir)
    return benchmark, load_benchmark(benchmark.name, data_dir)


def describe_dataset(dataset: str | os.PathLike[str]) -> Benchmark:
    """Says the classes, layout and protocols of a benchmark, of a prepared folder or of such a table on the Hub.

    Raises:
        ValueError: none of these; the known data sets are listed.
        OSError: the Hub has no such table, or cannot be reached.
    """
    if str(dataset) in BENCHMARKS:
        return BENCHMARKS[str(dataset)]
    if is_prepared(dataset):
        return prepared_benchmark(dataset)
    if is_hub_table(dataset):
        return described(hub_manifest(str(dataset)), str(dataset))
    remedy = "; run llm-action prepare folder on it first" if Path(dataset).is_dir() else ""
    raise ValueError(
        f"unknown data set {str(dataset)!r}; known: {', '.join(BENCHMARKS)}, a folder that llm-action prepare "
        f"wrote, or user/name on the Hub{remedy}"
    )
