"""What a model folder keeps of its training and evaluation, so that its card can be written anywhere, at any time.

`training/` holds the experiment, `record.json` and plots; `.eval_results/` one YAML a protocol, as the Hub reads it.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from llm_action.config.atomic_files import write_json, write_text
from llm_action.config.reading import read_json
from llm_action.version import __version__
from llm_action.visualization.figures import plot_confusion, plot_learning_curve, plot_rank_frequency

FOLDER = "training"
RESULTS_FOLDER = ".eval_results"
METRICS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class_accuracy": "mean class accuracy"}
_RECORD = f"{FOLDER}/record.json"
_LIBRARIES = ("transformers", "peft", "torch", "huggingface_hub")


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a model folder; an empty one if there is none."""
    file = Path(folder) / _RECORD
    return read_json(file) if file.is_file() else {}


def update_record(folder: str | os.PathLike[str], **entries: Any) -> None:
    """Replaces entries of a model folder's record."""
    write_json({**read_record(folder), **entries}, Path(folder) / _RECORD)


def record_training(folder: str | os.PathLike[str], run: str | os.PathLike[str]) -> None:
    """Copies what a card tells of a training from its run folder: recipe, curves, sentence statistics, versions.

    What the run has not written yet is left out. Paths of this machine are not copied.
    """
    folder, run = Path(folder), Path(run)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    entries: dict[str, Any] = {"versions": {"llm-action": __version__, **{name: version(name) for name in _LIBRARIES}}}
    if (run / "experiment.yaml").is_file():
        experiment = yaml.safe_load((run / "experiment.yaml").read_text(encoding="utf-8"))
        entries["dataset"] = _public_name(experiment["dataset"])
        entries["extra_datasets"] = [_public_name(one["dataset"]) for one in experiment.get("extra_datasets") or ()]
        experiment = _without_paths(experiment)
        write_text(yaml.safe_dump(experiment, sort_keys=False), folder / FOLDER / "experiment.yaml")
    if (run / "processor" / "metrics.json").is_file():
        metrics = read_json(run / "processor" / "metrics.json")
        entries["tokenizer"] = {name: value for name, value in metrics.items() if name != "loss"}
    if not (folder / "config.json").is_file():  # an action tokenizer's folder: stage 2 is another model's
        update_record(folder, **entries)
        return
    if (run / "sentences" / "statistics.json").is_file():
        statistics = read_json(run / "sentences" / "statistics.json")
        plot_rank_frequency(np.array(statistics.pop("counts")), folder / FOLDER / "rank_frequency.png")
        entries["sentences"] = statistics
    if (run / "recognizer" / "history.json").is_file():
        history = read_json(run / "recognizer" / "history.json")
        if any("loss" in entry for entry in history):
            plot_learning_curve(history, folder / FOLDER / "learning_curve.png")
    update_record(folder, **entries)


def _without_paths(value: Any) -> Any:
    """Settings or figures with every path of this machine cut to its last part, wherever it stands."""
    if isinstance(value, dict):
        return {name: _without_paths(part) for name, part in value.items() if name != "data"}
    if isinstance(value, list):
        return [_without_paths(part) for part in value]
    return _public_name(value) if isinstance(value, str) and _is_path(value) else value


def _is_path(text: str) -> bool:
    """Whether a text is a path rather than a name: absolute, of the home folder, of Windows, or of something here."""
    absolute = text.startswith(("/", "~", "./", "../")) or re.match(r"[A-Za-z]:[\\/]", text) is not None
    return absolute or ("/" in text and Path(text).exists())


def _public_name(name: str) -> str:
    """A data set's or model's name; of a path of this machine the last part alone."""
    name = re.sub(r"@[0-9a-f]{40}$", "", name)  # the commit of a data set on the Hub
    is_name = re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name) is not None and not Path(name).exists()
    return name if is_name else Path(name).resolve().name


def record_evaluation(folder: str | os.PathLike[str], metrics: dict[str, Any]) -> None:
    """Keeps the result of `llm-action evaluate --json` in a model folder, also as the YAML the Hub reads.

    Args:
        metrics: with the keys dataset, protocol, n, labels, top1, top5 and mean_class_accuracy; with `confusion` a
            picture is drawn.

    Raises:
        ValueError: a key is missing.
    """
    folder = Path(folder)
    missing = [key for key in ("dataset", "protocol", "n", "labels", *METRICS) if key not in metrics]
    if missing:
        raise ValueError(f"Expected the JSON that llm-action evaluate writes, {', '.join(missing)} is missing.")
    dataset, protocol = _public_name(metrics["dataset"]), metrics["protocol"]
    key = re.sub(r"[^\w-]+", "-", f"{dataset}_{protocol}")
    date = metrics.get("date") or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    kept = {"dataset": dataset, "protocol": protocol, **{name: metrics[name] for name in ("n", *METRICS)}}
    kept |= {"classes": len(metrics["labels"]), "date": date}
    update_record(folder, evaluations={**read_record(folder).get("evaluations", {}), key: kept})
    notes = f"{metrics['n']} test sequences, exact scores of {len(metrics['labels'])} class names"
    entries = [
        EvalResultEntry(
            dataset,
            f"{protocol}_{name}",
            round(100 * metrics[name], 2),
            date=date,
            notes=f"{title} in percent; {notes}",
        )
        for name, title in METRICS.items()
    ]
    results = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
    write_text(results, folder / RESULTS_FOLDER / f"{key}.yaml")
    if "confusion" in metrics:
        plot_confusion(np.array(metrics["confusion"]), metrics["labels"], folder / FOLDER / f"confusion_{key}.png")
