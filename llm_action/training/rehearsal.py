"""Rehearsal: a little of each class, kept beside a model so that it can learn more and forget nothing.

`rehearsal.json` of a model folder holds action sentences, token ids alone:

    {"vqvae_fingerprint": "...", "sentences": {"wave": [[49170, 49233, ...], ...], ...}}

`rehearsal.safetensors` holds features (sequences, views, features) of each class, `class_prototypes.example_features`:
one view of what training had plenty of, several of classes learned from a few examples. Rough skeletons can be made of
either file, so they stay where they were written: they are never pushed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset, load_from_disk
from safetensors.numpy import load_file, save_file

from llm_action.config.atomic_files import write_json
from llm_action.config.reading import read_json
from llm_action.datasets import row_to_sequence
from llm_action.modeling.class_prototypes import example_features
from llm_action.modeling.explanation import REHEARSAL_FILE
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor

FEATURES_FILE = "rehearsal.safetensors"
_EACH = 20  # of a class


@dataclass(frozen=True)
class Rehearsal:
    """What is known of some classes.

    Attributes:
        sentences: action sentences (token ids) of each class.
        features: (sequences, views, features) of each class; a file of earlier versions has `motion_features` alone.
        familiar: features (sequences, views, features) of each class for `Familiarity`; not written, so none of what
            was read from a model folder.
        longest: seconds of the longest recordings, 0 where that is not known; not written either.
    """

    sentences: dict[str, list[list[int]]]
    features: dict[str, np.ndarray]
    familiar: dict[str, np.ndarray] = field(default_factory=dict)
    longest: float = 0.0


def write_rehearsal(folder: Path, known: Rehearsal) -> None:
    """Writes up to 20 sentences and sequences of each class into a model folder, evenly spread over those known."""
    config = read_json(folder / "config.json")
    kept = {label: [of_label[i] for i in _spread(len(of_label))] for label, of_label in known.sentences.items()}
    _write({label: rows[_spread(len(rows))] for label, rows in known.features.items()}, folder)
    write_json({"vqvae_fingerprint": config["vqvae_fingerprint"], "sentences": kept}, folder / REHEARSAL_FILE)


def read_rehearsal(folder: Path) -> Rehearsal | None:
    """Reads what `write_rehearsal` wrote; None if a model folder has none, as one from the Hub.

    Raises:
        ValueError: the sentences are those of another VQ-VAE.
    """
    files = folder / REHEARSAL_FILE, folder / FEATURES_FILE
    if not all(file.is_file() for file in files):
        return None
    kept = read_json(files[0])
    config = read_json(folder / "config.json")
    if kept["vqvae_fingerprint"] != config["vqvae_fingerprint"]:
        raise ValueError(f"{files[0]}: belongs to another action tokenizer than the model; delete it, or export again.")
    return Rehearsal(kept["sentences"], load_file(files[1]))


def trained_rehearsal(table_folder: Path, model_folder: Path) -> Rehearsal:
    """Collects the distinct action sentences a recognizer was trained on, without prompts, and features.

    Args:
        table_folder: see `llm_action.training.sentences.training_sentences`.
        model_folder: the recognizer, whose config names the classes.
    """
    config = read_json(model_folder / "config.json")
    first, names = config["base_vocab_size"], config["label_names"]
    found: dict[str, dict[bytes, None]] = {name: {} for name in names}  # numbers as Python has them take ten times that
    for batch in load_from_disk(str(table_folder)).select_columns(["input_ids", "label"]).iter(1000):
        for ids, label in zip(batch["input_ids"], batch["label"], strict=True):
            tokens = np.asarray(ids, np.int32)
            actions = np.flatnonzero(tokens >= first)
            begin = 0 if config.get("sense_fingerprints") else actions[0]  # a sentence of several senses has words
            found[names[label]][tokens[begin : actions[-1] + 1].tobytes()] = None
    sentences = {
        name: [np.frombuffer(each, np.int32).tolist() for each in distinct] for name, distinct in found.items()
    }
    features = load_file(table_folder / FEATURES_FILE)
    return Rehearsal(sentences, {name: features[key] for key, name in _keys(names).items() if key in features})


def write_table_features(table: Dataset, labels: list[str], extractor: SkeletonFeatureExtractor, folder: Path) -> None:
    """Writes the features of up to 20 rows of each class beside the sentences of a table.

    Args:
        labels: the classes, as their numbers in the sentences have them.
    """
    features = table_features(table, extractor)
    _write({key: features[label] for key, label in _keys(labels).items() if label in features}, folder)


def table_features(table: Dataset, extractor: SkeletonFeatureExtractor) -> dict[str, np.ndarray]:
    """Computes the features of up to 20 rows of each class of a table, by the classes' names."""
    targets, names = np.array(table["label"]), table.features["label"].names
    found = {}
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        of_class = table.select(rows[_spread(len(rows))]).with_format("numpy")
        skeletons = extractor([row_to_sequence(row) for row in of_class])["skeletons"]
        found[names[int(target)]] = example_features(skeletons, extractor.layout)[:, None]
    return found


def _write(features: dict[str, np.ndarray], folder: Path) -> None:
    temporary = folder / f"{FEATURES_FILE}.tmp"
    save_file(features, temporary)
    os.replace(temporary, folder / FEATURES_FILE)


def _keys(labels: list[str]) -> dict[str, str]:
    """Numbers the classes, whose names may yet change."""
    return {str(number): label for number, label in enumerate(labels)}


def _spread(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, _EACH)).astype(int)).tolist() if count else []
