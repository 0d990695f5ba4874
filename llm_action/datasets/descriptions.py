"""What class names mean, in words: phrasings, phases, and answers to questions that a skeleton can be asked too.

A description file is JSON (`label_descriptions/template.json` is one to copy):

    {"labels": {"wave": {
        "phrasings": ["waving with the right hand", "the raised right hand swings from side to side"],
        "phases": ["the right hand goes up", "it swings left and right", "it goes down"],
        "attributes": {"arms": "right arm", "hands": ["at the head", "above the head"], "repeated": "yes"}}}}

All three are optional. Attributes are answers to `QUESTIONS`, several where a label allows several, the most telling
questions first. The shipped files are written from the data sets' own documents, without a look at a skeleton.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_action.modeling.label_tree import normalize_label

SHIPPED = Path(__file__).parent / "label_descriptions"
_TOLD_ATTRIBUTES = 4  # all of them would be too long a text


@dataclass(frozen=True)
class Question:
    """A question about a movement.

    Attributes:
        text: the question.
        answers: each answer and what it says as a phrase of a description.
    """

    text: str
    answers: dict[str, str]


def _yes_no(text: str, yes: str, no: str) -> Question:
    return Question(text, {"yes": yes, "no": no})


# This project's choice; `llm_action.training.motion_questions` answers each from the joints.
QUESTIONS: dict[str, Question] = {
    "arms": Question(
        "Which arm moves most?",
        {
            "right arm": "the right arm moves",
            "left arm": "the left arm moves",
            "both arms": "both arms move",
            "neither arm": "the arms hang still",
        },
    ),
    "hands": Question(
        "How high do the hands get?",
        {
            "above the head": "a hand goes above the head",
            "at the head": "a hand goes up to the head",
            "at the chest": "a hand goes up to the chest",
            "at the hips": "the hands stay at the hips",
        },
    ),
    "direction": Question(
        "Which way does the hand move most?",
        {
            "sideways": "the hand moves sideways",
            "up and down": "the hand moves up and down",
            "forward and back": "the hand moves forward and back",
        },
    ),
    "sweep": Question(
        "Where does the raised hand go?",
        {
            "to the left": "the raised hand goes to the left",
            "to the right": "the raised hand goes to the right",
            "neither side": "the raised hand ends where it began",
        },
    ),
    "turn": Question(
        "Which way does the hand circle?",
        {
            "clockwise": "the hand circles clockwise",
            "counter-clockwise": "the hand circles counter-clockwise",
            "neither way": "the hand does not circle",
        },
    ),
    "reach": _yes_no(
        "Does a hand reach far from the body?", "a hand reaches far from the body", "the hands stay close to the body"
    ),
    "together": _yes_no("Do the hands come together?", "the hands come together", "the hands stay apart"),
    "floor": _yes_no("Do the hands go below the knees?", "a hand goes below the knees", "no hand goes below the knees"),
    "body": Question(
        "How does the body move?",
        {
            "down": "the body goes down",
            "up": "the body goes up",
            "down and up": "the body goes down and up",
            "level": "the body stays level",
        },
    ),
    "feet": Question(
        "What do the feet do?",
        {
            "stay": "the feet stay where they are",
            "step": "a foot takes a step",
            "keep stepping": "the feet keep stepping",
        },
    ),
    "lean": _yes_no("Does the trunk lean forward?", "the trunk leans forward", "the trunk stays upright"),
    "repeated": _yes_no("Is the movement repeated?", "the movement is repeated", "the movement is done once"),
}


@dataclass(frozen=True)
class LabelDescription:
    """What one label means.

    Attributes:
        phrasings: ways to say it.
        phases: what happens first, then, and last.
        attributes: question of `QUESTIONS` to the answers that fit the label.
    """

    phrasings: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def phrases(self) -> list[str]:
        """Each attribute with one fitting answer, as a phrase."""
        return [QUESTIONS[name].answers[answers[0]] for name, answers in self.attributes.items() if len(answers) == 1]

    def texts(self, label: str) -> list[str]:
        """The texts a label is scored by: its phrasings, else its phases, else its attributes, else its name."""
        for texts in (self.phrasings, [self.in_phases()], [", ".join(self.phrases()[:_TOLD_ATTRIBUTES])]):
            if found := [text for text in dict.fromkeys(map(normalize_label, texts)) if text]:
                return found
        return [normalize_label(label)]

    def in_phases(self) -> str:
        """The phases as one text, "" without any."""
        return ", then ".join(self.phases)


def load_descriptions(
    labels: Sequence[str], dataset: str | None = None, file: str | os.PathLike[str] | None = None
) -> dict[str, LabelDescription]:
    """The description of every label, an empty one where nobody wrote any; upper and lower case are the same.

    Args:
        labels: class names.
        dataset: name of a benchmark whose descriptions ship with this package; others have none.
        file: descriptions of one's own, which come before the shipped ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no description file; the text names the entry and what was expected.
    """
    known: dict[str, LabelDescription] = {}
    shipped = SHIPPED / f"{dataset}.json"
    for source in ([shipped] if dataset and shipped.is_file() else []) + ([Path(file)] if file else []):
        known |= _read(source)
    empty = LabelDescription()
    return {label: known.get(_key(label), empty) for label in labels}


def _read(file: Path) -> dict[str, LabelDescription]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: expected a JSON file of label descriptions, found no such file")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: expected JSON: {error}") from None
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise ValueError(f'{file}: expected {{"labels": {{NAME: ...}}}}; copy {SHIPPED / "template.json"}')
    return {_key(label): _description(entry, f"{file}: {label!r}") for label, entry in labels.items()}


def _description(entry: Any, where: str) -> LabelDescription:
    parts = ("phrasings", "phases", "attributes")
    if not isinstance(entry, dict) or set(entry) - set(parts):
        raise ValueError(f"{where}: expected {', '.join(parts)}, got {entry!r:.80}")
    attributes = entry.get("attributes", {})
    if not isinstance(attributes, dict):
        raise ValueError(f"{where}: expected attributes as question and answer, got {attributes!r:.80}")
    for name, given in attributes.items():
        if name not in QUESTIONS:
            raise ValueError(f"{where}: unknown attribute {name!r}; known: {', '.join(QUESTIONS)}")
        known = QUESTIONS[name].answers
        if wrong := [answer for answer in _texts(given, f"{where}: {name}") if answer not in known]:
            raise ValueError(f"{where}: {name} is {wrong[0]!r}; expected one or several of {', '.join(known)}")
    return LabelDescription(
        _texts(entry.get("phrasings", []), f"{where}: phrasings"),
        _texts(entry.get("phases", []), f"{where}: phases"),
        {name: _texts(given, where) for name, given in attributes.items()},
    )


def _texts(given: Any, where: str) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{where}: expected a text or a list of texts, got {given!r:.80}")
    return tuple(texts)


def _key(label: str) -> str:
    return normalize_label(label).casefold()
