"""How the training sentences of a model used their action tokens; kept in its folder, small enough to be pushed.

`training/tokens.json` has an entry for every used token, so that a vocabulary can be shown without training data:

    {"labels": ["wave", ...], "tokens": {"17": {"classes": {"0": 41}, "slots": {"0": 41}, "before": 402, "after": 9}}}

Classes and slots have counts; a slot is a body part and level of a step. `before` and `after` are the tokens that stand
most often at the same slot of the steps around it, itself left out; -1 where there are none.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.config.atomic_files import write_text
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.explanation import REHEARSAL_FILE
from llm_action.modeling.motion_attribution import skeleton_tokens

_FILE = Path("training", "tokens.json")


@dataclass
class TokenUse:
    """How one token was used.

    Attributes:
        classes: number of a class to how often a sentence of it has the token.
        slots: number of a slot to how often the token stands there.
        before, after: the other tokens that stand most often around it, -1 for none.
    """

    classes: Counter[int] = field(default_factory=Counter)
    slots: Counter[int] = field(default_factory=Counter)
    before: int = -1
    after: int = -1

    @property
    def count(self) -> int:
        return sum(self.classes.values())


@dataclass(frozen=True)
class TokenStatistics:
    """The use of each token that was used, by its number; classes in the order of `labels`."""

    labels: list[str]
    tokens: dict[int, TokenUse]

    @classmethod
    def gathered(
        cls, sentences: Mapping[str, Iterable[Sequence[int]]], first_action_id: int, config: ActionVQVAEConfig
    ) -> TokenStatistics:
        """Counts the tokens of sentences (ids, words between persons included) of each class."""
        found: defaultdict[int, TokenUse] = defaultdict(TokenUse)
        around: defaultdict[tuple[int, str], Counter[int]] = defaultdict(Counter)
        for label, of_label in enumerate(sentences.values()):
            for sentence in of_label:
                for person in skeleton_tokens(sentence, first_action_id, config):
                    _count(person - first_action_id, label, found, around)
        for (token, side), others in around.items():
            setattr(found[token], side, others.most_common(1)[0][0])
        return cls(list(sentences), dict(found))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tokens = {
            str(token): {"classes": use.classes, "slots": use.slots, "before": use.before, "after": use.after}
            for token, use in sorted(self.tokens.items())
        }
        return {"labels": self.labels, "tokens": tokens}


def _count(tokens: np.ndarray, label: int, found: Mapping[int, TokenUse], around: Mapping) -> None:
    """Counts one person's tokens (steps, slots)."""
    for slot, row in enumerate(tokens.T.tolist()):
        for step, token in enumerate(row):
            found[token].classes[label] += 1
            found[token].slots[slot] += 1
            for side, place in (("before", step - 1), ("after", step + 1)):
                if 0 <= place < len(row) and row[place] != token:
                    around[token, side][row[place]] += 1


def write_token_statistics(statistics: TokenStatistics, folder: Path) -> None:
    """Writes them into a model folder."""
    write_text(json.dumps(statistics.to_dict(), separators=(",", ":")), folder / _FILE)


def read_token_statistics(folder: Path, first_action_id: int, config: ActionVQVAEConfig) -> TokenStatistics | None:
    """Reads those of a model folder, else counts the sentences of its rehearsal; None if it has neither."""
    if (folder / _FILE).is_file():
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        tokens = {
            int(token): TokenUse(_counter(use["classes"]), _counter(use["slots"]), use["before"], use["after"])
            for token, use in content["tokens"].items()
        }
        return TokenStatistics(content["labels"], tokens)
    if (folder / REHEARSAL_FILE).is_file():
        content = json.loads((folder / REHEARSAL_FILE).read_text(encoding="utf-8"))
        return TokenStatistics.gathered(content["sentences"], first_action_id, config)
    return None


def _counter(counts: Mapping[str, int]) -> Counter[int]:
    return Counter({int(key): count for key, count in counts.items()})
