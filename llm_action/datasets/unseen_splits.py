"""Classes that zero-shot work leaves out of training, as numbers from 0, in label order.

The four splits of NTU RGB+D are those of SynSE (Gupta et al., ICIP 2021), which later work on zero-shot skeleton action
recognition reports on. What NTU RGB+D 120 adds to NTU RGB+D 60 is the pool for training on one and testing on the
other.
"""

from __future__ import annotations

import numpy as np
from datasets import Dataset

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
# One-person classes of NTU RGB+D 120 that NTU RGB+D 60 lacks. The paper tests a model trained on NTU60 on ten of them
# and does not list which: name yours when reporting.
NEW_SINGLE_PERSON_CLASSES = tuple(label for label in range(60, 120) if label not in TWO_PERSONS)


def unseen_classes(dataset: str, split: str) -> tuple[int, ...]:
    """The classes a split leaves out of training.

    Args:
        dataset: "ntu60" or "ntu120".
        split: "55/5", "48/12", "110/10" or "96/24": seen / unseen classes.

    Raises:
        ValueError: no such split of that data set; the known ones are listed.
    """
    splits = UNSEEN_CLASSES.get(dataset, {})
    if split not in splits:
        known = "; ".join(f"{name}: {', '.join(known)}" for name, known in UNSEEN_CLASSES.items())
        raise ValueError(f"expected an unseen-class split, got {split!r} of {dataset!r}; known: {known}")
    return splits[split]


def unseen_parts(table: Dataset, protocol: str, unseen: tuple[int, ...]) -> np.ndarray:
    """For every row "train" (training part, seen class), "test" (test part, unseen class) or ""."""
    parts = np.array(table[protocol], dtype=object)
    is_unseen = np.isin(np.array(table["label"]), unseen)
    parts[(parts == "train") & is_unseen] = ""
    parts[(parts == "test") & ~is_unseen] = ""
    return parts
