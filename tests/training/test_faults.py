"""Trainings that are killed, run out of disk or diverge."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import Trainer, TrainerCallback, TrainingArguments

from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.training.adapt import adapt
from llm_action.training.checkpoints import RECORD, KeepCheckpoints, last_checkpoint, record_checkpoint
from llm_action.training.distill import distill
from llm_action.training.faults import StopOnNonFinite, explained_faults
from llm_action.training.run_folder import fit
from llm_action.training.train import train

KILLS = os.environ.get("LLM_ACTION_KILLS", "3")  # 40 for the long run


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_whatever_is_killed_goes_on_to_the_same_end(tiny_config, recordings, tmp_path):
    script = Path(__file__).parents[1] / "kill_and_resume.py"
    command = [sys.executable, str(script), str(tiny_config), str(recordings), str(tmp_path), KILLS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(result.stdout)
    logs = [path.read_text()[-2000:] for path in tmp_path.glob("*/log.txt")]
    assert result.returncode == 0, "\n".join([result.stdout, result.stderr, *logs])


class Diverging(torch.nn.Module):
    """A weight that learns until the loss is not a number in step 5."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, x, labels=None):
        self.calls += 1
        factor = float("nan") if self.calls == 5 else 1.0
        return {"loss": factor * (self.weight * x).sum()}


def trainer_of(model: torch.nn.Module, folder: Path) -> Trainer:
    arguments = TrainingArguments(
        str(folder),
        max_steps=8,
        save_steps=2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        label_names=["labels"],
    )
    data = [{"x": torch.ones(1), "labels": 0}] * 100
    return Trainer(model, arguments, train_dataset=data, callbacks=[StopOnNonFinite(), KeepCheckpoints()])


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    model = Diverging()
    trainer = trainer_of(model, tmp_path)
    with pytest.raises(ValueError, match=r"step 5: .*not finite.*checkpoint-4"):
        trainer.train()
    assert torch.isfinite(model.weight).all(), "the weights never saw it"
    assert last_checkpoint(tmp_path)[0].name == "checkpoint-4"
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert last_checkpoint(tmp_path)[0].name == "checkpoint-8"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/1"),
    ],
)
def test_a_full_disk_is_said(tmp_path, error):
    (tmp_path / "checkpoint-10").mkdir()
    record_checkpoint(tmp_path / "checkpoint-10")
    (tmp_path / "checkpoint-20").mkdir()
    with pytest.raises(OSError, match=r"the disk is full; the last good checkpoint is .*checkpoint-10"), \
            explained_faults(tmp_path):  # fmt: skip
        raise error
    with pytest.raises(RuntimeError, match="something else"), explained_faults(tmp_path):
        raise RuntimeError("something else")


class Learning(torch.nn.Module):
    """Learns something else in every step, with momentum."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1000))

    def forward(self, x, labels=None):
        return {"loss": ((self.weight - x) ** 2).mean()}


def fitted(folder: Path, steps: int = 8, callbacks: tuple = (), resume: bool = True) -> torch.Tensor:
    """The weights after a training in a folder that saves every other step."""
    arguments = TrainingArguments(
        str(folder), max_steps=steps, save_steps=2, lr_scheduler_type="constant", report_to="none", use_cpu=True,
        disable_tqdm=True, label_names=["labels"], seed=0,
    )  # fmt: skip
    data = [{"x": torch.tensor([float(number)]), "labels": 0} for number in range(100)]
    trainer = Trainer(Learning(), arguments, train_dataset=data, callbacks=list(callbacks))
    fit(trainer, resume)
    return trainer.model.weight.detach()


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*"))


class StopsAfter(TrainerCallback):
    """Is killed in a step."""

    def __init__(self, step: int):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-len(content) // 4] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json", RECORD])
@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_is_passed_over_with_a_note(tmp_path, capsys, file, damage):
    expected = fitted(tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "run", callbacks=(StopsAfter(6),))
    assert steps_in(tmp_path / "run") == [4, 6]
    damaged = tmp_path / "run" / "checkpoint-6"
    damage(damaged / file)
    capsys.readouterr()
    assert torch.equal(fitted(tmp_path / "run"), expected)
    said = capsys.readouterr().err
    assert f"{damaged} " in said and "going on from checkpoint-4" in said
    assert file in said or file == RECORD
    assert steps_in(tmp_path / "run") == [6, 8] and last_checkpoint(tmp_path / "run")[0].name == "checkpoint-8"


def test_where_all_checkpoints_are_damaged_the_training_begins_anew(tmp_path, capsys):
    expected = fitted(tmp_path / "undisturbed")
    fitted(tmp_path / "run")
    for step in (6, 8):
        cut_short(tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors")
    assert torch.equal(fitted(tmp_path / "run"), expected)
    assert capsys.readouterr().err.count("going on from the start") == 2
    assert steps_in(tmp_path / "run") == [6, 8]


def test_a_restart_leaves_no_checkpoint_of_the_run_before(tmp_path):
    fitted(tmp_path, steps=8)
    fitted(tmp_path, steps=2, resume=False)
    assert steps_in(tmp_path) == [2]


class ClockJumpsBack(TrainerCallback):
    """Makes what was written until a step look as if it were from tomorrow."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 5:
            tomorrow = time.time() + 86_400
            for path in [Path(args.output_dir), *Path(args.output_dir).rglob("*")]:
                os.utime(path, (tomorrow, tomorrow))


