"""The lexicon of actions: what each part of the body does in several hundred movements, and which one a name means.

Its files, one a domain, hold {"about": ..., "movements": [...]}. A movement is a mapping as in `WrittenMovement`;
`with` is there what `company` is here. All texts and attributes are written by hand, from what the words mean and not
from skeletons.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llm_action.config.reading import read_json
from llm_action.modeling.action_lexicon import ActionLexicon, Match, Movement
from llm_action.modeling.label_descriptions import LabelDescription, parse_description

FOLDER = Path(__file__).parent / "lexicon"
PARTS = ("head", "hands", "arms", "trunk", "hips", "legs", "feet")
PHASES = ("start", "middle", "end")
SIDES = ("right", "left", "either", "both", "none")
REPEATED = ("once", "repeated", "either")


@dataclass(frozen=True)
class WrittenMovement(Movement):
    """One entry with what the body does.

    Attributes:
        parts: part of the body (`PARTS`) to what it does; parts that do not matter are absent.
        phases: "start", "middle" and "end" to what happens then.
        side: of the limb that moves: one of `SIDES`.
        repeated: one of `REPEATED`.
        company: "another person" and the objects that the movement needs; empty for a movement done alone.
        opposite: name of the movement that undoes this one.
        mirror: name of the same movement with left and right swapped.
    """

    parts: dict[str, str]
    phases: dict[str, str]
    side: str
    repeated: str
    company: tuple[str, ...]
    opposite: str | None = None
    mirror: str | None = None

    def description(self) -> LabelDescription:
        """What the movement means as a label; its phrasings are what all parts do, in one text, and then its names."""
        phrasings = (", ".join(self.parts.values()), self.name, *self.names)
        return LabelDescription(phrasings, tuple(self.phases.values()), self.attributes)


def read_lexicon(file: str | os.PathLike[str]) -> tuple[WrittenMovement, ...]:
    """Reads the movements of one file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of movements; the text names the entry and what was expected.
    """
    content = read_json(Path(file))
    if not isinstance(content, dict) or not isinstance(content.get("movements"), list):
        raise ValueError(f'{file}: expected {{"about": ..., "movements": [...]}}')
    return tuple(_movement(entry, f"{file}: movement {number}") for number, entry in enumerate(content["movements"]))


@cache
def movements() -> dict[str, WrittenMovement]:
    """Reads every movement that ships with this package, by its own name."""
    return {one.name: one for file in sorted(FOLDER.glob("*.json")) for one in read_lexicon(file)}


@cache
def shipped_lexicon() -> ActionLexicon:
    """Makes the lexicon that ships with this package and travels with the models it trains."""
    return ActionLexicon(movements().values())


def find(name: str) -> Match:
    """Finds the shipped movement that a name means, see `ActionLexicon.find`."""
    return shipped_lexicon().find(name)


def describe(labels: Iterable[str]) -> dict[str, LabelDescription]:
    """Describes every label that `find` finds; others are absent."""
    found = {label: find(label).movement for label in labels}
    return {label: movement.description() for label, movement in found.items() if movement is not None}


def _movement(entry: Any, where: str) -> WrittenMovement:
    needed = {"name", "names", "parts", "phases", "side", "repeated", "with", "attributes"}
    if not isinstance(entry, dict) or not needed <= set(entry) <= needed | {"opposite", "mirror"}:
        raise ValueError(f"{where}: expected {', '.join(sorted(needed))}, got {entry!r:.80}")
    where = f"{where}, {entry['name']!r}"
    if not entry["parts"] or not set(entry["parts"]) <= set(PARTS):
        raise ValueError(f"{where}: expected parts among {', '.join(PARTS)}, got {', '.join(entry['parts'])}")
    if tuple(entry["phases"]) != PHASES:
        raise ValueError(f"{where}: expected the phases {', '.join(PHASES)}, got {', '.join(entry['phases'])}")
    for key, known in (("side", SIDES), ("repeated", REPEATED)):
        if entry[key] not in known:
            raise ValueError(f"{where}: expected {key} among {', '.join(known)}, got {entry[key]!r}")
    return WrittenMovement(
        name=entry["name"],
        names=tuple(entry["names"]),
        parts=entry["parts"],
        phases=entry["phases"],
        side=entry["side"],
        repeated=entry["repeated"],
        company=tuple(entry["with"]),
        attributes=parse_description({"attributes": entry["attributes"]}, where).attributes,
        opposite=entry.get("opposite"),
        mirror=entry.get("mirror"),
    )
