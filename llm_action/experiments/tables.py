"""Tables measured one row at a time.

What was measured for a row and a seed is kept in a JSON file of its own, written when it is done. The same table again
measures only what is missing, or what was measured with other settings.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.config.atomic_files import write_json

MISSING = "–"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        name: unique in its table.
        settings: whatever decides the result beside the seed, as `json.dumps` takes it.
        measure: seed to metrics; numbers become columns, anything else is kept as it is. An ImportError becomes the
            row's error and the other rows are measured all the same.
        seeded: False for what no seed changes: measured once.
    """

    name: str
    settings: dict[str, Any]
    measure: Callable[[int], dict[str, Any]]
    seeded: bool = True


@dataclass(frozen=True)
class Column:
    """How a metric is printed: `scale` times its mean, and with `spread` the standard deviation over the seeds."""

    title: str
    metric: str
    decimals: int = 1
    scale: float = 1.0
    spread: bool = True


def chosen_rows(rows: list[Row], names: Sequence[str] | None) -> list[Row]:
    """The rows of these names, in the table's own order; None for all. ValueError listing the rows there are."""
    known = [row.name for row in rows]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ValueError(f"unknown row {', '.join(unknown)}; the table has {', '.join(known)}")
    return [row for row in rows if names is None or row.name in names]


def print_table(rows: list[Row], seeds: Sequence[int], columns: list[Column], folder: Path) -> list[dict[str, Any]]:
    """Measures the rows and prints them as Markdown, each when it is done; returns their summaries."""
    print("| row | " + " | ".join(column.title for column in columns) + " |")
    print("|---" * (len(columns) + 1) + "|", flush=True)
    summaries = []
    for summary in measured_rows(rows, seeds, folder):
        print(table_line(summary, columns), flush=True)
        summaries.append(summary)
    return summaries


def measured_rows(rows: list[Row], seeds: Sequence[int], folder: Path) -> Iterator[dict[str, Any]]:
    """Each row's summary: name, seeds, and mean, std and values of each number among the metrics; or name and error.

    Rows that keep `correct`, 0 or 1 for each test sequence, add its mean over the seeds. Those that keep the posterior
    of each, `log_posterior`, are followed by what two seeds averaged read, if there are two or more.
    """
    for row in rows:
        wanted = seeds if row.seeded else seeds[:1]
        try:
            runs = [measured(row, seed, folder) for seed in wanted]
        except ImportError as error:
            yield {"name": row.name, "error": str(error)}
            continue
        numbers = [name for name, value in runs[0].items() if isinstance(value, (int, float))]
        metrics = {name: spread([run[name] for run in runs]) for name in numbers}
        summary = {"name": row.name, "seeds": list(wanted), "metrics": metrics}
        if all("correct" in run for run in runs):
            summary["correct"] = np.mean([run["correct"] for run in runs], axis=0).tolist()
        yield summary
        if len(runs) > 1 and all("log_posterior" in run for run in runs):
            yield averaged_pairs(row.name, list(wanted), runs)


def averaged_pairs(name: str, seeds: list[int], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary of a classifier that averages the posteriors of two seeds.

    Of three seeds or more each is paired with the next, and the last with the first. A pair costs what both cost.

    Args:
        runs: the metrics of each seed, with `log_posterior` (sequences, classes) and `classes` (sequences,).
    """
    pairs = [(first, (first + 1) % len(runs)) for first in range(len(runs) if len(runs) > 2 else 1)]
    correct = []
    for one, other in pairs:
        posteriors = [np.array(runs[number]["log_posterior"]) for number in (one, other)]
        correct.append(np.logaddexp(*posteriors).argmax(1) == np.array(runs[one]["classes"]))
    costs = ("parameters", "training_seconds", "milliseconds_batch_1", "milliseconds_batch_16")
    metrics = {
        cost: spread([runs[one][cost] + runs[other][cost] for one, other in pairs]) for cost in costs if cost in runs[0]
    }
    metrics["top1"] = spread([float(of_pair.mean()) for of_pair in correct])
    return {
        "name": f"{name}, two seeds averaged",
        "seeds": [[seeds[one], seeds[other]] for one, other in pairs],
        "metrics": metrics,
        "correct": np.mean(correct, axis=0).tolist(),
    }


def measured(row: Row, seed: int, folder: Path) -> dict[str, Any]:
    """The metrics of one row and seed, from their file if it has the same settings."""
    file = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', row.name)}-seed{seed}.json"
    made_with = json.loads(json.dumps({"row": row.name, "seed": seed, "settings": row.settings}))
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["made_with"] == made_with:
            return kept["metrics"]
    with redirect_stdout(sys.stderr):  # stdout is the table's; a Trainer prints its losses there
        metrics = row.measure(seed)
    write_json({"made_with": made_with, "metrics": metrics}, file)
    return metrics


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None of a single value) and the values."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std, "values": values}


def table_line(summary: dict[str, Any], columns: list[Column]) -> str:
    """A summary as one line of a Markdown table."""
    if "error" in summary:
        cells = [summary["error"], *[MISSING] * (len(columns) - 1)]
    else:
        cells = [_cell(summary["metrics"].get(column.metric), column) for column in columns]
    return f"| {summary['name']} | " + " | ".join(cells) + " |"


def _cell(found: dict[str, Any] | None, column: Column) -> str:
    if found is None:
        return MISSING
    mean, std = (None if value is None else column.scale * value for value in (found["mean"], found["std"]))
    text = f"{mean:.{column.decimals}f}"
    return f"{text} ± {std:.{column.decimals}f}" if column.spread and std is not None else text
