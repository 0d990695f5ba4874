"""A picture of what the three language biases did to the action tokens: frequencies, context, embeddings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .drawing import writable
from .figures import draw_rank_frequency, save_figure

_BARS = (
    ("bits a token", {"bits": "marginal", "bits_given_context": "given context"}),
    ("MMD to the base's words", {"mmd_before": "untrained", "mmd": "trained"}),
)


def plot_tokens(figures: Mapping[str, Any], path: str | os.PathLike) -> Path:
    """Draws rank-frequency against Zipf-Mandelbrot's law, bits of a token alone and in context, and MMD to words.

    Args:
        figures: of `llm_action.evaluation.token_metrics`; `rank_counts` has to be there, bars may be missing.
        path: of the .png, .pdf or .svg to write.

    Raises:
        ValueError: no `rank_counts`, as of continuous features; a wrong suffix.
    """
    path = writable(path, (".png", ".pdf", ".svg"))
    if "rank_counts" not in figures:
        raise ValueError("expected figures of tokens with rank_counts, got none: continuous features have no tokens")
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    curve, *panels = figure.subplots(1, 3, width_ratios=(3, 1, 1))
    draw_rank_frequency(curve, np.asarray(figures["rank_counts"], float))
    for axes, (title, names) in zip(panels, _BARS, strict=True):
        shown = {label: figures[name] for name, label in names.items() if name in figures}
        bars = axes.bar(list(shown), list(shown.values()), color=["0.6", "tab:blue"][-len(shown) :], width=0.6)
        axes.bar_label(bars, fmt="%.3g")
        axes.set_title(title, fontsize=10)
    return save_figure(figure, path)
