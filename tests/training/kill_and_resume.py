"""Kills trainings of both stages at random moments, resumes them, and compares with an undisturbed one.

    python tests/training/kill_and_resume.py CONFIG DATA FOLDER [KILLS] [SEED]

prints the hash of the weights of both. Each training runs in a forked process, so that none waits for imports.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from llm_action.config.experiment import load_experiment
from llm_action.training.train import train

LONGER = [f"{stage}.{field}" for stage in ("vqvae", "recognizer") for field in ("steps=12", "save_steps=3")]


def main(config: str, data: str, folder: str, kills: str = "20", seed: str = "0") -> None:
    rng, disturbed = random.Random(int(seed)), Path(folder) / "disturbed"
    started = time.perf_counter()
    assert run(config, data, Path(folder) / "undisturbed") == 0
    duration = time.perf_counter() - started
    done, reached = 0, set()
    while done < int(kills):
        status = run(config, data, disturbed, kill_after=rng.uniform(0, 0.8 * duration))
        assert status in (0, -signal.SIGKILL)
        if status == 0:  # finished before the kill: begin another one
            assert weights_hash(disturbed) == weights_hash(Path(folder) / "undisturbed")
            disturbed = disturbed.with_name(f"disturbed{done}")
            continue
        done += 1
        reached.add(where(disturbed))
    assert run(config, data, disturbed) == 0
    expected, found = weights_hash(Path(folder) / "undisturbed"), weights_hash(disturbed)
    print(f"{done} kills ({', '.join(sorted(reached))}); undisturbed {expected}, resumed {found}")
    sys.exit(expected != found)


def run(config: str, data: str, out: Path, kill_after: float | None = None) -> int:
    """The exit status of a training in a process of its own, negative the signal that ended it."""
    out.mkdir(parents=True, exist_ok=True)
    process = os.fork()
    if process == 0:
        torch.set_num_threads(1)
        silence = os.open(out / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        train(load_experiment(config, LONGER), data, out)
        os._exit(0)
    if kill_after is not None:
        end = time.monotonic() + kill_after
        while time.monotonic() < end:
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.01)
        else:
            os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def where(out: Path) -> str:
    for stage in ("recognizer", "sentences", "processor", "vqvae"):
        if (out / stage).exists():
            checkpoints = len(list((out / stage).glob("checkpoint-*")))
            return f"{stage} with {checkpoints} checkpoints"
    return "before the first checkpoint"


def weights_hash(out: Path) -> str:
    digest = hashlib.sha256()
    files = sorted([*(out / "processor").rglob("*.safetensors"), *(out / "model").rglob("*.safetensors")])
    assert len(files) == 5, files
    for file in files:
        digest.update(file.relative_to(out).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main(*sys.argv[1:])
