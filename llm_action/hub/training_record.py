"""What a model folder keeps of its training and evaluation, so that its card can be written anywhere, at any time.

`training/` holds the experiment, `record.json` and plots; `.eval_results/` one YAML a protocol, as the Hub reads it.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import load_from_disk
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from llm_action.training.rehearsal import trained_rehearsal, write_rehearsal
from llm_action.visualization.figures import plot_confusion, plot_learning_curve, plot_rank_frequency

FOLDER = "training"
RESULTS_FOLDER = ".eval_results"
METRICS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class_accuracy": "mean class accuracy"}
_RECORD = f"{FOLDER}/record.json"
_LIBRARIES = ("llm-action", "transformers", "peft", "torch", "huggingface_hub")
_SHOWN_TOKENS = 5


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a model folder; an empty one if there is none."""
    file = Path(folder) / _RECORD
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def update_record(folder: str | os.PathLike[str], **entries: Any) -> None:
    """Replaces entries of a model folder's record."""
    _write(Path(folder) / _RECORD, json.dumps({**read_record(folder), **entries}, indent=2))


def record_training(folder: str | os.PathLike[str], run: str | os.PathLike[str]) -> None:
    """Copies what a card tells of a training from its run folder: recipe, curves, sentence statistics, versions.

    What the run has not written yet is left out. Paths of this machine are not copied.
    """
    folder, run = Path(folder), Path(run)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    entries: dict[str, Any] = {"versions": {name: version(name) for name in _LIBRARIES}}
    if (run / "experiment.yaml").is_file():
        experiment = yaml.safe_load((run / "experiment.yaml").read_text(encoding="utf-8"))
        if experiment.get("base_model"):
            experiment["base_model"] = _public_name(experiment["base_model"])
        experiment["dataset"] = entries["dataset"] = _public_name(experiment["dataset"])
        for source in experiment.get("vqvae", {}).get("also", []):
            source["dataset"] = _public_name(source["dataset"])
            source.pop("data", None)
        recognizer = experiment.get("recognizer", {})
        if recognizer.get("descriptions"):
            recognizer["descriptions"] = _public_name(recognizer["descriptions"])
        _write(folder / FOLDER / "experiment.yaml", yaml.safe_dump(experiment, sort_keys=False))
    if (run / "processor" / "metrics.json").is_file():
        metrics = json.loads((run / "processor" / "metrics.json").read_text(encoding="utf-8"))
        entries["tokenizer"] = {name: value for name, value in metrics.items() if name != "loss"}
    if not (folder / "config.json").is_file():  # an action tokenizer's folder: stage 2 is another model's
        update_record(folder, **entries)
        return
    if (run / "sentences" / "made_from.json").is_file():
        entries["sentences"] = _sentence_statistics(run / "sentences", folder)
        write_rehearsal(folder, trained_rehearsal(run / "sentences", folder))
    if (run / "recognizer" / "history.json").is_file():
        history = json.loads((run / "recognizer" / "history.json").read_text(encoding="utf-8"))
        if any("loss" in entry for entry in history):
            plot_learning_curve(history, folder / FOLDER / "learning_curve.png")
    update_record(folder, **entries)


def _sentence_statistics(sentences: Path, folder: Path) -> dict[str, Any]:
    """How the training sentences use their tokens; draws their rank-frequency plot.

    zipf_divergence is the Jensen-Shannon divergence (bits) to the Zipf-Mandelbrot law 1 / (rank + 2.7) of the paper.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    first, size = config["base_vocab_size"], config["num_action_tokens"]
    table = load_from_disk(str(sentences))
    counts = np.zeros(size, np.int64)
    for batch in table.select_columns("input_ids").iter(1000):
        ids = np.concatenate([np.asarray(row) for row in batch["input_ids"]]) - first
        counts += np.bincount(ids[ids >= 0], minlength=size)
    plot_rank_frequency(counts, folder / FOLDER / "rank_frequency.png")
    shares = np.sort(counts / counts.sum())[::-1]
    law = 1 / (np.arange(1, size + 1) + 2.7)
    law /= law.sum()
    entropy = _entropy(shares)
    middle = _entropy((shares + law) / 2)
    levels = json.loads((folder / "vqvae" / "config.json").read_text(encoding="utf-8"))["codebook_size"]
    most = np.argsort(-counts, kind="stable")[: min(_SHOWN_TOKENS, int((counts > 0).sum()))]
    return {
        "sequences": json.loads((sentences / "made_from.json").read_text(encoding="utf-8"))["rows"],
        "sentences": len(table),
        "tokens": int(counts.sum()),
        "tokens_per_sentence": round(float(counts.sum() / len(table)), 1),
        "vocabulary": size,
        "used": int((counts > 0).sum()),
        "entropy_bits": round(entropy, 3),
        "perplexity": round(2**entropy, 1),
        "zipf_divergence": round(middle - (entropy + _entropy(law)) / 2, 4),
        "most_frequent": [
            {
                "token": f"<{chr(ord('a') + token // levels)}{token % levels}>",
                "share": round(float(counts[token] / counts.sum()), 4),
            }
            for token in most.tolist()
        ],
    }


def _public_name(name: str) -> str:
    """A data set's or model's name; of a path of this machine the last part alone."""
    is_name = re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name) is not None and not Path(name).exists()
    return name if is_name else Path(name).resolve().name


def _entropy(shares: np.ndarray) -> float:
    used = shares[shares > 0]
    return float(-(used * np.log2(used)).sum())


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
    _write(folder / RESULTS_FOLDER / f"{key}.yaml", results)
    if "confusion" in metrics:
        plot_confusion(np.array(metrics["confusion"]), metrics["labels"], folder / FOLDER / f"confusion_{key}.png")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
