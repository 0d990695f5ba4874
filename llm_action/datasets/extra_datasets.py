"""Training on several data sets at once: their training parts in one table, classes of the same name as one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, concatenate_datasets

from llm_action.datasets import BENCHMARKS, open_dataset
from llm_action.datasets.prepared import is_prepared
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.modeling.label_tree import label_key

_COLUMNS = ("name", "label", "subject", "camera", "layout", "fps", "shape", "joints")


def beside(source: dict[str, str], data_dir: str | os.PathLike[str] | None) -> dict[str, str]:
    """Looks for a further data set of which the name alone is known in a folder of that name beside the first one's.

    Args:
        source: {"dataset": NAME}; with "data", or with the path of a prepared folder, it is given as it is.
        data_dir: the first data set's folder.
    """
    name = source["dataset"]
    if data_dir is None or source.get("data") or is_prepared(name):
        return source
    folder = Path(data_dir).parent / name
    if name in BENCHMARKS:
        return {"dataset": name, "data": str(folder)} if folder.is_dir() else source
    return {"dataset": str(folder)} if is_prepared(folder) else source


def joined(train: Dataset, sources: list[dict[str, str]], unseen: list[str]) -> Dataset:
    """Joins a training part with those of further data sets.

    Each row keeps its own layout; layouts are mapped by joint name.

    Classes in `unseen` are left out of every source, by name. Whether another name means the same is for the user to
    say, who then leaves that data set out.

    Args:
        train: table whose label names come first.
        sources: {"dataset": NAME, "data": FOLDER} each; the training part of its own protocol is taken.

    Raises:
        FileNotFoundError, ValueError: a data set that cannot be opened.
    """
    names = list(train.features["label"].names)
    known = {label_key(name) for name in names}
    left_out = {label_key(name) for name in unseen}
    parts = [train]
    for source in sources:
        benchmark, table = open_dataset(source["dataset"], source.get("data"))
        own = table.features["label"].names
        wanted = protocol_parts(table, protocol_name(benchmark)) == "train"
        wanted &= ~np.isin(table["label"], [number for number, name in enumerate(own) if label_key(name) in left_out])
        parts.append(table.select(np.flatnonzero(wanted)))
        for name in own:
            if label_key(name) not in known:
                known.add(label_key(name))
                names.append(name)
    return concatenate_datasets([relabelled(part, names) for part in parts])


def relabelled(table: Dataset, names: list[str]) -> Dataset:
    """Numbers a table's labels as `names` does, which holds the table's own names and may hold more."""
    numbers = {label_key(name): number for number, name in enumerate(names)}
    own, feature = table.features["label"].names, ClassLabel(names=names)
    labels = [numbers[label_key(own[label])] for label in table["label"]]
    plain = table.select_columns([name for name in _COLUMNS if name != "label"])
    return plain.add_column("label", labels, feature=feature)
