"""Pictures: animated skeletons, confusion matrices, token statistics and learning curves."""

from .animation import animate_skeletons
from .figures import plot_confusion, plot_learning_curve, plot_montage, plot_rank_frequency

__all__ = ["animate_skeletons", "plot_confusion", "plot_learning_curve", "plot_montage", "plot_rank_frequency"]
