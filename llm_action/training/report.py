"""What a training writes for people at its end: `report.html` in its run folder."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import pipeline

from llm_action.config.experiment import Experiment
from llm_action.datasets.split import Split, load_split
from llm_action.evaluation.evaluate import evaluate, recognizer_scorer
from llm_action.evaluation.ledger import Origin, config_hash, recognizer_fingerprint
from llm_action.evaluation.mistakes import find_mistakes
from llm_action.modeling.hub_repository import TASK
from llm_action.visualization.training_page import TrainingReport, write_training_report

REPORT_FILE = "report.html"
_TESTED = 200  # sequences, evenly spread over what was left out
_NOT_TESTED = "Nothing was left out of the training to measure on; llm-action evaluate measures on the test part."
_PARTS = {
    "train_vqvae": ("stage 1, the action tokenizer", "processor/metrics.json"),
    "train_recognizer": ("stage 2, the language model", "recognizer/history.json"),
}


def write_report(experiment: Experiment, data_dir: str | None, run: Path, seconds: dict[str, float]) -> Path:
    """Writes the page of a finished run.

    Of a training that left subjects or cameras out it says how the model does on some of these. The test part is not
    for looking at after every training; `llm-action evaluate` measures on it.

    Args:
        seconds: of each stage.
    """
    started = time.perf_counter()
    split = load_split(experiment, data_dir)
    metrics, mistakes, tested = _held_out(experiment, split, run) if split.held_out else ({}, [], _NOT_TESTED)
    report = TrainingReport(
        name=run.name,
        dataset=split.dataset,
        protocol=split.protocol,
        run=run,
        seconds={**_parts(run, seconds), "this report": time.perf_counter() - started},
        sentences=_read(run / "sentences" / "statistics.json"),
        tokens={name: value for name, value in _read(run / "processor" / "metrics.json").items() if name != "loss"},
        metrics=metrics,
        tested=tested,
        mistakes=mistakes,
    )
    return write_training_report(report, run / REPORT_FILE)


def _held_out(experiment: Experiment, split: Split, run: Path) -> tuple[dict[str, Any], list[Any], str]:
    some = replace(split, test=_spread(split))
    recognize = pipeline(TASK, model=str(run / "model"))
    origin = Origin("train", config_hash(experiment), recognizer_fingerprint(recognize.model, recognize.processor))
    metrics = evaluate(recognizer_scorer(recognize, some.labels), some, origin)
    mistakes = find_mistakes(metrics, some.train, some.test, recognize.processor.feature_extractor)
    of = f", of {len(split.test)}" if len(some.test) < len(split.test) else ""
    return metrics, mistakes, f"Measured on {len(some.test)} held-out training sequences{of}."


def _spread(split: Split) -> Any:
    count = len(split.test)
    return split.test.select(np.unique(np.linspace(0, count - 1, min(count, _TESTED)).astype(int)))


def _parts(run: Path, seconds: dict[str, float]) -> dict[str, float]:
    """What took how long: of each stage the steps, and all around them."""
    found = {}
    for name, (title, file) in _PARTS.items():
        history = _read(run / file)
        history = history.get("loss", []) if isinstance(history, dict) else history
        steps = sum(entry["train_runtime"] for entry in history if "train_runtime" in entry)
        if 0 < steps <= seconds.get(name, 0):
            found[f"{title}: steps"] = steps
            found[f"{title}: reading, writing and measuring"] = seconds[name] - steps
        elif name in seconds:
            found[title] = seconds[name]
    return found


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
