"""Accuracy and speed on the test part of a protocol, of whatever gives a sequence a score for every class."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from tqdm import tqdm

from llm_action.datasets import row_to_sequence
from llm_action.evaluation.metrics import classification_metrics
from llm_action.modeling.label_tree import LabelTree, normalize_label
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SkeletonSequence

Scorer = Callable[[list[SkeletonSequence]], np.ndarray]
"""Sequences as they were recorded to scores (sequences, classes), the higher the likelier."""

_TIMED_SEQUENCES = 64


def evaluate_recognizer(
    model: LlmArForActionRecognition, processor: LlmArProcessor, table: Dataset, batch_size: int = 16, views: int = 1
) -> dict[str, Any]:
    """`evaluate` of a recognizer among the table's classes, the posteriors of `views` sentences a sequence averaged."""
    scorer = recognizer_scorer(model, processor, table.features["label"].names, views)
    return {**evaluate(scorer, table, batch_size), "views": views}


def recognizer_scorer(
    model: LlmArForActionRecognition, processor: LlmArProcessor, labels: list[str], views: int = 1
) -> Scorer:
    """Exact log-likelihoods of the class names; with several views the logarithm of the mean posterior."""
    tree = LabelTree.from_labels([normalize_label(name) for name in labels], processor.tokenizer)

    @torch.no_grad()
    def score(sequences: list[SkeletonSequence]) -> np.ndarray:
        prompts = processor(sequences, return_tensors="pt", views=views).to(model.device)
        scores = model.score(**prompts, tree=tree).float().cpu()
        return over_views(scores, views).numpy()

    return score


def over_views(scores: Tensor, views: int) -> Tensor:
    """Scores (sequences * views, classes) to (sequences, classes): with several views the log of the mean posterior."""
    return scores if views == 1 else scores.softmax(-1).unflatten(0, (-1, views)).mean(1).log()


def evaluate(score: Scorer, table: Dataset, batch_size: int = 16) -> dict[str, Any]:
    """Scores every sequence of a table.

    Args:
        table: rows as `llm_action.datasets` makes them; the class names come from its label column.
        batch_size: sequences scored at once.

    Returns:
        `classification_metrics`, and seconds, from the recordings to the scores.
    """
    if batch_size < 1:
        raise ValueError(f"Expected batch_size of at least 1, got {batch_size}.")
    labels = [normalize_label(name) for name in table.features["label"].names]
    order = np.argsort([shape[0] for shape in table["shape"]], kind="stable")  # prompts of one length together
    rows = table.select(order)
    started, batches = time.perf_counter(), []
    for start in tqdm(range(0, len(rows), batch_size), desc="naming test sequences"):
        batches.append(score(_sequences(rows, start, start + batch_size)))
    seconds = time.perf_counter() - started
    scores = np.concatenate(batches)[np.argsort(order)]
    metrics = classification_metrics(scores, np.array(table["label"]), labels)
    return {**metrics, "seconds": round(seconds, 2)}


def milliseconds(score: Scorer, table: Dataset, batch_size: int) -> float:
    """Median time a sequence takes, from the recording to the scores, over the table's first 64 sequences."""
    sequences = _sequences(table, 0, _TIMED_SEQUENCES)
    batches = [sequences[start : start + batch_size] for start in range(0, len(sequences), batch_size)]
    score(batches[0])  # whatever is compiled or loaded at first
    times = []
    for batch in batches:
        started = time.perf_counter()
        score(batch)
        times.append(1000 * (time.perf_counter() - started) / len(batch))
    return float(np.median(times))


def _sequences(table: Dataset, start: int, end: int) -> list[SkeletonSequence]:
    return [row_to_sequence(row) for row in table.select(range(start, min(end, len(table)))).with_format("numpy")]
