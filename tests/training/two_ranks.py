"""Trains stage 1 with two data-parallel processes and with one, and writes down what each process ended with.

    python tests/training/two_ranks.py CONFIG DATA FOLDER [FIELD=VALUE ...]

FOLDER/two and FOLDER/one are run folders; beside them lie `two0.safetensors`, `two1.safetensors` and
`one0.safetensors`, the weights and codebook statistics of every process. Processes are forked, so that none waits for
imports.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from llm_action.config.experiment import load_experiment
from llm_action.training import train_vqvae as stage


def main(config: str, data: str, folder: str, *overrides: str) -> None:
    batch = load_experiment(config, list(overrides)).vqvae.batch_size
    for name, ranks in (("two", 2), ("one", 1)):
        port = free_port()
        sizes = [f"vqvae.batch_size={batch // ranks}"]
        children = []
        for rank in range(ranks):
            child = os.fork()
            if child == 0:
                if ranks > 1:  # as `accelerate launch --cpu` has it
                    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
                    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), ACCELERATE_USE_CPU="true")
                run(config, data, Path(folder) / name, [*overrides, *sizes], rank)
                os._exit(0)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * ranks


def run(config: str, data: str, out: Path, overrides: list[str], rank: int) -> None:
    torch.set_num_threads(1)
    fit = stage.fit

    def fit_and_write(trainer, resume):
        model = trainer.model
        model.codebook_learner.decay = 0.5  # so that codes die within a few steps and are revived
        fit(trainer, resume)
        assert torch.distributed.is_initialized() == ("two" in out.name)
        save_file(
            {name: weight.contiguous() for name, weight in model.state_dict().items()}, f"{out}{rank}.safetensors"
        )

    stage.fit = fit_and_write
    stage.train_vqvae(load_experiment(config, overrides), data, out)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
