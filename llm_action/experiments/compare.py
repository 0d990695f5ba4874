"""The recognizer beside what a user would pick instead: the same split, normalisation and augmentation for all.

Times are wall-clock: training from the loaded split to the classifier, naming from the recording to the scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.datasets.split import Split, load_split
from llm_action.evaluation.evaluate import Classifier, Scorer, evaluate, milliseconds, recognizer_scorer, scored
from llm_action.evaluation.ledger import Origin, config_hash, recognizer_fingerprint, weights_fingerprint
from llm_action.evaluation.probe import joint_inputs, token_inputs, train_probe
from llm_action.evaluation.recordings import Recordings, feature_extractor
from llm_action.evaluation.trunk_classifier import train_trunk
from llm_action.experiments.baselines import minirocket, nearest_neighbour
from llm_action.experiments.cached_runs import (
    settings,
    trained_recognizer,
    trained_student,
    trained_tokenizer,
    training_seconds,
)
from llm_action.experiments.intervals import correctness
from llm_action.experiments.tables import Column, Row
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.student import ActionStudent

COLUMNS = [
    Column("top-1 %", "top1", scale=100),
    Column("4 views", "views_top1", scale=100),
    Column("mean class %", "mean_class_accuracy", scale=100),
    Column("parameters, M", "parameters", 2, 1e-6, spread=False),
    Column("training, s", "training_seconds", 0, spread=False),
    Column("ms a sequence, batch 1", "milliseconds_batch_1", spread=False),
    Column("batch 16", "milliseconds_batch_16", spread=False),
    Column("batch 16, 4 views", "views_milliseconds_batch_16", spread=False),
]
AVERAGED_VIEWS = 4  # for "llm-ar" and whatever else is trained on the same augmented sequences
CALIBRATION = ("negative_log_likelihood", "calibration_error", "calibration_error_by_chance")  # of posteriors
COPIES = 4  # of each training sequence, augmented
WARPING_WINDOW = 0.2  # chosen by leaving out training subjects of UTD-MHAD and MSR-Action3D


def comparison_rows(experiment: Experiment, data_dir: str | None, work: Path) -> list[Row]:
    """The table's rows, the quickest first.

    dtw: 1-NN, dynamic time warping. minirocket: as its authors have it; -facing: after facing alignment; -copies: and
    with 4 augmented copies of each training sequence. transformer: the small one on joints and velocities. trunk: the
    one that follows the skeleton, with a reader. tokens: the transformer on the action tokens. llm-ar: both stages.
    student: of llm-ar. hybrid: the mean of the posteriors of student and llm-ar. Of these six the posteriors of four
    views of each sequence are averaged in columns of their own.

    Args:
        experiment: of "llm-ar"; its data, normalisation and augmentation are everybody's.
        data_dir: of a benchmark; see `load_split`.
        work: folder for the runs of "tokens" and "llm-ar".
    """
    data = settings(experiment, data_dir, "base_model", "vqvae", "recognizer")
    data["num_frames"] = feature_extractor(experiment).num_frames
    tokenizer = settings(experiment, data_dir, "recognizer")

    def baseline(
        name: str, fit: Callable[..., Classifier], facing: bool | None = None, seeded: bool = True, **options: Any
    ) -> Row:
        def measure(seed: int) -> dict[str, Any]:
            seen = replace(experiment, seed=seed)
            split = load_split(seen, data_dir)
            started = time.perf_counter()
            trained = fit(Recordings(seen, split, feature_extractor(seen, facing)), **options)
            seconds = time.perf_counter() - started
            return _figures(trained, split, seconds, _origin(seen, f"compare, {name}", trained))

        return Row(name, {**data, **options}, measure, seeded)

    def tokens(seed: int) -> dict[str, Any]:
        seen = replace(experiment, seed=seed)
        run = trained_tokenizer(seen, data_dir, work)
        split = load_split(seen, data_dir)
        processor = LlmArProcessor.from_pretrained(run / "processor")
        started = time.perf_counter()
        recordings = Recordings(seen, split, processor.feature_extractor)
        probe = train_probe(recordings, token_inputs(processor), views=AVERAGED_VIEWS)
        trained = replace(probe, parameters=probe.parameters + processor.vqvae.num_parameters())
        seconds = training_seconds(run) + time.perf_counter() - started
        return _figures(trained, split, seconds, _origin(seen, "compare, tokens", trained))

    def llm_ar(seed: int) -> dict[str, Any]:
        seen = replace(experiment, seed=seed)
        return recognizer_figures(seen, data_dir, work, "compare, llm-ar", AVERAGED_VIEWS)

    def student(seed: int) -> dict[str, Any]:
        seen = replace(experiment, seed=seed)
        distilled, seconds = trained_student(seen, data_dir, work)
        trained = Classifier(
            _student_scorer(distilled, 1),
            sum(weight.numel() for weight in distilled.parameters()),
            weights_fingerprint(distilled.state_dict().items()),
            _student_scorer(distilled, AVERAGED_VIEWS),
        )
        origin = _origin(seen, "compare, student", trained)
        return _figures(trained, load_split(seen, data_dir), seconds, origin)

    def hybrid(seed: int) -> dict[str, Any]:
        seen = replace(experiment, seed=seed)
        distilled, _ = trained_student(seen, data_dir, work)
        return recognizer_figures(seen, data_dir, work, "compare, hybrid", AVERAGED_VIEWS, distilled)

    return [
        # a seed changes nothing of it, but which few sequences it is given
        baseline("dtw", nearest_neighbour, seeded=bool(experiment.training_examples_per_class), window=WARPING_WINDOW),
        baseline("minirocket", minirocket, facing=False),
        baseline("minirocket-facing", minirocket, facing=True),
        baseline("minirocket-copies", minirocket, facing=True, copies=COPIES),
        baseline("transformer", lambda recordings: train_probe(recordings, joint_inputs, views=AVERAGED_VIEWS)),
        baseline("trunk", train_trunk, views=AVERAGED_VIEWS),
        Row("tokens", tokenizer, tokens),
        Row("llm-ar", settings(experiment, data_dir), llm_ar),
        Row("student", settings(experiment, data_dir), student),
        Row("hybrid", settings(experiment, data_dir), hybrid),
    ]


def recognizer_figures(
    experiment: Experiment,
    data_dir: str | None,
    work: Path,
    command: str,
    views: int = 1,
    student: ActionStudent | None = None,
) -> dict[str, Any]:
    """The metrics of both stages, trained below `work` unless they are there.

    Args:
        command: of the ledger's entries.
        views: test-time views; of several there are further metrics with their posteriors averaged.
        student: whose posterior is averaged with the model's.
    """
    recognizer = trained_recognizer(experiment, data_dir, work)
    model, processor, split = recognizer.model, recognizer.processor, recognizer.split
    parameters = model.num_parameters(only_trainable=True) + processor.vqvae.num_parameters()
    fingerprint = recognizer_fingerprint(model, processor)
    if not experiment.recognizer.is_control:
        model.merge()  # as one would to name actions
    recognize = SkeletonActionRecognitionPipeline(model=model, processor=processor)

    def scorer(views: int) -> Scorer:
        alone = recognizer_scorer(recognize, split.labels, views)
        return alone if student is None else _mean_scorer(alone, _student_scorer(student, views), student.config.share)

    trained = Classifier(scorer(1), parameters, fingerprint, scorer(views) if views > 1 else None)
    return _figures(trained, split, recognizer.seconds, _origin(experiment, command, trained))


def _student_scorer(student: ActionStudent, views: int) -> Scorer:
    return lambda sequences: student.log_posterior(sequences, views).numpy()


def _mean_scorer(one: Scorer, other: Scorer, share: float) -> Scorer:
    """The log of the mean of two posteriors; `share` is the other's."""
    return lambda sequences: np.logaddexp(
        np.log1p(-share) + one(sequences), np.log(share) + other(sequences).astype(np.float64)
    )


