"""Many hostile inputs, each decided by a seed and its number alone, and what came of them."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .judge import Verdict, verdicts
from .mutations import mutate
from .targets import Target

_OTHER_SUFFIXES = (
    ".json",
    ".npy",
    ".npz",
    ".pkl",
    ".txt",
    ".csv",
    ".mat",
    ".skeleton",
    ".bvh",
    ".tsv",
    ".zip",
    "",
    ".NPZ",
)
_STRANGE_NAMES = ("\u202eclip", "a b", "..clip", "\u00e9\u0301", "%s%n", "-rf", "a" * 200, "clip\n")


@dataclass
class Summary:
    """What came of all inputs: their number, verdicts of each target, the slowest and largest, and every fault once."""

    inputs: int = 0
    verdicts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest: float = 0.0
    largest: int = 0
    faults: dict[str, tuple[int, Verdict]] = field(default_factory=dict)

    def add(self, number: int, name: str, verdict: Verdict) -> None:
        self.inputs += 1
        self.verdicts[name]["answer" if verdict.kind == "answer" else "error" if verdict.well else "FAULT"] += 1
        self.slowest, self.largest = max(self.slowest, verdict.seconds), max(self.largest, verdict.peak)
        if not verdict.well:
            self.faults.setdefault(f"{name}: {verdict.kind}", (number, verdict))

    def lines(self) -> list[str]:
        lines = [
            f"{self.inputs} inputs; slowest {self.slowest:.2f} s of the processor, largest {self.largest / 1e6:.0f} MB"
        ]
        lines += [
            f"  {name}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(of.items()))
            for name, of in self.verdicts.items()
        ]
        lines += [
            f"  FAULT {name} (input {number}): {verdict.detail[-300:]!r}"
            for name, (number, verdict) in self.faults.items()
        ]
        return lines


def hostile_input(targets: list[Target], number: int, seed: int, work: Path) -> tuple[Target, Path]:
    """Writes a hostile input into `work`, in place of the one before; a file called canary lies beside it."""
    rng = random.Random(f"{seed}:{number}")
    target = rng.choices(targets, [one.share for one in targets])[0]
    shutil.rmtree(work, ignore_errors=True)
    (work / "case").mkdir(parents=True)
    (work / "canary").write_text("{}")
    return target, _written(rng.choice(target.inputs), work / "case", rng, target)


def _written(sound: Path, folder: Path, rng: random.Random, target: Target) -> Path:
    if sound.is_dir():
        path = folder / sound.name
        shutil.copytree(sound, path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        _spoil(rng.choice(files), rng)
        return path
    path = folder / sound.name
    if target.name in ("recording", "clips") and rng.random() < 0.08:
        path = folder / (rng.choice((sound.stem, *_STRANGE_NAMES)) + rng.choice((sound.suffix, *_OTHER_SUFFIXES)))
    beside = sound.with_suffix(".csv" if sound.suffix == ".tagstream" else ".tagstream")
    shutil.copyfile(sound, path)
    if sound.suffix == ".tagstream":
        (folder / beside.name).write_text("0 1 2\n500 1 2\n1000 1 2\n")
    _spoil(path, rng)
    return path


def _spoil(file: Path, rng: random.Random) -> None:
    """Mutates a file; now and then it is gone, a folder, or a link to nowhere, to itself or out of its folder."""
    content, chance = file.read_bytes(), rng.random()
    if chance > 0.03:
        file.write_bytes(mutate(content, rng))
        return
    file.unlink()
    choice = rng.randrange(5)
    if choice == 0:
        file.mkdir()
    elif choice == 1:
        os.symlink("nowhere", file)
    elif choice == 2:
        os.symlink(file.name, file)
    elif choice == 3:
        os.symlink("/dev/null", file)


def run(
    targets: list[Target], numbers: range, seed: int, work: Path, summary: Summary, keep: Path | None = None
) -> None:
    """Judges the inputs of some numbers.

    Args:
        work: where each input is written.
        summary: what came of them is added to it.
        keep: a folder for the first input of every fault.
    """

    def trial(number: int) -> tuple[str, Callable[[Path], Any], Path]:
        target, path = hostile_input(targets, number, seed, work)
        return target.name, target.read, path

    for number, name, verdict in verdicts(numbers, trial, work):
        if keep is not None and not verdict.well and f"{name}: {verdict.kind}" not in summary.faults:
            kept = keep / f"{seed}-{number}"
            _, path = hostile_input(targets, number, seed, kept)
            (kept / "verdict.txt").write_text(f"{name}: {verdict.kind}\n{path}\n{verdict.detail}", encoding="utf-8")
        summary.add(number, name, verdict)
