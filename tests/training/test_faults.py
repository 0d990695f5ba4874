"""Trainings that are killed, run out of disk or diverge."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import Trainer, TrainingArguments

from llm_action.training.faults import StopOnNonFinite, complete_checkpoints, explained_faults

KILLS = os.environ.get("LLM_ACTION_KILLS", "3")  # 20 for the long run


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_trainings_go_on_to_the_same_weights(tiny_config, recordings, tmp_path):
    script = Path(__file__).with_name("kill_and_resume.py")
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
    return Trainer(model, arguments, train_dataset=data, callbacks=[StopOnNonFinite()])


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    model = Diverging()
    trainer = trainer_of(model, tmp_path)
    with pytest.raises(ValueError, match=r"step 5: .*not finite.*checkpoint-4"):
        trainer.train()
    assert torch.isfinite(model.weight).all(), "the weights never saw it"
    assert complete_checkpoints(tmp_path)[-1].name == "checkpoint-4"
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert complete_checkpoints(tmp_path)[-1].name == "checkpoint-8"


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
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-20").mkdir()
    with pytest.raises(OSError, match=r"the disk is full; the last good checkpoint is .*checkpoint-10"), \
            explained_faults(tmp_path):  # fmt: skip
        raise error
    with pytest.raises(RuntimeError, match="something else"), explained_faults(tmp_path):
        raise RuntimeError("something else")


def test_a_half_written_checkpoint_does_not_count(tmp_path):
    for step, state in ((5, '{"global_step": 5}'), (10, '{"global_st'), (100, '{"global_step": 100}'), (200, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["checkpoint-5", "checkpoint-100"]
    shutil.rmtree(tmp_path / "checkpoint-100")
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["checkpoint-5"]
