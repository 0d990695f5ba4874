"""What the joints themselves say for a label: its attributes against the answers computed from a motion.

Direct attribute prediction (Lampert et al., CVPR 2009) through a noisy channel (this project's choice): the training
part tells how often the joints answer c where a description says a. "Which arm moves" they get right far more often
than "is it repeated", and a hand told to reach the floor is missed more often than one told not to is seen there. A
label counts log(P(c | its answer) / P(c)) for each of its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .action_attributes import QUESTIONS, motion_answers
from .feature_extraction_skeleton import SkeletonFeatureExtractor
from .label_descriptions import LabelDescription, parse_description
from .label_tree import label_key, normalize_label
from .skeleton_sequence import SkeletonSequence

_AGREEMENT = 0.8  # expected of joints and description before any training motion is seen ...
_CLASSES = 2.0  # ... as if of so many classes
_RAREST = 0.02  # share; what was hardly ever seen is no overwhelming evidence
_IMPOSSIBLE = 1e-3  # likelihood below which one answer cannot rule a label out
_BATCH = 64

Told = dict[str, np.ndarray]
"""Each question of `QUESTIONS` to (labels, answers) shares of what the labels say, zeros where one says nothing."""


def motion_numbers(extractor: SkeletonFeatureExtractor, sequences: Sequence[SkeletonSequence]) -> np.ndarray:
    """(sequences, questions) the number of each question's answer, in the order of `QUESTIONS`."""
    rows = []
    for start in range(0, len(sequences), _BATCH):
        features = extractor(list(sequences[start : start + _BATCH]))
        for skeletons, mask in zip(features["skeletons"], features["person_mask"], strict=True):
            answers = motion_answers(skeletons[mask], extractor.layout)
            rows.append([list(question.answers).index(answers[name]) for name, question in QUESTIONS.items()])
    return np.array(rows, np.int64).reshape(-1, len(QUESTIONS))


@dataclass(frozen=True)
class AttributeStatistics:
    """What training motions say about each question of `QUESTIONS`.

    Attributes:
        answered: question to (told, computed) probabilities of each answer of the joints, given the description's.
        shares: question to the share of each answer of the joints among the training motions.
    """

    answered: dict[str, list[list[float]]]
    shares: dict[str, list[float]]

    @classmethod
    def gathered(
        cls, numbers: np.ndarray, labels: Sequence[str], descriptions: Mapping[str, LabelDescription]
    ) -> AttributeStatistics:
        """From training motions.

        Args:
            numbers: (sequences, questions), see `motion_numbers`.
            labels: of each sequence.
            descriptions: of the labels; classes count alike.
        """
        answered, shares, of_label = {}, {}, np.array(labels)
        for column, (name, question) in zip(numbers.T, QUESTIONS.items(), strict=True):
            answers = len(question.answers)
            share = (np.bincount(column, minlength=answers) + 1) / (len(column) + answers)
            expected = _expected(share)
            counts = _CLASSES * expected
            for label in dict.fromkeys(labels):
                if told := fitting_answers(descriptions[label], name):
                    found = np.bincount(column[of_label == label], minlength=answers) / (of_label == label).sum()
                    # of several told answers the one that explains what was found has been meant
                    meant = expected[told] * share[told, None]
                    counts[told] += meant / meant.sum(0) * found
            answered[name] = (counts / counts.sum(1, keepdims=True)).round(4).tolist()
            shares[name] = share.round(4).tolist()
        return cls(answered, shares)

    def told(self, descriptions: Sequence[LabelDescription]) -> Told:
        """What labels say: of several answers each as often as the joints give it."""
        found = {name: np.zeros((len(descriptions), len(question.answers))) for name, question in QUESTIONS.items()}
        for name, rows in found.items():
            share = np.array(self.shares[name])
            for row, description in zip(rows, descriptions, strict=True):
                if fitting := fitting_answers(description, name):
                    row[fitting] = share[fitting] / share[fitting].sum()
        return found

    def scores(self, numbers: np.ndarray, told: Told) -> np.ndarray:
        """(sequences, labels) log-likelihood ratios of what the labels say; 0 of a label that says nothing.

        Args:
            numbers: (sequences, questions), see `motion_numbers`.
            told: what the labels say.
        """
        total = np.zeros((len(numbers), len(next(iter(told.values())))))
        for column, (name, meant) in zip(numbers.T, told.items(), strict=True):
            says, likelihood = meant.any(1), meant @ np.array(self.answered[name])
            ratios = np.log(likelihood.clip(_IMPOSSIBLE) / np.array(self.shares[name]).clip(_RAREST))
            total[:, says] += ratios[says][:, column].T
        return total


def _expected(share: np.ndarray) -> np.ndarray:
    """(told, computed) probabilities if joints and description agree `_AGREEMENT` of the time, else by chance."""
    others = np.where(np.eye(len(share), dtype=bool), 0, share)
    return _AGREEMENT * np.eye(len(share)) + (1 - _AGREEMENT) * others / others.sum(1, keepdims=True)


def fitting_answers(description: LabelDescription, name: str) -> list[int]:
    """The numbers of the answers that fit a label; none where the label says nothing about the question."""
    answers = list(QUESTIONS[name].answers)
    return [answers.index(answer) for answer in description.attributes.get(name, ())]


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
        evidence: AttributeStatistics,
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
