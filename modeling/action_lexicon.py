"""The lexicon of actions that a model carries: movements, all their names, and their attributes.

It is the file `lexicon.json` of a model folder: {"movements": [{"name": ..., "names": [...], "attributes": {...}}]}.
"""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any

from .label_descriptions import LabelDescription, parse_description

LEXICON_FILE = "lexicon.json"


@dataclass(frozen=True)
class Movement:
    """One entry of the lexicon.

    Attributes:
        name: the entry's own name.
        names: what else people and data sets call it.
        attributes: attribute to the values that fit the movement, the most telling attribute first.
    """

    name: str
    names: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Match:
    """What a name was read as.

    Attributes:
        asked: the name as it was given.
        movement: its entry; None where the lexicon has none, or several that it could be.
        read_as: the name in the entry that it was read as.
        suggestions: names of the nearest entries, where there is no one entry.
    """

    asked: str
    movement: Any = None
    read_as: str | None = None
    suggestions: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.movement is not None:
            return f"{self.asked!r} was read as {self.movement.name!r}"
        near = f"; near ones: {', '.join(self.suggestions)}" if self.suggestions else ""
        return f"{self.asked!r} is not in the lexicon{near}"


class ActionLexicon:
    """Finds the movement that a name means.

    Args:
        movements: entries whose own names differ; `Movement` or what has its fields.
    """

    def __init__(self, movements: Iterable[Any]):
        self.movements = tuple(movements)
        self._indices: dict[Callable[[str], Any], dict[Any, tuple[tuple[Any, str], ...]]] = {}

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ActionLexicon | None:
        """Reads the lexicon of a model folder; None where it has none.

        Raises:
            ValueError: not a file of movements; the text names the entry and what was expected.
        """
        file = Path(folder) / LEXICON_FILE
        if not file.is_file():
            return None
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))["movements"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{file}: expected {{"movements": [...]}}: {error}') from None
        return cls(_movement(entry, f"{file}: movement {number}") for number, entry in enumerate(entries))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `lexicon.json` into a model folder."""
        entries = [{"name": one.name, "names": one.names, "attributes": one.attributes} for one in self.movements]
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
        (Path(folder) / LEXICON_FILE).write_text(f'{{"movements": [\n{lines}\n]}}\n', encoding="utf-8")

    def without(self, labels: Iterable[str]) -> ActionLexicon:
        """The lexicon but for the entries of some labels, with all their names: for measuring what is not known."""
        left_out = {match.movement.name for match in map(self.find, labels) if match.movement is not None}
        return ActionLexicon(one for one in self.movements if one.name not in left_out)

    def find(self, name: str) -> Match:
        """Finds the movement that a name means.

        Tried in this order, until one entry alone has such a name: the words as they are; without filler words; without
        inflection ("raising an arm"); in any order ("arm raise"); run together ("Sitdown", "pick-up"); without who does
        it ("a person waves"); and with one word a letter off ("jumpnig jacks"). The rules are this project's choice.
        """
        words = _without_fillers(name)
        by_somebody = len(words) > 1 and _stem(words[0]) == "person"
        for text in (name, " ".join(words[1:])) if by_somebody else (name,):
            for key in _KEYS:
                if found := _only(self._index(key).get(key(text), ())):
                    return Match(name, *found)
            if found := self._misspelt(text):
                return Match(name, *found)
        return Match(name, suggestions=self._near(name))

    def _index(self, key: Callable[[str], Any]) -> dict[Any, tuple[tuple[Any, str], ...]]:
        """Key to the movements and their names that have it."""
        if key not in self._indices:
            found: dict[Any, dict[str, tuple[Any, str]]] = {}
            for movement in self.movements:
                for name in (movement.name, *movement.names):
                    found.setdefault(key(name), {}).setdefault(movement.name, (movement, name))
            self._indices[key] = {value: tuple(one.values()) for value, one in found.items()}
        return self._indices[key]

    @cached_property
    def _vocabulary(self) -> frozenset[str]:
        return frozenset(word for words in self._index(_words) for word in words)

    @cached_property
    def _stems_known(self) -> frozenset[str]:
        return frozenset(map(_stem, self._vocabulary))

    def _misspelt(self, name: str) -> tuple[Any, str] | None:
        """The movement whose name is one letter off the given one, in a word that the lexicon does not know."""
        words = _words(name)
        unknown = [place for place, word in enumerate(words) if _stem(word) not in self._stems_known]
        if len(unknown) != 1 or len(words[unknown[0]]) < 4:
            return None
        before, wrong, after = words[: unknown[0]], words[unknown[0]], words[unknown[0] + 1 :]
        near = [right for right in sorted(self._vocabulary) if _one_letter_off(wrong, right)]
        found = {
            movement.name: (movement, read_as)
            for text in (" ".join((*before, right, *after)) for right in near)
            for key in _KEYS
            for movement, read_as in self._index(key).get(key(text), ())
        }
        return _only(list(found.values()))

    def likeness(self, names: Sequence[str]) -> list[float]:
        """How much of their words a label's names share with each movement's, 0 to 1; rare words count more."""
        asked = [set(_loose_stems(name)) for name in names]
        return [max(self._shared(one, stems) for one in asked for stems in of_entry) for of_entry in self._stems]

    @cached_property
    def _stems(self) -> list[list[set[str]]]:
        return [[set(_loose_stems(name)) for name in (one.name, *one.names)] for one in self.movements]

    @cached_property
    def _entries_with(self) -> Counter[str]:
        return Counter(stem for of_entry in self._stems for stem in set().union(*of_entry))

    def _shared(self, one: set[str], other: set[str]) -> float:
        def weight(stems: set[str]) -> float:
            return sum(math.log((len(self.movements) + 1) / (self._entries_with[stem] + 1)) for stem in stems)

        return weight(one & other) / max(weight(one | other), 1e-9)

    def _near(self, name: str, count: int = 3) -> tuple[str, ...]:
        """The entries whose names share most with a name; none that shares nothing."""
        stems, text = set(_loose_stems(name)), " ".join(_words(name))
        scored: dict[str, float] = {}
        for key, found in self._index(_loose_stems).items():
            shared = len(stems & set(key)) / len(stems | set(key)) if key else 0.0
            alike = SequenceMatcher(None, text, " ".join(key)).ratio()
            if shared or alike > 0.75:
                for movement, _ in found:
                    scored[movement.name] = max(scored.get(movement.name, 0.0), shared + alike)
        return tuple(sorted(scored, key=lambda one: (-scored[one], one))[:count])


def _movement(entry: Any, where: str) -> Movement:
    if not isinstance(entry, dict) or set(entry) != {"name", "names", "attributes"}:
        raise ValueError(f"{where}: expected name, names and attributes, got {entry!r:.80}")
    described: LabelDescription = parse_description({"attributes": entry["attributes"]}, where)
    return Movement(entry["name"], tuple(entry["names"]), described.attributes)


_BASES = {
    form: base
    for base, forms in {
        "": """a an the your my his her its their our you it please do doing does did perform performing performs
            performed pretend pretending imaginary other to of at for and with or from is are be being one's some""",
        "thing": "something things object objects",
        "person": "someone somebody persons people others another each",
        "self": "yourself oneself himself herself myself",
        "toward": "towards",
        "sit": "sat", "stand": "stood", "run": "ran", "throw": "threw thrown", "swing": "swung", "drink": "drank drunk",
        "eat": "ate eaten", "wear": "wore worn", "catch": "caught", "fall": "fell fallen", "lie": "lying lay laid lain",
        "tie": "tying", "bend": "bent", "shake": "shook shaken", "write": "wrote written", "hold": "held",
        "sing": "sang sung", "bring": "brought", "take": "took taken", "give": "gave given", "go": "went gone",
        "come": "came", "ride": "rode ridden", "drive": "drove driven", "swim": "swam swum", "spin": "spun",
        "kneel": "knelt", "leap": "leapt", "sleep": "slept", "weep": "wept", "fight": "fought", "strike": "struck",
        "dig": "dug", "hang": "hung", "draw": "drew drawn", "blow": "blew blown", "fly": "flew flown", "get": "got",
        "rise": "rose risen", "steal": "stole stolen", "tear": "tore torn", "keep": "kept", "creep": "crept",
        "shoot": "shot", "light": "lit", "feed": "fed", "lead": "led", "make": "made", "wind": "wound",
        "foot": "feet", "tooth": "teeth", "knife": "knives", "child": "children",
    }.items()
    for form in forms.split()
}  # fmt: skip
_LIMBS = {"arms", "hands", "legs", "knees", "feet", "elbows", "shoulders", "heels", "hips"}
_VOWEL = re.compile("[aeiouy]")


