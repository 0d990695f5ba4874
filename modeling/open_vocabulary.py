"""Scores candidate labels, seen in training or not: the one place that decides which scores count.

There are four kinds of score, each a log-likelihood of every label:

- `label`: of the name and its phrasings after the prompt, averaged (log-mean-exp) over them. Beside attributes it is
  not asked of classes not trained on, where it takes most of the time and is worth 0.1 points (page of experiments).
- `description`: of the label's texts after the request for a description, averaged (log-mean-exp) over the texts.
- `questions`: of answers that fit the label's attributes, summed over the questions.
- `attributes`: of the same attributes given what the joints show, see `attribute_likelihood`; a label without
  attributes has those that a `LabelLexicon` guesses. Labels not trained on have leeway, guessed ones more.

A frequent name or answer is likely whatever moves. So each score is taken minus `calibration` times its prior, the
score of an empty sentence; this is this project's choice.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging

from .action_attributes import ATTRIBUTES
from .attribute_likelihood import AttributeStatistics, LabelLexicon, ValueShares, fitting_values
from .configuration_llm_ar import LlmArConfig
from .label_descriptions import LabelDescription, parse_description
from .label_scoring import SCORE_TOLERANCE, RankedLabels, score_labels
from .label_tree import LabelTree, normalize_label
from .modeling_llm_ar import LlmArForActionRecognition
from .processing_llm_ar import EncodedRecording, LlmArProcessor
from .prompt_states import EncodedPrompts, KeptStates, encode_prompts
from .sense_fusion import weighed
from .skeleton_sequence import SKELETON

KINDS = ("label", "description", "questions", "attributes")


class LabelWarning(UserWarning):
    """A candidate label may not mean what its user means."""


Scores = dict[str, np.ndarray]
"""(sequences, labels) log-likelihoods of each kind."""
Prior = dict[str, np.ndarray]
"""(labels,) the scores of an empty sentence, of each kind."""

_DESCRIPTION = "\nThe movement is:"
_QUESTION = "\nQuestion: {question} Answer:"
_IMPOSSIBLE = 1e-6  # likelihood below which one answer cannot rule a label out
# How much worse attributes fit motions of a class that the measures to expect of them were not learned from, and how
# much worse if they are a guess; chosen on held-out classes of three data sets.
_NEW, _GUESSED = 1.0, 2.0


def candidates_for(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    given: Sequence[str] | Mapping[str, object] | None,
    calibrate: bool | None,
) -> NamedCandidates | WeightedCandidates:
    """The candidates that a user names, with the scores that count for them.

    Args:
        given: names, default the classes trained on; or a mapping of names to what they mean, see
            `label_descriptions.parse_description`.
        calibrate: whether scores are taken relative to their priors and the attributes of undescribed names guessed;
            default: of a mapping, and of a list if some names are new and the model can guess what they mean.

    Raises:
        ValueError: no list of distinct names, or a bad description.
    """
    if given is None and not calibrate:
        return NamedCandidates(model, processor)
    names = model.trained_labels if given is None else _names(given, processor)
    if isinstance(given, Mapping):
        described = {
            name: parse_description(entry, f"candidate_labels: {name!r}")
            for name, entry in zip(names.labels, given.values(), strict=True)
        }
        return WeightedCandidates(model, processor, described, calibrate is not False)
    if calibrate or (calibrate is None and _can_guess(model.config, names.labels)):
        undescribed = dict.fromkeys(names.labels, LabelDescription())
        answers = model.config.class_names if given is None else None
        return WeightedCandidates(model, processor, undescribed, calibrate=True, answers=answers)
    return NamedCandidates(model, processor, names)


def _names(given: Sequence[str] | Mapping[str, object], processor: LlmArProcessor) -> LabelTree:
    """Checked, and spelled as results spell them."""
    if isinstance(given, str):
        raise ValueError(f"Expected candidate_labels as a list of names, got the text {given!r}.")
    names = list(given)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"Expected candidate_labels as a list of names, got {names!r:.80}.")
    return LabelTree.from_labels(names, processor.tokenizer)


def kinds_that_count(
    config: LlmArConfig, descriptions: Mapping[str, LabelDescription], calibrate: bool = True
) -> tuple[str, ...]:
    """The kinds of score that mean something for these labels.

    All that the model was taught, and `attributes`, if some label has attributes; the texts alone if labels have texts;
    else the names alone. Where attributes can be guessed and `calibrate`, `attributes` count as well.
    """
    taught, statistics = config.taught or ["label"], config.attribute_statistics
    if any(description.attributes for description in descriptions.values()):
        return (*taught, *(["attributes"] if statistics else []))
    guessed = ["attributes"] if calibrate and _can_guess(config, descriptions) else []
    if all(description == LabelDescription() for description in descriptions.values()):
        return ("label", *guessed)
    return (*(kind for kind in taught if kind in ("label", "description")), *guessed)


def _can_guess(config: LlmArConfig, labels: Sequence[str] | Mapping[str, object]) -> bool:
    """Whether some labels are new to the model and it can guess their attributes."""
    known = set(config.label_names or ())
    able = config.attribute_statistics and config.label_lexicon
    return bool(able) and any(normalize_label(label) not in known for label in labels)


class NamedCandidates:
    """Candidates that are scored by their names alone, with the model's own likelihoods.

    Args:
        tree: of the names; None: the classes trained on.
    """

    needs_attributes = False

    def __init__(self, model: LlmArForActionRecognition, processor: LlmArProcessor, tree: LabelTree | None = None):
        self._model, self._processor, self._tree = model, processor, tree

    @property
    def tree(self) -> LabelTree:
        """The prefix tree of the names."""
        return self._tree or self._model.trained_labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The names, as results spell them."""
        return self._model.config.class_names if self._tree is None else self.tree.labels

    def best(
        self, recordings: Sequence[EncodedRecording], top_k: int | None, states: KeptStates
    ) -> tuple[Tensor, Tensor]:
        """Posteriors (recordings, k) and numbers (recordings, k) of the best labels, best first.

        Args:
            recordings: all with the same number of views, whose posteriors are averaged. Each of several senses is read
                alone, see `sense_fusion`.
            top_k: default all. Of many labels the best few are found by a search; their posteriors may be up to
                `SCORE_TOLERANCE` too low.
            states: of this call.
        """
        config, views = self._model.config, len(recordings[0].sentences)
        read = partial(self._log_posteriors, states=states)
        if self._processor.senses:
            return _best(weighed(read, recordings, config.sense_weights or {}), top_k)
        if views > 1 or self._temperature != 1:
            return _best(read(recordings), top_k)
        ranked = self._rank(recordings, top_k, states)
        return ranked.posterior_bounds()[0][:, :top_k], ranked.indices[:, :top_k]

    @property
    def _temperature(self) -> float:
        return self._model.config.temperature if self._tree is None else 1.0

    def _rank(self, recordings: Sequence[EncodedRecording], k: int | None, states: KeptStates) -> RankedLabels:
        prompts = self._processor.prompts(recordings, return_tensors="pt").to(self._model.device)
        return self._model.rank(**prompts, tree=self.tree, k=k, tolerance=SCORE_TOLERANCE, states=states)

    def _log_posteriors(self, recordings: Sequence[EncodedRecording], states: KeptStates) -> Tensor:
        """(recordings, labels), the mean posterior of the views."""
        ranked = self._rank(recordings, None, states)
        found = (ranked.log_likelihoods.double() / self._temperature).log_softmax(-1)
        return _over_views(torch.zeros_like(found).scatter(1, ranked.indices, found), len(recordings[0].sentences))


