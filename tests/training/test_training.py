"""Both stages from the table to the export: resuming, settings, launchers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback

import llm_action.config
from llm_action.cli import main
from llm_action.config.experiment import Experiment, load_experiment, preset_names, save_experiment
from llm_action.training.launching import processes_asked_for
from llm_action.training.train import train
from llm_action.training.train_recognizer import train_recognizer
from llm_action.training.train_vqvae import train_vqvae

ACCELERATE = Path(llm_action.config.__file__).parent / "accelerate"
SHORT = [f"{stage}.{field}" for stage in ("vqvae", "recognizer") for field in ("steps=6", "save_steps=2")]
SHORT += ["recognizer.lora_dropout=0.1"]  # so that the random state has to be resumed too


class Interruption(TrainerCallback):
    """Stops a training in the middle, as a power cut would."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def interrupted_at(monkeypatch):
    """Makes every Trainer that is built from now on stop after some steps; None: no more."""
    original = Trainer.__init__

    def interrupt(step: int | None) -> None:
        def build(self, *args, **kwargs):
            original(self, *args, **kwargs)
            self.add_callback(Interruption(step))

        monkeypatch.setattr(Trainer, "__init__", original if step is None else build)

    return interrupt


@pytest.fixture(scope="module")
def short(tiny_config: Path) -> Experiment:
    return load_experiment(tiny_config, SHORT)


