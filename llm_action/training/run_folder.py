"""What the stages of a training share: arguments, run folders, the Trainer's settings, resuming."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import ProgressCallback, Trainer, TrainerState, TrainingArguments

from llm_action.config.experiment import Experiment, load_experiment, save_experiment
from llm_action.config.folder_lock import sole_writer
from llm_action.config.progress import ProgressBar
from llm_action.config.sections import RecognizerStage, VQVAEStage
from llm_action.datasets.hub_table import pinned
from llm_action.training.checkpoints import KeepCheckpoints, has_checkpoints, last_checkpoint, remove_checkpoints
from llm_action.training.faults import StopOnNonFinite, explained_faults
from llm_action.training.launching import launched_processes


@contextmanager
def run_of(arguments: argparse.Namespace) -> Iterator[tuple[Experiment, Path]]:
    """Reads the experiment of a command line, writes it, resolved, into its run folder, and keeps others out of that.

    Raises:
        ValueError: the folder holds a run of other settings and --restart was not given.
        BlockingIOError: another process trains in the folder.
        OSError: the disk is full, within the context too.
    """
    experiment = load_experiment(arguments.config, arguments.set)
    out = Path(arguments.out or Path("runs") / Path(arguments.config).stem)
    out.mkdir(parents=True, exist_ok=True)
    with sole_run(out), explained_faults(out, out / "recognizer", out / "vqvae"):
        record = out / "experiment.yaml"
        experiment = replace(experiment, dataset=_pinned(experiment.dataset, record))
        begun = record.is_file() and _has_begun(out)
        if begun and not arguments.restart and load_experiment(record) != experiment:
            raise ValueError(
                f"{out}: holds a run with other settings ({record}); choose another --out or pass --restart."
            )
        save_experiment(experiment, record)
        yield experiment, out


def _pinned(dataset: str, record: Path) -> str:
    """The data set's name with its commit where it is on the Hub: a run goes on with the data that it began with."""
    recorded = load_experiment(record).dataset if record.is_file() else ""
    return recorded if recorded.partition("@")[0] == dataset else pinned(dataset)


def sole_run(out: Path) -> AbstractContextManager[None]:
    """Keeps a second run out of a run folder; the processes of one launch are one run."""
    return sole_writer(out) if launched_processes().is_main_process else nullcontext()


def _has_begun(out: Path) -> bool:
    """Looks for what a training leaves in its run folder: from its first checkpoint on something, before nothing."""
    finished = [out / "processor", out / "model"]
    return any(folder.exists() for folder in finished) or any(map(has_checkpoints, (out / "vqvae", out / "recognizer")))


def trainer_settings(stage: VQVAEStage | RecognizerStage, folder: Path, seed: int, **own: Any) -> TrainingArguments:
    """Makes the Trainer's settings: those that both stages share, checkpoints in `folder`, and the stage's `own`."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(stage.warmup_share * stage.steps),
        save_steps=stage.save_steps,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
        label_names=["labels"],
        **own,
    )


class StepsLeft(ProgressCallback):
    """The Trainer's bar, with the time left in words."""

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.training_bar = ProgressBar(total=state.max_steps, desc="training steps", dynamic_ncols=True)
        self.current_step = 0


def fit(trainer: Trainer, resume: bool) -> None:
    """Trains; if `resume`, from the last whole checkpoint on. A training that had ended is only loaded."""
    folder, is_main = Path(trainer.args.output_dir), trainer.is_world_process_zero()
    checkpoint, faults = last_checkpoint(folder) if resume else (None, [])
    for fault in faults if is_main else ():
        print(f"{fault}; going on from {checkpoint.name if checkpoint else 'the start'}", file=sys.stderr, flush=True)
    if not resume and is_main:
        remove_checkpoints(folder)
    trainer.accelerator.wait_for_everyone()  # all have looked before one writes
    if checkpoint is not None:
        state = TrainerState.load_from_json(f"{checkpoint}/trainer_state.json")
        if state.global_step >= trainer.args.max_steps:
            trainer._load_from_checkpoint(str(checkpoint))
            trainer.state = state
            return
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(StepsLeft())
    trainer.add_callback(StopOnNonFinite())
    trainer.add_callback(KeepCheckpoints())
    with explained_faults(folder):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
