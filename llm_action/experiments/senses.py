"""What a second sense is worth: models of one sense and of both, given one or both, beside two simpler fusions.

Late: the mean of the posteriors of two models of one sense each. Early: joints and signals as the channels of one
classifier, MiniRocket. All models share stage 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.config.experiment import Experiment, load_experiment
from llm_action.datasets import row_to_signal
from llm_action.datasets.split import Split, load_split
from llm_action.evaluation.evaluate import Classifier, Scorer, evaluate, having, recognizer_scorer
from llm_action.evaluation.ledger import Origin, config_hash, recognizer_fingerprint
from llm_action.evaluation.recordings import Recordings, feature_extractor
from llm_action.experiments.baselines import fit_minirocket
from llm_action.experiments.cached_runs import settings, trained_recognizer
from llm_action.experiments.intervals import correctness
from llm_action.experiments.tables import Column, Row
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.signal_sequence import stretched
from llm_action.modeling.skeleton_sequence import SKELETON, SkeletonSequence

COLUMNS = [
    Column("top-1 %", "top1", scale=100),
    Column("mean class %", "mean_class_accuracy", scale=100),
    Column("joints lost, %", "share_lost", 0, 100),
    Column("training, s", "training_seconds", 0, spread=False),
]
FRAMES = 128  # of signals as channels
SHARES_LOST = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
DROP = 0.1  # of accuracy, at which a second sense is asked for help


def sense_rows(config: str, overrides: list[str], data_dir: str | None, work: Path) -> list[Row]:
    """The table's rows, the quickest first.

    minirocket-SENSE: MiniRocket on the signal. early: on joints and signal. skeleton, SENSE, both: recognizers trained
    on these. both-given-...: the last one, given one sense. late: the first two averaged. lost-...: so many joints are
    lost throughout a test recording that the skeleton's model loses 10 points, and what is then read. All are measured
    on the test recordings that have both senses.

    Raises:
        ValueError: the experiment has not just one further sense.
    """
    experiment = load_experiment(config, overrides)
    if len(experiment.senses) != 1:
        raise ValueError(f"{config}: expected one further sense, got {', '.join(experiment.senses) or 'none'}")
    sense = next(iter(experiment.senses))
    both = (SKELETON, sense)
    trained_on = {SKELETON: [SKELETON], sense: [sense], "both": [*both]}

    def of_both(split: Split) -> Split:
        return replace(split, test=having(split.test, [sense]))

    def trained(name: str, seed: int) -> tuple[Scorer, Split, float, str]:
        stage = replace(experiment.recognizer, senses=trained_on[name])
        run = trained_recognizer(replace(experiment, seed=seed, recognizer=stage), data_dir, work)
        fingerprint = recognizer_fingerprint(run.model, run.processor)
        run.model.merge()
        recognize = SkeletonActionRecognitionPipeline(model=run.model, processor=run.processor)
        return recognizer_scorer(recognize, run.split.labels), of_both(run.split), run.seconds, fingerprint

    def origin(row: str, seed: int, fingerprint: str) -> Origin:
        return Origin(f"senses, {row}, seed {seed}", config_hash(experiment), fingerprint)

    def channels(name: str, joints: bool) -> Row:
        def measure(seed: int) -> dict[str, Any]:
            seen = replace(experiment, seed=seed)
            classifier = early_fusion(seen, load_split(seen, data_dir), sense, joints)
            split = of_both(load_split(seen, data_dir))
            about = origin(name, seed, classifier.fingerprint)
            return _figures(evaluate(classifier.score, split, about, 64, posterior=False, senses=both), split)

        return Row(name, settings(experiment, data_dir, "recognizer", "vqvae"), measure)

    def recognizer(row: str, name: str, given: Sequence[str]) -> Row:
        def measure(seed: int) -> dict[str, Any]:
            score, split, seconds, fingerprint = trained(name, seed)
            metrics = evaluate(score, split, origin(row, seed, fingerprint), senses=given)
            return {**_figures(metrics, split), "training_seconds": seconds}

        return Row(row, settings(experiment, data_dir), measure)

    def late(seed: int) -> dict[str, Any]:
        (of_skeleton, split, first, _), (of_sense, _, second, _) = trained(SKELETON, seed), trained(sense, seed)
        score = late_fusion({SKELETON: of_skeleton, sense: of_sense})
        metrics = evaluate(score, split, origin("late", seed, ""), senses=both)
        return {**_figures(metrics, split), "training_seconds": first + second}

    def lost(row: str, name: str, given: Sequence[str]) -> Row:
        def measure(seed: int) -> dict[str, Any]:
            score, split, _, fingerprint = trained(SKELETON, seed)
            whole = evaluate(score, split, origin(row, seed, fingerprint), senses=[SKELETON])["top1"]
            for share in SHARES_LOST:
                metrics = evaluate(lossy(score, share), split, origin(row, seed, fingerprint), senses=[SKELETON])
                if metrics["top1"] <= whole - DROP:
                    break
            if name != SKELETON:
                score, split, _, fingerprint = trained(name, seed)
                metrics = evaluate(lossy(score, share), split, origin(row, seed, fingerprint), senses=given)
            return {**_figures(metrics, split), "share_lost": share}

        return Row(row, settings(experiment, data_dir), measure)

    return [
        channels(f"minirocket-{sense}", joints=False),
        channels("early", joints=True),
        recognizer(SKELETON, SKELETON, [SKELETON]),
        recognizer(sense, sense, [sense]),
        recognizer("both", "both", both),
        recognizer(f"both-given-{SKELETON}", "both", [SKELETON]),
        recognizer(f"both-given-{sense}", "both", [sense]),
        Row("late", settings(experiment, data_dir), late),
        lost(f"lost-{SKELETON}", SKELETON, [SKELETON]),
        lost("lost-both", "both", both),
    ]


def late_fusion(scorers: dict[str, Scorer]) -> Scorer:
    """The log of the mean posterior of scorers that are given one sense each."""

    def score(recordings: list[Any]) -> np.ndarray:
        parts = [of_sense([{name: one[name]} for one in recordings]) for name, of_sense in scorers.items()]
        return np.logaddexp.reduce(parts, axis=0) - np.log(len(parts))

    return score


def early_fusion(experiment: Experiment, split: Split, sense: str, joints: bool = True) -> Classifier:
    """MiniRocket on a signal, or on the joints' coordinates and the signal, stretched to as many frames."""
    recordings = Recordings(experiment, split, feature_extractor(experiment))
    of_training = [row_to_signal(row, sense) for row in split.train.select_columns([sense]).with_format("numpy")]
    scales = np.concatenate([signal for signal in of_training if signal is not None]).std(0)

    def channels(skeletons: np.ndarray | None, signals: list[np.ndarray | None]) -> np.ndarray:
        there = [np.zeros((1, len(scales))) if signal is None else signal / scales for signal in signals]
        found = np.stack([stretched(signal, FRAMES).T for signal in there])
        if skeletons is None:
            return found
        flat = np.moveaxis(skeletons, 2, 1).reshape(len(skeletons), skeletons.shape[2], -1)
        return np.concatenate([np.stack([stretched(rows, FRAMES).T for rows in flat]), found], 1)

    def read(given: list[Any]) -> np.ndarray:
        skeletons = recordings.read([one[SKELETON] for one in given])[0] if joints else None
        return channels(skeletons, [one.get(sense) for one in given])

    inputs = channels(recordings.plain()[0] if joints else None, of_training)
    return fit_minirocket(inputs, recordings.targets, len(split.labels), experiment.seed, read)


def lossy(score: Scorer, share: float) -> Scorer:
    """A scorer of the same recordings, each joint lost throughout with probability `share` (decided by its name)."""

    def scored(recordings: list[Any]) -> np.ndarray:
        return score([{**one, SKELETON: with_lost_joints(one[SKELETON], share)} for one in recordings])

    return scored


def with_lost_joints(sequence: SkeletonSequence, share: float) -> SkeletonSequence:
    """A sequence that lost each joint with probability `share`; one joint stays at least."""
    seed = [int(share * 1000), *sequence.name.encode()]
    rng = np.random.default_rng(seed)
    lost = rng.random(sequence.num_joints) < share
    lost[rng.integers(len(lost))] = False
    joints = sequence.joints.copy()
    joints[:, :, lost] = np.nan
    return replace(sequence, joints=joints, scores=None)


def _figures(metrics: dict[str, Any], split: Split) -> dict[str, Any]:
    kept = {name: metrics[name] for name in ("top1", "mean_class_accuracy", "confusion", "labels")}
    return {**kept, "correct": correctness(metrics["predicted"], split.test)}
