"""Sixteen threads share one pipeline for many calls; says how many a second, and fails where something is kept.

    python tests/modeling/many_users.py MODEL RECORDINGS CALLS [KEPT]

MODEL is a model folder, RECORDINGS a folder of recordings, CALLS for example 10000. Every thread asks everything once
first, which fills the caches and each thread's buffers; after that a call may keep no more than `ALLOWED` bytes, and
no file may stay open or mapped. With KEPT every call keeps so many bytes on purpose, to see that it is found.

The bytes are those that were allocated and not freed. The resident size is no measure of a leak: it grows for
thousands of calls, because sixteen threads leave gaps of different sizes in the allocator's heaps. All of Python
allocates through malloc here and freed blocks are not kept by threads, so glibc's count is exact.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psutil

USERS = 16
ALLOWED = 256  # bytes a call; the smallest answer that was kept would take more
COUNTED = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}


def requests_of(recognize, files: list[str]) -> list[Callable[[], list]]:
    """Different ways of asking: lists of candidates, views, calibration, batches, streams."""
    trained = list(recognize.model.config.label_names)
    lists = [None, trained[:2], trained[1:4], ["juggling", "hopping", *trained[:1]], {"greeting": "waving a hand"}]
    ways: list[dict] = [{}, {"views": 2}, {"top_k": 1}, {"top_k": None}, {"batch_size": 2}]
    asked = []
    for number, (names, options) in enumerate(itertools.product(lists, ways)):
        file = files[number % len(files)]
        inputs = [file, files[0]] if "batch_size" in options else file
        asked.append(
            lambda inputs=inputs, names=names, options=options: recognize(inputs, candidate_labels=names, **options)
        )
    for file, names in zip(files, lists[:4], strict=False):
        recording = recognize.processor.read(file)
        frames = recording.joints[0]
        options = {"window": 16, "hop": 16, "layout": recording.layout, "up": "y", "unit": "m", "calibrate": False}
        if names is not None:
            options["candidate_labels"] = names
        asked.append(
            lambda frames=frames, options=options: [result.ranking for result in recognize.stream(frames, **options)]
        )
    return asked


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def bytes_in_use() -> int:
    """What malloc gave out and did not get back; an AttributeError where the C library does not count it."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    counted = mallinfo2()
    return counted.uordblks + counted.hblkhd


def files_in_use(process: psutil.Process) -> int:
    """Files that are open or mapped."""
    return process.num_fds() + len(process.memory_maps(grouped=False))


def main(model: str, recordings: str, calls: str, kept: str = "0") -> None:
    from transformers import pipeline

    import llm_action  # noqa: F401  registers the pipeline

    recognize = pipeline("skeleton-action-recognition", model=model, dtype="float32")
    requests = requests_of(recognize, sorted(map(str, Path(recordings).iterdir())))
    process, total = psutil.Process(), int(calls)
    order = random.Random(0).choices(range(len(requests)), k=total)
    leak: list[bytes] = []

    def call(number: int) -> None:
        requests[number]()
        if int(kept):
            leak.append(bytes(int(kept)))

    together = Barrier(USERS)

    def call_all(_: int) -> None:
        together.wait()
        for request in requests:
            request()

    sizes, files, resident = [], [], []

    def measure() -> None:
        requests[0]()  # the tree of the last list of candidates is kept: always the same one
        gc.collect()
        sizes.append(bytes_in_use())
        files.append(files_in_use(process))
        resident.append(process.memory_info().rss)

    with ThreadPoolExecutor(USERS) as users:
        list(users.map(call_all, range(USERS)))
        measure()
        started = time.perf_counter()
        for part in range(5):
            list(users.map(call, order[part * total // 5 : (part + 1) * total // 5]))
            measure()
    seconds = time.perf_counter() - started
    growth = (sizes[-1] - sizes[0]) / total
    print(f"{total} calls of {USERS} threads in {seconds:.0f} s, {total / seconds:.1f} a second")
    print(f"bytes in use at first and after each fifth: {', '.join(map(str, sizes))}; {growth:.0f} a call")
    print(f"resident: {', '.join(f'{size / 1e6:.1f}' for size in resident)} MB; files open or mapped: {files}")
    if growth > ALLOWED:
        sys.exit(f"a call keeps {growth:.0f} bytes, more than {ALLOWED}")
    if files[-1] - files[0] > USERS:
        sys.exit(f"files stay open or mapped: {files}")


if __name__ == "__main__":
    if not COUNTED.items() <= os.environ.items():  # both are read when a process begins
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **COUNTED})
    main(*sys.argv[1:])
