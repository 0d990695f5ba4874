"""Runs a function in several processes of a gloo group, forked, so that none waits for imports."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable

import torch


def in_processes(number: int, work: Callable[[int], None]) -> None:
    """Calls `work(rank)` in so many processes as `accelerate launch --cpu` starts them, one alone without a group.

    Raises:
        RuntimeError: one of them failed; its traceback is on stderr.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    children = []
    for rank in range(number):
        child = os.fork()
        if child == 0:
            if number > 1:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(number))
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), ACCELERATE_USE_CPU="true")
            status = 1
            try:
                torch.set_num_threads(1)
                work(rank)
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise RuntimeError(f"processes ended with {codes}")