class WeightedCandidates:
    """Candidates that are scored in several ways, or relative to their priors.

    Args:
        described: labels and what they mean.
        calibrate: whether each score is taken relative to its prior, and the attributes of undescribed labels guessed.
        answers: what results call the labels; default as they are.
    """

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        described: Mapping[str, LabelDescription],
        calibrate: bool,
        answers: tuple[str, ...] | None = None,
    ):
        self.labels = answers or tuple(described)
        kinds = kinds_that_count(model.config, described, calibrate)
        self.scorer = OpenVocabularyScorer(model, processor, tuple(described), described, kinds)
        self.weights = ScoreWeights(calibration=float(calibrate))
        self.scorer.warn_of_guesses()

    @property
    def needs_attributes(self) -> bool:
        """Whether recordings have to come with their attributes."""
        return "attributes" in self.scorer.kinds

    def best(
        self, recordings: Sequence[EncodedRecording], top_k: int | None, states: KeptStates
    ) -> tuple[Tensor, Tensor]:
        """Shares (recordings, k) and numbers (recordings, k) of the best labels; see `NamedCandidates`."""
        if self.needs_attributes and any(recording.attributes is None for recording in recordings):
            told = "the joints alone tell classes that were not trained on, and a recording without a skeleton has none"
            warnings.warn(f"{told}: its scores of them say nothing.", LabelWarning, stacklevel=2)
        read = partial(self._log_shares, states=states)
        if self.scorer.processor.senses:
            return _best(weighed(read, recordings, self.scorer.model.config.sense_weights or {}), top_k)
        return _best(read(recordings), top_k)

    def _log_shares(self, recordings: Sequence[EncodedRecording], states: KeptStates) -> Tensor:
        """(recordings, labels), the mean share of the views."""
        scores, prior = self.scorer(recordings, states=states), self.scorer.prior(states)
        found = torch.from_numpy(self.weights.combine(scores, prior, self.scorer.trained))
        return _over_views(found, len(recordings[0].sentences))


