"""An explanation as one picture, for a slide or a paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .drawing import PERSON_COLOURS, joint_colour, project, writable
from .explanation_page import LABEL_COLOURS, OTHERS, headline, label_colours, unit_weights
from .figures import save_figure
from .svg import heat

if TYPE_CHECKING:
    from llm_action.modeling.explanation import Explanation

_POSES = 8


def plot_explanation(explanation: Explanation, path: str | os.PathLike) -> Path:
    """Draws poses with the joints that count, the posterior over time and the ranking.

    Args:
        path: of the .png, .pdf or .svg to write.

    Raises:
        ValueError: a wrong suffix.
    """
    path = writable(path, (".png", ".pdf", ".svg"))
    figure = Figure(figsize=(12.0, 6.4), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.15, 1))
    top, bottom = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    _draw_poses(top, explanation)
    curves, ranking = bottom.subplots(1, 2, width_ratios=(2.2, 1))
    _draw_posterior(curves, explanation)
    _draw_ranking(ranking, explanation)
    figure.suptitle(f"{explanation.name}: {headline(explanation)}", fontsize=15)
    return save_figure(figure, path)


def _draw_poses(figure, explanation: Explanation) -> None:
    points = project(SkeletonSequence(explanation.skeletons + 1e-6, explanation.layout))
    layout, count = get_layout(explanation.layout), points.shape[1]
    colours = [joint_colour(joint) for joint in layout.joints]
    frames, joints = unit_weights(explanation.attribution.frames), unit_weights(explanation.attribution.joints)
    low, high = points.reshape(-1, 2).min(0), points.reshape(-1, 2).max(0)
    shown = ((np.arange(_POSES) + 0.5) / _POSES * count).astype(int)
    for axes, frame in zip(figure.subplots(1, _POSES), shown.tolist(), strict=True):
        weight = float(frames[max(0, frame - 2) : frame + 3].max())
        for person, pose in enumerate(points[:, frame]):
            palette = PERSON_COLOURS[person % len(PERSON_COLOURS)]
            for joint, parent in layout.bones:
                rgb = np.array(palette[colours[joint]]) / 255
                axes.plot(*pose[[joint, parent]].T, color=rgb, lw=2, solid_capstyle="round", zorder=1)
            for head in (joint for joint, name in enumerate(layout.standard) if name == "head"):
                axes.scatter(*pose[head], s=90, color=np.array(palette[0]) / 255, zorder=1)
            strength = joints[person] * (0.25 + 0.75 * weight)
            marked = strength > 0.1
            axes.scatter(
                *pose[marked].T, s=12 + 110 * strength[marked], c=[heat(one) for one in strength[marked]], zorder=2
            )
        axes.set(xlim=(low[0] - 0.2, high[0] + 0.2), ylim=(low[1] - 0.2, high[1] + 0.2), aspect="equal")
        axes.set(xticks=[], yticks=[])
        for side, spine in axes.spines.items():
            spine.set(visible=side == "bottom", color=heat(weight), linewidth=6)
        at = frame / count
        axes.set_xlabel(f"{at * explanation.seconds:.1f} s" if explanation.seconds else f"{at:.0%}")


def _draw_posterior(axes: Axes, explanation: Explanation) -> None:
    length = explanation.seconds or 1.0
    ends = np.array(explanation.prefixes.ends) * length
    for label, paint in label_colours(explanation).items():
        column = explanation.labels.index(label)
        axes.plot(ends, [row[column] for row in explanation.prefixes.shares], color=paint, label=label, lw=2)
    frames = unit_weights(explanation.attribution.frames)
    width = length / len(frames)
    left = np.arange(len(frames)) * width
    axes.bar(left, 0.05, width, bottom=-0.09, align="edge", color=[heat(one) for one in frames])
    axes.set(xlim=(0, length), ylim=(-0.1, 1.03), yticks=(0, 0.5, 1), ylabel="posterior of what was seen so far")
    axes.set_xlabel("seconds" if explanation.seconds else "share of the recording")
    axes.grid(True, axis="y", alpha=0.3)
    axes.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(LABEL_COLOURS), frameon=False)
    axes.text(1.01, -0.065, "frames\nthat count", transform=axes.get_yaxis_transform(), fontsize=8, va="center")


def _draw_ranking(axes: Axes, explanation: Explanation) -> None:
    best = explanation.ranking[: len(LABEL_COLOURS) + 1][::-1]
    known = label_colours(explanation)
    names = [str(one["label"]) for one in best]
    bars = axes.barh(names, [one["score"] for one in best], color=[known.get(name, OTHERS) for name in names])
    axes.bar_label(bars, labels=[f"{100 * one['score']:.1f} %" for one in best], padding=4, fontsize=9)
    axes.set(xlim=(0, 1.25), xticks=[])
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
