"""New classes from a few examples: the recognizer goes on learning, the action tokenizer stays as it is.

Each example becomes many augmented action sentences; the old classes are rehearsed from what is kept beside the model
(`llm_action.training.rehearsal`), or from recordings. Classes are drawn alike, so a new one is as likely as an old.
What the action tokenizer does not tell apart in new classes, prototypes of all classes do (`class_prototypes`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm, trange
from transformers import get_cosine_schedule_with_warmup

from llm_action.config.experiment import Augmentation
from llm_action.datasets import row_to_sequence
from llm_action.datasets.augmentation import augment, padded, plain_batch
from llm_action.datasets.benchmark import checked_folder
from llm_action.hub.model_folder import export
from llm_action.modeling.class_prototypes import ClassPrototypes, motion_features
from llm_action.modeling.label_tree import LabelTree, label_token_ids, normalize_label
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import SKELETON_SUFFIXES, read_skeleton
from llm_action.training.precision import base_dtype, fast_training, half_arithmetic
from llm_action.training.rehearsal import FEATURES_FILE, REHEARSAL_FILE, Rehearsal, read_rehearsal, write_rehearsal
from llm_action.training.sentences import Collator

_VIEWS = 4  # that prototypes have of an example; 1 to 12 points better than one on left-out subjects and views


@dataclass(frozen=True)
class Adaptation:
    """How a model learns new classes (this project's choice).

    Args:
        steps, batch_size, learning_rate: of AdamW with a cosine schedule, for adapter and action embeddings alike.
        sentences: augmented action sentences of each example, beside the plain one.
        augmentation: what an augmented sentence may show differently.
        seed: of everything random.
    """

    steps: int = 150
    batch_size: int = 16
    learning_rate: float = 5e-4
    sentences: int = 30
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0


def adapt(
    model: str | os.PathLike[str],
    examples: str | os.PathLike[str],
    out: str | os.PathLike[str],
    rehearse: str | os.PathLike[str] | None = None,
    layout: str | None = None,
    adaptation: Adaptation | None = None,
) -> list[str]:
    """Writes a model folder that knows the classes of `examples` too; returns its classes.

    Args:
        model: model folder.
        examples: folder with one folder of recordings a class; underscores in class names become spaces. A class the
            model knows already gets more examples.
        out: folder to write.
        rehearse: the same with recordings of old classes, for a model that has no rehearsal files.
        layout: joint layout of files that do not tell.

    Raises:
        FileNotFoundError: a folder, or no recordings in it.
        ValueError: the model has neither rehearsal files nor recordings to rehearse.
    """
    adaptation, folder = adaptation or Adaptation(), Path(model)
    processor = LlmArProcessor.from_pretrained(folder)
    old = read_rehearsal(folder) if rehearse is None else None
    if old is None:
        if rehearse is None:
            raise ValueError(
                f"{folder}: has no {REHEARSAL_FILE} and {FEATURES_FILE} to rehearse its classes with; pass --rehearse "
                "FOLDER with recordings of them in one folder a class."
            )
        old = read_examples(rehearse, processor, layout, adaptation)
    new = read_examples(examples, processor, layout, adaptation)
    recognizer = LlmArForActionRecognition.from_pretrained(folder, is_trainable=True, dtype=base_dtype("auto"))
    known = adapt_recognizer(recognizer, processor, old, new, adaptation)
    export(recognizer, processor, out)
    write_rehearsal(Path(out), known)
    assert recognizer.config.label_names is not None
    return recognizer.config.label_names


def adapt_recognizer(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    old: Rehearsal,
    new: Rehearsal,
    adaptation: Adaptation,
) -> Rehearsal:
    """Trains a recognizer on, in place: its classes become the old and the new ones. Returns what is known of all.

    Args:
        model: loaded with `is_trainable=True`.
        processor: gives motion features from then on.
        old: of the classes it knows; of none a class may be forgotten.
        new: of classes to learn.
    """
    known = _joined(old, new)
    names = list(dict.fromkeys([*(model.config.label_names or ()), *known.sentences]))
    names = list(LabelTree.from_labels(names, processor.tokenizer).labels)
    none = np.zeros_like(next(iter(known.features.values()))[:0])
    model.prototypes = ClassPrototypes.fitted([known.features.get(name, none) for name in names]).to(model.device)
    processor.motion_features = True
    _name_classes(model, names, processor)
    _train(model, processor, known.sentences, adaptation)
    return known


def _train(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    known: dict[str, list[list[int]]],
    adaptation: Adaptation,
) -> None:
    """Trains on action sentences of all classes."""
    before, after = processor.prompt_parts()
    end = processor.tokenizer.eos_token_id
    answers = dict(zip(known, label_token_ids(list(known), processor.tokenizer), strict=True))
    rng, taught = np.random.default_rng(adaptation.seed), list(known)
    collate = Collator(processor.tokenizer.pad_token_id)

    def example() -> dict[str, object]:
        label = taught[rng.integers(len(taught))]
        sentence, answer = known[label][rng.integers(len(known[label]))], [*answers[label], end]
        return {"input_ids": [*before, *sentence, *after, *answer], "answer_length": len(answer)}

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, adaptation.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, max(1, adaptation.steps // 10), adaptation.steps)
    torch.manual_seed(adaptation.seed)
    model.train()
    with fast_training(model, model.device):
        for _ in trange(adaptation.steps, desc="learning new classes"):
            batch = collate([example() for _ in range(adaptation.batch_size)])
            with half_arithmetic(model, model.device):
                loss = model(**{name: part.to(model.device) for name, part in batch.items()}).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def augmented_sentences(
    sequences: Sequence[SkeletonSequence], processor: LlmArProcessor, adaptation: Adaptation
) -> list[list[int]]:
    """The plain action sentence of every sequence and the augmented ones."""
    extractor = processor.feature_extractor
    sentences: list[list[int]] = []
    for index, sequence in enumerate(sequences):
        persons = extractor.normalize(sequence)
        plain = plain_batch([persons], extractor.num_frames, extractor.max_persons)
        rows = [{name: part[0] for name, part in plain.items()}]
        for version in range(adaptation.sentences):
            rng = np.random.default_rng((adaptation.seed, index, version))
            seen = augment(persons, adaptation.augmentation, extractor.num_frames, rng)
            rows.append(padded(seen, extractor.max_persons))
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in plain}
        sentences += processor.encode_features(batch["skeletons"], batch["person_mask"])
    return sentences


def table_examples(table: Dataset, processor: LlmArProcessor, adaptation: Adaptation) -> Rehearsal:
    """What a table's rows tell of their classes, by their names."""
    names = table.features["label"].names
    sequences: dict[str, list[SkeletonSequence]] = {}
    for row in table.with_format("numpy"):
        sequences.setdefault(names[int(row["label"])], []).append(row_to_sequence(row))
    return _told_by(sequences, processor, adaptation)


def read_examples(
    folder: str | os.PathLike[str], processor: LlmArProcessor, layout: str | None, adaptation: Adaptation
) -> Rehearsal:
    """What the recordings in one folder a class tell of their classes.

    Raises:
        FileNotFoundError: no recordings there.
    """
    root = checked_folder(folder, "your examples")
    files = [path for path in sorted(root.glob("*/**/*")) if path.suffix.lower() in SKELETON_SUFFIXES]
    if not files:
        raise FileNotFoundError(
            f"{root}: expected skeleton files ({', '.join(SKELETON_SUFFIXES)}) in one folder a class, found none"
        )
    recordings: dict[str, list[SkeletonSequence]] = {}
    for path in tqdm(files, desc="reading recordings"):
        label = path.relative_to(root).parts[0].replace("_", " ")
        recordings.setdefault(label, []).append(read_skeleton(path, layout))
    return _told_by(recordings, processor, adaptation)


def _told_by(
    sequences: dict[str, list[SkeletonSequence]], processor: LlmArProcessor, adaptation: Adaptation
) -> Rehearsal:
    """Action sentences, plain and augmented, and motion features of sequences by class."""
    return Rehearsal(
        {label: augmented_sentences(given, processor, adaptation) for label, given in sequences.items()},
        {label: _seen_from_all_sides(given, processor) for label, given in sequences.items()},
    )


def _seen_from_all_sides(sequences: Sequence[SkeletonSequence], processor: LlmArProcessor) -> np.ndarray:
    """(sequences, views, features) motion features."""
    features = motion_features(processor.feature_extractor, sequences, _VIEWS)
    return features.reshape(len(sequences), _VIEWS, -1)


def _joined(old: Rehearsal, new: Rehearsal) -> Rehearsal:
    sentences: dict[str, list[list[int]]] = {}
    features: dict[str, np.ndarray] = {}
    for part in (old, new):
        for label, found in part.sentences.items():
            if found:
                sentences.setdefault(normalize_label(label), []).extend(found)
        for label, rows in part.features.items():
            name = normalize_label(label)
            if name in features:
                views = min(features[name].shape[1], rows.shape[1])
                features[name] = np.concatenate([features[name][:, :views], rows[:, :views]])
            else:
                features[name] = rows
    return Rehearsal(sentences, features)


def _name_classes(model: LlmArForActionRecognition, names: list[str], processor: LlmArProcessor) -> None:
    config = model.config
    config.label_names, config.label_token_ids = names, label_token_ids(names, processor.tokenizer)
    config.id2label, config.label2id = dict(enumerate(names)), {name: index for index, name in enumerate(names)}
    model.__dict__.pop("trained_labels", None)  # made of the config, once