def _over_views(log_posteriors: Tensor, views: int) -> Tensor:
    """The log of the mean over the views: (recordings * views, labels) to (recordings, labels)."""
    return log_posteriors.unflatten(0, (-1, views)).logsumexp(1) - math.log(views)


def _best(log_posteriors: Tensor, top_k: int | None) -> tuple[Tensor, Tensor]:
    """The best posteriors (recordings, k) and their numbers."""
    count = log_posteriors.shape[1]
    return log_posteriors.exp().topk(min(top_k or count, count))


def description_request(processor: LlmArProcessor) -> list[int]:
    """The ids that ask for a description; they follow the action sentence in place of the prompt's own end."""
    return _ids(processor, _DESCRIPTION)


def question_request(processor: LlmArProcessor, name: str) -> list[int]:
    """The ids that ask the question of one of `ATTRIBUTES`."""
    return _ids(processor, _QUESTION.format(question=ATTRIBUTES[name].question))


def _ids(processor: LlmArProcessor, text: str) -> list[int]:
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


class OpenVocabularyScorer:
    """Scores labels of any kind after action sentences, each kind of score apart.

    Labels that the model was trained on, under this name or else a phrasing, (`trained`, unless there is one kind only)
    are scored by the name it knows, or by their descriptions where it was taught no names; their other scores are 0,
    but for `attributes`.

    Args:
        labels: any names.
        descriptions: of each label, see `label_descriptions`.
        kinds: which of `KINDS` to compute, default `kinds_that_count`.
    """

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        labels: Sequence[str],
        descriptions: Mapping[str, LabelDescription],
        kinds: Sequence[str] | None = None,
    ):
        self.model, self.processor, self.labels = model, processor, tuple(labels)
        self.described = [descriptions[label] for label in labels]
        self.kinds = tuple(kinds_that_count(model.config, descriptions) if kinds is None else kinds)
        trained = set(model.taught_labels) if len(self.kinds) > 1 else set()
        names = [[label, *one.phrasings] for label, one in zip(labels, self.described, strict=True)]
        known = [[name for name in of_label if normalize_label(name) in trained][:1] for of_label in names]
        self.trained = np.array(list(map(bool, known)), bool)
        tokenizer = processor.tokenizer
        self.before, self.label_request = processor.prompt_parts()
        others = [[] if "attributes" in self.kinds else of_label for of_label in names]
        names = [by_heart or more for by_heart, more in zip(known, others, strict=True)]
        texts = [one.texts(label) for label, one in zip(labels, self.described, strict=True)]
        if "label" in self.kinds:
            texts = [[] if known else more for more, known in zip(texts, self.trained, strict=True)]
        self.names, self.texts = _Texts(names, processor), _Texts(texts, processor)
        self.description_request = description_request(processor)
        self.questions = [
            (question_request(processor, name), LabelTree.from_labels(list(attribute.values), tokenizer), fits)
            for name, attribute in ATTRIBUTES.items()
            if any(
                fits := [
                    [] if known else fitting_values(description, name)
                    for description, known in zip(self.described, self.trained, strict=True)
                ]
            )
        ]
        if "attributes" in self.kinds:
            self.statistics = AttributeStatistics(**(model.config.attribute_statistics or {}))
            self.lexicon = LabelLexicon(model.config.label_lexicon or {}, model.lexicon)
            explained = np.array(list(map(self.lexicon.explains, self.labels, self.described)), bool)
            leeway = np.where(self.trained, 0.0, np.where(explained, _NEW, _NEW + _GUESSED))
            self.leeway = leeway if self.statistics.motion else np.zeros(len(leeway))
        self._key = repr((self.labels, self.described, self.kinds))

    def warn_of_guesses(self) -> None:
        """A `LabelWarning` of new names that the lexicon does not have."""
        if "attributes" not in self.kinds:
            return
        new = [number for number, known in enumerate(self.trained) if not known]
        guessed = self.lexicon.guessed([self.labels[one] for one in new], [self.described[one] for one in new])
        if guessed:
            said = "; ".join(map(str, guessed))
            advice = "such a name is understood by the words it shares with others; check the spelling, or describe it"
            warnings.warn(f"{said}: {advice}.", LabelWarning, stacklevel=3)

    @torch.no_grad()
    def __call__(
        self, recordings: Sequence[EncodedRecording], batch_size: int = 16, states: KeptStates | None = None
    ) -> Scores:
        """The scores of every action sentence, a recording's views one after the other: (sentences, labels).

        Args:
            recordings: those without attributes score 0 in `attributes`.
            batch_size: sentences in a forward.
            states: of several calls between which no weight changes; what labels mean is then guessed once.
        """
        states = states or KeptStates()
        sentences = [sentence for recording in recordings for sentence in recording.sentences]
        order = np.argsort([len(sentence) for sentence in sentences], kind="stable")
        asked = {"label": self.names.tree, "description": self.texts.tree, "questions": self.questions}
        parts: dict[str, list[Tensor]] = {kind: [] for kind in self.kinds if asked.get(kind)}
        batches = range(0, len(order), batch_size)
        for start in logging.tqdm(batches if parts else (), desc="scoring labels", disable=len(batches) < 2):
            prompts = self._encode([sentences[index] for index in order[start : start + batch_size]])
            for kind in parts:
                parts[kind].append(getattr(self, f"_{kind}")(prompts).float().cpu())
        back = np.argsort(order)
        scores = {kind: np.zeros((len(order), len(self.labels)), np.float32) for kind in self.kinds}
        scores |= {kind: torch.cat(found).numpy()[back] for kind, found in parts.items()}
        return scores | ({"attributes": self._attributes(recordings, states)} if "attributes" in self.kinds else {})

    def prior(self, states: KeptStates | None = None) -> Prior:
        """The scores of an empty sentence: (labels,); `states` as in a call."""
        states = states or KeptStates()
        empty = [EncodedRecording({SKELETON: [self.processor.empty_sentence]})]
        return states.kept(("prior", self._key), lambda: {kind: found[0] for kind, found in self(empty).items()})

    def _encode(self, sentences: list[list[int]]) -> EncodedPrompts:
        """The beginning that all requests share, read once."""
        ids = [self.before + sentence for sentence in sentences]
        batch = self.processor.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
        batch = batch.to(self.model.device)
        return encode_prompts(self.model.causal_lm, self.model.embed(batch["input_ids"]), batch["attention_mask"])

    def _score(self, prompts: EncodedPrompts, request: list[int], tree: LabelTree) -> Tensor:
        asked = torch.tensor([request], device=self.model.device).expand(len(prompts.mask), -1)
        tree = tree.to(self.model.device)
        return score_labels(self.model.causal_lm, tree, self.model.embed(asked), prefix=prompts)

    def _label(self, prompts: EncodedPrompts) -> Tensor:
        return self._likelihood(prompts, self.label_request, self.names)

    def _description(self, prompts: EncodedPrompts) -> Tensor:
        return self._likelihood(prompts, self.description_request, self.texts)

    def _likelihood(self, prompts: EncodedPrompts, request: list[int], texts: _Texts) -> Tensor:
        """(rows, labels) the log of each label's mean likelihood over its texts, 0 without any."""
        means = torch.zeros(len(prompts.mask), len(texts.of_labels), device=self.model.device)
        if texts.tree is not None:
            found = self._score(prompts, request, texts.tree)
            for label, numbers in enumerate(texts.of_labels):
                if numbers:
                    means[:, label] = found[:, numbers].logsumexp(1) - math.log(len(numbers))
        return means

    def _questions(self, prompts: EncodedPrompts) -> Tensor:
        total = torch.zeros(len(prompts.mask), len(self.trained), device=self.model.device)
        for request, tree, fits in self.questions:
            answers = self._score(prompts, request, tree).softmax(-1)
            fitting = torch.stack(
                [answers[:, fit].sum(1) if fit else answers.new_ones(len(answers)) for fit in fits], 1
            )
            total += fitting.clamp(min=_IMPOSSIBLE).log()
        return total

    def _attributes(self, recordings: Sequence[EncodedRecording], states: KeptStates) -> np.ndarray:
        rows = [np.zeros((len(recording.sentences), len(self.labels))) for recording in recordings]
        for row, recording in zip(rows, recordings, strict=True):
            if recording.attributes is not None:
                meant = states.kept(("meant", self._key), lambda: self._meant(states))
                measures = None if recording.measures is None else recording.measures[None]
                row += self.statistics.scores(recording.attributes[None], meant, measures) + self.leeway
        return np.concatenate(rows)

    def _meant(self, states: KeptStates) -> ValueShares:
        """What the labels mean, guessed where nobody says it."""
        model, tokenizer = self.model.causal_lm, self.processor.tokenizer
        return self.lexicon.value_shares(self.labels, self.described, self.statistics, model, tokenizer, states)


