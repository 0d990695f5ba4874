"""The commands that measure tables: every row from the raw files to the printed line, on a tiny base."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from llm_action.cli import main
from llm_action.commands.options import load_pipeline
from llm_action.config.experiment import load_experiment
from llm_action.datasets import open_dataset
from llm_action.experiments.ablate import RECOGNIZER_ROWS, VQVAE_ROWS, with_all_biases
from llm_action.training.adapt import Adaptation
from llm_action.training.distill import Distillation

SHORT = ["vqvae.steps=2", "recognizer.steps=2"]


@pytest.fixture
def quick(monkeypatch):
    """Probes of two steps."""
    monkeypatch.setattr("llm_action.evaluation.probe.probe_steps", lambda sequences: 2)


@pytest.fixture
def command(recordings, tiny_config, tmp_path, quick):
    """Runs `benchmark compare` or `ablate` in a folder of its own; returns the exit code and what it wrote."""

    def run(name: str, *arguments: str, overrides=()) -> tuple[int, dict]:
        places = ["--data", str(recordings), "--out", str(tmp_path / "work"), "--json", str(tmp_path / "table.json")]
        config = ["--config", str(tiny_config), "--set", *SHORT, *overrides]
        code = main(["benchmark", name, *places, *config, *arguments])
        table = tmp_path / "table.json"
        return code, json.loads(table.read_text()) if table.is_file() else {}

    return run


def rows_of(out: str) -> dict[str, list[str]]:
    out = out.partition("\n\n")[0]  # the intervals come below
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines[2:]}


def test_compare_trains_and_scores_each_and_keeps_it(command, tmp_path, capsys):
    rows = ["--dataset", "utd_mhad", "--seeds", "2", "--rows", "transformer", "tokens", "llm-ar"]
    code, table = command("compare", *rows)
    assert code == 0
    out = capsys.readouterr().out
    printed, below = rows_of(out), rows_of(out.partition("\n\n")[2])
    averaged = ", two seeds averaged"
    assert list(printed) == [name + pair for name in ("transformer", "tokens", "llm-ar") for pair in ("", averaged)]
    means = {row["name"]: np.mean(row["correct"]) for row in table["rows"]}
    assert set(below) == set(means) - {table["best"]} and means[table["best"]] == max(means.values())
    for difference in table["differences"]:
        assert difference["low"] <= difference["difference"] <= difference["high"]
        expected = means[difference["name"]] - means[table["best"]]
        assert difference["difference"] == pytest.approx(expected)
        assert float(below[difference["name"]][0]) == pytest.approx(100 * expected, abs=0.06)
    assert (table["dataset"], table["protocol"]) == ("utd_mhad", "cross_subject")
    assert (table["training_sequences"], table["test_sequences"]) == (12, 12)
    for row in table["rows"]:
        if row["name"].endswith(averaged):
            assert row["seeds"] == [[0, 1]] and len(row["correct"]) == 12
            continue
        assert len(row["correct"]) == 12 and np.mean(row["correct"]) == pytest.approx(row["metrics"]["top1"]["mean"])
        assert 0 <= row["metrics"]["calibration_error"]["mean"] <= 1
        assert row["seeds"] == [0, 1] and len(row["metrics"]["top1"]["values"]) == 2
        top1, of_views, *_, batch_1, batch_16, batch_16_of_views = printed[row["name"]]
        views_top1 = row["metrics"]["views_top1"]["mean"]
        assert float(of_views.split(" ± ")[0]) == pytest.approx(100 * views_top1, abs=0.06)
        assert float(batch_16_of_views) > 0
        assert float(top1.split(" ± ")[0]) == pytest.approx(100 * row["metrics"]["top1"]["mean"], abs=0.06)
        assert float(batch_1) > 0 and float(batch_16) > 0 and row["metrics"]["training_seconds"]["mean"] > 0

    # what is measured stays; stage 1 is trained once a seed for both rows that need it
    runs = {path.parent.name for path in (tmp_path / "work").rglob("seconds.json")}
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*")}
    assert len(runs) == 4 and command("compare", *rows)[1] == table
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("*")} == stamps


def test_student_of_a_prepared_folder(recordings, tiny_config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("llm_action.training.distill.Distillation", partial(Distillation, steps=2, versions=1))
    folder, out = str(tmp_path / "prepared"), ["--out", str(tmp_path / "work"), "--seeds", "1"]
    assert main(["prepare", "utd-mhad", "--source", str(recordings), "--out", folder]) == 0
    asked = ["--dataset", folder, "--rows", "student", "hybrid", "--config", str(tiny_config), "--set", *SHORT]
    capsys.readouterr()
    assert main(["benchmark", "compare", *asked, *out]) == 0
    assert list(rows_of(capsys.readouterr().out)) == ["student", "hybrid"]


def test_compare_with_few_training_examples(command):
    few = ["--rows", "transformer", "--examples-per-class", "2"]
    code, table = command("compare", "--dataset", "utd_mhad", "--seeds", "1", *few)
    assert code == 0 and table["training_sequences"] == 6 and table["test_sequences"] == 12


def test_transfer_to_another_data_set(tiny_run, recordings, tiny_config, tmp_path, quick, capsys, monkeypatch):
    short = partial(Adaptation, steps=2, sentences=1)
    monkeypatch.setattr("llm_action.experiments.transfer.Adaptation", short)
    places = ["--data", str(recordings), "--out", str(tmp_path / "work"), "--json", str(tmp_path / "table.json")]
    asked = [str(tiny_run / "model"), "--dataset", "utd_mhad", "--config", str(tiny_config)]
    assert main(["benchmark", "transfer", *asked, *places, "--seeds", "2", "--examples", "0", "2"]) == 0
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    names = ["llm-ar, 0 examples a class", "llm-ar, 2 examples a class", "transformer, 2 examples a class"]
    assert [row["name"] for row in rows] == names == list(rows_of(capsys.readouterr().out))
    assert [row["seeds"] for row in rows] == [[0], [0, 1], [0, 1]]  # without examples there is nothing to draw
    untouched = evaluate_pipeline_top1(tiny_run, recordings)
    assert rows[0]["metrics"]["top1"]["mean"] == pytest.approx(untouched)

    # descriptions of one's own are asked for, although the row without them has been measured
    none = str(tmp_path / "none.json")
    assert main(["benchmark", "transfer", *asked, *places, "--examples", "0", "--descriptions", none]) == 2
    assert f"{none}: expected a JSON file of label descriptions" in capsys.readouterr().err

    assert main(["benchmark", "transfer", *asked, *places, "--examples", "-1"]) == 2
    assert "numbers of examples of 0 or more" in capsys.readouterr().err


def evaluate_pipeline_top1(run, recordings) -> float:
    """Top-1 of the pipeline on the test part among the data set's labels."""
    recognize = load_pipeline(str(run / "model"))
    _, table = open_dataset("utd_mhad", str(recordings))
    rows = table.filter(lambda part: part == "test", input_columns="cross_subject")
    names = rows.features["label"].names
    found = recognize(list(rows.with_format("numpy")), candidate_labels=names, top_k=1)
    return sum(a[0]["label"] == names[b] for a, b in zip(found, rows["label"], strict=True)) / len(rows)


