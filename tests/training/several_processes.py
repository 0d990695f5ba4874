"""Trains both stages with one, two and four data-parallel processes, and goes on with another number of them.

    python tests/training/several_processes.py CONFIG DATA FOLDER

The batch of all processes is the same. Stage 2 starts from the action tokenizer of FOLDER/1. FOLDER/N/recognizer holds
the losses of N processes, FOLDER/2to4 and FOLDER/4to1 those of a run that was begun with the first number and ended
with the second.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from processes import in_processes
from transformers import TrainerCallback

from llm_action.config.experiment import load_experiment
from llm_action.training import train_recognizer as second
from llm_action.training import train_vqvae as first

BATCH, STEPS, STOP = 8, 12, 6
SETTINGS = [
    *(f"vqvae.steps={STEPS}", f"vqvae.save_steps={STOP}", "vqvae.model.dropout=0.0"),
    *(f"recognizer.steps={STEPS}", f"recognizer.save_steps={STOP}", "recognizer.learning_rate=1e-3"),
    *("recognizer.embedding_learning_rate=1e-3", "recognizer.sentences=3"),
]


class StopAt(TrainerCallback):
    """Ends a training early, as a kill after a checkpoint does."""

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= STOP


def main(config: str, data: str, folder: str) -> None:
    root = Path(folder)

    def stages(out: Path, number: int, begin: bool = False):
        def run(rank: int) -> None:
            sizes = [f"vqvae.batch_size={BATCH // number}", f"recognizer.batch_size={BATCH // number}"]
            experiment = load_experiment(config, [*SETTINGS, *sizes])
            if begin:
                for stage in (first, second):
                    fit = stage.fit
                    stage.fit = lambda trainer, resume, fit=fit: (trainer.add_callback(StopAt()), fit(trainer, resume))
            first.train_vqvae(experiment, data, out)
            if rank == 0 and not (root / "processor").exists():
                shutil.copytree(out / "processor", root / "processor.tmp").rename(root / "processor")
            second.stage_one = lambda _: second.LlmArProcessor.from_pretrained(root / "processor")
            second.train_recognizer(experiment, data, out)

        in_processes(number, run)

    for number in (1, 2, 4):
        stages(root / str(number), number)
    for before, after in ((2, 4), (4, 1)):
        out = root / f"{before}to{after}"
        stages(out, before, begin=True)
        shutil.rmtree(out / "model")  # of the run that was stopped
        stages(out, after)


if __name__ == "__main__":
    main(*sys.argv[1:])
