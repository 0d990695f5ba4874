"""What the benchmark is made of: figures, each the median of paired runs, and runs that take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch

from llm_action.config.progress import ProgressBar


@dataclass(frozen=True)
class Figure:
    """One result of the benchmark.

    Attributes:
        name: what it is; "a / b" is the time of a over the time of b.
        values: one a repeat (a ratio's two runs were made next to each other), or one alone.
        unit: "x" for ratios.
        target: what it should be, "<= 1.3" or ">= 12"; None for figures without one.
        curve, x: the line of the plot it is a point of, and where.
    """

    name: str
    values: tuple[float, ...]
    unit: str = "x"
    target: str | None = None
    curve: str | None = None
    x: float | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median is on the right side of the target; None without one."""
        if self.target is None:
            return None
        relation, limit = self.target.split()
        return self.median >= float(limit) if relation == ">=" else self.median <= float(limit)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: name, unit, median, low and high (the extremes), number of runs, and the target if there is one."""
        spread = {"median": self.median, "low": min(self.values), "high": max(self.values), "runs": len(self.values)}
        record: dict[str, Any] = {"name": self.name, "unit": self.unit, **spread}
        if self.target is not None:
            record |= {"target": self.target, "met": self.met}
        return record if self.curve is None else {**record, "curve": self.curve, "x": self.x}

    def __str__(self) -> str:
        text = f"{self.name:<66} {self.median:9.3g} {self.unit:<5}"
        if len(self.values) > 1:
            text += f" {min(self.values):.3g} .. {max(self.values):.3g}"
        if self.target is not None:
            text += f"   target {self.target}: {'met' if self.met else 'missed'}"
        return text


@dataclass
class Section:
    """One part of the benchmark: its figures, and notes on how they came about."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Seconds = dict[str, list[float]]


def take_turns(title: str, ways: Mapping[str, Callable[[int], Any]], repeats: int) -> Seconds:
    """The seconds of each way in every repeat. The ways run one after the other, each repeat begins with another one.

    A way is called with the number of the repeat, so that all see the same input; whoever needs a warm-up calls it
    before.
    """
    seconds: Seconds = {name: [] for name in ways}
    names = list(ways)
    with ProgressBar(total=repeats * len(ways), desc=title, leave=False, disable=None) as progress:
        for repeat in range(repeats):
            first = repeat % len(names)
            for name in names[first:] + names[:first]:
                seconds[name].append(timed(partial(ways[name], repeat))[0])
                progress.update()
    return seconds


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `run` takes, on an accelerator until its work is done, and what it returns."""
    _synchronize()
    started = time.perf_counter()
    result = run()
    _synchronize()
    return time.perf_counter() - started, result


def ratio(seconds: Seconds, a: str, b: str, target: str | None = None, scale: float = 1.0, **more: Any) -> Figure:
    """The figure "a / b", times `scale`, over the repeats in which both ran next to each other."""
    values = tuple(scale * x / y for x, y in zip(seconds[a], seconds[b], strict=True))
    return Figure(more.pop("name", f"{a} / {b}"), values, target=target, **more)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
