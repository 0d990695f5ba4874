"""A model's accuracy on the test part of a protocol, through the objects users call."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from llm_action.datasets import row_to_sequence
from llm_action.evaluation.metrics import classification_metrics
from llm_action.modeling.label_tree import LabelTree, normalize_label
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor


@torch.no_grad()
def evaluate_recognizer(
    model: LlmArForActionRecognition, processor: LlmArProcessor, table: Dataset, batch_size: int = 16
) -> dict[str, Any]:
    """Scores every sequence of a table among the table's classes.

    Args:
        table: rows as `llm_action.datasets` makes them; the class names come from its label column.
        batch_size: prompts scored at once.

    Returns:
        `classification_metrics` plus seconds, for tokenising and scoring together.
    """
    if batch_size < 1:
        raise ValueError(f"Expected batch_size of at least 1, got {batch_size}.")
    labels = [normalize_label(name) for name in table.features["label"].names]
    tree = LabelTree.from_labels(labels, processor.tokenizer)
    started, scores = time.perf_counter(), []
    order = np.argsort([shape[0] for shape in table["shape"]], kind="stable")  # prompts of one length together
    rows = table.select(order).with_format("numpy")
    for start in tqdm(range(0, len(table), batch_size), desc="naming test sequences"):
        sequences = [row_to_sequence(rows[i]) for i in range(start, min(start + batch_size, len(table)))]
        prompts = processor(sequences, return_tensors="pt").to(model.device)
        scores.append(model.score(prompts["input_ids"], prompts["attention_mask"], tree).cpu())
    seconds = time.perf_counter() - started
    metrics = classification_metrics(torch.cat(scores).numpy(), np.array(table["label"])[order], labels)
    return {**metrics, "seconds": round(seconds, 2)}
