"""Files of label descriptions: those shipped for benchmarks, and a user's own.

A description file is JSON (`label_descriptions/template.json` is one to copy):

    {"labels": {"wave": {"phrasings": [...], "phases": [...], "attributes": {...}}}}

with entries as in `llm_action.modeling.label_descriptions`. The shipped files are written from the data sets' own
documents alone, not from their skeletons.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from llm_action.config.reading import read_json
from llm_action.modeling.label_descriptions import LabelDescription, parse_description
from llm_action.modeling.label_tree import label_key

SHIPPED = Path(__file__).parent / "label_descriptions"
TEMPLATE = SHIPPED / "template.json"


def load_descriptions(
    labels: Sequence[str], datasets: Sequence[str] = (), file: str | os.PathLike[str] | None = None
) -> dict[str, LabelDescription]:
    """Looks up the description of every label; one that nobody described gets an empty one.

    Upper and lower case are the same.

    Args:
        labels: class names.
        datasets, file: see `known_descriptions`, as for what is raised.
    """
    known, empty = known_descriptions(datasets, file), LabelDescription()
    return {label: known.get(label_key(label), empty) for label in labels}


def known_descriptions(
    datasets: Sequence[str] = (), file: str | os.PathLike[str] | None = None
) -> dict[str, LabelDescription]:
    """Collects every described label, in lower case.

    Args:
        datasets: names of benchmarks. A label that several have is described as in the first of these, else as in any
            other whose descriptions ship with this package.
        file: descriptions of one's own, which come before the shipped ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no description file; the text names the entry and what was expected.
    """
    known: dict[str, LabelDescription] = {}
    others = sorted((path for path in SHIPPED.glob("*.json") if path != TEMPLATE), reverse=True)
    named = [path for name in reversed(datasets) if (path := SHIPPED / f"{name}.json").is_file()]
    for source in [*others, *named, *([Path(file)] if file else [])]:
        known |= {label_key(label): description for label, description in read_descriptions(source).items()}
    return known


def read_descriptions(file: str | os.PathLike[str]) -> dict[str, LabelDescription]:
    """Reads the labels of a description file, as they are spelled there; raises what `load_descriptions` does."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: expected a JSON file of label descriptions, found no such file")
    content = read_json(file)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise ValueError(f'{file}: expected {{"labels": {{NAME: ...}}}}; copy {TEMPLATE}')
    return {label: parse_description(entry, f"{file}: {label!r}") for label, entry in labels.items()}
