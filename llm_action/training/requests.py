"""Requests: what the language model is asked about a motion, and what it shall answer.

It answers a label, a description, or a question about the motion. A label teaches it a name. Descriptions and questions
use words that classes share: they teach it what action tokens mean, so that it can be asked about classes it never saw
(this project's option).
"""

from __future__ import annotations

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.config.sections import RecognizerStage
from llm_action.datasets.split import described_labels
from llm_action.modeling.action_attributes import ATTRIBUTES, attribute_values
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.label_tree import label_token_ids
from llm_action.modeling.open_vocabulary import description_request, question_request
from llm_action.modeling.processing_llm_ar import LlmArProcessor

_DRAWN_ATTRIBUTES = 4  # of a description made of attributes


class Requests:
    """Asks about each action sentence of a training, by `recognizer.answers` and `recognizer.question_share`.

    Args:
        labels: the names that are to be answered, index = class id.

    Raises:
        FileNotFoundError, ValueError: see `described_labels`.
    """

    def __init__(self, experiment: Experiment, processor: LlmArProcessor, labels: list[str]):
        stage = experiment.recognizer
        self.kinds = _kinds(stage)
        self.questions_each = examples_each(stage) - len(self.kinds)
        self.labels, self.processor, self.layout = labels, processor, processor.feature_extractor.layout
        self.label_request = processor.prompt_parts()[1]
        self.label_ids = [self._closed(ids) for ids in label_token_ids(labels, processor.tokenizer)]
        names = [label for label in labels if label not in experiment.unseen]
        self.descriptions = described_labels(experiment, names)
        self.description_request = description_request(processor)
        self.requests = {name: question_request(processor, name) for name in ATTRIBUTES}

    def __call__(self, label: int, persons: np.ndarray, rng: np.random.Generator) -> list[tuple[list[int], list[int]]]:
        """(request, answer) ids of every example made of one action sentence.

        Args:
            label: class id.
            persons: (persons, frames, joints, 3) the motion that the sentence encodes, normalised, in torso lengths.
            rng: draws one of several descriptions, and the questions.
        """
        examples = []
        if "label" in self.kinds:
            examples.append((self.label_request, self.label_ids[label]))
        if "description" in self.kinds:
            text = drawn_description(self.labels[label], self.descriptions[self.labels[label]], rng)
            examples.append((self.description_request, self._answer(text)))
        asked = min(int(self.questions_each + rng.random()), len(ATTRIBUTES)) if self.questions_each else 0
        if asked:
            facts = attribute_values(persons, self.layout)
            for name in rng.choice(list(ATTRIBUTES), asked, replace=False):
                answer = self._agreed(name, facts[name], label, rng)
                examples.append((self.requests[name], self._answer(answer)))
        return examples

    def _agreed(self, name: str, fact: str, label: int, rng: np.random.Generator) -> str:
        """Answers a question as the joints do, or half the time, where the label's attributes contradict, as those do.

        Either may err.
        """
        described = self.descriptions[self.labels[label]].attributes.get(name, ())
        contradicted = bool(described) and fact not in described
        return str(rng.choice(described)) if contradicted and rng.random() < 0.5 else fact

    def _answer(self, text: str) -> list[int]:
        return self._closed(label_token_ids([text], self.processor.tokenizer)[0])

    def _closed(self, ids: list[int]) -> list[int]:
        return [*ids, self.processor.tokenizer.eos_token_id]


def examples_each(stage: RecognizerStage) -> float:
    """Examples made of one action sentence, on average."""
    return len(_kinds(stage)) / (1 - stage.question_share)


def _kinds(stage: RecognizerStage) -> tuple[str, ...]:
    return ("label", "description") if stage.answers == "both" else (stage.answers,)


def drawn_description(label: str, description: LabelDescription, rng: np.random.Generator) -> str:
    """Draws one of the label's texts, or some of its attributes in any order, so that none predicts the next."""
    texts, phrases = description.texts(label), description.phrases()
    if len(phrases) < 2 or rng.random() < 0.5:
        return str(rng.choice([*texts, description.in_phases()] if description.phases else texts))
    return ", ".join(rng.permutation(phrases)[:_DRAWN_ATTRIBUTES])
