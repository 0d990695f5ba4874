"""Rehearsal: some action sentences of each class, kept beside a model so that it can learn more and forget nothing.

`replay.json` of a model folder holds token ids alone, no skeletons:

    {"vqvae_fingerprint": "...", "sentences": {"wave": [[49170, 49233, ...], ...], ...}}

The VQ-VAE can turn them back into rough skeletons, so the file stays where it was written: it is never pushed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from datasets import load_from_disk

from llm_action.training.runs import write_json

Sentences = dict[str, list[list[int]]]
"""Action sentences (token ids) of each class."""

REPLAY_FILE = "replay.json"
_EACH = 20  # sentences of a class


def write_replay(folder: Path, sentences: Sentences) -> None:
    """Writes `replay.json` of a model folder: up to 20 sentences of each class, evenly spread over those given."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = {label: [of_label[i] for i in _spread(len(of_label))] for label, of_label in sentences.items()}
    write_json({"vqvae_fingerprint": config["vqvae_fingerprint"], "sentences": kept}, folder / REPLAY_FILE)


def read_replay(folder: Path) -> Sentences | None:
    """What `write_replay` wrote; None if a model folder has none, as one from the Hub.

    Raises:
        ValueError: the sentences are those of another VQ-VAE.
    """
    file = folder / REPLAY_FILE
    if not file.is_file():
        return None
    kept = json.loads(file.read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if kept["vqvae_fingerprint"] != config["vqvae_fingerprint"]:
        raise ValueError(f"{file}: belongs to another action tokenizer than the model; delete it, or export again.")
    return kept["sentences"]


def trained_sentences(table_folder: Path, model_folder: Path) -> Sentences:
    """The distinct action sentences a recognizer was trained on, class by class, without their prompts.

    Args:
        table_folder: see `llm_action.training.sentences.training_sentences`.
        model_folder: the recognizer, whose config names the classes.
    """
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    first, names = config["base_vocab_size"], config["label_names"]
    found: dict[str, dict[tuple[int, ...], None]] = {name: {} for name in names}
    for batch in load_from_disk(str(table_folder)).select_columns(["input_ids", "label"]).iter(1000):
        for ids, label in zip(batch["input_ids"], batch["label"], strict=True):
            actions = np.flatnonzero(np.asarray(ids) >= first)
            found[names[label]][tuple(ids[actions[0] : actions[-1] + 1])] = None
    return {name: [list(sentence) for sentence in sentences] for name, sentences in found.items()}


def _spread(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, _EACH)).astype(int)).tolist() if count else []
