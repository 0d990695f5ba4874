"""Trains both stages, stage 1 once for every sense, and exports the model.

    accelerate launch -m llm_action.training.train --config utd_mhad --data UTD_FOLDER --out runs/utd_mhad

A stage that is finished is not done again; an interrupted one goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm_action.config.arguments import add_training_arguments
from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment
from llm_action.config.progress import quiet_libraries
from llm_action.config.reading import recorded
from llm_action.training.launching import launched_processes, start_all_processes
from llm_action.training.report import REPORT_FILE, write_report
from llm_action.training.run_folder import run_of, sole_run
from llm_action.training.train_recognizer import train_recognizer
from llm_action.training.train_senses import train_senses
from llm_action.training.train_vqvae import train_vqvae

_LEFT = {  # in a run folder, by each stage and what builds on it
    "vqvae": ("vqvae", "senses", "processor", "sentences", "recognizer", "model"),
    "recognizer": ("sentences", "recognizer", "model"),
}


def train(
    experiment: Experiment, data_dir: str | None, out: Path, resume: bool = True, stage: str | None = None
) -> dict[str, Any]:
    """Trains both stages; writes `out/processor`, `out/model`, `out/seconds.json` (of each stage) and a report.

    Args:
        resume: whether what is there is gone on from, default True; else it is removed first.
        stage: "vqvae" (the action tokenizers) or "recognizer" (the language model), default None: both.

    Raises:
        BlockingIOError: another process trains in the folder.
    """
    with sole_run(out):
        processes = launched_processes()
        if not resume and processes.is_main_process:
            for part in _LEFT[stage or "vqvae"]:
                shutil.rmtree(out / part, ignore_errors=True)
        record = out / "seconds.json"
        seconds = (recorded(record) if resume else None) or {}
        for name, (train_part, result) in _parts_to_train(experiment, stage).items():
            processes.wait_for_everyone()
            finished = (out / result).is_file()
            processes.wait_for_everyone()  # all have looked before one writes
            if finished:
                continue
            started = time.perf_counter()
            train_part(experiment, data_dir, out, resume=resume)
            seconds[name] = round(seconds.get(name, 0) + time.perf_counter() - started, 1)
            if processes.is_main_process:
                write_json(seconds, record)
                (out / REPORT_FILE).unlink(missing_ok=True)  # it was another model's
        if stage != "vqvae" and processes.is_main_process and not (out / REPORT_FILE).is_file():
            write_report(experiment, data_dir, out, seconds)
        return seconds


def _parts_to_train(experiment: Experiment, stage: str | None) -> dict[str, tuple[Callable[..., Any], str]]:
    """What trains, and the file that is there once it has."""
    first = {
        "train_vqvae": (train_vqvae, "processor/metrics.json"),
        **({"train_senses": (train_senses, "processor/senses/metrics.json")} if experiment.senses else {}),
    }
    second = {"train_recognizer": (train_recognizer, "model/config.json")}
    return {"vqvae": first, "recognizer": second, None: {**first, **second}}[stage]


def train_as_asked(arguments: argparse.Namespace) -> Path:
    """Trains what a command line asks for, see `add_training_arguments`; returns the run folder."""
    with run_of(arguments) as (experiment, out):
        train(experiment, arguments.data, out, not arguments.restart, arguments.stage)
    return out


def main() -> None:
    """Trains from the command line, for `accelerate launch -m` and `python -m`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_arguments(parser)
    arguments = parser.parse_args()
    start_all_processes()
    quiet_libraries()
    try:
        train_as_asked(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