def _origin(experiment: Experiment, command: str, trained: Classifier) -> Origin:
    return Origin(f"{command}, seed {experiment.seed}", config_hash(experiment), trained.fingerprint)


def _figures(trained: Classifier, split: Split, seconds: float, origin: Origin) -> dict[str, Any]:
    """What a row keeps: metrics, costs, and of each sequence of the test part its class, the posterior, and `correct`.

    `correct` is 0 or 1.
    """
    test, of_views = split.test, {}
    metrics, scores = scored(trained.score, split, origin, posterior=trained.posterior)
    if trained.score_views is not None:
        averaged = replace(origin, command=f"{origin.command}, {AVERAGED_VIEWS} views")
        of_views = {
            "views_top1": evaluate(trained.score_views, split, averaged, posterior=trained.posterior)["top1"],
            "views_milliseconds_batch_16": round(milliseconds(trained.score_views, test, 16), 3),
        }
    kept = ("top1", "top5", "mean_class_accuracy", *CALIBRATION)
    return {
        **of_views,
        **{name: metrics[name] for name in kept if name in metrics},
        "parameters": trained.parameters,
        "training_seconds": round(seconds, 2),
        "milliseconds_batch_1": round(milliseconds(trained.score, test, 1), 3),
        "milliseconds_batch_16": round(milliseconds(trained.score, test, 16), 3),
        "correct": correctness(metrics["predicted"], test),
        "classes": list(test["label"]),
        **({"log_posterior": scores.round(3).tolist()} if trained.posterior else {}),
        "confusion": metrics["confusion"],
        "labels": metrics["labels"],
    }
