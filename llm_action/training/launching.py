"""Starts the processes of `accelerate launch --cpu --num_processes N`, and says which of them this one is.

accelerate starts one process on CPUs and leaves the others to mpirun, without a word: the training would go on with a
batch N times too small. Where no mpirun did it, torch's own launcher starts the processes.
"""

from __future__ import annotations

import os
import re
import sys

import psutil  # type: ignore[import-untyped]
from accelerate import PartialState
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import parse_flag_from_env

_LAUNCHER = re.compile(r"launch|(.*/)?accelerate-launch|accelerate\.commands\.launch|.*/accelerate/commands/launch\.py")
_RANKS_ARE_THERE = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def start_all_processes() -> None:
    """Replaces this process by N of its kind if it is the only one of a launch of N on CPUs; else returns."""
    on_cpus = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if not on_cpus or "MASTER_PORT" not in os.environ or any(name in os.environ for name in _RANKS_ARE_THERE):
        return
    parent = psutil.Process().parent()
    number = processes_asked_for(parent.cmdline() if parent else [])
    if number > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number)]
        os.execv(sys.executable, [sys.executable, *torchrun, *sys.orig_argv[1:]])


def launched_processes() -> PartialState:
    """Tells of the processes of a launch and joins them.

    Without word of it, PartialState takes a process of a launch on CPUs for the only one.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def processes_asked_for(command: list[str]) -> int:
    """Reads the number of processes from the command line of `accelerate launch` or its --config_file; else 1."""
    start = next((index for index, word in enumerate(command) if _LAUNCHER.fullmatch(word)), None)
    if start is None:
        return 1
    arguments = launch_command_parser().parse_args(command[start + 1 :])
    if arguments.num_processes is None and arguments.config_file is not None:
        return load_config_from_file(arguments.config_file).num_processes
    return arguments.num_processes or 1
