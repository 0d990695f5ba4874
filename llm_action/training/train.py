"""Trains both stages, stage 1 once for every sense, and exports the model.

    accelerate launch -m llm_action.training.train --config utd_mhad --data UTD_FOLDER --out runs/utd_mhad

A stage that is finished is not done again; an interrupted one goes on from its last checkpoint.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment
from llm_action.config.reading import recorded
from llm_action.training.launching import launched_processes
from llm_action.training.report import REPORT_FILE, write_report
from llm_action.training.run_folder import sole_run, stage_command
from llm_action.training.train_recognizer import train_recognizer
from llm_action.training.train_senses import train_senses
from llm_action.training.train_vqvae import train_vqvae


def train(experiment: Experiment, data_dir: str | None, out: Path, resume: bool = True) -> dict[str, Any]:
    """Trains both stages; writes `out/processor`, `out/model`, `out/seconds.json` (of each stage) and a report.

    Raises:
        BlockingIOError: another process trains in the folder.
    """
    with sole_run(out):
        processes = launched_processes()
        if not resume and processes.is_main_process:
            for part in ("vqvae", "senses", "processor", "sentences", "recognizer", "model"):
                shutil.rmtree(out / part, ignore_errors=True)
        stages = {
            "train_vqvae": (train_vqvae, "processor/metrics.json"),
            **({"train_senses": (train_senses, "processor/senses/metrics.json")} if experiment.senses else {}),
            "train_recognizer": (train_recognizer, "model/config.json"),
        }
        record = out / "seconds.json"
        seconds = (recorded(record) if resume else None) or {}
        for name, (stage, result) in stages.items():
            processes.wait_for_everyone()
            finished = (out / result).is_file()
            processes.wait_for_everyone()  # all have looked before one writes
            if finished:
                continue
            started = time.perf_counter()
            stage(experiment, data_dir, out, resume=resume)
            seconds[name] = round(seconds.get(name, 0) + time.perf_counter() - started, 1)
            if processes.is_main_process:
                write_json(seconds, record)
                (out / REPORT_FILE).unlink(missing_ok=True)  # it was another model's
        if processes.is_main_process and not (out / REPORT_FILE).is_file():
            write_report(experiment, data_dir, out, seconds)
        return seconds


if __name__ == "__main__":
    stage_command(train, __doc__)