@pytest.fixture(scope="module")
def undisturbed(short, recordings, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    train(short, str(recordings), out)
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{file.relative_to(folder)}/{name}": tensor
        for file in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def assert_same_weights(given: Path, expected: Path) -> None:
    given, expected = weights(given), weights(expected)
    assert given.keys() == expected.keys() and expected
    assert [name for name in expected if not torch.equal(given[name], expected[name])] == []


class TestResuming:
    @pytest.mark.slow
    def test_the_same_again(self, undisturbed, short, recordings, tmp_path):
        train(short, str(recordings), tmp_path)
        assert_same_weights(tmp_path / "model", undisturbed / "model")

    @pytest.mark.slow
    def test_both_stages_go_on_from_their_last_checkpoint(
        self, undisturbed, short, recordings, tmp_path, interrupted_at
    ):
        interrupted_at(3)  # the last checkpoint is of step 2
        with pytest.raises(KeyboardInterrupt):
            train(short, str(recordings), tmp_path)
        assert not (tmp_path / "processor").exists()
        interrupted_at(None)
        train_vqvae(short, str(recordings), tmp_path)
        assert_same_weights(tmp_path / "processor", undisturbed / "processor")

        interrupted_at(5)
        with pytest.raises(KeyboardInterrupt):
            train(short, str(recordings), tmp_path)
        assert not (tmp_path / "model").exists()
        interrupted_at(None)
        train(short, str(recordings), tmp_path)
        assert_same_weights(tmp_path / "model", undisturbed / "model")

    def test_an_unfinished_checkpoint_is_passed_over(self, undisturbed, short, recordings, tmp_path, interrupted_at):
        interrupted_at(5)
        with pytest.raises(KeyboardInterrupt):
            train_vqvae(short, str(recordings), tmp_path)
        (tmp_path / "vqvae" / "checkpoint-4" / "trainer_state.json").unlink()  # cut off while it was written
        interrupted_at(None)
        train_vqvae(short, str(recordings), tmp_path)
        assert_same_weights(tmp_path / "processor", undisturbed / "processor")

    def test_what_is_finished_is_not_done_again(self, undisturbed, short, recordings, interrupted_at):
        stamps = {file: file.stat().st_mtime_ns for file in (undisturbed / "model").rglob("*")}
        interrupted_at(1)
        seconds = train(short, str(recordings), undisturbed)
        assert set(seconds) == {"train_vqvae", "train_recognizer"}
        assert {file: file.stat().st_mtime_ns for file in (undisturbed / "model").rglob("*")} == stamps

    def test_stage_two_needs_stage_one(self, short, recordings, tmp_path):
        with pytest.raises(FileNotFoundError, match="train --stage vqvae"):
            train_recognizer(short, str(recordings), tmp_path)


class TestCommands:
    def test_train_writes_what_train_does(self, undisturbed, tiny_config, recordings, tmp_path, capsys):
        arguments = ["--config", str(tiny_config), "--data", str(recordings), "--out", str(tmp_path), "--set", *SHORT]
        assert main(["train", "--stage", "vqvae", *arguments]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"written to {tmp_path}"
        assert main(["train", "--stage", "recognizer", *arguments]) == 0
        told = f"written to {tmp_path}: the model is {tmp_path / 'model'}, a report is {tmp_path / 'report.html'}"
        said = capsys.readouterr()
        assert said.out.splitlines()[-1] == told and "%|" not in said.err
        assert_same_weights(tmp_path / "model", undisturbed / "model")
        metrics = json.loads((tmp_path / "processor" / "metrics.json").read_text())
        assert metrics["reconstruction_error"] > 0 and len(metrics["used_codes"]) == 1

        assert main(["train", *arguments]) == 0  # everything is there already
        assert main(["train", *arguments, "seed=1"]) == 2
        assert "other settings" in capsys.readouterr().err
        assert load_experiment(tmp_path / "experiment.yaml").seed == 0

    def test_restart_begins_anew(self, tiny_config, recordings, tmp_path):
        places = ["--data", str(recordings), "--out", str(tmp_path)]
        arguments = ["train", "--stage", "vqvae", "--config", str(tiny_config), *places]
        assert main([*arguments, "--set", *SHORT, "vqvae.steps=2"]) == 0
        first = weights(tmp_path / "processor")
        assert main([*arguments, "--restart", "--set", *SHORT, "vqvae.steps=2", "seed=1"]) == 0
        second = weights(tmp_path / "processor")
        assert any(not torch.equal(first[name], second[name]) for name in first)

    def test_a_run_that_failed_before_its_first_step_blocks_nothing(self, tiny_config, recordings, tmp_path, capsys):
        places = ["--data", str(recordings), "--out", str(tmp_path)]
        arguments = ["train", "--stage", "vqvae", "--config", str(tiny_config), *places]
        assert main([*arguments, "--set", *SHORT, "report_to=carrier_pigeon"]) == 2
        assert (tmp_path / "experiment.yaml").is_file() and "carrier_pigeon" in capsys.readouterr().err
        assert main([*arguments, "--set", *SHORT]) == 0
        assert load_experiment(tmp_path / "experiment.yaml").report_to == "none"

    def test_checkpoints_of_other_settings_are_not_taken_up(self, tiny_config, recordings, tmp_path, interrupted_at):
        places = ["--data", str(recordings), "--out", str(tmp_path)]
        arguments = ["train", "--stage", "vqvae", "--config", str(tiny_config), *places]
        interrupted_at(3)
        assert main([*arguments, "--set", *SHORT]) == 130
        assert main([*arguments, "--set", *SHORT, "seed=1"]) == 2

    @pytest.mark.slow
    def test_two_processes_do_what_one_does(self, tiny_config, recordings, tmp_path, tiny_run):
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m"]
        halves = ["vqvae.batch_size=4", "recognizer.batch_size=4"]  # the same batch in all
        arguments = ["--config", tiny_config, "--data", recordings, "--out", tmp_path, "--set", *halves]
        command = [*launch, "llm_action.training.train", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        for stage in ("vqvae", "recognizer"):
            assert (tmp_path / stage / "checkpoint-80" / "rng_state_1.pth").is_file(), "there was a second process"

        def outcome(run: Path) -> dict[str, float]:
            losses = [
                [entry["loss"] for entry in history if "loss" in entry]
                for history in (
                    json.loads((run / "processor" / "metrics.json").read_text())["loss"],
                    json.loads((run / "recognizer" / "history.json").read_text()),
                )
            ]
            return {"first": losses[0][-1], "second": losses[1][-1]}

        assert outcome(tmp_path) == pytest.approx(outcome(tiny_run), rel=0.1)
        result = tmp_path / "result.json"
        evaluate = ["evaluate", tmp_path / "model", "--dataset", "utd_mhad", "--data", recordings]
        assert main([*map(str, evaluate), "--json", str(result)]) == 0
        assert json.loads(result.read_text())["top1"] >= 0.75  # of three classes


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("python -m accelerate.commands.launch --cpu --num_processes 2 -m x --config y --num_processes 7", 2),
        ("/bin/python /env/bin/accelerate launch --num-processes=3 --cpu train.py", 3),
        ("accelerate-launch --cpu train.py", 1),
        (f"accelerate launch --config_file {ACCELERATE / 'cpu.yaml'} -m x", 2),
        ("bash train.sh", 1),
    ],
)
def test_how_many_processes_were_asked_for(command, number):
    assert processes_asked_for(command.split()) == number


class TestExperiments:
    @pytest.mark.parametrize("name", preset_names())
    def test_presets_are_valid_and_survive_saving(self, name, tmp_path):
        experiment = load_experiment(name)
        save_experiment(experiment, tmp_path / "experiment.yaml")
        assert load_experiment(tmp_path / "experiment.yaml") == experiment

    def test_overrides(self, tiny_config):
        overrides = ["recognizer.steps=7", "vqvae.learning_rate=1e-4", "vqvae.model.num_levels=2", "layout=ntu25"]
        experiment = load_experiment(tiny_config, overrides)
        assert (experiment.recognizer.steps, experiment.vqvae.learning_rate) == (7, 1e-4)
        assert experiment.vqvae.model["num_levels"] == 2 and experiment.vqvae.model["num_frames"] == 16
        assert experiment.layout == "ntu25"

    def test_a_file_may_override_too(self, tiny_config, tmp_path):
        (tmp_path / "more.yaml").write_text("seed: 3\nvqvae:\n  steps: 9\n")
        experiment = load_experiment(tiny_config, [str(tmp_path / "more.yaml"), "seed=4"])
        assert (experiment.seed, experiment.vqvae.steps) == (4, 9)
        assert experiment.vqvae.model == load_experiment(tiny_config).vqvae.model, "what it leaves out stays"
        with pytest.raises(ValueError, match=r"override like recognizer.steps=100, or a YAML file, got 'absent.yaml'"):
            load_experiment(tiny_config, ["absent.yaml"])

    def test_a_key_without_a_value_keeps_the_default(self, tmp_path):
        (tmp_path / "a.yaml").write_text("dataset: utd_mhad\nvqvae:\nseed:\n")
        assert load_experiment(tmp_path / "a.yaml", ["vqvae.steps=3"]).vqvae.steps == 3

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("colour=red", "unknown colour; Experiment has dataset"),
            ("vqvae.stepps=3", "vqvae: unknown stepps; VQVAEStage has"),
            ("vqvae.model.codes=3", "vqvae: model: unknown codes; ActionVQVAEConfig has layout"),
            ("vqvae.model.num_frames=15", "vqvae: model: Expected num_frames to be a multiple"),
            ("vqvae.model.codebook_size=many", "vqvae: model: .*codebook_size"),
            ("on_trial.joint_dropout=0.2", "on_trial: joint_dropout=0.2: this option was removed"),
            ("on_trial.loss=closed_set", "on_trial: loss=closed_set: this option was removed"),
            ("on_trial.colour=red", "unknown on_trial"),
            ("augmentation.speed=1", "augmentation: speed: expected 0 or more and below 1, got 1"),
            ("vqvae.steps=1.5", "vqvae: steps: expected int, got 1.5"),
            ("seed.x=1", "seed: expected int"),
            ("recognizer=3", "recognizer: expected fields of RecognizerStage"),
            ("vqvae.steps", "override like recognizer.steps=100"),
            ("vqvae.steps=[", "YAML value"),
        ],
    )
    def test_wrong_fields_are_named(self, tiny_config, override, message):
        with pytest.raises(ValueError, match=message):
            load_experiment(tiny_config, [override])

    @pytest.mark.parametrize("text", ("- a\n- b\n", "a: [", "just words"))
    def test_what_is_no_settings_file(self, tmp_path, text):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(ValueError, match="a.yaml: expected"):
            load_experiment(tmp_path / "a.yaml", ["seed=1"])

    def test_what_is_no_preset_lists_them(self):
        with pytest.raises(FileNotFoundError, match="nothing: expected a YAML file, .*, or a preset: .*utd_mhad"):
            load_experiment("nothing")

    def test_data_that_does_not_fit(self, short, recordings, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            train(short, str(tmp_path / "nowhere"), tmp_path)
        with pytest.raises(ValueError, match="unknown protocol 'cross_planet'"):
            train(load_experiment_like(short, protocol="cross_planet"), str(recordings), tmp_path)
        with pytest.raises(ValueError, match="test part.*holdout_subjects"):
            train(load_experiment_like(short, holdout_subjects=[99]), str(recordings), tmp_path)


def load_experiment_like(experiment: Experiment, **changes) -> Experiment:
    from dataclasses import replace

    return replace(experiment, **changes)


def test_held_out_subjects_are_the_test_part(short, recordings):
    from llm_action.datasets.split import load_split

    split = load_split(load_experiment_like(short, holdout_subjects=[7]), str(recordings))
    assert set(split.train["subject"]) == {1, 3, 5}
    assert set(split.test["subject"]) == {7}
