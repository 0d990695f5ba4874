"""Tries many hostile inputs on everything that reads.

    python -m tests.fuzz --inputs 10000                         # made-up files of every format, mutated
    python -m tests.fuzz --inputs 10000 --real FOLDER           # and the real files below a folder
    python -m tests.fuzz --first 2000 --inputs 2000             # a piece of the same run

Seed and number decide an input. Exit status 1 where one did not end in a right answer or one clear error within 5 s
of the processor and 1 GB, with nothing outside its folder touched.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
os.environ.update(TQDM_DISABLE="1", MPLBACKEND="Agg")

from .campaign import Summary, run
from .targets import all_targets

_PIECE = 500  # inputs after which the figures so far are printed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, help="folder of real recordings")
    parser.add_argument("--model", type=Path, help="model folder; default that of the tests")
    parser.add_argument("--only", nargs="+", help="only these targets")
    parser.add_argument("--keep", type=Path, help="keep the first input of every fault here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        targets = all_targets(Path(name) / "sound", arguments.real, arguments.model, arguments.only)
        if "model" in {one.name for one in targets}:
            import matplotlib

            import llm_action.hub.model_folder  # noqa: F401, so that no forked process imports it

            matplotlib.get_configdir(), matplotlib.get_cachedir()
        print(f"{sum(len(one.inputs) for one in targets)} sound inputs")
        summary, stop = Summary(), arguments.first + arguments.inputs
        for start in range(arguments.first, stop, _PIECE):
            numbers = range(start, min(start + _PIECE, stop))
            run(targets, numbers, arguments.seed, Path(name) / "work", summary, arguments.keep)
            print("\n".join(summary.lines()), flush=True)
    return bool(summary.faults)


if __name__ == "__main__":
    sys.exit(main())
