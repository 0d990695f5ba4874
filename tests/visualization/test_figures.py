"""Figures: written where asked, not blank, and errors that say what is wrong."""

import numpy as np
import pytest
from PIL import Image

from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.visualization import plot_confusion, plot_learning_curve, plot_rank_frequency


def picture(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def standing(frames):
    rng = np.random.default_rng(0)
    return SkeletonSequence(rng.normal(size=(1, 1, 25, 3)) + np.linspace(0, 1, frames)[None, :, None, None], "ntu25")


@pytest.mark.parametrize("size", [1, 2, 20, 27, 60, 120])
def test_confusion_of_any_size_stays_a_sane_picture(tmp_path, size):
    labels = [f"putting on a hat number {k}" for k in range(size)]
    path = plot_confusion(np.eye(size) * 3, labels, tmp_path / "new" / "confusion.png")
    pixels = picture(path)
    assert min(pixels.shape[:2]) > 600 and max(pixels.shape[:2]) < 3600
    assert len(np.unique(pixels[..., 0])) > 20
    assert [file.name for file in path.parent.iterdir()] == ["confusion.png"]


def test_confusion_colours_are_shares_of_the_true_class(tmp_path):
    """A rare class that is always right is as dark as a frequent one; an empty class is white and no error."""
    rare = picture(plot_confusion(np.diag([1, 1000, 0]), ["a", "b", "c"], tmp_path / "rare.png"))
    even = picture(plot_confusion(np.diag([500, 500, 0]), ["a", "b", "c"], tmp_path / "even.png"))
    darkest = [((image - [8, 48, 107]) ** 2).sum(-1) < 30 for image in (rare, even)]
    assert darkest[0].sum() == pytest.approx(darkest[1].sum(), rel=0.02)


@pytest.mark.parametrize(
    ("matrix", "labels"),
    [
        (np.eye(3), ["a", "b"]),
        (np.ones((2, 3)), ["a", "b"]),
        (np.zeros((0, 0)), []),
        (-np.eye(2), ["a", "b"]),
        (np.full((2, 2), np.nan), ["a", "b"]),
    ],
)
def test_confusion_refuses_what_is_no_confusion_matrix(tmp_path, matrix, labels):
    with pytest.raises(ValueError, match="confusion matrix"):
        plot_confusion(matrix, labels, tmp_path / "a.png")


def test_rank_frequency(tmp_path):
    counts = np.r_[np.round(1e4 / (np.arange(100) + 3.7)), np.zeros(28)]
    path = plot_rank_frequency(np.random.default_rng(0).permutation(counts), tmp_path / "zipf.png")
    # order does not matter, ranks do
    assert (picture(path) == picture(plot_rank_frequency(counts, tmp_path / "sorted.png"))).all()
    assert (picture(path).sum(-1) < 600).sum() > 1000


@pytest.mark.parametrize("counts", [np.zeros(5), np.array([1, -1]), np.ones((2, 2)), np.array([]), np.array([np.nan])])
def test_rank_frequency_refuses_what_are_no_counts(tmp_path, counts):
    with pytest.raises(ValueError, match="counts"):
        plot_rank_frequency(counts, tmp_path / "zipf.png")


def test_learning_curve_adds_a_panel_for_metrics(tmp_path):
    losses = [{"loss": 3 / step, "step": step, "learning_rate": 1e-4, "epoch": 0.1} for step in range(1, 10)]
    metrics = [{"eval_loss": 0.5, "eval_accuracy": 0.7, "eval_runtime": 3.0, "step": 9}]
    summary = [{"train_runtime": 12.0, "train_loss": 0.4, "step": 9}]
    one = picture(plot_learning_curve(losses + summary, tmp_path / "one.png"))
    two = picture(plot_learning_curve(losses + metrics + summary, tmp_path / "two.png"))
    assert two.shape[0] == 2 * one.shape[0]
    assert (one.sum(-1) < 600).sum() > 500


@pytest.mark.parametrize("history", [[], [{"step": 1, "learning_rate": 1.0}], [{"loss": float("nan"), "step": 1}]])
def test_learning_curve_of_nothing_is_an_error(tmp_path, history):
    with pytest.raises(ValueError, match="log_history"):
        plot_learning_curve(history, tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".pdf", ".svg"])
def test_figures_can_be_vector_graphics(tmp_path, suffix):
    assert plot_rank_frequency(np.arange(1, 9), tmp_path / f"a{suffix}").stat().st_size > 1000


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt.*\.png"):
        plot_confusion(np.eye(2), ["a", "b"], tmp_path / "a.txt")