def test_compare_says_what_is_missing_and_goes_on(command, monkeypatch, capsys):
    def missing(module):
        raise ImportError("needs aeon: pip install llm-action[bench]")

    monkeypatch.setattr("llm_action.experiments.baselines._aeon", missing)
    rows = ["--rows", "dtw", "minirocket", "transformer"]
    code, table = command("compare", "--dataset", "utd_mhad", "--seeds", "1", *rows)
    assert code == 0 and ["error" in row for row in table["rows"]] == [True, True, False]
    assert "pip install llm-action[bench]" in rows_of(capsys.readouterr().out)["minirocket"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "utd_mhad", "--rows", "svm"], "unknown row svm; the table has dtw, minirocket"),
        (["--dataset", "utd_mhad", "--protocol", "cross_planet"], "unknown protocol 'cross_planet'"),
        (["--dataset", "utd_mhad", "--seeds", "0"], "--seeds of 1 or more"),
        (["--dataset", "nothing"], "unknown data set 'nothing'"),
    ],
)
def test_compare_refuses_what_it_cannot_measure(command, capsys, arguments, message):
    assert command("compare", *arguments)[0] == 2
    assert message in capsys.readouterr().err


def test_ablate_measures_the_tokens_of_changed_experiments(command, capsys):
    code, table = command("ablate", "--seeds", "1", "--rows", "no-biases", "euclidean", "continuous")
    printed = rows_of(capsys.readouterr().out)
    assert code == 0 and list(printed) == ["no-biases", "euclidean", "continuous"]
    plain, flat, continuous = (row["metrics"] for row in table["rows"])
    assert plain["reconstruction_error_mm"]["values"] != flat["reconstruction_error_mm"]["values"]
    assert 1 <= plain["perplexity"]["mean"] <= 32 and "perplexity" not in continuous
    assert 0 <= continuous["probe"]["mean"] <= 1 and printed["continuous"][1] == "–"


def test_ablate_of_the_recognizer_shares_stage_one(command, tmp_path):
    rows = ["--stage", "recognizer", "--rows", "full", "random-llama"]
    code, table = command("ablate", "--seeds", "1", *rows)
    assert code == 0
    assert len(list((tmp_path / "work" / "vqvae").iterdir())) == 1
    assert all(0 <= row["metrics"]["top1"]["mean"] <= 1 for row in table["rows"])


def test_each_row_changes_one_thing(tiny_config):
    full = with_all_biases(str(tiny_config), ["vqvae.zipf_weight=0.7"])
    weights = ("zipf_weight", "context_weight", "mmd_weight")
    preset = load_experiment("ntu60").vqvae
    stage = load_experiment(tiny_config, full).vqvae
    assert [getattr(stage, name) for name in weights] == [0.7, preset.context_weight, preset.mmd_weight]
    for row, name in {"no-zipf": "zipf_weight", "no-context": "context_weight", "no-mmd": "mmd_weight"}.items():
        changed = load_experiment(tiny_config, [*full, *VQVAE_ROWS[row]]).vqvae
        assert {k for k, v in vars(changed).items() if v != getattr(stage, k)} == {name}
        assert getattr(changed, name) == 0
    whole = load_experiment(tiny_config)
    for name, changes in RECOGNIZER_ROWS.items():
        changed = load_experiment(tiny_config, changes)
        assert changed.vqvae == whole.vqvae and (changed.recognizer != whole.recognizer) == (name != "full")
