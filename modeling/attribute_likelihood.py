"""How likely an action's attributes are, given the values that the joints show: what the `attributes` score is made of.

Direct attribute prediction (Lampert et al., CVPR 2009) through a noisy channel, which is this project's choice. The
training part gives P(c | a), how often the joints show the value c where a description has the value a. A label scores
log(P(c | its value) / P(c)) for each of its attributes. So an attribute counts for as much as the joints show it
reliably: "which arm moves" far more than "is it repeated". What `attribute_motion` expects the motion to measure comes
on top.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .action_attributes import ATTRIBUTES
from .action_lexicon import ActionLexicon, Match
from .attribute_motion import AttributeMotion
from .label_descriptions import LabelDescription, parse_description
from .label_tree import label_key, normalize_label
from .prompt_states import KeptStates

_AGREEMENT = 0.8  # expected of joints and description before any training motion is seen ...
_CLASSES = 2.0  # ... as if of so many classes
_RAREST = 0.02  # share; a value that was hardly ever seen shall not decide alone
_IMPOSSIBLE = 1e-3  # likelihood below which one value cannot rule a label out

ValueShares = dict[str, np.ndarray]
"""Each of `ATTRIBUTES` to (labels, values) how likely a label means each value; zeros where it says nothing."""


@dataclass(frozen=True)
class AttributeStatistics:
    """How the values that joints show relate to those that descriptions have, in the training part.

    Attributes:
        confusions: attribute to (described, shown) probabilities of each value that the joints show, given the
            description's.
        shares: attribute to the share of each value that the joints show.
        motion: `AttributeMotion.packed`; None of a model that was trained before there was one: the values alone count.
    """

    confusions: dict[str, list[list[float]]]
    shares: dict[str, list[float]]
    motion: dict[str, str] | None = None

    @classmethod
    def gathered(
        cls,
        numbers: np.ndarray,
        labels: Sequence[str],
        descriptions: Mapping[str, LabelDescription],
        measures: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> AttributeStatistics:
        """From training motions.

        Args:
            numbers: (sequences, attributes), see `value_numbers`.
            labels: of each sequence.
            descriptions: of the labels; each class has the same weight.
            measures: of the motions and of their mirror images, see `motion_measures`.
        """
        confusions, shares, of_label = {}, {}, np.array(labels)
        for column, (name, attribute) in zip(numbers.T, ATTRIBUTES.items(), strict=True):
            values = len(attribute.values)
            share = (np.bincount(column, minlength=values) + 1) / (len(column) + values)
            expected = _expected(share)
            counts = _CLASSES * expected
            for label in dict.fromkeys(labels):
                if described := fitting_values(descriptions[label], name):
                    found = np.bincount(column[of_label == label], minlength=values) / (of_label == label).sum()
                    # of several described values the one that explains what the joints show has been meant
                    meant = expected[described] * share[described, None]
                    counts[described] += meant / meant.sum(0) * found
            confusions[name] = (counts / counts.sum(1, keepdims=True)).round(4).tolist()
            shares[name] = share.round(4).tolist()
        found = cls(confusions, shares)
        if measures is None:
            return found
        said = found._evenly(found.value_shares([descriptions[label] for label in dict.fromkeys(labels)]))
        motion = AttributeMotion.gathered(*measures, labels, said)
        return cls(confusions, shares, None if motion is None else motion.packed())

    def value_shares(self, descriptions: Sequence[LabelDescription]) -> ValueShares:
        """What descriptions mean: of several values each as often as the joints show it."""
        found = {name: np.zeros((len(descriptions), len(attribute.values))) for name, attribute in ATTRIBUTES.items()}
        for name, rows in found.items():
            share = np.array(self.shares[name])
            for row, description in zip(rows, descriptions, strict=True):
                if fitting := fitting_values(description, name):
                    row[fitting] = share[fitting] / share[fitting].sum()
        return found

    @cached_property
    def _motion(self) -> AttributeMotion | None:
        return AttributeMotion.unpacked(self.motion) if self.motion else None

    def scores(self, numbers: np.ndarray, meant: ValueShares, measures: np.ndarray | None = None) -> np.ndarray:
        """(sequences, labels) log-likelihood ratios of the labels' attributes; 0 for a label that has none.

        Args:
            numbers: (sequences, attributes), see `value_numbers`.
            meant: what the labels mean.
            measures: (sequences, measures), see `motion_measures`; default None: the values alone count.
        """
        total = np.zeros((len(numbers), len(next(iter(meant.values())))))
        for column, (name, shares) in zip(numbers.T, meant.items(), strict=True):
            has_one, likelihood = shares.any(1), shares @ np.array(self.confusions[name])
            ratios = np.log(likelihood.clip(_IMPOSSIBLE) / np.array(self.shares[name]).clip(_RAREST))
            total[:, has_one] += ratios[has_one][:, column].T
        if measures is None or self._motion is None:
            return total
        return total + self._motion.scores(measures, self._evenly(meant))

    def _evenly(self, meant: ValueShares) -> ValueShares:
        """The same with each of several values alike, however often the joints show it."""
        even = {name: of / np.array(self.shares[name]).clip(_RAREST) for name, of in meant.items()}
        return {name: of / of.sum(1, keepdims=True).clip(1e-12) for name, of in even.items()}


def _expected(share: np.ndarray) -> np.ndarray:
    """(described, shown) probabilities if joints and description agree `_AGREEMENT` of the time, else by chance."""
    others = np.where(np.eye(len(share), dtype=bool), 0, share)
    return _AGREEMENT * np.eye(len(share)) + (1 - _AGREEMENT) * others / others.sum(1, keepdims=True)


def fitting_values(description: LabelDescription, name: str) -> list[int]:
    """The numbers of an attribute's values that fit a label; none where the description leaves the attribute out."""
    values = list(ATTRIBUTES[name].values)
    return [values.index(value) for value in description.attributes.get(name, ())]


