"""Recordings to begin with: made up, so that nobody's movements are shown."""

from __future__ import annotations

from pathlib import Path

from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.skeleton_io import write_npz

EXAMPLES = ("waving a hand", "squatting", "kicking", "shaking hands")  # the last shows two persons
_SUBJECT, _CAMERA = 3, 2


def write_examples(folder: Path) -> list[tuple[str, str]]:
    """Writes the examples; (what it shows, path) of each."""
    found = []
    for action in EXAMPLES:
        path = folder / f"{action.replace(' ', '_')}.npz"
        write_npz(generate_sequence(action, _SUBJECT, _CAMERA, repetition=1), path)
        found.append((action, str(path)))
    return found
