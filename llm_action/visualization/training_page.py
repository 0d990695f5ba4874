"""The page of a training: curves, tokens, confusion, the mistakes as pictures, where the time went."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.config.progress import duration

from .curves import plot_run
from .figures import plot_confusion, plot_rank_frequency
from .mistakes import Mistake, plot_mistakes
from .pages import bars, card, percent, picture, table, write_page
from .token_figures import plot_tokens

_FIGURES = {
    "sequences": "training sequences",
    "sentences": "action sentences",
    "tokens_per_sentence": "tokens a sentence",
    "used": "tokens used",
    "vocabulary": "tokens there are",
    "perplexity": "tokens that a step chooses among, on average (perplexity)",
    "zipf_divergence": "distance to how frequent words are (Zipf's law), bits",
}
_WORST = 10  # classes


@dataclass(frozen=True)
class TrainingReport:
    """What the page tells; what a run has not measured is left out.

    Attributes:
        name: of the run.
        dataset, protocol: what was trained on.
        run: its folder, with the histories of both stages.
        seconds: of each part of the training, by what it did.
        sentences: statistics of the training sentences, see `llm_action.training.sentences`.
        tokens: figures of the tokenizer, see `plot_tokens`.
        metrics: of the evaluation, see `llm_action.evaluation.metrics`; none without.
        tested: which sequences were evaluated, in words.
        mistakes: examples of the classes most confused.
    """

    name: str
    dataset: str
    protocol: str
    run: Path
    seconds: Mapping[str, float]
    sentences: Mapping[str, Any] = field(default_factory=dict)
    tokens: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    tested: str = ""
    mistakes: Sequence[Mistake] = ()


def write_training_report(report: TrainingReport, path: str | os.PathLike) -> Path:
    """Writes the page.

    Args:
        path: of the .html to write.

    Raises:
        ValueError: a wrong suffix.
    """
    parts = [_head(report), _result(report), _mistakes(report), _curves(report), _tokens(report), _time(report)]
    return write_page(f"Training {report.name}", [part for part in parts if part], path)


def _head(report: TrainingReport) -> str:
    result = f"<h1>Training of {escape(report.name)}</h1>"
    if report.metrics:
        result = f"<h1>{percent(report.metrics['top1'])} right</h1>"
    return (
        f'<header><p class="soft">{escape(report.name)} · {escape(report.dataset)} · {escape(report.protocol)}</p>'
        f"{result}<p>{escape(report.tested)}</p></header>"
    )


def _result(report: TrainingReport) -> str:
    if not report.metrics:
        return ""
    metrics = report.metrics
    shares = {
        "top-1 accuracy": metrics["top1"],
        "top-5 accuracy": metrics["top5"],
        "mean class accuracy": metrics["mean_class_accuracy"],
    }
    found = {name: share for name, share in metrics["per_class"].items() if share is not None and share < 1}
    worst = dict(sorted(found.items(), key=lambda one: one[1])[:_WORST])
    matrix = np.array(metrics["confusion"])
    text = "Confusion matrix: rows are the true classes, columns the predicted ones, in percent of the true class"
    drawn = _drawn(lambda file: plot_confusion(matrix, metrics["labels"], file), text, "large")
    confused = [
        (pair["true"], pair["predicted"], pair["count"], f"{pair['rate']:.0%}") for pair in metrics["most_confused"]
    ]
    pairs = table(("class", "taken for", "times", "of the class"), confused, (2, 3)) if confused else "<p>Nothing.</p>"
    return (
        card("Accuracy", bars(shares))
        + (card("The classes least often right", bars(worst)) if worst else "")
        + card("What is confused", pairs, drawn)
    )


def _mistakes(report: TrainingReport) -> str:
    if not report.mistakes:
        return ""
    text = "; ".join(f"{one.true} taken for {one.predicted}" for one in report.mistakes)
    drawn = _drawn(lambda file: plot_mistakes(report.mistakes, file), text, "large")
    said = "Left, a sequence taken for something else; right, a typical training sequence of what it was taken for."
    return card("The mistakes", drawn, about=said)


def _curves(report: TrainingReport) -> str:
    text = "Losses of both stages over the training steps"
    try:
        return card("How it learned", _drawn(lambda file: plot_run(report.run, file), text))
    except FileNotFoundError:  # no stage has a history
        return ""


def _tokens(report: TrainingReport) -> str:
    if not report.sentences:
        return ""
    rows = [(said, report.sentences[name]) for name, said in _FIGURES.items() if name in report.sentences]
    most = {one["token"]: one["share"] for one in report.sentences.get("most_frequent", ())}
    text = "How often tokens are used by their rank, beside Zipf-Mandelbrot's law"
    drawn = ""
    if "rank_counts" in report.tokens:
        drawn = _drawn(lambda file: plot_tokens(report.tokens, file), text)
    elif "counts" in report.sentences:
        drawn = _drawn(lambda file: plot_rank_frequency(np.array(report.sentences["counts"]), file), text)
    numbers = table(("what", "number"), rows, (1,))
    return card("The action sentences", numbers, "<h3>Most frequent</h3>", bars(most), drawn)


def _time(report: TrainingReport) -> str:
    total = sum(report.seconds.values())
    rows = [(what, duration(seconds), f"{seconds / max(total, 1e-9):.0%}") for what, seconds in report.seconds.items()]
    return card(
        "Where the time went", table(("part", "time", "share"), [*rows, ("together", duration(total), "")], (2,))
    )


def _drawn(draw: Callable[[Path], Any], text: str, css: str = "") -> str:
    """A picture that a function writes, inside the page; its class is "large" if it moves aside on a narrow screen."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        draw(file)
        return picture(file, text, css)