_BEFORE, _AFTER = 'The movement "', '" means that the body'
_DEPTH = 0.4  # of the layers: names of like movements are nearest there
_TEMPERATURE = 0.07  # of the cosines
_WORD_TEMPERATURE = 0.1  # of the share of words
_PRIOR = 0.3  # weight of what all described names mean, beside the 1 of those alike
_READ_AT_ONCE = 64


class LabelLexicon:
    """Guesses the attributes of an undescribed label from described ones whose names the language model finds alike.

    Args:
        entries: names to their attributes, see `attributes_entry`.
        lexicon: has more names, which it finds however they are put; what others mean is then guessed from the words
            they share with its names, and the language model reads nothing.
    """

    def __init__(self, entries: Mapping[str, str], lexicon: ActionLexicon | None = None):
        self.lexicon = lexicon
        self.known = {label_key(name): _attributes(entry, name) for name, entry in entries.items()}

    def value_shares(
        self,
        labels: Sequence[str],
        descriptions: Sequence[LabelDescription],
        statistics: AttributeStatistics,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        states: KeptStates,
    ) -> ValueShares:
        """What labels mean: by their own attributes, else by those of the same name here, else by a guess.

        Args:
            labels, descriptions: one description a label; phrasings help a guess.
            statistics: give the usual one of several values.
            model, tokenizer: a causal language model; it reads the whole lexicon if there is something to guess ...
            states: ... and these do not have it yet.
        """
        meant = [
            one if one.attributes else self._described(label, one)
            for label, one in zip(labels, descriptions, strict=True)
        ]
        found = statistics.value_shares(meant)
        unknown = [number for number, one in enumerate(meant) if not one.attributes]
        if unknown and self.lexicon is not None and self.lexicon.movements:
            texts = [[labels[number], *descriptions[number].phrasings] for number in unknown]
            weights = _softmax(np.array([self.lexicon.likeness(names) for names in texts]) / _WORD_TEMPERATURE)
            movements = [LabelDescription(attributes=one.attributes) for one in self.lexicon.movements]
            for name, shares in statistics.value_shares(movements).items():
                found[name][unknown] = _guess(weights, shares)
        elif unknown and self.known:
            texts = [[labels[number], *descriptions[number].phrasings] for number in unknown]
            names = tuple(self.known)
            known = states.kept(("names", names), lambda: _states([[name] for name in names], model, tokenizer))
            weights = _weights(_states(texts, model, tokenizer), known)
            for name, shares in statistics.value_shares(list(self.known.values())).items():
                found[name][unknown] = _guess(weights, shares)
        return found

    def explains(self, label: str, description: LabelDescription) -> bool:
        """Whether a label's attributes are known: by its own description, by name or by the lexicon."""
        return bool(description.attributes or self._described(label, description).attributes)

    def guessed(self, labels: Sequence[str], descriptions: Sequence[LabelDescription]) -> list[Match]:
        """What the lexicon says of labels that neither it nor a description explains; nothing without a lexicon."""
        if self.lexicon is None:
            return []
        meant = zip(labels, descriptions, strict=True)
        return [self.lexicon.find(label) for label, one in meant if not self.explains(label, one)]

    def _described(self, label: str, otherwise: LabelDescription) -> LabelDescription:
        """What the same name means here, else what the lexicon's entry does."""
        if label_key(label) in self.known:
            return self.known[label_key(label)]
        movement = self.lexicon.find(label).movement if self.lexicon else None
        return LabelDescription(attributes=movement.attributes) if movement else otherwise


