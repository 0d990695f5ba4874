"""Pictures, films and pages: of recordings, of what a model does with them, and of a training."""

from .animation import animate_skeletons
from .curves import plot_run
from .explanation_page import write_explanations
from .explanation_picture import plot_explanation
from .figures import plot_confusion, plot_learning_curve, plot_rank_frequency
from .mistakes import Mistake, plot_mistakes
from .rendering import Rendered, render
from .training_page import TrainingReport, write_training_report
from .vocabulary_page import VocabularyEntry, write_vocabulary

__all__ = [
    "Mistake",
    "Rendered",
    "TrainingReport",
    "VocabularyEntry",
    "animate_skeletons",
    "plot_confusion",
    "plot_explanation",
    "plot_learning_curve",
    "plot_mistakes",
    "plot_rank_frequency",
    "plot_run",
    "render",
    "write_explanations",
    "write_training_report",
    "write_vocabulary",
]
