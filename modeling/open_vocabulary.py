"""Scores of labels that nobody trained on: by name, by description, by answers about the motion, by its joints.

Three readings of one action sentence, each a log-likelihood of every label, and one of the joints behind it:

- `label`: of the name and its phrasings after the prompt, averaged (log-mean-exp) over them.
- `description`: of the label's texts after the request for a description, averaged (log-mean-exp) over the texts.
- `questions`: of answers that fit the label's attributes, summed over the questions.
- `motion`: the same attributes against answers computed from the joints, see `attribute_statistics`; of labels without
  attributes those that a `label_lexicon` has or guesses.

A frequent name or answer is likely whatever moves. So each reading is taken minus `calibration` times its prior, what
is read from an empty sentence (this project's choice; on held-out classes it did better than training sentences and
random ones).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging

from .action_attributes import QUESTIONS
from .attribute_likelihood import AttributeStatistics, LabelLexicon, fitting_answers
from .configuration_llm_ar import LlmArConfig
from .label_descriptions import LabelDescription
from .label_scoring import score_labels
from .label_tree import LabelTree, normalize_label
from .modeling_llm_ar import LlmArForActionRecognition
from .processing_llm_ar import LlmArProcessor
from .prompt_states import EncodedPrompts, encode_prompts

READINGS = ("label", "description", "questions", "motion")
Scores = dict[str, np.ndarray]
"""(sequences, labels) log-likelihoods of each reading."""
Prior = dict[str, np.ndarray]
"""(labels,) each reading of a sentence that tells nothing."""

_DESCRIPTION = "\nThe movement is:"
_QUESTION = "\nQuestion: {question} Answer:"
_IMPOSSIBLE = 1e-6  # likelihood below which one answer cannot rule a label out


def description_request(processor: LlmArProcessor) -> list[int]:
    """The ids that ask for a description; they follow the action sentence in place of the prompt's own end."""
    return _ids(processor, _DESCRIPTION)


def question_request(processor: LlmArProcessor, name: str) -> list[int]:
    """The ids that ask a question of `QUESTIONS`."""
    return _ids(processor, _QUESTION.format(question=QUESTIONS[name].text))


def _ids(processor: LlmArProcessor, text: str) -> list[int]:
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