def attributes_entry(description: LabelDescription) -> str:
    """A description's attributes as one line: "arms: right arm, left arm; repeated: yes"."""
    return "; ".join(f"{name}: {', '.join(values)}" for name, values in description.attributes.items())


def _attributes(entry: str, name: str) -> LabelDescription:
    parts = (part.partition(":") for part in entry.split(";") if part.strip())
    attributes = {attribute.strip(): [one.strip() for one in values.split(",")] for attribute, _, values in parts}
    return parse_description({"attributes": attributes}, f"label_lexicon: {name!r}")


def _weights(states: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(names, known names) how much each known name counts for each name; they sum to 1."""
    centre = known.mean(0)  # what all names share would make all alike
    ours, theirs = (
        centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-8)
        for centred in (states - centre, known - centre)
    )
    return _softmax(ours @ theirs.T / _TEMPERATURE)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _guess(weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(names, values) of one attribute from the known names' shares; known names without it count nothing."""
    has_one = shares.any(1)
    if not has_one.any():
        return np.zeros((len(weights), shares.shape[1]))
    guessed = weights @ shares + _PRIOR * shares[has_one].mean(0)
    return guessed / guessed.sum(1, keepdims=True)


@torch.no_grad()
def _states(texts: Sequence[Sequence[str]], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """(names, hidden) the mean state of each name, over its texts and their tokens."""
    before = len(tokenizer(_BEFORE)["input_ids"])
    flat = [normalize_label(text) for of_name in texts for text in of_name]
    layer, found = max(1, round(_DEPTH * model.config.num_hidden_layers)), []
    decoder = _first_layers(model.get_decoder(), layer + 1)  # the last layer's states come normalised
    for start in range(0, len(flat), _READ_AT_ONCE):
        rows = [tokenizer(_BEFORE + text + _AFTER)["input_ids"] for text in flat[start : start + _READ_AT_ONCE]]
        batch = tokenizer.pad({"input_ids": rows}, padding_side="right", return_tensors="pt").to(model.device)
        states = decoder(**batch, output_hidden_states=True, use_cache=False).hidden_states[layer].float()
        of_name = batch["attention_mask"].clone()
        of_name[:, :before] = 0
        found.append(((states * of_name[..., None]).sum(1) / of_name.sum(1, keepdim=True)).cpu().numpy())
    means, ends = np.concatenate(found), np.cumsum([len(of_name) for of_name in texts])
    return np.stack([rows.mean(0) for rows in np.split(means, ends[:-1])])


def _first_layers(decoder: PreTrainedModel, count: int) -> PreTrainedModel:
    """The same decoder, its weights shared, that reads with its first `count` layers alone."""
    shallow = copy.copy(decoder)
    shallow.config = copy.copy(decoder.config)
    shallow.config.num_hidden_layers = min(count, decoder.config.num_hidden_layers)
    return shallow
