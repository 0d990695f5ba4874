"""The table of what a second sense is worth: every row from the raw files to the printed line, and the fusions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets.split import load_split
from llm_action.evaluation.evaluate import table_scores
from llm_action.experiments.senses import early_fusion

ROWS = [
    "skeleton",
    "inertial",
    "both",
    "both-given-skeleton",
    "both-given-inertial",
    "late",
    "lost-skeleton",
    "lost-both",
]


def test_each_row_is_measured_and_those_of_one_model_train_it_once(sense_config, both_senses, tmp_path, capsys):
    places = ["--data", str(both_senses), "--out", str(tmp_path / "work"), "--json", str(tmp_path / "table.json")]
    steps = ["vqvae.steps=2", "senses.inertial.steps=2", "recognizer.steps=2"]
    command = ["benchmark", "senses", "--config", str(sense_config), *places, "--seeds", "1", "--rows", *ROWS]
    assert main([*command, "--set", *steps]) == 0
    printed = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert set(ROWS) <= set(printed)
    rows = {row["name"]: row for row in json.loads((tmp_path / "table.json").read_text())["rows"]}
    assert list(rows) == ROWS and all(len(row["correct"]) == 11 for row in rows.values()), "one of 12 has no sensor"
    assert len(list((tmp_path / "work" / "recognizer").iterdir())) == 3, "of skeletons, of signals, of both"
    stages_one = list((tmp_path / "work" / "vqvae").iterdir())
    of_skeletons = {(run / "processor" / "vqvae" / "model.safetensors").read_bytes() for run in stages_one}
    assert len(stages_one) == 2 and len(of_skeletons) == 1, "without the sense and with it, the skeletons' trained once"


@pytest.mark.parametrize("joints", [True, False])
def test_early_fusion_reads_joints_and_signal_as_channels(sense_config, both_senses, joints):
    pytest.importorskip("aeon", reason="needs aeon: pip install 'llm-action[bench]'")
    experiment = load_experiment(sense_config)
    split = load_split(experiment, str(both_senses))
    classifier = early_fusion(experiment, split, "inertial", joints)
    found = table_scores(classifier.score, split.test, senses=("skeleton", "inertial")).argmax(1)
    right = found == np.array(split.test["label"])
    worn = np.array([bool(len(row["shape"])) for row in split.test["inertial"]])
    assert right[worn].mean() > 0.8 and len(found) == len(worn) == worn.sum() + 1


def test_without_one_further_sense_there_is_no_table(tiny_config, recordings, capsys):
    assert main(["benchmark", "senses", "--config", str(tiny_config), "--data", str(recordings)]) == 2
    assert "expected one further sense, got none" in capsys.readouterr().err
