"""Scores of labels that nobody trained on: by name, by description, by answers about the motion.

Three readings of one action sentence, each a log-likelihood of every label:

- `label`: of the name after the prompt, as the pipeline scores it.
- `description`: of the label's texts after the request for a description, averaged (log-mean-exp) over the texts.
- `questions`: of answers that fit the label's attributes, summed over the questions.

A frequent name or answer is likely whatever moves. So each reading is taken minus `calibration` times its prior, the
log of its mean likelihood over motions of the training part (this project's choice).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from llm_action.datasets.descriptions import QUESTIONS, LabelDescription
from llm_action.modeling.label_reading import EncodedPrompts, encode_prompts
from llm_action.modeling.label_scoring import score_labels
from llm_action.modeling.label_tree import LabelTree
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.answers import description_request, question_request
from llm_action.training.experiment import RecognizerStage

READINGS = ("label", "description", "questions")
Scores = dict[str, np.ndarray]
"""(sequences, labels) log-likelihoods of each reading."""

_IMPOSSIBLE = 1e-6  # likelihood below which one answer cannot rule a label out


class OpenVocabularyScorer:
    """Reads action sentences for labels of any kind.

    Args:
        labels: any names.
        descriptions: of each label, see `llm_action.datasets.descriptions`.
        readings: which of `READINGS` to take; those that the model was not trained to answer say little.
    """

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        labels: Sequence[str],
        descriptions: dict[str, LabelDescription],
        readings: Sequence[str] = READINGS,
    ):
        self.model, self.processor, self.readings = model, processor, readings
        tokenizer = processor.tokenizer
        self.before, self.label_request = processor.prompt_parts()
        self.labels = LabelTree.from_labels(labels, tokenizer)
        texts = [descriptions[label].texts(label) for label in labels]
        distinct = list(dict.fromkeys(itertools.chain(*texts)))
        self.texts = LabelTree.from_labels(distinct, tokenizer)
        self.texts_of = [[distinct.index(text) for text in of_label] for of_label in texts]
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
        for start in tqdm(range(0, len(order), batch_size), desc="scoring labels"):
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
        return self._score(prompts, self.label_request, self.labels)

    def _description(self, prompts: EncodedPrompts) -> Tensor:
        found = self._score(prompts, self.description_request, self.texts)
        return torch.stack([found[:, texts].logsumexp(1) - math.log(len(texts)) for texts in self.texts_of], 1)

    def _questions(self, prompts: EncodedPrompts) -> Tensor:
        total = torch.zeros(len(prompts.mask), len(self.labels), device=self.model.device)
        for request, tree, fits in self.questions:
            answers = self._score(prompts, request, tree).softmax(-1)
            fitting = torch.stack(
                [answers[:, fit].sum(1) if fit else answers.new_ones(len(answers)) for fit in fits], 1
            )
            total += fitting.clamp(min=_IMPOSSIBLE).log()
        return total


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
    def default(cls, stage: RecognizerStage) -> Weights:
        """1 for each reading that a training taught, 0 for the others."""
        return cls(
            label=float(stage.answers != "description"),
            description=float(stage.answers != "label"),
            questions=float(stage.question_share > 0),
        )

    def combine(self, scores: Scores, references: Scores, seen: np.ndarray | None = None) -> np.ndarray:
        """(sequences, labels) one score each.

        Args:
            scores: of the sequences in question.
            references: of motions of the training part.
            seen: (labels,) bool, the classes trained on; None: no penalty.
        """
        total = np.zeros_like(next(iter(scores.values())), dtype=np.float64)
        for name in scores:
            prior = np.logaddexp.reduce(references[name].astype(np.float64), axis=0) - math.log(len(references[name]))
            total += getattr(self, name) * (scores[name] - self.calibration * prior)
        return total if seen is None else total - self.seen_penalty * seen


def choose_weights(
    scores: Scores, references: Scores, targets: np.ndarray, seen: np.ndarray, default: Weights
) -> Weights:
    """The weights that do best on classes held out of training: of the readings and the calibration those of the best
    top-1 among the held-out classes, then the penalty of the best harmonic mean. Of equals the nearest to the default.

    Args:
        scores, references: see `Weights.combine`.
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool, the classes trained on; the others were held out.
    """
    taught = [name for name in READINGS if name in scores and getattr(default, name) > 0]
    unseen, held_out = np.flatnonzero(~seen), ~seen[targets]
    among_unseen = {name: found[held_out][:, unseen] for name, found in scores.items()}
    of_unseen = {name: found[:, unseen] for name, found in references.items()}

    def zero_shot(weights: Weights) -> float:
        return float((unseen[weights.combine(among_unseen, of_unseen).argmax(1)] == targets[held_out]).mean())

    best = max(_grid(taught, default), key=zero_shot)

    def harmonic(weights: Weights) -> float:
        return generalised(weights.combine(scores, references, seen), targets, seen)["harmonic_mean"]

    margins = best.combine(scores, references)
    largest = float(np.ptp(margins, axis=1).max())
    penalties = np.linspace(0, largest, 101).tolist()
    return max((replace(best, seen_penalty=penalty) for penalty in penalties), key=harmonic)


def _grid(taught: list[str], default: Weights) -> Iterator[Weights]:
    yield default
    for calibration in (1.0, 0.5, 0.0):
        for values in itertools.product((1.0, 0.5, 0.25, 0.0), repeat=len(taught)):
            if 1.0 in values:  # only ratios matter
                yield replace(default, calibration=calibration, **dict(zip(taught, values, strict=True)))


def generalised(scores: np.ndarray, targets: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Accuracy among all labels, of sequences of seen and of unseen classes, and the harmonic mean of the two.

    Args:
        scores: (sequences, labels).
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool.
    """
    right, of_seen = scores.argmax(1) == targets, seen[targets]
    known, new = float(right[of_seen].mean()), float(right[~of_seen].mean())
    return {"seen": known, "unseen": new, "harmonic_mean": 2 * known * new / (known + new) if known + new else 0.0}
