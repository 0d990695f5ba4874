"""Figures of a data set, a training run and its result. Each function writes one picture and returns its path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .drawing import writable

READABLE_LABELS = 60  # more rows than this only get every n-th name
LABELS_WITH_NUMBERS = 30


def plot_confusion(matrix: np.ndarray, labels: Sequence[str], path: str | os.PathLike) -> Path:
    """Draws a confusion matrix in row percent: the darker, the more of a true class went there.

    Args:
        matrix: (classes, classes) counts, rows true, columns predicted; a row without samples stays white.
        labels: class names in the order of the rows. Up to 30 classes every cell has its number; above 60 only every
            second, third ... class is named.
        path: of the .png, .pdf or .svg to write.

    Raises:
        ValueError: the matrix is not square, has negative or non-finite values, or fits not the labels; a wrong suffix.
    """
    path = writable(path, (".png", ".pdf", ".svg"))
    matrix = np.asarray(matrix, dtype=float)
    size = len(labels)
    if matrix.shape != (size, size) or size == 0:
        raise ValueError(f"expected a ({size}, {size}) confusion matrix for {size} labels, got shape {matrix.shape}")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ValueError("expected counts (finite, not negative) in the confusion matrix")
    totals = matrix.sum(axis=1, keepdims=True)
    percent = 100 * np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)

    side = float(np.clip(0.38 * size, 4.0, 14.0))
    figure = Figure(figsize=(side + 3.2, side + 2.2), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    shown = np.arange(0, size, -(-size // READABLE_LABELS))
    # a tick's share of the side bounds its text
    font = float(np.clip(72 * side / len(shown) * 0.62, 4.0, 10.0))
    names = [labels[k] for k in shown.tolist()]
    axes.set_xticks(shown, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=font)
    axes.set_yticks(shown, names, fontsize=font)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if size <= LABELS_WITH_NUMBERS:
        for i, j in np.argwhere(percent >= 0.5):
            colour = "white" if percent[i, j] > 55 else "black"
            axes.text(j, i, f"{percent[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=font * 0.85)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.7)
    correct = np.trace(matrix) / max(matrix.sum(), 1e-12)
    axes.set_title(f"accuracy {100 * correct:.1f} %, {matrix.sum():.0f} samples")
    return save_figure(figure, path)


def plot_rank_frequency(counts: np.ndarray, path: str | os.PathLike) -> Path:
    """Draws how often each action token is used against its rank, next to Zipf-Mandelbrot's law 1 / (rank + 2.7).

    Args:
        counts: (codes,) uses of each token; the title has the number of tokens that never occur.
        path: of the .png, .pdf or .svg to write.

    Raises:
        ValueError: not one-dimensional, negative, or all zero; a wrong suffix.
    """
    path = writable(path, (".png", ".pdf", ".svg"))
    counts = np.asarray(counts, dtype=float)
    if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"expected counts (codes,), not negative and not all zero, got shape {counts.shape}")
    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    draw_rank_frequency(figure.add_subplot(), counts)
    return save_figure(figure, path)


def draw_rank_frequency(axes: Axes, counts: np.ndarray) -> None:
    """The curve of `plot_rank_frequency` and the law, on double logarithmic axes."""
    ranks = np.arange(1, len(counts) + 1)
    law = 1 / (ranks + 2.7)
    frequency = np.sort(counts / counts.sum())[::-1]
    used = frequency > 0
    axes.loglog(ranks, law / law.sum(), color="0.45", linestyle="--", label="Zipf-Mandelbrot, 1 / (r + 2.7)")
    axes.loglog(ranks[used], frequency[used], color="tab:blue", marker=".", label="action tokens")
    axes.set_xlabel("rank r")
    axes.set_ylabel("relative frequency")
    axes.set_title(f"{used.sum()} of {len(counts)} tokens used")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()


def plot_learning_curve(log_history: Sequence[dict], path: str | os.PathLike) -> Path:
    """Draws what a Trainer logged: losses in the upper panel, other evaluation metrics in the lower one.

    Args:
        log_history: `trainer.state.log_history`, dictionaries with "step" and "loss", "eval_loss", "eval_accuracy" ...
        path: of the .png, .pdf or .svg to write.

    Raises:
        ValueError: no loss and no evaluation metric was logged; a wrong suffix.
    """
    path = writable(path, (".png", ".pdf", ".svg"))
    curves: dict[str, list[tuple[float, float]]] = {}
    for entry in log_history:
        for name, value in entry.items():
            timing = name.endswith(("_runtime", "_per_second"))
            if "step" in entry and (name == "loss" or name.startswith("eval_")) and not timing and _is_number(value):
                curves.setdefault(name, []).append((entry["step"], value))
    if not curves:
        raise ValueError(
            "expected a Trainer's log_history with a 'step' and a 'loss' or 'eval_*' value, found none in "
            f"{len(log_history)} entries; train for at least logging_steps steps"
        )
    losses = {name: curve for name, curve in curves.items() if name.endswith("loss")}
    metrics = {name: curve for name, curve in curves.items() if name not in losses}
    parts = [(title, part) for title, part in (("loss", losses), ("metric", metrics)) if part]

    figure = Figure(figsize=(7.0, 3.2 * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, part) in zip(panels, parts, strict=True):
        for name, curve in part.items():
            steps, values = zip(*curve, strict=True)
            label = {"loss": "training loss", "eval_loss": "evaluation loss"}.get(name, name.removeprefix("eval_"))
            axes.plot(steps, values, marker="." if len(steps) < 60 else None, label=label)
        axes.set_ylabel(title)
        axes.grid(True, alpha=0.3)
        axes.legend()
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return save_figure(figure, path)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and np.isfinite(value)


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a figure whole or not at all, in the format that the path ends in."""
    FigureCanvasAgg(figure)  # no window, no global state, whatever backend the user has
    temporary = path.with_name(path.name + ".tmp")
    figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
    os.replace(temporary, path)
    return path
