"""Measures the memory that a pass over a table on the Hub takes, beside that of a table read whole.

    python tests/datasets/measure_hub_memory.py [PARTS ...]

Tables of so many parts are made of one part of 64 sequences, each in a process of its own; the files lie in a folder
instead of a cache. Prints megabytes of joints and megabytes above the start: memory of the process alone, without
the pages of mapped files, which the system takes back when it wants.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from datasets import Dataset

from llm_action.datasets import hub_table, row_to_sequence, sequence_to_row, table_features
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.skeleton_normalization import SkeletonNormalizer

ROWS = 64


def main(*numbers: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "part.arrow"
        table = one_part(file)
        megabytes = sum(len(joints) for joints in table["joints"]) * 4 / 1e6
        for parts in map(int, numbers or ("4", "16", "64")):
            by_part, whole = (in_a_fork(table, file, parts, one) for one in (True, False))
            print(f"{parts} parts, {parts * megabytes:.0f} MB: {by_part:.0f} MB part by part, {whole:.0f} MB whole")


def one_part(file: Path) -> Dataset:
    """A table of 64 sequences, also written as a part."""
    import pyarrow as pa

    features = table_features(["wave", "clap"], ["split"])
    rows = []
    for number in range(ROWS):
        sequence = generate_sequence("waving a hand", number % 8 + 1, 2, number // 8 + 1)
        rows.append(sequence_to_row(sequence, str(number), number % 2, number, 1, {"split": "train"}))
    columns = {name: [row[name] for row in rows] for name in features}
    with file.open("wb") as target, pa.ipc.new_stream(target, features.arrow_schema) as writer:
        for start in range(0, ROWS, 32):
            batch = {name: values[start : start + 32] for name, values in columns.items()}
            writer.write_batch(pa.RecordBatch.from_pydict(batch, schema=features.arrow_schema))
    return Dataset.from_dict(columns, features=features)


def in_a_fork(part: Dataset, file: Path, parts: int, by_part: bool) -> float:
    """Megabytes that a shuffled pass over the normalised sequences takes."""
    out, into = os.pipe()
    if os.fork() == 0:
        rows = parts * ROWS
        index = part.remove_columns("joints").select(np.arange(rows) % ROWS)
        hub_table._fetched = lambda dataset, name: file  # type: ignore[assignment]
        hub_table.file_hash = lambda path: "same"  # type: ignore[assignment]
        listed = [(f"data-{number:05}.arrow", ROWS, "same") for number in range(parts)]
        table = hub_table.HubTable("user/name", listed, index, np.arange(rows))
        normalizer, before = SkeletonNormalizer("kinect20"), own_memory()
        if by_part:
            made = hub_table.PartByPart(table, lambda row: normalizer.normalize(row_to_sequence(row)))
        else:
            made = [normalizer.normalize(row_to_sequence(row)) for row in table]
        peak = 0.0
        for number, place in enumerate(table.shuffled(np.random.default_rng(0))):
            assert len(made[int(place)])
            if number % 100 == 0:
                peak = max(peak, own_memory() - before)
        os.write(into, json.dumps(peak).encode())
        os._exit(0)
    os.close(into)
    os.wait()
    return json.loads(os.read(out, 1000))


def own_memory() -> float:
    """Megabytes of this process that are of no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main(*sys.argv[1:])
