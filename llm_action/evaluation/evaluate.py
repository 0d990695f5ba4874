"""Accuracy, calibration and speed of whatever gives a recorded sequence a score for every class.

The recognizer is asked as its users ask it, through the pipeline.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from torch import Tensor

from llm_action.config.progress import ProgressBar
from llm_action.datasets import row_to_senses, row_to_sequence, row_to_signal
from llm_action.datasets.split import Split
from llm_action.evaluation.ledger import Origin, enter, ledger_file
from llm_action.evaluation.metrics import classification_metrics
from llm_action.modeling.label_tree import label_key, normalize_label
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.skeleton_sequence import SKELETON
from llm_action.modeling.student import ActionStudent

Scorer = Callable[[list[Any]], np.ndarray]
"""Sequences as they were recorded to scores (sequences, classes), the higher the likelier.

Each is a SkeletonSequence, or where senses are named a mapping of those that the recording has.
"""

_TIMED_SEQUENCES = 64
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)  # what single precision rounds to 0 is no larger


@dataclass(frozen=True)
class Classifier:
    """The recognizer or a baseline, trained.

    Attributes:
        score: what scores recorded sequences.
        parameters: the number of parameters trained.
        fingerprint: of those parameters; "" where there are none.
        score_views: `score` with the posteriors of several test-time views averaged; None where it takes one view only.
        posterior: whether scores are log-probabilities.
    """

    score: Scorer
    parameters: int
    fingerprint: str = ""
    score_views: Scorer | None = None
    posterior: bool = True


def recognizer_scorer(
    recognize: SkeletonActionRecognitionPipeline, candidates: Sequence[str] | Mapping[str, Any], views: int = 1
) -> Scorer:
    """The log of the posterior that the pipeline gives each candidate.

    Args:
        candidates: names, or a mapping of names to what they mean, see `candidate_labels` of the pipeline.
        views: test-time views whose posteriors the pipeline averages.

    For weights that stay as they are: what the model reads of prompts and names is kept from batch to batch.
    """
    states = KeptStates()
    columns = {normalize_label(name): column for column, name in enumerate(candidates)}

    def score(sequences: list[Any]) -> np.ndarray:
        options: dict[str, Any] = {"top_k": None, "views": views, "batch_size": len(sequences), "states": states}
        shares = np.zeros((len(sequences), len(columns)))
        for row, ranking in zip(shares, recognize(sequences, candidate_labels=candidates, **options), strict=True):
            for entry in ranking:
                row[columns[entry["label"]]] = entry["score"]
        return np.log(shares.clip(_SMALLEST))

    return score


def student_scorer(student: ActionStudent, labels: Sequence[str], views: int = 1) -> Scorer:
    """The log of the posterior that a student gives each label.

    Raises:
        ValueError: labels that the student was not trained on.
    """
    known = {label_key(label): label for label in student.config.labels}
    if unknown := [label for label in labels if label_key(label) not in known]:
        raise ValueError(
            f"Expected labels that the student was trained on, got {', '.join(unknown[:3])}; let the language model "
            "answer, without --fast."
        )
    own = [known[label_key(label)] for label in labels]
    return lambda sequences: student.log_posterior(sequences, views, own).numpy()


def over_views(scores: Tensor, views: int) -> Tensor:
    """The log of the mean posterior: logits (sequences * views, classes) to (sequences, classes)."""
    return scores.float().log_softmax(-1).unflatten(0, (-1, views)).logsumexp(1) - math.log(views)


def evaluate(
    score: Scorer,
    split: Split,
    origin: Origin,
    batch_size: int = 16,
    posterior: bool = True,
    senses: Sequence[str] = (),
) -> dict[str, Any]:
    """The figures of `scored`, without the scores."""
    return scored(score, split, origin, batch_size, posterior, senses)[0]


def scored(
    score: Scorer,
    split: Split,
    origin: Origin,
    batch_size: int = 16,
    posterior: bool = True,
    senses: Sequence[str] = (),
) -> tuple[dict[str, Any], np.ndarray]:
    """Scores every sequence of a split's test part and enters the result in the ledger.

    Held-out training subjects and cameras (`Split.held_out`) are not entered.

    Args:
        origin: what the ledger says of the scorer.
        batch_size: sequences scored at once.
        posterior: whether scores are log-probabilities.
        senses: what is given of each recording, see `table_scores`.

    Returns:
        `classification_metrics`, and seconds, from the recordings to the scores; and the scores (sequences, classes).

    Raises:
        ValueError: a batch_size below 1; see `classification_metrics`.
        OSError: the ledger cannot be written.
    """
    if not split.held_out:
        ledger_file()  # an error before the scoring, not after it
    started = time.perf_counter()
    scores = table_scores(score, split.test, batch_size, senses)
    seconds = time.perf_counter() - started
    labels = [normalize_label(name) for name in split.test.features["label"].names]
    metrics = classification_metrics(scores, np.array(split.test["label"]), labels, posterior)
    if not split.held_out:
        figures = {name: metrics[name] for name in ("top1", "mean_class_accuracy")}
        enter(origin, split.dataset, split.protocol, metrics["n"], figures)
    return {**metrics, "seconds": round(seconds, 2)}, scores


def table_scores(score: Scorer, table: Dataset, batch_size: int = 16, senses: Sequence[str] = ()) -> np.ndarray:
    """(rows, classes) the scores of every row of a table as `llm_action.datasets` makes it.

    Args:
        senses: "skeleton" and columns of the table; what a row has of them is given as a mapping. Default: skeletons.
    """
    if batch_size < 1:
        raise ValueError(f"Expected batch_size of at least 1, got {batch_size}.")
    order = np.argsort([shape[0] for shape in table["shape"]], kind="stable")  # prompts of one length together
    rows = table.select(order)
    starts = ProgressBar(range(0, len(rows), batch_size), desc="scoring sequences")
    batches = [score(sequences_of(rows, start, start + batch_size, senses)) for start in starts]
    return np.concatenate(batches)[np.argsort(order)]


def milliseconds(score: Scorer, table: Dataset, batch_size: int) -> float:
    """Median time a sequence takes, from the recording to the scores, over the table's first 64 sequences."""
    sequences = sequences_of(table, 0, _TIMED_SEQUENCES)
    batches = [sequences[start : start + batch_size] for start in range(0, len(sequences), batch_size)]
    score(batches[0])  # whatever is compiled or loaded at first
    times = []
    for batch in batches:
        started = time.perf_counter()
        score(batch)
        times.append(1000 * (time.perf_counter() - started) / len(batch))
    return float(np.median(times))


def sequences_of(table: Dataset, start: int = 0, end: int | None = None, senses: Sequence[str] = ()) -> list[Any]:
    """The sequences of a table's rows from `start` to before `end`; `senses` as in `table_scores`."""
    rows = table.select(range(start, len(table) if end is None else min(end, len(table)))).with_format("numpy")
    return [row_to_senses(row, senses) if senses else row_to_sequence(row) for row in rows]


def having(table: Dataset, senses: Sequence[str]) -> Dataset:
    """The rows that have any of some senses; all have a skeleton.

    Raises:
        ValueError: no row has any, or the table has no such column.
    """
    if not senses or SKELETON in senses:
        return table
    rows = table.select_columns([name for name in senses if name in table.column_names]).with_format("numpy")
    there = [any(row_to_signal(row, name) is not None for name in senses) for row in rows]
    if not any(there):
        raise ValueError(f"expected recordings of {' or '.join(senses)}, found none among {len(there)}")
    return table.select(np.flatnonzero(there))


def senses_of(further: Collection[str]) -> tuple[str, ...]:
    """What a reader of skeletons and `further` senses is given of a table's rows, see `table_scores`."""
    return (SKELETON, *further) if further else ()
