"""How fast `.skeleton` files are read, side by side with a plain reader that goes line by line.

    python tests/datasets/measure_reading.py FOLDER [COPIES]

reads every `.skeleton` file below FOLDER, COPIES times (default 10), and checks first that all readers say the same.
Prints medians of the time on the clock and, in one process, of the processor's time, which other work on the machine
disturbs less.
"""

import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from llm_action.skeleton_io import read_skeleton

ROUNDS = 7


def read_line_by_line(path: Path) -> dict[str, dict[int, list[list[float]]]]:
    """Body id -> frame -> joints, each with its twelve values."""
    bodies: dict[str, dict[int, list[list[float]]]] = {}
    with path.open() as file:
        for frame in range(int(file.readline())):
            for _ in range(int(file.readline())):
                body = file.readline().split()[0]
                joints = [[float(value) for value in file.readline().split()] for _ in range(int(file.readline()))]
                bodies.setdefault(body, {})[frame] = joints
    return bodies


def check(path: Path) -> None:
    sequence = read_skeleton(path)
    for person, frames in enumerate(read_line_by_line(path).values()):
        for frame, joints in frames.items():
            values = np.array(joints)
            np.testing.assert_array_equal(sequence.joints[person, frame], values[:, :3].astype(np.float32))
            np.testing.assert_array_equal(sequence.scores[person, frame], values[:, 11] / 2)


def read_and_forget(path: Path) -> None:
    read_skeleton(path)


def one_by_one(read: Callable[[Path], object], paths: list[Path]) -> None:
    for path in paths:
        read(path)


def main() -> None:
    paths = sorted(Path(sys.argv[1]).rglob("*.skeleton"))
    for path in paths:
        check(path)
    work = paths * int(sys.argv[2] if len(sys.argv) > 2 else 10)
    size = sum(path.stat().st_size for path in work) / 1e6
    clock: dict[str, list[float]] = defaultdict(list)
    processor: dict[str, list[float]] = defaultdict(list)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(read_and_forget, paths * 2)
        readers = {
            "line by line": lambda: one_by_one(read_line_by_line, work),
            "read_skeleton": lambda: one_by_one(read_skeleton, work),
            "read_skeleton, 2 workers": lambda: pool.map(read_and_forget, work, chunksize=4),
        }
        for _ in range(ROUNDS):  # in turn, so that other work on the machine meets all alike
            for name, read in readers.items():
                started = time.perf_counter(), time.process_time()
                read()
                clock[name].append(time.perf_counter() - started[0])
                processor[name].append(time.process_time() - started[1])
    print(f"{len(work)} files, {size:.0f} MB" + " " * 15 + "clock                         processor")
    for name in readers:
        alone = "workers" not in name
        print(f"{name:<26}" + told(clock, name, size) + (told(processor, name, size) if alone else ""))


def told(seconds: dict[str, list[float]], name: str, size: float) -> str:
    taken, slowest = np.median(seconds[name]), np.median(seconds["line by line"])
    return f"{taken:7.2f} s {size / taken:7.1f} MB/s {slowest / taken:6.1f} x"


if __name__ == "__main__":
    main()
