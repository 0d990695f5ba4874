"""Temperatures: fitted on what a run of the same recipe left out, kept by the model, used for its trained labels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from transformers import pipeline

from llm_action.config.experiment import load_experiment
from llm_action.datasets.split import load_split
from llm_action.evaluation.calibration import fitted_temperature
from llm_action.evaluation.evaluate import recognizer_scorer, table_scores
from llm_action.modeling.student import ActionStudent
from llm_action.training.calibrate import calibrate
from llm_action.training.distill import Distillation, distill
from llm_action.training.train import train

TASK = "skeleton-action-recognition"


@pytest.fixture(scope="module")
def held_run(tiny_config, recordings, tmp_path_factory):
    """A run without subject 1, with a student."""
    out = tmp_path_factory.mktemp("held")
    train(load_experiment(tiny_config, ["holdout_subjects=[1]"]), str(recordings), out)
    distill(out / "model", str(recordings), Distillation(steps=40, versions=0))
    return out


@pytest.mark.slow
def test_what_was_fitted_is_kept_and_used(held_run, recordings, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(held_run / "model", folder)
    files = sorted(str(file) for file in recordings.glob("*_s1_*"))
    before = pipeline(TASK, model=str(folder))(files, top_k=None)
    found = calibrate(folder, held_run, str(recordings))
    split = load_split(load_experiment(held_run / "experiment.yaml"), str(recordings))
    scores = table_scores(recognizer_scorer(pipeline(TASK, model=str(held_run / "model")), split.labels), split.test)
    assert found.temperature == pytest.approx(fitted_temperature(scores, np.array(split.test["label"])), rel=1e-3)
    student = ActionStudent.from_pretrained(folder)
    assert (student.config.temperature, student.config.share) == (found.student_temperature, found.share)
    recognize = pipeline(TASK, model=str(folder))
    recognize.model.config.temperature = 2.0
    for one, other in zip(before, recognize(files, top_k=None), strict=True):
        scores = {entry["label"]: entry["score"] ** 0.5 for entry in one}
        total = sum(scores.values())
        assert {entry["label"]: entry["score"] for entry in other} == pytest.approx(
            {label: score / total for label, score in scores.items()}, abs=1e-4
        )
    assert [entry["label"] for entry in recognize(files[0], top_k=2)] == [entry["label"] for entry in before[0][:2]]
    # names of one's own are scored as before
    recognize.model.config.temperature = 1.0
    named = recognize(files[0], candidate_labels=["wave", "kick"], calibrate=False)
    recognize.model.config.temperature = 2.0
    assert recognize(files[0], candidate_labels=["wave", "kick"], calibrate=False) == named


def test_a_run_that_left_nothing_out_is_refused(tiny_run, recordings, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_run / "model", folder)
    before = json.loads((folder / "config.json").read_text())
    with pytest.raises(ValueError, match="left none out"):
        calibrate(folder, tiny_run, str(recordings))
    assert json.loads((folder / "config.json").read_text()) == before
