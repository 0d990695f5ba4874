"""How a trained recognizer does on another data set, at once and after a few examples of each class.

At once it chooses among the other data set's labels by their names and descriptions, shipped with this package or the
user's own. The sequences are the test part of the other data set's protocol. The baseline is the small transformer,
trained on the same examples alone.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_action.config.experiment import Experiment
from llm_action.datasets.split import Split, described_labels, load_split
from llm_action.evaluation.evaluate import Scorer, evaluate, recognizer_scorer
from llm_action.evaluation.ledger import Origin, config_hash, recognizer_fingerprint
from llm_action.evaluation.probe import joint_inputs, train_probe
from llm_action.evaluation.recordings import Recordings, feature_extractor
from llm_action.experiments.cached_runs import settings
from llm_action.experiments.intervals import correctness
from llm_action.experiments.tables import Column, Row
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.adapt import Adaptation, adapt_recognizer, table_examples
from llm_action.training.precision import base_dtype
from llm_action.training.rehearsal import FEATURES_FILE, REHEARSAL_FILE, read_rehearsal

COLUMNS = [
    Column("top-1 %", "top1", scale=100),
    Column("mean class %", "mean_class_accuracy", scale=100),
    Column("training, s", "training_seconds", 0, spread=False),
]


def transfer_rows(model: Path, experiment: Experiment, data_dir: str | None, examples: list[int]) -> list[Row]:
    """A row for each number of examples a class, 0 for none, and one for the small transformer beside it.

    Args:
        model: folder of the recognizer, with its rehearsal files where it is to learn.
        experiment: the other data set and the descriptions of its labels; its normalisation and augmentation are the
            small transformer's.
        data_dir: of a benchmark; see `load_split`.

    Raises:
        ValueError: negative numbers, or a model that has no sentences to rehearse.
    """
    if min(examples) < 0:
        raise ValueError(f"expected numbers of examples of 0 or more, got {min(examples)}")
    if max(examples) and read_rehearsal(model) is None:
        raise ValueError(
            f"{model}: has no {REHEARSAL_FILE} and {FEATURES_FILE}, which training leaves there; its classes cannot be "
            "rehearsed"
        )

    def row(number: int, name: str, measure) -> Row:
        seen = replace(experiment, training_examples_per_class=number)
        decides = settings(seen, data_dir, "base_model", "vqvae", "recognizer")
        decides |= {"model": str(model.resolve()), "descriptions": seen.recognizer.descriptions}
        return Row(name, decides, lambda seed: measure(replace(seen, seed=seed)), seeded=number > 0)

    def recognizer(seen: Experiment) -> dict[str, Any]:
        split, started = load_split(seen, data_dir), time.perf_counter()
        learner = LlmArForActionRecognition.from_pretrained(model, is_trainable=True, dtype=base_dtype("auto"))
        processor = LlmArProcessor.from_pretrained(model)
        if seen.training_examples_per_class:
            adaptation = Adaptation(augmentation=seen.augmentation, seed=seen.seed)
            rehearsal = read_rehearsal(model)
            assert rehearsal is not None  # checked above
            new = table_examples(split.train, processor, adaptation)
            adapt_recognizer(learner, processor, rehearsal, new, adaptation)
        seconds, fingerprint = time.perf_counter() - started, recognizer_fingerprint(learner, processor)
        learner.merge()
        learned = seen.training_examples_per_class
        candidates = split.labels if learned else described_labels(seen, split.labels)
        recognize = SkeletonActionRecognitionPipeline(model=learner, processor=processor)
        return _figures(recognizer_scorer(recognize, candidates), seen, split, seconds, "llm-ar", fingerprint)

    def transformer(seen: Experiment) -> dict[str, Any]:
        split, started = load_split(seen, data_dir), time.perf_counter()
        trained = train_probe(Recordings(seen, split, feature_extractor(seen)), joint_inputs)
        seconds = time.perf_counter() - started
        return _figures(trained.score, seen, split, seconds, "transformer", trained.fingerprint)

    rows = []
    for number in examples:
        rows.append(row(number, f"llm-ar, {number} examples a class", recognizer))
        if number:
            rows.append(row(number, f"transformer, {number} examples a class", transformer))
    return rows


def _figures(
    score: Scorer, experiment: Experiment, split: Split, seconds: float, name: str, fingerprint: str
) -> dict[str, Any]:
    examples = f"{experiment.training_examples_per_class} examples a class"
    origin = Origin(f"transfer, {name}, {examples}, seed {experiment.seed}", config_hash(experiment), fingerprint)
    metrics = evaluate(score, split, origin)
    found = {name: metrics[name] for name in ("top1", "mean_class_accuracy")}
    correct = correctness(metrics["predicted"], split.test)
    return {**found, "training_seconds": round(seconds, 2), "correct": correct}
