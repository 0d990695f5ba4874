"""Trains stage 1 of the further senses: an action tokenizer for the signal of each.

    accelerate launch -m llm_action.training.train --stage vqvae --config utd_mhad_inertial --data UTD_FOLDER

reads `OUT/processor/`, what stage 1 wrote for skeletons, trains in `OUT/senses/NAME/` (checkpoints, resumable) and
writes the tokenizers into `OUT/processor/senses/NAME/`. Codebook, losses and loop are those of skeletons.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment, sense_config
from llm_action.config.sections import SenseStage
from llm_action.datasets import describe_dataset, row_to_signal
from llm_action.datasets.augmentation import AugmentedSignals, aligned_signals
from llm_action.datasets.benchmark import Benchmark
from llm_action.datasets.prepared import is_prepared, prepared_benchmark
from llm_action.datasets.split import Split, load_split
from llm_action.evaluation.token_metrics import word_sample
from llm_action.hub.base_models import resolve_base_model
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.training.run_folder import fit, trainer_settings
from llm_action.training.train_recognizer import stage_one
from llm_action.training.train_vqvae import VQVAETrainer, VQVAETraining


def train_senses(experiment: Experiment, data_dir: str | None, out: Path, resume: bool = True) -> dict[str, Any]:
    """Trains the tokenizer of every further sense of an experiment; returns the loss history of each.

    Raises:
        FileNotFoundError: stage 1 has not written `out/processor`.
        ValueError: the data set lacks a sense.
    """
    processor, split = stage_one(out), load_split(experiment, data_dir)
    width = processor.vqvae.config.embedding_dim
    trained, history = {}, {}
    for name, stage in experiment.senses.items():
        vqvae = new_tokenizer(name, stage, benchmark_of(experiment, data_dir), split, width, experiment.seed)
        history[name] = fit_tokenizer(experiment, name, vqvae, split, out, resume)
        trained[name] = vqvae
    titles = {name: stage.title for name, stage in experiment.senses.items()}
    processor.with_senses(trained, titles).save_pretrained(out / "processor")
    write_json({"loss": history}, out / "processor" / "senses" / "metrics.json")
    return history


def benchmark_of(experiment: Experiment, data_dir: str | None) -> Benchmark:
    """The data set, as prepared where it is."""
    return prepared_benchmark(data_dir) if data_dir and is_prepared(data_dir) else describe_dataset(experiment.dataset)


def new_tokenizer(
    name: str, stage: SenseStage, benchmark: Benchmark, split: Split, embedding_dim: int, seed: int
) -> ActionVQVAE:
    """Makes an untrained tokenizer for a sense, its means and scales those of the training part.

    Raises:
        ValueError: the data set has no such sense, or no recording of the training part has it.
    """
    if name not in benchmark.senses:
        known = ", ".join(benchmark.senses) or "none"
        raise ValueError(f"{benchmark.name}: expected the sense {name}, found {known}; prepare the data with it")
    sense = benchmark.senses[name]
    if stage.augmentation.rotation and len(sense.channels) % 3:
        raise ValueError(
            f"senses: {name}: augmentation: rotation is of threes of channels (x, y, z), the sense has "
            f"{len(sense.channels)}; set it to 0."
        )
    set_seed(seed)
    config = sense_config(stage, embedding_dim=embedding_dim, channels=list(sense.channels), unit=sense.unit)
    vqvae = ActionVQVAE(config)
    rows = split.train.select_columns([name]).with_format("numpy")
    signals = [signal for row in rows if (signal := row_to_signal(row, name)) is not None]
    if not signals:
        raise ValueError(f"{benchmark.name}: no recording of the training part has the sense {name}.")
    values = torch.from_numpy(np.concatenate(signals))
    vqvae.channel_means.copy_(values.mean(0))
    vqvae.channel_scales.copy_(values.std(0).clamp(min=1e-6))
    return vqvae


def fit_tokenizer(
    experiment: Experiment, name: str, vqvae: ActionVQVAE, split: Split, out: Path, resume: bool = True
) -> list[dict[str, float]]:
    """Trains a sense's tokenizer as that of skeletons is trained; returns the loss history."""
    stage = experiment.senses[name]
    words = word_sample(resolve_base_model(experiment.base_model), experiment.seed) if stage.mmd_weight else None
    model = VQVAETraining(vqvae, stage, len(split.labels), words)
    settings = trainer_settings(
        stage,
        out / "senses" / name,
        experiment.seed,
        report_to=experiment.report_to,
        weight_decay=stage.weight_decay,
        adam_beta2=0.99,
        logging_steps=max(1, stage.steps // 30),
    )
    signals = aligned_signals(split.train, name, vqvae)
    there = [number for number, signal in enumerate(signals) if signal is not None]
    given = [signal for signal in signals if signal is not None]
    labels = np.array(split.train["label"])
    dataset = AugmentedSignals(
        given,
        labels[there],
        stage.augmentation,
        vqvae,
        stage.steps * stage.batch_size * settings.world_size,
        experiment.seed,
    )
    trainer = VQVAETrainer(model, settings, train_dataset=dataset, run=out)
    fit(trainer, resume)
    vqvae.eval()
    return trainer.state.log_history