class OpenVocabularyScorer:
    """Reads action sentences for labels of any kind.

    Labels that the model was trained on (`trained`, unless there is one reading only) are read by their names, or by
    their descriptions where it was taught no names; the other readings of them are 0, but for `motion`.

    Args:
        labels: any names.
        descriptions: of each label, see `label_descriptions`.
        readings: which of `READINGS` to take, default those that the model was taught, and `motion` if it was trained
            with evidence of it.
        lexicon: what names mean; default the model's own, read anew.
    """

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        labels: Sequence[str],
        descriptions: Mapping[str, LabelDescription],
        readings: Sequence[str] | None = None,
        lexicon: LabelLexicon | None = None,
    ):
        self.model, self.processor = model, processor
        self.readings = tuple(taught_readings(model.config) if readings is None else readings)
        described = [descriptions[label] for label in labels]
        trained = set(model.config.label_names or ()) if len(self.readings) > 1 else set()
        self.trained = np.array([normalize_label(label) in trained for label in labels])
        tokenizer = processor.tokenizer
        self.before, self.label_request = processor.prompt_parts()
        phrasings = [() if known else one.phrasings for one, known in zip(described, self.trained, strict=True)]
        names = [[label, *more] for label, more in zip(labels, phrasings, strict=True)]
        texts = [one.texts(label) for label, one in zip(labels, described, strict=True)]
        if "label" in self.readings:
            texts = [[] if known else more for more, known in zip(texts, self.trained, strict=True)]
        self.names, self.texts = _Texts(names, processor), _Texts(texts, processor)
        self.description_request = description_request(processor)
        self.questions = [
            (question_request(processor, name), LabelTree.from_labels(list(question.answers), tokenizer), fits)
            for name, question in QUESTIONS.items()
            if any(
                fits := [
                    [] if known else fitting_answers(description, name)
                    for description, known in zip(described, self.trained, strict=True)
                ]
            )
        ]
        if "motion" in self.readings:
            lexicon = lexicon or LabelLexicon(model.config.label_lexicon or {})
            self.evidence = AttributeStatistics(**model.config.attribute_statistics)
            self.told = lexicon.told(labels, described, self.evidence, model.causal_lm, tokenizer)

    @torch.no_grad()
    def __call__(
        self, sentences: Sequence[list[int]], motion: np.ndarray | None = None, batch_size: int = 16
    ) -> Scores:
        """Each reading of every sentence: (sentences, labels).

        Args:
            sentences: ids as `LlmArProcessor.encode` gives them.
            motion: (sentences, questions) what the joints answer, see `motion_numbers`; None: they say nothing.
            batch_size: sentences read at a time.
        """
        order = np.argsort([len(sentence) for sentence in sentences], kind="stable")
        parts: dict[str, list[Tensor]] = {name: [] for name in self.readings if name != "motion"}
        batches = range(0, len(order), batch_size)
        for start in logging.tqdm(batches, desc="scoring labels", disable=len(batches) < 2):
            prompts = self._read([sentences[index] for index in order[start : start + batch_size]])
            for name in parts:
                parts[name].append(getattr(self, f"_{name}")(prompts).float().cpu())
        back = np.argsort(order)
        scores = {name: torch.cat(found).numpy()[back] for name, found in parts.items()}
        return scores | ({"motion": self._motion(len(order), motion)} if "motion" in self.readings else {})

    def prior(self) -> Prior:
        """Each reading of a sentence that tells nothing: (labels,)."""
        return {name: found[0] for name, found in self([[]]).items()}

    def _read(self, sentences: list[list[int]]) -> EncodedPrompts:
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

    def _motion(self, count: int, motion: np.ndarray | None) -> np.ndarray:
        if motion is None:
            return np.zeros((count, len(self.trained)))
        return self.evidence.scores(motion, self.told)

    def _questions(self, prompts: EncodedPrompts) -> Tensor:
        total = torch.zeros(len(prompts.mask), len(self.trained), device=self.model.device)
        for request, tree, fits in self.questions:
            answers = self._score(prompts, request, tree).softmax(-1)
            fitting = torch.stack(
                [answers[:, fit].sum(1) if fit else answers.new_ones(len(answers)) for fit in fits], 1
            )
            total += fitting.clamp(min=_IMPOSSIBLE).log()
        return total


class _Texts:
    """The tree of all labels' texts, None without any, and the numbers of each label's own."""

    def __init__(self, texts: list[list[str]], processor: LlmArProcessor):
        normalized = [list(dict.fromkeys(map(normalize_label, of_label))) for of_label in texts]
        distinct = list(dict.fromkeys(itertools.chain(*normalized)))
        self.tree = LabelTree.from_labels(distinct, processor.tokenizer) if distinct else None
        self.of_labels = [[distinct.index(text) for text in of_label] for of_label in normalized]


def taught_readings(config: LlmArConfig) -> list[str]:
    """The readings that a model's answers mean something in."""
    return [*(config.readings or ["label"]), *(["motion"] if config.attribute_statistics else [])]


def guesses(config: LlmArConfig, labels: Iterable[str]) -> bool:
    """Whether some of the labels are new to a model that can tell by their names what they mean."""
    known = set(config.label_names or ())
    able = config.attribute_statistics and config.label_lexicon
    return bool(able) and any(normalize_label(label) not in known for label in labels)


