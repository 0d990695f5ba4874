"""Measures the recognition of classes without training data, over fixed splits of the classes.

Zero-shot is a choice among the unseen labels, generalised zero-shot one among all. Both are measured on the test part
of the data set's own protocol. A split's weights (see `open_vocabulary`) may be chosen on classes held out of its seen
ones, by a training of its own; its unseen classes and the test part take no part in that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from llm_action.config.experiment import Experiment
from llm_action.datasets.split import described_labels, load_split
from llm_action.evaluation.evaluate import recognizer_scorer, sequences_of, table_scores
from llm_action.evaluation.ledger import Origin, config_hash, enter, recognizer_fingerprint
from llm_action.evaluation.recordings import Recordings
from llm_action.experiments.cached_runs import Recognizer, settings, trained_recognizer
from llm_action.experiments.class_splits import ClassSplit
from llm_action.experiments.open_vocabulary import choose_weights, generalised, single_scores
from llm_action.experiments.tables import Column, Row
from llm_action.experiments.unseen_baselines import (
    label_embeddings,
    nearest_description,
    text_encoder,
    train_alignment,
)
from llm_action.hub.base_models import resolve_base_model
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.open_vocabulary import ScoreWeights
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.training.adapt import Adaptation, adapt_recognizer, table_examples
from llm_action.training.precision import base_dtype
from llm_action.training.rehearsal import read_rehearsal

COLUMNS = [
    Column("chance", "chance", scale=100),
    Column("zero-shot", "zero_shot", scale=100),
    Column("seen", "seen", scale=100),
    Column("unseen", "unseen", scale=100),
    Column("harmonic mean", "harmonic_mean", scale=100),
    Column("names alone", "names_zero_shot", scale=100),
    Column("their harmonic mean", "names_harmonic_mean", scale=100),
    Column("aligned embeddings", "alignment_zero_shot", scale=100),
    Column("nearest description", "nearest_zero_shot", scale=100),
    Column("training, min", "seconds", scale=1 / 60),
]
ADAPTED_COLUMNS = [
    Column("new classes", "adapted_new", scale=100),
    Column("old classes", "adapted_old", scale=100),
    Column("old before", "old_before", scale=100),
]


def unseen_rows(
    experiment: Experiment, data_dir: str | None, splits: list[ClassSplit], work: Path, examples: int = 0
) -> list[Row]:
    """A row for each split: everything that is measured of it.

    Args:
        work: folder of the runs.
        examples: of each unseen class, to learn it from afterwards; 0 leaves that out.

    Raises:
        ValueError: few-shot of a recognizer that is not taught labels.
    """
    if examples and experiment.recognizer.answers == "description":
        raise ValueError("--adapt teaches names: expected recognizer.answers label or both, got description")

    def row(number: int, split: ClassSplit) -> Row:
        decides = {**settings(experiment, data_dir), "split": asdict(split), "examples": examples}

        def measure(seed: int) -> dict[str, Any]:
            return measure_split(replace(experiment, seed=seed), data_dir, split, work, examples)

        return Row(f"split {number}", decides, measure)

    return [row(number, split) for number, split in enumerate(splits, 1)]


def measure_split(
    experiment: Experiment, data_dir: str | None, split: ClassSplit, work: Path, examples: int = 0
) -> dict[str, Any]:
    """Trains both stages on a split's seen classes and measures it.

    Returns:
        chance; zero_shot, and zero_shot_NAME of each single score; seen, unseen and harmonic_mean among all labels; the
        same of labels without descriptions as names_... and of the baselines as alignment_... and nearest_...; seconds
        of training; weights; unseen_labels; text_encoder. With `examples` adapted_new and adapted_old, the accuracy
        among all labels after learning the unseen classes from so many examples, and old_before, that of the seen
        classes among themselves before.
    """
    weights, seconds = ScoreWeights(), 0.0
    if split.validation:
        weights, seconds = validated_weights(experiment, data_dir, split, work, weights)
    experiment = replace(experiment, unseen=list(split.unseen))
    run = _trained(experiment, data_dir, work)
    case = _Case(run.split.test, run.split.labels, split.unseen)
    described = described_labels(experiment, case.labels)
    recognize = _pipeline(run)
    single = single_scores(recognize, described, sequences_of(case.table))
    metrics: dict[str, Any] = {"chance": 1 / len(split.unseen), **case.measure(single.combined(weights))}
    for name in single.scores.keys() - ({"label"} if "attributes" in single.scores else set()):
        metrics[f"zero_shot_{name}"] = case.measure(single.alone(name, weights))["zero_shot"]
    metrics |= {"seconds": seconds + run.seconds, "weights": asdict(weights), "unseen_labels": list(split.unseen)}
    by_name = case.measure(table_scores(recognizer_scorer(recognize, case.labels), case.table))
    metrics |= {f"names_{name}": value for name, value in by_name.items()}
    metrics |= _baselines(experiment, run, case, described)
    metrics |= _adapted(experiment, data_dir, run, case, examples) if examples else {}
    if not run.split.held_out:
        _enter(experiment, run, metrics)
    return metrics


def _enter(experiment: Experiment, run: Recognizer, metrics: dict[str, Any]) -> None:
    """A line in the ledger for each way to recognise that was measured."""
    fingerprint, left_out = recognizer_fingerprint(run.model, run.processor), ", ".join(experiment.unseen)
    measures = ("zero_shot", "seen", "unseen", "harmonic_mean", "new", "old")
    for way in ("", "names_", "alignment_", "nearest_", "adapted_"):
        figures = {name: metrics[way + name] for name in measures if way + name in metrics}
        if figures:
            title = f"benchmark unseen {way.removesuffix('_')}".strip()
            command = f"{title}, without {left_out}, seed {experiment.seed}"
            model = fingerprint if way in ("", "names_") else ""  # the others are other models
            origin = Origin(command, config_hash(experiment), model)
            enter(origin, run.split.dataset, run.split.protocol, len(run.split.test), figures)


def validated_weights(
    experiment: Experiment, data_dir: str | None, split: ClassSplit, work: Path, default: ScoreWeights
) -> tuple[ScoreWeights, float]:
    """The weights that do best on a split's validation classes, of a model trained without them; and its seconds.

    It is trained without one subject either, whose sequences are those of the seen classes.

    Raises:
        ValueError: the training part shows one subject only.
    """
    train = load_split(replace(experiment, unseen=list(split.unseen)), data_dir).train
    subjects = np.array(train["subject"])
    if len(set(subjects.tolist())) < 2:
        raise ValueError("validation classes need a training part of two subjects or more; pass --validation 0")
    subject = int(subjects.max())
    experiment = replace(
        experiment,
        unseen=[*split.unseen, *split.validation],
        holdout_subjects=[*experiment.holdout_subjects, subject],
    )
    names = train.features["label"].names
    held_out = np.isin(train["label"], [names.index(label) for label in split.validation])
    table = train.select(np.flatnonzero((subjects == subject) | held_out))
    case = _Case(table, [label for label in names if label not in split.unseen], split.validation)
    run = _trained(experiment, data_dir, work)
    single = single_scores(_pipeline(run), described_labels(experiment, case.labels), sequences_of(case.table))
    return choose_weights(single, case.targets, case.seen, default), run.seconds


class _Case:
    """Sequences to recognise among labels, some of them unseen.

    Attributes:
        table: the sequences.
        labels: candidates.
        targets: (sequences,) numbers of the true ones.
        seen: (labels,) bool.
    """

    def __init__(self, table: Dataset, labels: Sequence[str], unseen: Sequence[str]):
        names = table.features["label"].names
        self.table, self.labels = table, list(labels)
        self.targets = np.array([self.labels.index(names[label]) for label in table["label"]])
        self.seen = ~np.isin(self.labels, list(unseen))

    def measure(self, scores: np.ndarray) -> dict[str, float]:
        """zero_shot, seen, unseen and harmonic_mean of scores (sequences, labels)."""
        unseen, new = np.flatnonzero(~self.seen), ~self.seen[self.targets]
        zero_shot = (unseen[scores[new][:, unseen].argmax(1)] == self.targets[new]).mean()
        return {"zero_shot": float(zero_shot), **generalised(scores, self.targets, self.seen)}


def _trained(experiment: Experiment, data_dir: str | None, work: Path) -> Recognizer:
    """Both stages, without the probes of stage 1, whose figures are not used."""
    return trained_recognizer(replace(experiment, vqvae=replace(experiment.vqvae, probe_steps=0)), data_dir, work)


def _pipeline(run: Recognizer) -> SkeletonActionRecognitionPipeline:
    model = LlmArForActionRecognition.from_pretrained(run.folder / "model")
    return SkeletonActionRecognitionPipeline(model=model, processor=run.processor)


def _baselines(
    experiment: Experiment, run: Recognizer, case: _Case, descriptions: dict[str, LabelDescription]
) -> dict[str, Any]:
    extractor = run.processor.feature_extractor
    encode, encoder = text_encoder(resolve_base_model(experiment.base_model))
    recordings = Recordings(experiment, run.split, extractor)
    embeddings = label_embeddings(encode, case.labels, descriptions)
    scorers = {
        "alignment": train_alignment(recordings, embeddings, np.flatnonzero(case.seen).tolist()),
        "nearest": nearest_description(extractor, case.labels, descriptions),
    }
    found: dict[str, Any] = {"text_encoder": encoder}
    for name, score in scorers.items():
        found |= {f"{name}_{metric}": v for metric, v in case.measure(table_scores(score, case.table)).items()}
    return found


def _adapted(
    experiment: Experiment, data_dir: str | None, run: Recognizer, case: _Case, examples: int
) -> dict[str, float]:
    """Accuracy among all labels before and after the unseen classes are learned from a few training sequences."""
    adaptation = Adaptation(augmentation=experiment.augmentation, seed=experiment.seed)
    few = load_split(replace(experiment, unseen=[], training_examples_per_class=examples), data_dir).train
    few = few.filter(lambda label: not case.seen[label], input_columns="label")
    new, old = table_examples(few, run.processor, adaptation), read_rehearsal(run.folder / "model")
    assert old is not None  # the export has just been written with it
    model = LlmArForActionRecognition.from_pretrained(run.folder / "model", is_trainable=True, dtype=base_dtype("auto"))

    def scores(labels: np.ndarray) -> np.ndarray:
        """(sequences, labels) the log-posterior among some of the labels (bool), -inf of the others."""
        recognize = SkeletonActionRecognitionPipeline(model=model, processor=run.processor)
        candidates = [label for label, among in zip(case.labels, labels, strict=True) if among]
        found = np.full((len(case.table), len(labels)), -np.inf)
        found[:, labels] = table_scores(recognizer_scorer(recognize, candidates), case.table)
        return found

    before = generalised(scores(case.seen), case.targets, case.seen)["seen"]
    adapt_recognizer(model, run.processor, old, new, adaptation)
    after = generalised(scores(np.ones_like(case.seen)), case.targets, case.seen)
    return {"adapted_new": after["unseen"], "adapted_old": after["seen"], "old_before": before}
