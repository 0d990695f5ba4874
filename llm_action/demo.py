"""The main job on an embedded default: synthetic skeletons, both stages, evaluation, export, a new process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import pipeline

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import load_experiment, save_experiment
from llm_action.datasets import row_to_sequence
from llm_action.datasets.split import load_split
from llm_action.evaluation.evaluate import evaluate, recognizer_scorer
from llm_action.evaluation.ledger import Origin, config_hash, recognizer_fingerprint
from llm_action.hub.base_models import DEFAULT_BASE_MODEL, resolve_base_model, tiny_llama
from llm_action.hub.model_folder import add_result
from llm_action.modeling.base_model import BASE_MODEL_VARIABLE
from llm_action.modeling.hub_repository import TASK
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import write_npz
from llm_action.training.train import train
from llm_action.visualization.animation import animate_skeletons
from llm_action.visualization.figures import plot_confusion

_SHOWN = 6  # sequences that the new process names
_DRAWN = 3  # sequences in the reconstruction animation


def run_demo(out: Path, resume: bool = True) -> dict:
    """Runs everything; leaves metrics.json, confusion.png, reconstruction.gif, sequences/ and model/ in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    experiment = load_experiment("synthetic")
    with _timed(seconds, "base_model", "fetching the base model"):
        experiment.base_model, pretrained = _base_or_tiny(out)
    record = out / "experiment.yaml"
    resume = resume and record.is_file() and load_experiment(record) == experiment  # else of another base or release
    save_experiment(experiment, record)
    with _timed(seconds, "data", "making skeletons"):
        split = load_split(experiment, None)
    print("training both stages", flush=True)
    seconds |= train(experiment, None, out, resume)
    with _timed(seconds, "evaluate", "naming sequences of unseen subjects"):
        recognize = pipeline(TASK, model=str(out / "model"))
        fingerprint = recognizer_fingerprint(recognize.model, recognize.processor)
        origin = Origin("demo", config_hash(experiment), fingerprint)
        metrics = evaluate(recognizer_scorer(recognize, split.labels), split, origin)
        add_result(out / "model", {"dataset": experiment.dataset, "protocol": split.protocol, **metrics})
    with _timed(seconds, "pictures", "drawing"):
        plot_confusion(np.array(metrics["confusion"]), metrics["labels"], out / "confusion.png")
        shown = split.test.select(np.linspace(0, len(split.test) - 1, _SHOWN).astype(int))
        _animate_reconstructions(recognize.processor, shown, out / "reconstruction.gif")
    with _timed(seconds, "new_process", "a new process loads the export"):
        _name_in_new_process(shown, out)
    metrics |= {"base_model": experiment.base_model, "pretrained": pretrained, "seconds": seconds}
    write_json(metrics, out / "metrics.json")
    print(
        f"\ntop-1 {metrics['top1']:.1%}, top-5 {metrics['top5']:.1%} on {metrics['n']} sequences of unseen subjects, "
        f"{sum(seconds.values()):.0f} s\nin {out}: metrics.json, confusion.png, reconstruction.gif, model/ (the export)"
    )
    return metrics


def _base_or_tiny(out: Path) -> tuple[str, bool]:
    try:
        resolve_base_model()  # the export names it as others find it, not by its folder here
        return os.environ.get(BASE_MODEL_VARIABLE) or DEFAULT_BASE_MODEL, True
    except OSError as error:
        print(
            f"{error}\nNo pre-trained base model: going on with a tiny random LLaMA, whose accuracy says little.",
            flush=True,
        )
        return str(tiny_llama(out / "tiny_base")), False


def _animate_reconstructions(processor: LlmArProcessor, table: Dataset, path: Path) -> None:
    """Draws the normalised skeletons on the left and what their tokens decode to on the right."""
    rows, titles = [], []
    for row in table.select(range(_DRAWN)):
        sequence = row_to_sequence(row)
        seen = processor.feature_extractor([sequence])
        persons = seen["skeletons"][0][seen["person_mask"][0]]
        original = SkeletonSequence(persons, processor.vqvae.config.layout, sequence.fps)
        rows.append([original, processor.decode(processor.encode(sequence))])
        action = table.features["label"].int2str(row["label"])
        titles.append([action, "from its tokens"])
    animate_skeletons(rows, path, titles)


def _name_in_new_process(table: Dataset, out: Path) -> None:
    files = []
    for row in table:
        action = table.features["label"].int2str(row["label"]).replace(" ", "_").replace("/", "_")
        files.append(out / "sequences" / f"{action}_{row['name']}.npz")
        files[-1].parent.mkdir(exist_ok=True)
        write_npz(row_to_sequence(row), files[-1])
    command = [sys.executable, "-m", "llm_action.cli", "recognize", str(out / "model"), *map(str, files)]
    subprocess.run(command, check=True, env={**os.environ, "TQDM_DISABLE": "1"})


@contextmanager
def _timed(seconds: dict[str, float], name: str, title: str):
    print(title, flush=True)
    started = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - started, 1)
