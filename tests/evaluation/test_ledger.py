"""The ledger: what is entered, what is not, and by several processes at once."""

from __future__ import annotations

import json
import multiprocessing
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets.split import load_split
from llm_action.evaluation.evaluate import evaluate
from llm_action.evaluation.ledger import (
    Origin,
    config_hash,
    enter,
    read_ledger,
    recognizer_fingerprint,
    weights_fingerprint,
)
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor

ORIGIN = Origin("test", "c0ffee", "f00d")


@pytest.fixture
def ledger_file(tmp_path, monkeypatch) -> Path:
    file = tmp_path / "deep" / "ledger.jsonl"
    monkeypatch.setenv("LLM_ACTION_LEDGER", str(file))
    return file


def first_class(sequences):
    return np.log(np.eye(27)[[0] * len(sequences)].clip(1e-30))


def test_an_evaluation_on_a_test_part_is_entered(tiny_config, recordings, ledger_file):
    assert read_ledger() == []
    metrics = evaluate(first_class, load_split(load_experiment(tiny_config), str(recordings)), ORIGIN)
    (entry,) = read_ledger()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry.pop("date"))
    assert entry == {
        "command": "test",
        "config": "c0ffee",
        "dataset": "utd_mhad",
        "protocol": "cross_subject",
        "sequences": 12,
        "figures": {"top1": metrics["top1"], "mean_class_accuracy": metrics["mean_class_accuracy"]},
        "model": "f00d",
    }


def test_held_out_training_subjects_are_no_test_part(tiny_config, recordings, ledger_file):
    experiment = replace(load_experiment(tiny_config), holdout_subjects=[1])
    assert evaluate(first_class, load_split(experiment, str(recordings)), ORIGIN)["n"] == 3
    assert read_ledger() == [] and not ledger_file.exists()


def test_a_ledger_that_cannot_be_written_stops_an_evaluation_before_it_begins(
    tiny_config, recordings, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLM_ACTION_LEDGER", str(tmp_path / "file" / "ledger.jsonl"))

    def never(sequences):
        raise AssertionError

    with pytest.raises(OSError, match="set LLM_ACTION_LEDGER to a file that can"):
        evaluate(never, load_split(load_experiment(tiny_config), str(recordings)), ORIGIN)


def enter_many(number: int) -> None:
    for index in range(50):
        enter(Origin(f"process {number}" + 500 * "x", ""), "utd_mhad", "cross_subject", index, {"top1": 0.5})


def test_several_processes_append_whole_lines(ledger_file):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(enter_many, range(4))
    entries = read_ledger()
    assert len(entries) == 200
    for number in range(4):
        name = f"process {number}" + 500 * "x"
        assert [entry["sequences"] for entry in entries if entry["command"] == name] == list(range(50))


def test_only_the_first_process_of_a_distributed_training_enters(ledger_file, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    enter(ORIGIN, "utd_mhad", "cross_subject", 12, {"top1": 0.5})
    assert read_ledger() == []


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "ledger.jsonl"
    file.write_text('{"command": "a"}\n{"comm')
    with pytest.raises(ValueError, match=r"ledger\.jsonl: line 2: expected an entry as JSON"):
        read_ledger(file)


def test_evaluate_enters_and_ledger_prints(tiny_export, recordings, ledger_file, capsys, tmp_path):
    command = ["evaluate", str(tiny_export), "--dataset", "utd_mhad", "--data", str(recordings)]
    assert main([*command, "--json", str(tmp_path / "metrics.json")]) == 0
    assert f"entered in the ledger of evaluations on test parts, {ledger_file}" in capsys.readouterr().err
    assert main(["ledger"]) == 0
    head, _, line = capsys.readouterr().out.splitlines()
    assert head == "| date | data set | protocol | command | figures | sequences | config | model |"
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    top1 = json.loads((tmp_path / "metrics.json").read_text())["top1"]
    assert cells[1:4] == ["utd_mhad", "cross_subject", "evaluate, views 1"] and cells[5] == "12"
    assert f"top1 {100 * top1:.1f}" in cells[4]
    assert str(tmp_path) not in line and str(tiny_export) not in ledger_file.read_text()


class TestFingerprints:
    def test_a_config_s_seed_does_not_count(self, tiny_config):
        experiment = load_experiment(tiny_config)
        assert config_hash(experiment) == config_hash(replace(experiment, seed=3, report_to="tensorboard"))
        assert config_hash(experiment) != config_hash(replace(experiment, max_persons=1))

    def test_weights(self):
        weights = {"a": torch.randn(3, 4), "b": torch.arange(3)}
        halved = {"b": weights["b"], "a": weights["a"].bfloat16()}
        other = {**weights, "a": weights["a"] + 1}
        found = [weights_fingerprint(each.items()) for each in (weights, halved, other)]
        assert found[0] == found[1] != found[2]
        assert weights_fingerprint(weights.items(), "more") != found[0]

    def test_a_recognizer_s_adapter_embeddings_and_tokenizer_count(self, tiny_export):
        processor = LlmArProcessor.from_pretrained(tiny_export)
        model, again = (LlmArForActionRecognition.from_pretrained(tiny_export, dtype=d) for d in ("float32", "auto"))
        found = recognizer_fingerprint(model, processor)
        assert found == recognizer_fingerprint(again, processor)
        trainable = LlmArForActionRecognition.from_pretrained(tiny_export, is_trainable=True)
        assert found == recognizer_fingerprint(trainable, processor)
        for name, weight in model.named_parameters():
            if "lora_B" in name or name == "action_embeddings.weight":
                with torch.no_grad():
                    weight += 1
                assert recognizer_fingerprint(model, processor) != found
                with torch.no_grad():
                    weight -= 1
