"""What names mean that nobody described: a guess by the described names that they read like.

A name is read by the language model in a sentence about a movement. The described names that leave it in similar
states of a middle layer tell what this one means, the nearer the more (kernel regression; this project's choice, as
are its settings: among five random classes of UTD-MHAD's training part, named alone, the joints then find the right one
in half of the cases, by chance in a fifth).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .label_descriptions import LabelDescription, parse_description
from .label_tree import label_key, normalize_label
from .motion_evidence import MotionEvidence, Told

_BEFORE, _AFTER = 'The movement "', '" means that the body'
_DEPTH = 0.4  # of the layers: names of like movements are nearest there
_TEMPERATURE = 0.07  # of the cosines
_PRIOR = 0.3  # weight of what all described names mean, beside the 1 of those alike
_READ_AT_ONCE = 64


class LabelLexicon:
    """Names and what they mean, for telling what further names do.

    Args:
        entries: names to their attributes, see `attributes_entry`.
    """

    def __init__(self, entries: Mapping[str, str]):
        self.known = {label_key(name): _attributes(entry, name) for name, entry in entries.items()}
        self._states: np.ndarray | None = None

    def told(
        self,
        labels: Sequence[str],
        descriptions: Sequence[LabelDescription],
        evidence: MotionEvidence,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
    ) -> Told:
        """What labels say: by their own attributes, else those of the same name here, else by a guess.

        Args:
            labels, descriptions: one description a label; phrasings help a guess.
            evidence: which of several answers is the usual one.
            model: a causal language model; it reads each entry of the lexicon once.
        """
        meant = [
            one if one.attributes else self.known.get(label_key(label), one)
            for label, one in zip(labels, descriptions, strict=True)
        ]
        told = evidence.told(meant)
        unknown = [number for number, one in enumerate(meant) if not one.attributes]
        if unknown and self.known:
            if self._states is None:
                self._states = _states([[name] for name in self.known], model, tokenizer)
            texts = [[labels[number], *descriptions[number].phrasings] for number in unknown]
            weights = _weights(_states(texts, model, tokenizer), self._states)
            for question, shares in evidence.told(list(self.known.values())).items():
                told[question][unknown] = _guess(weights, shares)
        return told


def attributes_entry(description: LabelDescription) -> str:
    """A description's attributes as one line: "arms: right arm, left arm; repeated: yes"."""
    return "; ".join(f"{question}: {', '.join(answers)}" for question, answers in description.attributes.items())


def _attributes(entry: str, name: str) -> LabelDescription:
    parts = (part.partition(":") for part in entry.split(";") if part.strip())
    attributes = {question.strip(): [answer.strip() for answer in said.split(",")] for question, _, said in parts}
    return parse_description({"attributes": attributes}, f"label_lexicon: {name!r}")


def _weights(states: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(names, known names) how much each known name tells of each name; they sum to 1."""
    centre = known.mean(0)  # what all names share would make all alike
    ours, theirs = (
        centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-8)
        for centred in (states - centre, known - centre)
    )
    logits = ours @ theirs.T / _TEMPERATURE
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _guess(weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(names, answers) of one question from the known names' shares; known names that say nothing count nothing."""
    says = shares.any(1)
    if not says.any():
        return np.zeros((len(weights), shares.shape[1]))
    guessed = weights @ shares + _PRIOR * shares[says].mean(0)
    return guessed / guessed.sum(1, keepdims=True)


@torch.no_grad()
def _states(texts: Sequence[Sequence[str]], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """(names, hidden) the mean state of each name, over its texts and their tokens."""
    before = len(tokenizer(_BEFORE)["input_ids"])
    flat = [normalize_label(text) for of_name in texts for text in of_name]
    layer, found = max(1, round(_DEPTH * model.config.num_hidden_layers)), []
    for start in range(0, len(flat), _READ_AT_ONCE):
        rows = [tokenizer(_BEFORE + text + _AFTER)["input_ids"] for text in flat[start : start + _READ_AT_ONCE]]
        batch = tokenizer.pad({"input_ids": rows}, padding_side="right", return_tensors="pt").to(model.device)
        states = model.get_decoder()(**batch, output_hidden_states=True, use_cache=False).hidden_states[layer].float()
        of_name = batch["attention_mask"].clone()
        of_name[:, :before] = 0
        found.append(((states * of_name[..., None]).sum(1) / of_name.sum(1, keepdim=True)).cpu().numpy())
    means, ends = np.concatenate(found), np.cumsum([len(of_name) for of_name in texts])
    return np.stack([rows.mean(0) for rows in np.split(means, ends[:-1])])
