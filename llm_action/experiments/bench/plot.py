"""The benchmark as one picture: what is reached, and how cost grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from llm_action.visualization.drawing import writable
from llm_action.visualization.figures import save_figure

Record = dict[str, Any]
_LONGEST_NAME = 60
_CUT = 20  # rounding errors may be thousands of times smaller than asked for


def plot_bench(report: Record, path: str | Path) -> Path:
    """Draws a report of `run_bench`: ratios of the scoring, cost curves, and each target with how far it is met.

    Args:
        report: as `run_bench` returns it or its JSON holds it; panels of sections that did not run are left out.
        path: of the .png, .pdf or .svg to write.

    Raises:
        ValueError: a report without ratios; a wrong suffix.
    """
    path = writable(path, (".png", ".pdf", ".svg"))
    sections = report["sections"]
    figures = [figure for section in sections.values() for figure in section["figures"]]
    ratios = [f for f in sections.get("scoring", {"figures": []})["figures"] if f["unit"] == "x"]
    targets = [figure for figure in figures if "target" in figure and figure["median"] > 0]
    panels: list[tuple[Any, Any, float]] = []
    if ratios:
        panels.append((_draw_ratios, ratios, 0.32 * len(ratios) + 1.2))
    if targets:
        panels.append((_draw_targets, targets, 0.32 * len(targets) + 1.2))
    for name, x_label in (("labels", "labels"), ("prompt-length", "tokens of the prompt")):
        curves = [figure for figure in sections.get(name, {"figures": []})["figures"] if "curve" in figure]
        if curves:
            panels.append((lambda axes, given, x_label=x_label: _draw_curves(axes, given, x_label), curves, 3.4))
    if not panels:
        raise ValueError("expected a report with ratios, targets or cost curves; run more sections of the benchmark")
    rows = -(-len(panels) // 2)
    heights = [max(height for *_, height in panels[2 * row : 2 * row + 2]) for row in range(rows)]
    picture = Picture(figsize=(16 if len(panels) > 1 else 8, sum(heights)), layout="constrained")
    grid = picture.subplots(rows, min(2, len(panels)), squeeze=False, height_ratios=heights).flatten()
    for axes, (draw, given, _) in zip(grid, panels, strict=False):
        draw(axes, given)
    for axes in grid[len(panels) :]:
        axes.remove()
    return save_figure(picture, path)


def _draw_ratios(axes: Axes, figures: list[Record]) -> None:
    """Bars of medians with whiskers to the extremes."""
    positions = range(len(figures))
    medians = [figure["median"] for figure in figures]
    below = [figure["median"] - figure["low"] for figure in figures]
    above = [figure["high"] - figure["median"] for figure in figures]
    axes.barh(positions, medians, xerr=[below, above], color="tab:blue", ecolor="0.3", capsize=2)
    texts = [f"{median:.3g}x" for median in medians]
    _name_rows(axes, figures, [figure["high"] for figure in figures], texts)
    axes.set_xlabel("time of a / time of b, median and extremes")


def _draw_targets(axes: Axes, figures: list[Record]) -> None:
    """How many times better than its target each figure is."""
    margins = [min(max(_margin(figure), 1 / _CUT), _CUT) for figure in figures]
    colours = ["tab:green" if figure["met"] else "tab:red" for figure in figures]
    axes.barh(range(len(figures)), margins, color=colours)
    axes.set_xlim(1 / _CUT, _CUT)
    texts = [f"{figure['median']:.3g} {figure['unit']} (target {figure['target']})" for figure in figures]
    _name_rows(axes, figures, margins, texts)
    axes.set_xlabel(f"times better than the target (left of 1: missed; cut at {_CUT})")


def _draw_curves(axes: Axes, figures: list[Record], x_label: str) -> None:
    for curve in dict.fromkeys(figure["curve"] for figure in figures):
        points = [figure for figure in figures if figure["curve"] == curve]
        x, medians = [point["x"] for point in points], [point["median"] for point in points]
        axes.plot(x, medians, marker="o", label=curve)
        axes.fill_between(x, [point["low"] for point in points], [point["high"] for point in points], alpha=0.2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({figure["x"] for figure in figures})
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.LogFormatter(minor_thresholds=(2, 0.5)))
    axes.set_xlabel(x_label)
    axes.set_ylabel("time / time of the prompt alone")
    axes.grid(True, alpha=0.3)
    axes.legend()


def _name_rows(axes: Axes, figures: list[Record], ends: list[float], texts: list[str]) -> None:
    """Names the bars, which end at `ends`, on the left and writes `texts` behind them."""
    names = [figure["name"] for figure in figures]
    shown = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in names]
    axes.set_yticks(range(len(figures)), shown, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="0.3", linewidth=1)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.75)  # room for the texts
    for row, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axes.text(max(end, 1) * (high / low) ** 0.015, row, text, va="center", fontsize=8)


def _margin(figure: Record) -> float:
    relation, limit = figure["target"].split()
    return figure["median"] / float(limit) if relation == ">=" else float(limit) / figure["median"]
