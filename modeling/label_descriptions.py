"""What class names mean: phrasings, phases, and attributes whose values the joints of a recording show as well.

As a mapping, say in JSON, all three optional:

    {"phrasings": ["waving with the right hand", "the raised right hand swings from side to side"],
     "phases": ["the right hand goes up", "it swings left and right", "it goes down"],
     "attributes": {"arms": "right arm", "hands": ["at the head", "above the head"], "repeated": "yes"}}

Attributes are those of `action_attributes`, the most distinctive ones first. An attribute has several values where a
label allows several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .action_attributes import ATTRIBUTES
from .label_tree import normalize_label

_ATTRIBUTES_IN_TEXT = 4  # all of them would be too long a text


@dataclass(frozen=True)
class LabelDescription:
    """What one label means.

    Attributes:
        phrasings: ways to say it.
        phases: what happens first, then, and last.
        attributes: name in `ATTRIBUTES` to the values that fit the label.
    """

    phrasings: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def phrases(self) -> list[str]:
        """The phrase of each attribute that has one fitting value."""
        return [ATTRIBUTES[name].values[values[0]] for name, values in self.attributes.items() if len(values) == 1]

    def texts(self, label: str) -> list[str]:
        """The texts a label is scored by: its phrasings, else its phases, else its attributes, else its name."""
        for texts in (self.phrasings, [self.in_phases()], [", ".join(self.phrases()[:_ATTRIBUTES_IN_TEXT])]):
            if found := [text for text in dict.fromkeys(map(normalize_label, texts)) if text]:
                return found
        return [normalize_label(label)]

    def in_phases(self) -> str:
        """The phases as one text, "" without any."""
        return ", then ".join(self.phases)


def parse_description(entry: Any, where: str) -> LabelDescription:
    """A label's description from a mapping as above, or from its phrasings alone, a text or a list of texts.

    Args:
        where: names the entry in errors.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    if isinstance(entry, LabelDescription):
        return entry
    if isinstance(entry, (str, list, tuple)):
        return LabelDescription(_texts(entry, where))
    parts = ("phrasings", "phases", "attributes")
    if not isinstance(entry, dict) or set(entry) - set(parts):
        raise ValueError(f"{where}: expected {', '.join(parts)}, got {entry!r:.80}")
    attributes = entry.get("attributes", {})
    if not isinstance(attributes, dict):
        raise ValueError(f"{where}: expected attributes as a mapping of names to values, got {attributes!r:.80}")
    for name, given in attributes.items():
        if name not in ATTRIBUTES:
            raise ValueError(f"{where}: unknown attribute {name!r}; known: {', '.join(ATTRIBUTES)}")
        known = ATTRIBUTES[name].values
        if wrong := [value for value in _texts(given, f"{where}: {name}") if value not in known]:
            raise ValueError(f"{where}: {name} is {wrong[0]!r}; expected one or several of {', '.join(known)}")
    return LabelDescription(
        _texts(entry.get("phrasings", []), f"{where}: phrasings"),
        _texts(entry.get("phases", []), f"{where}: phases"),
        {name: _texts(given, where) for name, given in attributes.items()},
    )


def _texts(given: Any, where: str) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{where}: expected a text or a list of texts, got {given!r:.80}")
    return tuple(texts)