@dataclass(frozen=True)
class Weights:
    """How readings become one score.

    A class's name is the best reading among classes trained on, and misleads about others: they sound like the names
    the model knows by heart. So the best of the trained classes, by name, and the best of the others, by all readings,
    are found apart; the joints, which training had no part in, decide between the two (names, of a model without
    evidence of its motions; this project's choice).

    The defaults did better than the joints alone, by 1 to 9 points, in each of three trainings without five classes of
    UTD-MHAD. With larger weights of what the LLM says two of them did better still, by up to 15, and one no better than
    the joints alone; such gains do not last from one tokenizer to the next, so they were not chosen.

    Args:
        label, description, questions, motion: weight of each reading for classes not trained on.
        calibration: share of a reading's prior that is taken off.
        seen_penalty: how much better the joints have to fit the trained class of the two.
    """

    label: float = 0.05
    description: float = 0.05
    questions: float = 0.25
    motion: float = 1.0
    calibration: float = 1.0
    seen_penalty: float = 0.0

    def combine(self, scores: Scores, prior: Prior, seen: np.ndarray) -> np.ndarray:
        """(sequences, labels) the log of each label's share.

        Args:
            scores, prior: as `OpenVocabularyScorer` gives them.
            seen: (labels,) bool, the classes trained on.
        """
        relative = {name: scores[name].astype(np.float64) - self.calibration * prior[name] for name in scores}
        largest = max(getattr(self, name) for name in scores)
        total = sum(getattr(self, name) / largest * found for name, found in relative.items())
        by_name = "label" if "label" in scores else "description"
        if seen.all() or not seen.any():
            return _log_softmax(scores[by_name] if seen.all() else total)
        shares = np.empty_like(total)
        shares[:, seen], shares[:, ~seen] = _log_softmax(scores[by_name][:, seen]), _log_softmax(total[:, ~seen])
        judge, rows = relative.get("motion", relative[by_name]), np.arange(len(total))
        trained, other = (np.where(group, shares, -np.inf).argmax(1) for group in (seen, ~seen))
        gap = (judge[rows, trained] - judge[rows, other] - self.seen_penalty)[:, None]
        return shares - np.logaddexp(0, np.where(seen, -gap, gap))


class CalibratedScorer:
    """The share of each label by everything that can be read of a motion.

    Args:
        described: labels and what they mean; if none is described, all are read by their names alone.
        calibrate: whether each reading is taken relative to its prior, and the meaning of bare names guessed.
        lexicon: see `OpenVocabularyScorer`.
    """

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        described: Mapping[str, LabelDescription],
        calibrate: bool,
        lexicon: LabelLexicon | None = None,
    ):
        self.labels, self._processor = tuple(described), processor
        readings = taught_readings(model.config)
        joints = ("motion",) if calibrate and guesses(model.config, described) else ()
        if all(description == LabelDescription() for description in described.values()):
            readings = ["label", *joints]
        elif not any(description.attributes for description in described.values()):
            readings = [name for name in readings if name in ("label", "description", *joints)]
        self._read = OpenVocabularyScorer(model, processor, self.labels, described, readings, lexicon)
        self._weights, self._prior = Weights(calibration=float(calibrate)), self._read.prior()

    @property
    def asks_joints(self) -> bool:
        """Whether it wants to know what the joints answer."""
        return "motion" in self._read.readings

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, motion: Tensor | None = None) -> Tensor:
        """(batch, labels) shares that sum to 1.

        Args:
            input_ids, attention_mask: (batch, tokens) prompts as the processor makes them.
            motion: (batch, questions), see `motion_numbers`.
        """
        before, after = map(len, self._processor.prompt_parts())
        prompts = [ids[real].tolist() for ids, real in zip(input_ids, attention_mask.bool(), strict=True)]
        sentences = [prompt[before : len(prompt) - after] for prompt in prompts]
        scores = self._read(sentences, None if motion is None else motion.cpu().numpy())
        return torch.from_numpy(self._weights.combine(scores, self._prior, self._read.trained)).exp()


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