def test_a_clock_that_jumps_back_costs_no_checkpoint(tmp_path):
    expected = fitted(tmp_path / "undisturbed", steps=10)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "run", steps=10, callbacks=(ClockJumpsBack(), StopsAfter(8)))
    assert steps_in(tmp_path / "run") == [6, 8], "the latest are kept, though they look the oldest"
    assert last_checkpoint(tmp_path / "run")[0].name == "checkpoint-8"
    assert torch.equal(fitted(tmp_path / "run", steps=10), expected)
    assert steps_in(tmp_path / "run") == [8, 10]


PAGE = 4096  # bytes: a file on a tmpfs takes whole pages
STEPS = ["vqvae.steps=4", "vqvae.save_steps=1", "recognizer.steps=4", "recognizer.save_steps=1"]


def weights_of(run: Path) -> dict[str, bytes]:
    files = [*run.glob("processor/**/*.safetensors"), *run.glob("model/**/*.safetensors")]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def undisturbed(tiny_config, recordings, tmp_path_factory) -> Path:
    """The run folder of `STEPS` with room enough."""
    out = tmp_path_factory.mktemp("undisturbed")
    train(load_experiment(tiny_config, STEPS), str(recordings), out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vqvae", "recognizer"])
def test_a_training_whose_disk_fills_up_goes_on_when_there_is_room(
    stage, undisturbed, tiny_config, recordings, small_disk, capsys
):
    """The disk is a small one; what is said does not hide whether a checkpoint is there to go on from."""
    command = ["--config", str(tiny_config), "--data", str(recordings), "--set", *STEPS]
    sizes = {
        name: sum(-(-path.stat().st_size // PAGE) * PAGE for path in (undisturbed / name).rglob("*") if path.is_file())
        for name in ("vqvae", "processor", "sentences", "recognizer")
    }
    room = sizes["vqvae"] * 3 // 4
    if stage == "recognizer":
        room = sum(sizes.values()) - sizes["recognizer"] // 4
    out = small_disk(room + 200_000) / "run"
    assert main(["train", *command, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "error: " in said and "the disk is full" in said, said
    checkpoint, _ = last_checkpoint(out / stage)
    assert checkpoint is not None and f"the last good checkpoint is {checkpoint}" in said, said
    small_disk(10 * room)
    assert main(["train", *command, "--out", str(out)]) == 0
    assert weights_of(out) == weights_of(undisturbed)


HOLDS = """
import sys, time
from llm_action.config.folder_lock import lock_beside, sole_writer
from pathlib import Path
folder = Path(sys.argv[1])
with sole_writer(folder, lock_beside(folder) if sys.argv[2:] else None):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_in_a_folder_is_refused_and_a_killed_one_blocks_nothing(tiny_config, recordings, tmp_path, capsys):
    command = ["--config", str(tiny_config), "--data", str(recordings), "--out", str(tmp_path), "--set", *STEPS]
    with subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        before = sorted(path.name for path in tmp_path.iterdir())
        for stage in ([], ["--stage", "vqvae"], ["--stage", "recognizer"]):
            assert main(["train", *stage, *command, "seed=1", "--restart"]) == 2
            said = capsys.readouterr().err
            assert f"{tmp_path}: process {first.pid} on " in said and said.count("\n") == 1
        with pytest.raises(BlockingIOError, match="is writing here"):
            train(load_experiment(tiny_config), str(recordings), tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == before, "nothing was touched"
        first.kill()
        first.wait()
    assert main(["train", "--stage", "vqvae", *command]) == 0


def test_a_second_distillation_of_the_same_model_is_refused(tiny_export, recordings, tmp_path):
    model = Path(shutil.copytree(tiny_export, tmp_path / "model"))
    holder = [sys.executable, "-c", HOLDS, model, "beside"]
    with subprocess.Popen(holder, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="is writing here"):
            distill(model, str(recordings))
        first.kill()
    assert not (model / "student").exists()


def test_a_second_adaptation_to_the_same_folder_is_refused(tiny_export, recordings, tmp_path):
    holder = [sys.executable, "-c", HOLDS, tmp_path / "out", "beside"]
    with subprocess.Popen(holder, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="is writing here"):
            adapt(tiny_export, recordings, tmp_path / "out")
        first.kill()
