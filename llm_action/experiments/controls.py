"""Controls of stage 2: what is each part of the recognizer worth? Trained and scored in one process, never exported.

An export is an adapter of a base whose weights nobody touched. A base of random weights, one that was fine-tuned itself
and a recognizer without tokens are none, so all that remains of them is their metrics.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from llm_action.config.experiment import Experiment
from llm_action.datasets.split import Split, load_split
from llm_action.hub.base_models import resolve_base_model
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SKELETON
from llm_action.training.run_folder import fit
from llm_action.training.sentences import write_sentences
from llm_action.training.train import train
from llm_action.training.train_recognizer import new_recognizer, recognizer_trainer, stage_one
from llm_action.training.train_vqvae import train_vqvae


def fitted_recognizer(
    experiment: Experiment, data_dir: str | None, out: Path
) -> tuple[LlmArForActionRecognition, LlmArProcessor, Split]:
    """A recognizer of any settings, its processor and the data: trained in this process if it is a control (not
    resumable), else by `train`."""
    if not experiment.recognizer.is_control:
        train(experiment, data_dir, out)
        model = LlmArForActionRecognition.from_pretrained(out / "model", is_trainable=True)
        return model, LlmArProcessor.from_pretrained(out / "model"), load_split(experiment, data_dir)
    experiment = replace(experiment, hub_model_id=None)
    if experiment.recognizer.train == "full":  # small steps are lost in half precision
        experiment = replace(experiment, recognizer=replace(experiment.recognizer, base_dtype="float32"))
    if not (out / "processor" / "processor_config.json").is_file():
        train_vqvae(experiment, data_dir, out)
    set_seed(experiment.seed)
    stage, split, processor = experiment.recognizer, load_split(experiment, data_dir), stage_one(out)
    base = resolve_base_model(experiment.base_model)
    with tempfile.TemporaryDirectory() as folder:
        if stage.base_weights == "random":
            base = random_base(base, Path(folder), experiment.seed)
        model = new_recognizer(experiment, processor, split.trained_labels, base)
    if stage.inputs == "features":
        features = Features(model, processor)
        processor = FeatureProcessor.beside(processor, features)
    examples = write_sentences(experiment, processor, split, out / "sentences.arrow")
    if stage.inputs == "features":
        model.action_embeddings = features  # type: ignore[assignment]  # takes the table's place
    if stage.train == "full":
        model.language_model.unload()
        model.causal_lm.requires_grad_(True)
    fit(recognizer_trainer(experiment, model, processor, examples, out, save_strategy="no"), resume=False)
    return model.eval(), processor, split


def random_base(base: Path, folder: Path, seed: int) -> Path:
    """Writes a model of the base's architecture and random weights into `folder`, which is returned."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base)).save_pretrained(folder)
    return folder


class Features(nn.Module):
    """Action embeddings without a codebook: each latent vector is a token of its own.

    Latent vectors go through a linear layer that begins as the VQ-VAE's, scaled as a recognizer's action embeddings.

    Args:
        model: the recognizer whose scaled action embeddings the layer begins with.
        processor: whose VQ-VAE made them.
    """

    latents: Tensor

    def __init__(self, model: LlmArForActionRecognition, processor: LlmArProcessor):
        super().__init__()
        vqvae, scaled = processor.vqvae, model.action_embeddings.weight.detach()
        code_dim, plain = vqvae.config.code_dim, vqvae.token_embeddings().detach()
        scale = (scaled - scaled.mean(0)).std() / (plain - plain.mean(0)).std()
        self.projection = nn.Linear(code_dim, scaled.shape[1])
        with torch.no_grad():
            self.projection.weight.copy_(scale * vqvae.token_projection(torch.eye(code_dim)).T)
            self.projection.bias.copy_(scaled.mean(0) - scale * plain.mean(0))
        self.register_buffer("latents", torch.empty(0, code_dim), persistent=False)

    def add(self, latents: Tensor) -> range:
        """Enters latent vectors (n, code_dim); returns their indices."""
        first = len(self.latents)
        self.latents = torch.cat([self.latents, latents.to(self.latents)])
        return range(first, len(self.latents))

    def forward(self, indices: Tensor) -> Tensor:
        """Indices (...) to embeddings (..., hidden)."""
        return self.projection(self.latents[indices])


class FeatureProcessor(LlmArProcessor):
    """A processor whose sentences name the vectors before they are quantised, in `features`."""

    features: Features

    @classmethod
    def beside(cls, processor: LlmArProcessor, features: Features) -> FeatureProcessor:
        """The same processor, with features in place of tokens."""
        made = cls(
            processor.feature_extractor,
            processor.tokenizer,
            processor.vqvae,
            processor.prompt,
            first_action_id=processor.first_action_id,
        )
        made.features = features
        return made

    @torch.no_grad()
    def tokens_of(
        self, skeletons: Tensor, person_mask: Tensor, signals: Mapping[str, Tensor] | None = None
    ) -> list[dict[str, list[int]]]:
        """As a processor's, one id a step; of skeletons alone."""
        latents = self.vqvae.latents(skeletons[person_mask].to(self.vqvae.device))
        ids = iter(self.features.add(latents.flatten(0, 1)))
        sentences = []
        for persons in person_mask.sum(1).tolist():
            tokens = [[self.first_action_id + next(ids) for _ in range(latents.shape[1])] for _ in range(persons)]
            sentence = tokens[0]
            for other in tokens[1:]:
                sentence = sentence + self._separator() + other
            sentences.append({SKELETON: sentence})
        return sentences
