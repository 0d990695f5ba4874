"""Trains stage 1: the action tokenizer.

    accelerate launch -m llm_action.training.train --stage vqvae --config utd_mhad --data UTD_FOLDER --out runs/utd_mhad

writes `OUT/vqvae/` (checkpoints, resumable), `OUT/processor/` (VQ-VAE, feature extractor, tokenizer) with
`metrics.json`, and `OUT/tokens.png`, what the three language biases did.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import SequentialSampler
from transformers import AutoConfig, AutoTokenizer, set_seed

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment, save_experiment, tokenizer_config
from llm_action.config.sections import VQVAEStage
from llm_action.datasets.augmentation import AugmentedSkeletons, normalized
from llm_action.datasets.cameras import filming
from llm_action.datasets.split import load_split, model_dimensions, model_layout
from llm_action.evaluation.language_likeness import mmd, zipf_divergence
from llm_action.evaluation.probe import probe_joints, probe_tokens
from llm_action.evaluation.rebuilding import reconstruction_loss, velocity_loss
from llm_action.evaluation.recordings import feature_extractor
from llm_action.evaluation.token_metrics import token_metrics, word_sample
from llm_action.hub.base_models import resolve_base_model
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.codebook_learning import CodebookLearner
from llm_action.training.losses import ContextPredictor
from llm_action.training.precision import fast_arithmetic
from llm_action.training.run_folder import fit, trainer_settings
from llm_action.training.trainer import HubTrainer, hub_settings
from llm_action.visualization.token_figures import plot_tokens

_LOGGED_FIGURE = "tokens/"


class VQVAETraining(nn.Module):
    """The VQ-VAE with everything that only training needs: codebook learner, bias terms, label heads.

    Args:
        words: (sample, embedding_dim) word embeddings of the base model, for the MMD term.

    Raises:
        ValueError: language biases on a model of continuous features.
    """

    words: Tensor

    def __init__(
        self,
        vqvae: ActionVQVAE,
        stage: VQVAEStage,
        num_labels: int,
        words: Tensor | None = None,
    ):
        super().__init__()
        self.vqvae, self.stage = vqvae, stage
        config = vqvae.config
        if config.geometry == "continuous" and (stage.zipf_weight or stage.context_weight or stage.mmd_weight):
            raise ValueError(
                "Expected zipf_weight, context_weight and mmd_weight of 0 with geometry 'continuous', which has no "
                f"tokens to bias, got {stage.zipf_weight}, {stage.context_weight} and {stage.mmd_weight}."
            )
        vqvae.codebook.codes.requires_grad_(False)
        self.codebook_learner = CodebookLearner(vqvae.codebook)
        if stage.label_weight:
            self.token_label_head = nn.Linear(config.code_dim, num_labels)
            self.hidden_label_head = nn.Linear(config.hidden_size, num_labels)
        if stage.context_weight:
            self.context = ContextPredictor(config.code_dim, config.codebook_size, config.num_places)
        if stage.mmd_weight:
            self.register_buffer("words", words, persistent=False)
        self.metrics: dict[str, list[float]] = {}

    def forward(self, skeletons: Tensor, person_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Computes the loss.

        Args:
            skeletons: (batch, persons, frames, joints, 3), in torso lengths.
            person_mask: (batch, persons) bool.
            labels: (batch,) class ids.
        """
        persons = skeletons[person_mask]
        output = self.vqvae(persons)
        terms = {
            "reconstruction": reconstruction_loss(output.reconstruction, persons),
            "velocity": velocity_loss(output.reconstruction, persons),
            "commitment": output.quantized.commitment,
            **self._bias_terms(output),
        }
        if self.stage.label_weight:
            terms["label"] = self._label_loss(output, person_mask, labels)
        if self.training:
            if output.quantized.codes is not None:
                self.codebook_learner.update(output.latents)
            self._remember(terms)
        loss = terms["reconstruction"] + sum(
            getattr(self.stage, f"{name}_weight") * term for name, term in terms.items() if name != "reconstruction"
        )
        return {"loss": loss}

    def _label_loss(self, output, person_mask: Tensor, labels: Tensor) -> Tensor:
        """What the mean token tells of the label, and what the mean hidden state does.

        Through narrow, quantised tokens alone the encoder learns less of actions than with a head of its own.
        """
        scale = 4 / self.vqvae.config.max_norm  # mean tokens are short; the head starts with logits of order one
        tokens = scale * output.quantized.straight_through.mean(1)
        hidden = output.last_hidden_state.float().mean(1)
        of_tokens = self.token_label_head(_mean_of_persons(tokens, person_mask))
        of_hidden = self.hidden_label_head(_mean_of_persons(hidden, person_mask))
        return _label_entropy(of_tokens, labels) + _label_entropy(of_hidden, labels)

    def _bias_terms(self, output) -> dict[str, Tensor]:
        stage, terms = self.stage, {}
        if stage.zipf_weight or stage.context_weight:
            assignments = self.vqvae.codebook.soft_assignments(output.latents.flatten(0, -2))
        if stage.zipf_weight:
            terms["zipf"] = zipf_divergence(assignments.mean(0))
        if stage.context_weight:
            vectors = output.quantized.straight_through
            terms["context"] = self.context(vectors, assignments.view(*vectors.shape[:2], -1))
        if stage.mmd_weight:
            terms["mmd"] = mmd(self.tokens(output.latents, output.quantized.codes), self.words)
        return terms

    def tokens(self, latents: Tensor, chosen: Tensor) -> Tensor:
        """Computes the tokens' embeddings, (num_action_tokens, embedding_dim), with a gradient for the encoder.

        A moving average takes no gradient, but makes a code the mean of its latent vectors: so those get the code's.

        Args:
            latents: (batch, places, code_dim) as the encoder gives them.
            chosen: (batch, places, levels) the codes they were quantised to.
        """
        codebook = self.vqvae.codebook
        codes = codebook.codes.flatten(0, 1)
        if not codebook.codes.requires_grad:
            levels, size = codebook.codes.shape[:2]
            chosen = (chosen + torch.arange(levels, device=codes.device) * size).flatten(0, -2)
            shares = codes.new_ones(()) / torch.bincount(chosen.flatten(), minlength=len(codes))[chosen, None]
            moved = (latents - latents.detach()).flatten(0, -2)[:, None]  # 0 with a gradient
            codes = codes.index_add(0, chosen.flatten(), (shares * moved).flatten(0, 1))
        return self.vqvae.token_projection(codes.to(self.vqvae.dtype))

    def _remember(self, terms: dict[str, Tensor]) -> None:
        for name, term in terms.items():
            self.metrics.setdefault(name, []).append(float(term.detach()))

    def pop_metrics(self) -> dict[str, float]:
        """Averages the loss terms since the last call; adds the perplexity of the codebook's recent use."""
        means = {name: float(np.mean(values)) for name, values in self.metrics.items()}
        self.metrics.clear()
        if self.vqvae.config.geometry != "continuous":
            means["perplexity"] = self.codebook_learner.perplexity()
        return means


