"""Classes that zero-shot work leaves out of training, as numbers from 0, in label order.

The four splits of NTU RGB+D are those of SynSE (Gupta et al., ICIP 2021), which later work on zero-shot skeleton action
recognition reports on. Each is a protocol `unseen_SPLIT` of its data set, over the cross-subject one: its training part
without the unseen classes, and of its test part the unseen classes alone.

"60/10" is training on NTU RGB+D 60 and testing on ten one-person classes that NTU RGB+D 120 adds. The paper does not
list its ten; every fourth of the 45 such classes, from the first on, is this project's choice. Say so when reporting.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import ClassLabel, Dataset

from .ntu import TWO_PERSONS

UNSEEN_CLASSES: dict[str, dict[str, tuple[int, ...]]] = {
    "ntu60": {
        "55/5": (10, 11, 19, 26, 56),
        "48/12": (3, 5, 9, 12, 15, 40, 42, 47, 51, 56, 58, 59),
    },
    "ntu120": {
        "110/10": (4, 13, 37, 43, 49, 65, 88, 95, 99, 106),
        "96/24": (5, 9, 11, 16, 18, 20, 22, 29, 35, 39, 45, 49, 59, 68, 70, 81, 84, 87, 93, 94, 104, 113, 114, 119),
    },
}
NEW_CLASSES = tuple(range(60, 120))  # of NTU RGB+D 120, which NTU RGB+D 60 lacks
NEW_SINGLE_PERSON_CLASSES = tuple(label for label in NEW_CLASSES if label not in TWO_PERSONS)
NTU60_TO_NTU120 = "60/10"
TEN_NEW_CLASSES = NEW_SINGLE_PERSON_CLASSES[::4][:10]
_PREFIX, _OVER = "unseen_", "cross_subject"


def unseen_classes(dataset: str, split: str) -> tuple[int, ...]:
    """The classes a split leaves out of training, all of which it tests.

    Args:
        dataset: "ntu60" or "ntu120".
        split: "55/5", "48/12", "110/10" or "96/24": seen / unseen classes.

    Raises:
        ValueError: no such split of that data set; the known ones are listed.
    """
    splits = UNSEEN_CLASSES.get(dataset, {})
    if split not in splits:
        known = "; ".join(f"{name}: {', '.join(known)}" for name, known in UNSEEN_CLASSES.items())
        hint = f"; {NTU60_TO_NTU120} is the protocol {_PREFIX}{NTU60_TO_NTU120} of ntu120"
        raise ValueError(f"expected an unseen-class split, got {split!r} of {dataset!r}; known: {known}{hint}")
    return splits[split]


def unseen_protocols(dataset: str) -> tuple[str, ...]:
    """The protocols `unseen_SPLIT` of a data set."""
    splits = [*UNSEEN_CLASSES.get(dataset, {}), *([NTU60_TO_NTU120] if dataset == "ntu120" else [])]
    return tuple(_PREFIX + split for split in splits)


def unseen_protocol_parts(table: Dataset, protocol: str) -> np.ndarray:
    """ "train", "test" or "" of every row by a protocol `unseen_SPLIT`."""
    left_out, tested = _classes(protocol)
    return unseen_parts(table, _OVER, left_out, tested)


def unseen_parts(
    table: Dataset, protocol: str, unseen: Sequence[int], tested: Sequence[int] | None = None
) -> np.ndarray:
    """ "train" (training part, seen class), "test" (test part, unseen class) or "" of every row.

    Args:
        protocol: a protocol column, for example "cross_subject".
        unseen: classes left out of training.
        tested: those of them that are tested; default all.
    """
    parts, labels = np.array(table[protocol]), np.array(table["label"])
    train = (parts == "train") & ~np.isin(labels, unseen)
    test = (parts == "test") & np.isin(labels, unseen if tested is None else tested)
    return np.select([train, test], ["train", "test"], "")


def among_tested(table: Dataset, protocol: str) -> Dataset:
    """The rows of the classes that a protocol `unseen_SPLIT` tests, and these the only labels: zero-shot recognition
    knows no other candidates. Of another protocol the table as it is."""
    if not protocol.startswith(_PREFIX):
        return table
    _, tested = _classes(protocol)
    labels, names = np.array(table["label"], np.int64), table.features["label"].names
    table = table.select(np.flatnonzero(np.isin(labels, tested)))
    numbers = np.array([tested.index(label) for label in table["label"]], np.int64)
    column = ClassLabel(names=[names[label] for label in tested])
    return table.remove_columns("label").add_column("label", numbers).cast_column("label", column)


def _classes(protocol: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes left out of training, and those of them that are tested."""
    split = protocol.removeprefix(_PREFIX)
    if split == NTU60_TO_NTU120:
        return NEW_CLASSES, TEN_NEW_CLASSES
    (classes,) = (splits[split] for splits in UNSEEN_CLASSES.values() if split in splits)
    return classes, classes
