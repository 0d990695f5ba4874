"""Fits how sure a model may be: temperatures, and the weights of further senses and of the student.

All are fitted on the training subjects or cameras that a run of the same recipe left out (this project's choice), for a
model is right about nearly all that it was trained on, and sure of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.optimize import minimize

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import load_experiment
from llm_action.datasets import row_to_signal
from llm_action.datasets.split import load_split
from llm_action.evaluation.calibration import fitted_temperature, tempered
from llm_action.evaluation.evaluate import Scorer, recognizer_scorer, senses_of, table_scores
from llm_action.hub.model_folder import describe
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.sense_fusion import SENSE_WEIGHT
from llm_action.modeling.skeleton_sequence import SKELETON
from llm_action.modeling.student import STUDENT_FOLDER, ActionStudent

_SHARES = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class Calibration:
    """What was fitted; None of what the run does not have: further senses, a student."""

    sequences: int
    temperature: float
    sense_weights: dict[str, float] | None = None
    student_temperature: float | None = None
    share: float | None = None


def calibrate(model: str | Path, run: str | Path, data_dir: str | None) -> Calibration:
    """Fits the temperatures on what `run` left out and writes them into the model folder.

    Args:
        model: model folder to write to.
        run: run folder of a training of the same recipe with `holdout_subjects` or `holdout_cameras`.
        data_dir: of the run's data set.

    Raises:
        FileNotFoundError: no such folders.
        ValueError: the run left nothing out.
    """
    folder, run = Path(model), Path(run)
    describe(folder)
    describe(run / "model")
    experiment = load_experiment(run / "experiment.yaml")
    split = load_split(experiment, data_dir)
    if not split.held_out:
        raise ValueError(
            f"{run}: expected a training with holdout_subjects or holdout_cameras, on which to fit; it left none out."
        )
    found = _fitted(run / "model", split)
    _edit(folder / "config.json", temperature=found.temperature, sense_weights=found.sense_weights)
    if found.share is not None and (folder / STUDENT_FOLDER).is_dir():
        _edit(folder / STUDENT_FOLDER / "config.json", temperature=found.student_temperature, share=found.share)
    return found


def _fitted(folder: Path, split) -> Calibration:
    recognizer = LlmArForActionRecognition.from_pretrained(folder)
    processor = LlmArProcessor.from_pretrained(folder)
    further, weights = list(processor.senses), None
    recognizer.config.temperature, recognizer.config.sense_weights = 1.0, dict.fromkeys(further, 1.0)
    recognize = SkeletonActionRecognitionPipeline(model=recognizer, processor=processor)
    targets = np.array(split.test["label"])
    score = recognizer_scorer(recognize, split.labels)
    scores = table_scores(score, split.test, senses=[SKELETON] if further else ())
    if further:
        of_senses = {name: sense_scores(score, split.test, name, scores.shape[1]) for name in further}
        weights = fitted_weights(scores, of_senses, targets)
        scores = scores + sum(weights[name] * found for name, found in of_senses.items())
    temperature = fitted_temperature(scores, targets)
    if not (folder / STUDENT_FOLDER).is_dir():
        return Calibration(len(targets), temperature, weights)
    student = ActionStudent.from_pretrained(folder)
    student.config.temperature = 1.0
    given = senses_of(student.config.senses)
    of_student = table_scores(lambda sequences: student.log_posterior(sequences).numpy(), split.test, senses=given)
    student_temperature = fitted_temperature(of_student, targets)
    rows = np.arange(len(targets))
    of_model = np.exp(tempered(scores, temperature))[rows, targets]
    of_student = np.exp(tempered(of_student, student_temperature))[rows, targets]
    losses = [-np.log((1 - share) * of_model + share * of_student).mean() for share in _SHARES]
    return Calibration(len(targets), temperature, weights, student_temperature, float(_SHARES[np.argmin(losses)]))


def sense_scores(score: Scorer, table: Dataset, sense: str, classes: int) -> np.ndarray:
    """(rows, classes) what a further sense alone says of every row, zeros where a row lacks it."""
    there = [row_to_signal(row, sense) is not None for row in table.select_columns([sense]).with_format("numpy")]
    found = np.zeros((len(table), classes))
    found[there] = table_scores(score, table.select(np.flatnonzero(there)), senses=(sense,))
    return found


def fitted_weights(skeleton: np.ndarray, of_senses: dict[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
    """The weights of further senses' log-posteriors (rows, classes) beside the skeleton's.

    With them, and a temperature, the sum has the least negative log-likelihood.
    """
    rows = np.arange(len(targets))

    def loss(logarithms: np.ndarray) -> float:
        weights = np.exp(logarithms[1:])
        total = skeleton + sum(weight * found for weight, found in zip(weights, of_senses.values(), strict=True))
        return float(-tempered(total, np.exp(logarithms[0]))[rows, targets].mean())

    start = np.log([1.0, *(SENSE_WEIGHT for _ in of_senses)])
    found = minimize(loss, start, method="Nelder-Mead").x[1:]
    return dict(zip(of_senses, np.exp(found).round(4).tolist(), strict=True))


def _edit(file: Path, **fields: Any) -> None:
    write_json({**json.loads(file.read_text(encoding="utf-8")), **fields}, file)
