"""Sixteen threads share one pipeline for many calls; says how many a second, and fails where memory grows.

    python tests/modeling/many_users.py MODEL RECORDINGS CALLS

MODEL is a model folder, RECORDINGS a folder of recordings, CALLS for example 10000. The first fifth of the calls fills
caches; after it memory may grow by no more than `ALLOWED` a call.
"""

from __future__ import annotations

import gc
import itertools
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

USERS = 16
ALLOWED = 2048  # bytes a call; an answer that was kept would take more


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


def main(model: str, recordings: str, calls: str) -> None:
    from transformers import pipeline

    import llm_action  # noqa: F401  registers the pipeline

    recognize = pipeline("skeleton-action-recognition", model=model, dtype="float32")
    requests = requests_of(recognize, sorted(map(str, Path(recordings).iterdir())))
    process, total = psutil.Process(), int(calls)
    order = random.Random(0).choices(range(len(requests)), k=total)
    sizes, started = [], time.perf_counter()
    with ThreadPoolExecutor(USERS) as users:
        for part in range(5):
            for _ in users.map(
                lambda number: requests[number]() and None, order[part * total // 5 : (part + 1) * total // 5]
            ):
                pass
            gc.collect()
            sizes.append(process.memory_info().rss)
    seconds = time.perf_counter() - started
    growth = (sizes[-1] - sizes[0]) / (total * 4 / 5)
    print(f"{total} calls of {USERS} threads in {seconds:.0f} s, {total / seconds:.1f} a second")
    print(f"memory after each fifth: {', '.join(f'{size / 1e6:.1f}' for size in sizes)} MB; {growth:.0f} bytes a call")
    if growth > ALLOWED:
        sys.exit(f"memory grows by {growth:.0f} bytes a call, more than {ALLOWED}")


if __name__ == "__main__":
    main(*sys.argv[1:])