class _Texts:
    """The tree of all labels' texts, None without any, and the numbers of each label's own."""

    def __init__(self, texts: list[list[str]], processor: LlmArProcessor):
        normalized = [list(dict.fromkeys(map(normalize_label, of_label))) for of_label in texts]
        distinct = list(dict.fromkeys(itertools.chain(*normalized)))
        self.tree = LabelTree.from_labels(distinct, processor.tokenizer) if distinct else None
        self.of_labels = [[distinct.index(text) for text in of_label] for of_label in normalized]


@dataclass(frozen=True)
class ScoreWeights:
    """Makes one score of the kinds.

    A class's name is the best score among classes trained on, and misleads about others: they sound like the names the
    model knows by heart. So the best of the trained classes, by name, and the best of the others, by all kinds, are
    found apart. The attributes that the joints show, which training had no part in, decide between the two; of a model
    without attribute statistics the names do. All this is this project's choice.

    Args:
        label, description, questions, attributes: weight of each kind for classes not trained on.
        calibration: share of a score's prior that is taken off.
        seen_penalty: how much better the joints have to fit the trained class of the two.
    """

    label: float = 0.05
    description: float = 0.05
    questions: float = 0.25
    attributes: float = 1.0
    calibration: float = 1.0
    seen_penalty: float = 0.0

    def combine(self, scores: Scores, prior: Prior, seen: np.ndarray) -> np.ndarray:
        """(sequences, labels) the log of each label's share.

        Args:
            scores, prior: as `OpenVocabularyScorer` gives them.
            seen: (labels,) bool, the classes trained on.
        """
        relative = {kind: scores[kind].astype(np.float64) - self.calibration * prior[kind] for kind in scores}
        largest = max(getattr(self, kind) for kind in scores)
        total = sum(getattr(self, kind) / largest * found for kind, found in relative.items())
        by_name = "label" if "label" in scores else "description"
        if seen.all() or not seen.any():
            return _log_softmax(scores[by_name] if seen.all() else total)
        shares = np.empty_like(total)
        shares[:, seen], shares[:, ~seen] = _log_softmax(scores[by_name][:, seen]), _log_softmax(total[:, ~seen])
        judge, rows = relative.get("attributes", relative[by_name]), np.arange(len(total))
        trained, other = (np.where(group, shares, -np.inf).argmax(1) for group in (seen, ~seen))
        gap = (judge[rows, trained] - judge[rows, other] - self.seen_penalty)[:, None]
        return shares - np.logaddexp(0, np.where(seen, -gap, gap))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