def _words(text: str) -> tuple[str, ...]:
    """The words of a name in lower case, without accents, punctuation and 's; "TakeOff" is two words."""
    plain = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower()
    return tuple(re.findall(r"[a-z0-9]+", re.sub(r"'s\b|'", "", plain)))


def _stem(word: str) -> str:
    """What a word's forms have in common: raise, raises, raised and raising are "rais"; nothing of a filler."""
    word = _BASES.get(word, word)
    if word.endswith(("ies", "ied", "ses", "xes", "zes", "ches", "shes", "oes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    elif word.endswith("ing") and len(word) > 4 and _VOWEL.search(word[:-3]):
        word = word[:-3]
    elif word.endswith("ed") and word[-3:] != "eed" and len(word) > 3 and _VOWEL.search(word[:-2]):
        word = word[:-2]
    if len(word) > 2 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 2 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def _without_fillers(text: str) -> tuple[str, ...]:
    words = _words(text)
    return tuple(word for word in words if _BASES.get(word) != "") or words


def _stems(text: str) -> tuple[str, ...]:
    """The stems of a name's words but fillers, each once. "Raise your hand" is not "raise your hands"."""
    return tuple(dict.fromkeys(word if word in _LIMBS else _stem(word) for word in _without_fillers(text)))


def _loose_stems(text: str) -> tuple[str, ...]:
    """The stems without limbs' plural and "something"."""
    stems = tuple(dict.fromkeys(map(_stem, _without_fillers(text))))
    return tuple(stem for stem in stems if stem != "thing") or stems


def _any_order(text: str) -> tuple[str, ...]:
    return tuple(sorted(_stems(text)))


def _loose_any_order(text: str) -> tuple[str, ...]:
    return tuple(sorted(_loose_stems(text)))


def _run_together(text: str) -> str:
    return "".join(_words(text))


def _stems_run_together(text: str) -> str:
    return _stem("".join(_loose_stems(text)))


# What names have in common, from the strictest to the loosest.
_KEYS: tuple[Callable[[str], Any], ...] = (
    _words,
    _without_fillers,
    _stems,
    _any_order,
    _loose_stems,
    _loose_any_order,
    _run_together,
    _stems_run_together,
)


def _only(found: Sequence[tuple[Any, str]]) -> tuple[Any, str] | None:
    return found[0] if len(found) == 1 else None


def _one_letter_off(a: str, b: str) -> bool:
    """Whether one letter is missing, too many, wrong, or two neighbours are swapped."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    start = next((place for place, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    x, y = a[start:], b[start:]
    return x[1:] == y or x == y[1:] or x[1:] == y[1:] or (x[:2] == y[:2][::-1] and x[2:] == y[2:])
