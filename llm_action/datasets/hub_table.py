"""A prepared table on the Hub, read part by part: a training begins with the first part and holds a few in memory.

`llm-action push-data FOLDER user/name` puts the parts, the manifest and an index (every column but the joints) there.
`dataset: user/name` trains on it. Parts come when a row of theirs is asked for, are checked against the manifest and
stay in the Hugging Face cache, so later passes and resumed runs read them from there.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from llm_action.config.atomic_files import file_hash
from llm_action.config.reading import damaged
from llm_action.modeling.hub_repository import explain_refusal, is_hub_id

from .prepared import MANIFEST, open_prepared, read_manifest

INDEX = "index.parquet"
_PARTS_HELD = 4  # whose sequences are shuffled among each other, and held in memory
_PUSH_AGAIN = "push it again with llm-action push-data"


def is_hub_table(dataset: str | os.PathLike[str]) -> bool:
    """Whether a data set's name is one on the Hub: user/name, or user/name@revision."""
    return is_hub_id(str(dataset).partition("@")[0])


def pinned(dataset: str) -> str:
    """Names a data set on the Hub with the commit that it stands for now; any other, and one offline, as it is.

    Raises:
        OSError: no such repository, or no right to read it.
    """
    if "@" in dataset or not is_hub_table(dataset):
        return dataset
    try:
        return f"{dataset}@{HfApi().dataset_info(dataset).sha}"
    except HfHubHTTPError as error:
        raise OSError(explain_refusal(dataset, error)) from error
    except OSError:  # offline: what the cache has
        return dataset


def hub_manifest(dataset: str) -> dict[str, Any]:
    """Reads the manifest of a table on the Hub, see `prepared`.

    Raises:
        OSError: no such repository, no right to read it, or no connection and nothing in the cache.
        ValueError: it is damaged.
    """
    return read_manifest(_fetched(dataset, MANIFEST).parent)


def open_hub_table(dataset: str) -> HubTable:
    """Opens a table on the Hub; fetches its manifest and its index alone.

    Raises:
        OSError, ValueError: as `hub_manifest`.
    """
    manifest, file = hub_manifest(dataset), _fetched(dataset, INDEX)
    with damaged(dataset, _PUSH_AGAIN):
        index = Dataset.from_parquet(str(file), keep_in_memory=True)
        parts = [(str(part["file"]), int(part["rows"]), str(part["sha256"])) for part in manifest["parts"]]
        if sum(rows for _, rows, _ in parts) != len(index):
            raise ValueError(f"{dataset}: expected {sum(rows for _, rows, _ in parts)} rows, found {len(index)}")
        return HubTable(dataset, parts, index, np.arange(len(index)))


def write_index(folder: Path, file: Path) -> None:
    """Writes the index of a prepared folder: every column but the joints."""
    open_prepared(folder).remove_columns("joints").to_parquet(str(file))


class HubTable:
    """Rows of a table on the Hub; of a `datasets.Dataset` what trainings use.

    Columns but `joints` come from the index. A row, and a pass over the rows, brings the parts one by one.

    Args:
        name: user/name, or user/name@revision.
        parts: file, number of rows and SHA-256 of each part.
        index: every row of the whole table, without joints.
        rows: of the whole table, which are in this one.
    """

    def __init__(self, name: str, parts: Sequence[tuple[str, int, str]], index: Dataset, rows: np.ndarray):
        self.name, self.parts, self.index, self.rows = name, parts, index, rows
        self.starts = np.cumsum([0, *(count for _, count, _ in parts)])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> Features:
        return self.index.features

    @property
    def column_names(self) -> list[str]:
        return [*self.index.column_names, "joints"]

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            return self.index.select(self.rows)[key][:]
        row = int(self.rows[key])
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        part = _part(self.name, *self.parts[number][::2])
        joints = part.column("joints")[row - int(self.starts[number])].values
        return {**self.index[row], "joints": np.asarray(joints, np.float32)}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[place] for place in range(len(self)))

    def select(self, places: Any) -> HubTable:
        """The rows at some places, in that order."""
        return HubTable(self.name, self.parts, self.index, self.rows[np.asarray(list(places), int)])

    def select_columns(self, columns: list[str]) -> Dataset:
        """Some columns of the index."""
        return self.index.select(self.rows).select_columns(columns)

    def with_format(self, kind: str | None = None) -> HubTable:
        """Itself: joints are numpy arrays in any case."""
        return self

    def cast_column(self, column: str, feature: Any) -> HubTable:
        return HubTable(self.name, self.parts, self.index.cast_column(column, feature), self.rows)

    def places_by_part(self) -> list[np.ndarray]:
        """Places in this table of the rows of each part that it has any of."""
        number = np.searchsorted(self.starts, self.rows, side="right") - 1
        return [np.flatnonzero(number == one) for one in np.unique(number)]

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """Every place once: parts in a random order, a few of them shuffled among each other."""
        parts = self.places_by_part()
        if len(parts) <= _PARTS_HELD:
            return rng.permutation(len(self))
        order = rng.permutation(len(parts))
        groups = [order[start : start + _PARTS_HELD] for start in range(0, len(order), _PARTS_HELD)]
        return np.concatenate([rng.permutation(np.concatenate([parts[one] for one in group])) for group in groups])


class PartByPart(Sequence[Any]):
    """What a function makes of every row of a table on the Hub, made a part at a time and held for a few parts."""

    def __init__(self, table: HubTable, make: Any):
        self.table, self.make = table, make
        self.parts = table.places_by_part()
        self.part_of = np.empty(len(table), int)
        for number, places in enumerate(self.parts):
            self.part_of[places] = number
        self.held: OrderedDict[int, dict[int, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        number = int(self.part_of[place])
        if number not in self.held:
            while len(self.held) >= _PARTS_HELD:
                self.held.popitem(last=False)
            self.held[number] = {int(one): self.make(self.table[int(one)]) for one in self.parts[number]}
        self.held.move_to_end(number)
        return self.held[number][int(place)]


def _fetched(dataset: str, file: str) -> Path:
    """A file of a data set's repository, from the cache or fetched into it."""
    name, _, revision = dataset.partition("@")
    try:
        return Path(hf_hub_download(name, file, repo_type="dataset", revision=revision or None))
    except OSError as error:  # of the Hub, or of what is not in the cache
        said = explain_refusal(dataset, error).removeprefix(f"{dataset}: ")
        raise OSError(
            f"{dataset}: expected a folder that llm-action prepare wrote, or a table that push-data put on the Hub; "
            f"there is no such folder here, and of the Hub: {said}"
        ) from error


@lru_cache(maxsize=_PARTS_HELD)
def _part(dataset: str, file: str, digest: str) -> pa.Table:
    """A part, memory-mapped; fetched and checked if it was not."""
    path = _fetched(dataset, file)
    if file_hash(path) != digest:
        raise ValueError(f"{dataset}: {file} is not what the manifest says; {_PUSH_AGAIN}, or empty the cache ({path})")
    with damaged(path, _PUSH_AGAIN):
        return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
