"""What each part of the method is worth: the full one beside those with something changed by configuration alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.config.experiment import Experiment, load_experiment
from llm_action.config.reading import read_json
from llm_action.datasets.split import load_split
from llm_action.evaluation.probe import probe_tokens
from llm_action.experiments.cached_runs import settings, trained_tokenizer, training_seconds
from llm_action.experiments.compare import COLUMNS as COMPARED_COLUMNS
from llm_action.experiments.compare import recognizer_figures
from llm_action.experiments.tables import Column, Row
from llm_action.modeling.processing_llm_ar import LlmArProcessor

# name of the row: what it changes in the full experiment
VQVAE_ROWS: dict[str, list[str]] = {
    "full": [],
    "no-zipf": ["vqvae.zipf_weight=0"],
    "no-context": ["vqvae.context_weight=0"],
    "no-mmd": ["vqvae.mmd_weight=0"],
    "no-biases": ["vqvae.zipf_weight=0", "vqvae.context_weight=0", "vqvae.mmd_weight=0"],
    "euclidean": ["vqvae.model.geometry=euclidean"],
    "continuous": [
        "vqvae.model.geometry=continuous",
        "vqvae.zipf_weight=0",
        "vqvae.context_weight=0",
        "vqvae.mmd_weight=0",
    ],
}
RECOGNIZER_ROWS: dict[str, list[str]] = {
    "full": [],
    "continuous-features": ["recognizer.inputs=features"],
    "full-fine-tuning": ["recognizer.train=full", "recognizer.learning_rate=1e-4"],
    "random-llama": ["recognizer.base_weights=random"],
    "neutral-labels": ["recognizer.label_names=neutral"],
}
VQVAE_COLUMNS = [
    Column("probe top-1 %", "probe", scale=100),
    Column("perplexity", "perplexity", 0),
    Column("perplexity, training", "training_perplexity", 0),
    Column("dead codes", "dead_codes", 0),
    Column("Zipf exponent", "zipf_exponent", 2),
    Column("Zipf JS, nats", "zipf_divergence", 3),
    Column("Zipf JS, training", "training_zipf_divergence", 3),
    Column("bits a token", "bits", 2),
    Column("given context", "bits_given_context", 2),
    Column("MMD", "mmd", 3),
    Column("reconstruction, mm", "reconstruction_error_mm", 0),
    Column("training, s", "training_seconds", 0, spread=False),
]
RECOGNIZER_COLUMNS = [column for column in COMPARED_COLUMNS if not column.metric.startswith("views_")]
_BENCHMARK_PRESET = "ntu60"


def with_all_biases(config: str, overrides: list[str]) -> list[str]:
    """Overrides that give a config all three biases: those it leaves at 0 get the benchmark presets' weights."""
    given, preset = (load_experiment(*source).vqvae for source in ((config, overrides), (_BENCHMARK_PRESET,)))
    names = ("zipf_weight", "context_weight", "mmd_weight")
    return [*overrides, *(f"vqvae.{name}={getattr(preset, name)}" for name in names if not getattr(given, name))]


def vqvae_rows(config: str, overrides: list[str], data_dir: str | None, work: Path) -> list[Row]:
    """Rows of stage 1: the figures it writes, and what the small transformer makes of its tokens.

    Args:
        config: YAML file or preset.
        overrides: of the config, as `load_experiment` takes them, for every row.
        data_dir: of a benchmark; see `load_split`.
        work: folder for the runs.
    """

    def row(name: str, experiment: Experiment) -> Row:
        def measure(seed: int) -> dict[str, Any]:
            seen = replace(experiment, seed=seed)
            run = trained_tokenizer(seen, data_dir, work)
            processor = LlmArProcessor.from_pretrained(run / "processor")
            return {
                "probe": probe_tokens(seen, processor, load_split(seen, data_dir), command=f"ablate, {name}"),
                **_token_figures(run / "processor" / "metrics.json"),
                "training_seconds": training_seconds(run),
            }

        return Row(name, settings(experiment, data_dir, "recognizer"), measure)

    full = with_all_biases(config, overrides)
    return [row(name, load_experiment(config, [*full, *changes])) for name, changes in VQVAE_ROWS.items()]


def recognizer_rows(config: str, overrides: list[str], data_dir: str | None, work: Path) -> list[Row]:
    """Rows of stage 2, as the comparison measures "llm-ar"; those that change stage 2 alone share one stage 1."""

    def row(name: str, experiment: Experiment) -> Row:
        def measure(seed: int) -> dict[str, Any]:
            return recognizer_figures(replace(experiment, seed=seed), data_dir, work, f"ablate, {name}")

        return Row(name, settings(experiment, data_dir), measure)

    return [row(name, load_experiment(config, [*overrides, *changes])) for name, changes in RECOGNIZER_ROWS.items()]


TABLES = {
    "vqvae": (vqvae_rows, VQVAE_COLUMNS),
    "recognizer": (recognizer_rows, RECOGNIZER_COLUMNS),
}


def _token_figures(file: Path) -> dict[str, float]:
    """The table's numbers among those that stage 1 wrote; of one that has a value a level, the mean."""
    figures = read_json(file)
    return {c.metric: float(np.mean(figures[c.metric])) for c in VQVAE_COLUMNS if c.metric in figures}