def _label_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, label_smoothing=0.1)


def _mean_of_persons(vectors: Tensor, person_mask: Tensor) -> Tensor:
    """(batch, width) of the vectors (persons, width) of those in person_mask (batch, persons)."""
    share = person_mask.float() / person_mask.sum(1, keepdim=True)
    pooled = torch.zeros(len(person_mask), vectors.shape[1], device=vectors.device)
    return pooled.index_add(0, person_mask.nonzero()[:, 0], vectors * share[person_mask][:, None])


class VQVAETrainer(HubTrainer):
    """A Trainer that logs every loss term, and what `measure` finds when training ends.

    Args:
        measure: gives the tokens' figures, kept in `figures`; numbers are logged as `tokens/NAME`.
    """

    figures: dict[str, Any] | None = None

    def __init__(self, *args, measure: Callable[[], dict[str, Any]] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.measure = measure

    def _get_train_sampler(self, train_dataset=None):
        dataset = train_dataset or self.train_dataset
        if getattr(
            dataset, "by_part", False
        ):  # its order needs few parts of the table at a time, and is random already
            return SequentialSampler(dataset)
        return super()._get_train_sampler(train_dataset)

    def compute_loss_context_manager(self):
        contexts = super().compute_loss_context_manager()
        contexts.enter_context(fast_arithmetic(self.args.device))
        return contexts

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        output = model(**inputs)
        return (output["loss"], output) if return_outputs else output["loss"]

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        logs = {**logs, **self.accelerator.unwrap_model(self.model).pop_metrics()}
        if "train_loss" in logs and self.measure is not None:  # the last line, while reporters still listen
            self.figures = self.measure()
            logs |= {_LOGGED_FIGURE + name: value for name, value in self.figures.items() if isinstance(value, float)}
        super().log(logs, *args, **kwargs)


def train_vqvae(experiment: Experiment, data_dir: str | None, out: Path, resume: bool = True) -> dict[str, Any]:
    """Trains the action tokenizer of an experiment and writes `out/processor`; returns its metrics.

    A run that was interrupted goes on from its last checkpoint unless `resume` is False.
    """
    set_seed(experiment.seed)
    base = resolve_base_model(experiment.base_model)
    base_config = AutoConfig.from_pretrained(base)
    split = load_split(experiment, data_dir)
    stage = experiment.vqvae
    config = tokenizer_config(
        experiment,
        layout=model_layout(experiment),
        dimensions=model_dimensions(experiment, split),
        embedding_dim=base_config.hidden_size,
    )
    extractor = feature_extractor(experiment, dimensions=config.dimensions)
    words = word_sample(base, experiment.seed)
    model = VQVAETraining(ActionVQVAE(config), stage, len(split.labels), words)
    mmd_before = float(mmd(model.vqvae.token_embeddings().detach(), words))
    settings = trainer_settings(
        stage,
        out / "vqvae",
        experiment.seed,
        report_to=experiment.report_to,
        **hub_settings(experiment),
        weight_decay=stage.weight_decay,
        adam_beta2=0.99,
        logging_steps=max(1, stage.steps // 30),
    )
    dataset = AugmentedSkeletons(
        normalized(split.train, extractor, "normalising skeletons"),
        list(split.train["label"]),
        experiment.augmentation,
        config.num_frames,
        experiment.max_persons,
        stage.steps * stage.batch_size * settings.world_size,
        experiment.seed,
        filming(extractor, experiment.cameras),
    )
    tokenizer = AutoTokenizer.from_pretrained(base)

    def processor_now() -> LlmArProcessor:
        return LlmArProcessor(extractor, tokenizer, model.vqvae, first_action_id=base_config.vocab_size)

    def measure() -> dict[str, Any]:
        figures = token_metrics(processor_now(), split.test, words)
        if "mmd" in figures:
            figures["mmd_before"] = mmd_before
            learner = model.codebook_learner  # of augmented training sequences, where no code is dead: all are revived
            figures["training_perplexity"] = learner.perplexity()
            figures["training_zipf_divergence"] = float(zipf_divergence(learner.shares[0]))
        if 0 < stage.steps < stage.probe_steps:
            print(
                f"tokens are not probed: that takes {stage.probe_steps} steps (vqvae.probe_steps), the training has "
                f"only {stage.steps}",
                file=sys.stderr,
            )
        elif stage.probe_steps:
            figures["probe_tokens"] = probe_tokens(experiment, processor_now(), split, stage.probe_steps)
            figures["probe_joints"] = probe_joints(experiment, processor_now(), split, stage.probe_steps)
        return figures

    trainer = VQVAETrainer(model, settings, train_dataset=dataset, processor=processor_now, run=out, measure=measure)
    fit(trainer, resume)
    processor = processor_now()
    figures = trainer.figures or measure()  # a training that had ended measures nothing
    history = [
        {name: value for name, value in entry.items() if not name.startswith(_LOGGED_FIGURE)}
        for entry in trainer.state.log_history
    ]
    metrics = {"loss": history, **figures}
    if trainer.is_world_process_zero():
        processor.save_pretrained(out / "processor")
        save_experiment(experiment, out / "experiment.yaml")
        write_json(metrics, out / "processor" / "metrics.json")
        if config.geometry != "continuous":
            plot_tokens(figures, out / "tokens.png")
    if experiment.hub_model_id is not None:
        trainer.push_to_hub("Action tokenizer")
    return metrics
