"""Scores of labels that nobody trained on: by name, by description, by answers about the motion.

Three readings of one action sentence, each a log-likelihood of every label:

- `label`: of the name and its phrasings after the prompt, averaged (log-mean-exp) over them.
- `description`: of the label's texts after the request for a description, averaged (log-mean-exp) over the texts.
- `questions`: of answers that fit the label's attributes, summed over the questions.

A frequent name or answer is likely whatever moves. So each reading is taken minus `calibration` times its prior, the
log of its mean likelihood over reference sentences (this project's choice): an empty one in the pipeline, motions of
the training part in `llm-action evaluate-unseen`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging

from .label_descriptions import QUESTIONS, LabelDescription
from .label_reading import EncodedPrompts, encode_prompts
from .label_scoring import score_labels
from .label_tree import LabelTree, normalize_label
from .modeling_llm_ar import LlmArForActionRecognition
from .processing_llm_ar import LlmArProcessor

READINGS = ("label", "description", "questions")
Scores = dict[str, np.ndarray]
"""(sequences, labels) log-likelihoods of each reading."""

_DESCRIPTION = "\nThe movement is:"
_QUESTION = "\nQuestion: {question} Answer:"
_IMPOSSIBLE = 1e-6  # likelihood below which one answer cannot rule a label out
_WITHOUT_MOTION: list[int] = []  # a sentence that tells nothing


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

    Args:
        labels: any names.
        descriptions: of each label, see `label_descriptions`.
        readings: which of `READINGS` to take; those that the model was not trained to answer say little.
    """

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        labels: Sequence[str],
        descriptions: Mapping[str, LabelDescription],
        readings: Sequence[str] = READINGS,
    ):
        self.model, self.processor, self.readings = model, processor, readings
        tokenizer = processor.tokenizer
        self.before, self.label_request = processor.prompt_parts()
        self.names, self.names_of = _texts([[label, *descriptions[label].phrasings] for label in labels], processor)
        self.texts, self.texts_of = _texts([descriptions[label].texts(label) for label in labels], processor)
        self.num_labels = len(labels)
        self.description_request = description_request(processor)
        self.questions = [
            (question_request(processor, name), LabelTree.from_labels(list(question.answers), tokenizer), fits)
            for name, question in QUESTIONS.items()
            if any(fits := [_fitting(descriptions[label], name) for label in labels])
        ]

    @torch.no_grad()
    def __call__(self, sentences: Sequence[list[int]], batch_size: int = 16) -> Scores:
        """Each reading of every sentence (ids as `LlmArProcessor.encode` gives them): (sentences, labels)."""
        order = np.argsort([len(sentence) for sentence in sentences], kind="stable")
        parts: dict[str, list[Tensor]] = {name: [] for name in self.readings}
        batches = range(0, len(order), batch_size)
        for start in logging.tqdm(batches, desc="scoring labels", disable=len(batches) < 2):
            prompts = self._read([sentences[index] for index in order[start : start + batch_size]])
            for name in self.readings:
                parts[name].append(getattr(self, f"_{name}")(prompts).float().cpu())
        back = np.argsort(order)
        return {name: torch.cat(found).numpy()[back] for name, found in parts.items()}

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
        return _averaged(self._score(prompts, self.label_request, self.names), self.names_of)

    def _description(self, prompts: EncodedPrompts) -> Tensor:
        return _averaged(self._score(prompts, self.description_request, self.texts), self.texts_of)

    def _questions(self, prompts: EncodedPrompts) -> Tensor:
        total = torch.zeros(len(prompts.mask), self.num_labels, device=self.model.device)
        for request, tree, fits in self.questions:
            answers = self._score(prompts, request, tree).softmax(-1)
            fitting = torch.stack(
                [answers[:, fit].sum(1) if fit else answers.new_ones(len(answers)) for fit in fits], 1
            )
            total += fitting.clamp(min=_IMPOSSIBLE).log()
        return total


def _texts(texts: list[list[str]], processor: LlmArProcessor) -> tuple[LabelTree, list[list[int]]]:
    """The tree of all labels' texts, and the numbers of each label's own."""
    normalized = [list(dict.fromkeys(map(normalize_label, of_label))) for of_label in texts]
    distinct = list(dict.fromkeys(itertools.chain(*normalized)))
    tree = LabelTree.from_labels(distinct, processor.tokenizer)
    return tree, [[distinct.index(text) for text in of_label] for of_label in normalized]


def _averaged(found: Tensor, texts_of: list[list[int]]) -> Tensor:
    """(rows, labels) the log of each label's mean likelihood over its texts; `found` (rows, texts)."""
    return torch.stack([found[:, texts].logsumexp(1) - math.log(len(texts)) for texts in texts_of], 1)


def _fitting(description: LabelDescription, name: str) -> list[int]:
    """The numbers of the answers that fit a label; none where the label says nothing about the question."""
    answers = list(QUESTIONS[name].answers)
    return [answers.index(answer) for answer in description.attributes.get(name, ())]


@dataclass(frozen=True)
class Weights:
    """How readings become one score.

    Args:
        label, description, questions: weight of each reading.
        calibration: share of a reading's prior that is taken off.
        seen_penalty: taken off the classes trained on, so that others stand a chance among them (calibrated stacking;
            Chao et al., ECCV 2016).
    """

    label: float = 1.0
    description: float = 1.0
    questions: float = 1.0
    calibration: float = 1.0
    seen_penalty: float = 0.0

    @classmethod
    def of(cls, readings: Sequence[str]) -> Weights:
        """1 for each of these readings, 0 for the others."""
        return cls(**{name: float(name in readings) for name in READINGS})

    def combine(self, scores: Scores, references: Scores, seen: np.ndarray | None = None) -> np.ndarray:
        """(sequences, labels) one score each.

        Args:
            scores: of the sequences in question.
            references: of the reference sentences.
            seen: (labels,) bool, the classes trained on; None: no penalty.
        """
        total = np.zeros_like(next(iter(scores.values())), dtype=np.float64)
        for name in scores:
            prior = np.logaddexp.reduce(references[name].astype(np.float64), axis=0) - math.log(len(references[name]))
            total += getattr(self, name) * (scores[name] - self.calibration * prior)
        return total if seen is None else total - self.seen_penalty * seen


class CalibratedScorer:
    """The share of each label by everything a model was taught to say of a sentence.

    Args:
        described: labels and what they mean; an empty description leaves a label to its name.
        calibrate: whether each reading is taken relative to that of an empty sentence, which tells what is said
            without a motion. On classes held out of UTD-MHAD it did better than a prior over random sentences.
    """

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        described: Mapping[str, LabelDescription],
        calibrate: bool,
    ):
        taught = model.config.readings or ["label"]
        told = any(description != LabelDescription() for description in described.values())
        readings = taught if told else ["label"]
        self.labels, self._processor = tuple(described), processor
        self._read = OpenVocabularyScorer(model, processor, self.labels, described, readings)
        self._weights = replace(Weights.of(readings), calibration=float(calibrate))
        self._references = self._read([_WITHOUT_MOTION])

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, labels) shares that sum to 1, for prompts (batch, tokens) as the processor makes them."""
        before, after = map(len, self._processor.prompt_parts())
        prompts = [ids[real].tolist() for ids, real in zip(input_ids, attention_mask.bool(), strict=True)]
        scores = self._read([prompt[before : len(prompt) - after] for prompt in prompts])
        return torch.from_numpy(self._weights.combine(scores, self._references)).softmax(-1)
