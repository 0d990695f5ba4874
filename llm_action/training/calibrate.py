"""Fits how sure a model may be: temperatures of language model and student, and the share of the student in their mean.

All are fitted on the training subjects or cameras that a run of the same recipe left out (this project's choice), for a
model is right about nearly all that it was trained on, and sure of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import load_experiment
from llm_action.datasets.split import load_split
from llm_action.evaluation.calibration import fitted_temperature, tempered
from llm_action.evaluation.evaluate import recognizer_scorer, senses_of, table_scores
from llm_action.hub.model_folder import describe
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.student import STUDENT_FOLDER, ActionStudent

_SHARES = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class Calibration:
    """What was fitted; of a run without a student its two figures are None."""

    sequences: int
    temperature: float
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
    _edit(folder / "config.json", temperature=found.temperature)
    if found.share is not None and (folder / STUDENT_FOLDER).is_dir():
        _edit(folder / STUDENT_FOLDER / "config.json", temperature=found.student_temperature, share=found.share)
    return found


def _fitted(folder: Path, split) -> Calibration:
    recognizer = LlmArForActionRecognition.from_pretrained(folder)
    recognizer.config.temperature = 1.0
    recognize = SkeletonActionRecognitionPipeline(model=recognizer, processor=LlmArProcessor.from_pretrained(folder))
    targets = np.array(split.test["label"])
    senses = senses_of(recognize.processor.senses)
    scores = table_scores(recognizer_scorer(recognize, split.labels), split.test, senses=senses)
    temperature = fitted_temperature(scores, targets)
    if not (folder / STUDENT_FOLDER).is_dir():
        return Calibration(len(targets), temperature)
    student = ActionStudent.from_pretrained(folder)
    student.config.temperature = 1.0
    given = senses_of(student.config.senses)
    of_student = table_scores(lambda sequences: student.log_posterior(sequences).numpy(), split.test, senses=given)
    student_temperature = fitted_temperature(of_student, targets)
    rows = np.arange(len(targets))
    of_model = np.exp(tempered(scores, temperature))[rows, targets]
    of_student = np.exp(tempered(of_student, student_temperature))[rows, targets]
    losses = [-np.log((1 - share) * of_model + share * of_student).mean() for share in _SHARES]
    return Calibration(len(targets), temperature, student_temperature, float(_SHARES[np.argmin(losses)]))


def _edit(file: Path, **fields: float | None) -> None:
    write_json({**json.loads(file.read_text(encoding="utf-8")), **fields}, file)
