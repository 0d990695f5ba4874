"""Examples of the most confused classes of an evaluation, to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset

from llm_action.datasets import row_to_sequence
from llm_action.modeling.skeleton_normalization import SkeletonNormalizer
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.visualization.mistakes import Mistake

_CANDIDATES = 200  # of a class, where there are more


def find_mistakes(
    metrics: dict[str, Any], train: Dataset, test: Dataset, extractor: SkeletonNormalizer, pairs: int = 6
) -> list[Mistake]:
    """The most confused pairs, each with the most typical of its mistaken sequences and of the predicted class.

    Args:
        metrics: of `evaluate` on `test`.
        train, test: tables with the same classes, as `llm_action.datasets` makes them.
        extractor: normalises the sequences for saying which one is typical.
        pairs: at most so many; a class without training sequences has no picture.
    """
    predicted, labels = np.array(metrics["predicted"]), metrics["labels"]
    mistakes: list[Mistake] = []
    for pair in metrics["most_confused"]:
        true, taken_for = (labels.index(pair[name]) for name in ("true", "predicted"))
        examples = np.flatnonzero(np.array(train["label"]) == taken_for)
        if len(examples) and len(mistakes) < pairs:
            mistaken = np.flatnonzero((np.array(test["label"]) == true) & (predicted == taken_for))
            mistakes.append(
                Mistake(
                    **pair, mistaken=typical(test, mistaken, extractor), typical=typical(train, examples, extractor)
                )
            )
    return mistakes


def typical(table: Dataset, indices: np.ndarray, extractor: SkeletonNormalizer) -> SkeletonSequence:
    """The sequence with the smallest mean distance, joint by joint after normalisation, to the others."""
    rows = table.select(indices[:_CANDIDATES]).with_format("numpy")
    sequences = [row_to_sequence(row) for row in rows]
    points = extractor.arrays(sequences)[0].reshape(len(sequences), -1, 3)
    distances = [np.linalg.norm(points - one, axis=-1).mean() for one in points]
    return sequences[int(np.argmin(distances))]
