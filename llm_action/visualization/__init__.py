"""Pictures: animated skeletons, confusion matrices, mistakes, token statistics and learning curves."""

from .animation import animate_skeletons
from .curves import plot_run
from .figures import plot_confusion, plot_learning_curve, plot_montage, plot_rank_frequency
from .mistakes import Mistake, plot_mistakes

__all__ = [
    "Mistake",
    "animate_skeletons",
    "plot_confusion",
    "plot_learning_curve",
    "plot_mistakes",
    "plot_montage",
    "plot_rank_frequency",
    "plot_run",
]
