"""The learning curves of a run: every loss term of both stages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .drawing import writable
from .figures import save_figure

# where each stage keeps what its Trainer logged
_HISTORIES = {
    "stage 1, the action tokenizer": Path("processor", "metrics.json"),
    "stage 2, the language model": Path("recognizer", "history.json"),
}
_NO_LOSSES = {"perplexity", "step", "epoch", "learning_rate", "grad_norm", "total_flos"}


def plot_run(run: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Draws the loss and its terms over the steps, a panel a stage, on logarithmic axes.

    Args:
        run: folder of a training; a stage that is not finished is left out.
        path: of the .png, .pdf or .svg to write.

    Raises:
        FileNotFoundError: neither stage has finished.
        ValueError: a wrong suffix.
    """
    path = writable(path, (".png", ".pdf", ".svg"))
    histories = {title: _history(Path(run) / file) for title, file in _HISTORIES.items()}
    finished = {title: history for title, history in histories.items() if history}
    if not finished:
        raise FileNotFoundError(f"{run}: expected the run folder of a training that has finished a stage")
    figure = Figure(figsize=(7.0, 3.6 * len(finished)), layout="constrained")
    panels = figure.subplots(len(finished), 1, squeeze=False)[:, 0]
    for axes, (title, history) in zip(panels, finished.items(), strict=True):
        for name, curve in _curves(history).items():
            main = name == "loss"
            axes.plot(*zip(*curve, strict=True), label=name, color="black" if main else None, lw=2 if main else 1)
        axes.set(title=title, xlabel="step", ylabel="loss", yscale="log")
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=8)
    return save_figure(figure, path)


def _history(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["loss"] if isinstance(content, dict) else content


def _curves(history: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for entry in history:
        for name, value in entry.items():
            if name not in _NO_LOSSES and not name.startswith(("train_", "tokens/")) and value > 0:
                curves.setdefault(name, []).append((entry["step"], value))
    return curves
