"""The lexicon of actions: what each part of the body does in several hundred movements, and which one a name means.

Its files, one a domain, hold {"about": ..., "movements": [...]}. A movement is a mapping as in `Movement`; `with` is
there what `company` is here. All texts and attributes are written by hand, from what the words mean and not from
skeletons.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

from llm_action.config.reading import read_json
from llm_action.modeling.attribute_likelihood import attributes_entry
from llm_action.modeling.label_descriptions import LabelDescription, parse_description
from llm_action.modeling.label_tree import label_key

FOLDER = Path(__file__).parent / "lexicon"
PARTS = ("head", "hands", "arms", "trunk", "hips", "legs", "feet")
PHASES = ("start", "middle", "end")
SIDES = ("right", "left", "either", "both", "none")
REPEATED = ("once", "repeated", "either")


@dataclass(frozen=True)
class Movement:
    """One entry of the lexicon.

    Attributes:
        name: the entry's own name.
        names: what else people and data sets call it.
        parts: part of the body (`PARTS`) to what it does; parts that do not matter are absent.
        phases: "start", "middle" and "end" to what happens then.
        side: of the limb that moves: one of `SIDES`.
        repeated: one of `REPEATED`.
        company: "another person" and the objects that the movement needs; empty for a movement done alone.
        attributes: attribute to the values that fit the movement, the most telling attribute first.
        opposite: name of the movement that undoes this one.
        mirror: name of the same movement with left and right swapped.
    """

    name: str
    names: tuple[str, ...]
    parts: dict[str, str]
    phases: dict[str, str]
    side: str
    repeated: str
    company: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    opposite: str | None = None
    mirror: str | None = None

    def description(self) -> LabelDescription:
        """What the movement means as a label; its phrasings are what all parts do, in one text, and then its names."""
        phrasings = (", ".join(self.parts.values()), self.name, *self.names)
        return LabelDescription(phrasings, tuple(self.phases.values()), self.attributes)


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
    movement: Movement | None = None
    read_as: str | None = None
    suggestions: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.movement is not None:
            return f"{self.asked!r} was read as {self.movement.name!r}"
        near = f"; near ones: {', '.join(self.suggestions)}" if self.suggestions else ""
        return f"{self.asked!r} is not in the lexicon{near}"


def read_lexicon(file: str | os.PathLike[str]) -> tuple[Movement, ...]:
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
def movements() -> dict[str, Movement]:
    """Every movement that ships with this package, by its own name."""
    return {one.name: one for file in sorted(FOLDER.glob("*.json")) for one in read_lexicon(file)}


def find(name: str) -> Match:
    """Finds the movement that a name means.

    Tried in this order, until one entry alone has such a name: the words as they are; without filler words; without
    inflection ("raising an arm"); in any order ("arm raise"); run together ("Sitdown", "pick-up"); without who does it
    ("a person waves"); and with one word a letter off ("jumpnig jacks"). The rules are this project's choice.
    """
    words = _without_fillers(name)
    by_somebody = len(words) > 1 and _stem(words[0]) == "person"
    for text in (name, " ".join(words[1:])) if by_somebody else (name,):
        for key in _KEYS:
            if found := _only(_index(key).get(key(text), ())):
                return Match(name, *found)
        if found := _misspelt(text):
            return Match(name, *found)
    return Match(name, suggestions=_near(name))


def describe(labels: Iterable[str]) -> dict[str, LabelDescription]:
    """The description of every label that `find` finds; others are absent."""
    found = {label: find(label).movement for label in labels}
    return {label: movement.description() for label, movement in found.items() if movement is not None}


def label_lexicon(without: Iterable[str] = ()) -> dict[str, str]:
    """Every name and its attributes, as `LabelLexicon` and the field `label_lexicon` of a model's config take them.

    Args:
        without: labels whose entries are left out with all their names, for measuring what is not known.
    """
    left_out = {match.movement.name for match in map(find, without) if match.movement is not None}
    return {
        label_key(name): attributes_entry(LabelDescription(attributes=one.attributes))
        for one in movements().values()
        if one.name not in left_out
        for name in (one.name, *one.names)
    }


def _movement(entry: Any, where: str) -> Movement:
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
    return Movement(
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


@cache
def _index(key: Callable[[str], Any]) -> dict[Any, tuple[tuple[Movement, str], ...]]:
    """Key to the movements and their names that have it."""
    found: dict[Any, dict[str, tuple[Movement, str]]] = {}
    for movement in movements().values():
        for name in (movement.name, *movement.names):
            found.setdefault(key(name), {}).setdefault(movement.name, (movement, name))
    return {value: tuple(one.values()) for value, one in found.items()}


def _only(found: Sequence[tuple[Movement, str]]) -> tuple[Movement, str] | None:
    return found[0] if len(found) == 1 else None


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word for words in _index(_words) for word in words)


def _misspelt(name: str) -> tuple[Movement, str] | None:
    """The one movement whose name differs from the given one by a letter in a word that the lexicon does not know."""
    words = _words(name)
    known = {_stem(word) for word in _vocabulary()}
    unknown = [place for place, word in enumerate(words) if _stem(word) not in known]
    if len(unknown) != 1 or len(words[unknown[0]]) < 4:
        return None
    before, wrong, after = words[: unknown[0]], words[unknown[0]], words[unknown[0] + 1 :]
    repaired = [" ".join((*before, right, *after)) for right in sorted(_vocabulary()) if _one_letter_off(wrong, right)]
    found = {
        movement.name: (movement, read_as)
        for text in repaired
        for key in _KEYS
        for movement, read_as in _index(key).get(key(text), ())
    }
    return _only(list(found.values()))


def _one_letter_off(a: str, b: str) -> bool:
    """Whether one letter is missing, too many, wrong, or two neighbours are swapped."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    start = next((place for place, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    x, y = a[start:], b[start:]
    return x[1:] == y or x == y[1:] or x[1:] == y[1:] or (x[:2] == y[:2][::-1] and x[2:] == y[2:])


def _near(name: str, count: int = 3) -> tuple[str, ...]:
    """The entries whose names share most with a name; none that shares nothing."""
    stems, text = set(_loose_stems(name)), " ".join(_words(name))
    scored: dict[str, float] = {}
    for key, found in _index(_loose_stems).items():
        shared = len(stems & set(key)) / len(stems | set(key)) if key else 0.0
        alike = SequenceMatcher(None, text, " ".join(key)).ratio()
        if shared or alike > 0.75:
            for movement, _ in found:
                scored[movement.name] = max(scored.get(movement.name, 0.0), shared + alike)
    return tuple(sorted(scored, key=lambda one: (-scored[one], one))[:count])
