"""Teaches a model new classes from a few examples; the action tokenizer stays.

Prototypes of all classes (`class_prototypes`) and what the new names mean recognise a class from its first example on.
Where there are enough examples of each new class, the language model goes on learning as well: each example becomes
many augmented action sentences, and the old classes are rehearsed from what is kept beside the model
(`llm_action.training.rehearsal`), or from recordings. Every class is drawn as often as every other, so that a new one
is as likely as an old. The Trainer is that of stage 2.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment
from llm_action.config.folder_lock import lock_beside, sole_writer
from llm_action.config.progress import ProgressBar
from llm_action.config.reading import recorded
from llm_action.config.sections import Augmentation, RecognizerStage
from llm_action.datasets import row_to_sequence
from llm_action.datasets.augmentation import augment, padded, plain_batch
from llm_action.datasets.benchmark import checked_folder
from llm_action.datasets.cameras import filming
from llm_action.datasets.folder import class_folders
from llm_action.hub.model_folder import export
from llm_action.modeling.action_attributes import ATTRIBUTES
from llm_action.modeling.attribute_likelihood import AttributeStatistics, LabelLexicon
from llm_action.modeling.class_prototypes import ClassPrototypes, example_features, motion_features
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.label_tree import LabelTree, label_token_ids, normalize_label
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import read_skeleton
from llm_action.training.familiarity import changed_features, longest_of
from llm_action.training.precision import base_dtype
from llm_action.training.rehearsal import FEATURES_FILE, REHEARSAL_FILE, Rehearsal, read_rehearsal, write_rehearsal
from llm_action.training.run_folder import fit
from llm_action.training.train_recognizer import recognizer_trainer

_VIEWS = 4  # that prototypes have of an example; 1 to 12 points better than one on left-out subjects and cameras


@dataclass(frozen=True)
class Adaptation:
    """How a model learns new classes (this project's choice).

    Args:
        enough: examples of every new class from which the language model is trained on; with fewer it stays as it is,
            and what follows has no effect.
        steps, batch_size, learning_rate: of AdamW with a cosine schedule, for adapter and action embeddings alike.
        sentences: augmented action sentences of each example, beside the plain one.
        augmentation: ranges of what an augmented sentence shows differently.
        seed: of everything random.
        save_steps: steps between checkpoints.
    """

    enough: int = 10
    steps: int = 150
    batch_size: int = 16
    learning_rate: float = 5e-4
    sentences: int = 30
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    save_steps: int = 50

    def experiment(self) -> Experiment:
        """The settings of stage 2 that this adaptation amounts to."""
        stage = RecognizerStage(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            embedding_learning_rate=self.learning_rate,
            save_steps=self.save_steps,
        )
        return Experiment(seed=self.seed, recognizer=stage)


def adapt(
    model: str | os.PathLike[str],
    examples: str | os.PathLike[str],
    out: str | os.PathLike[str],
    rehearse: str | os.PathLike[str] | None = None,
    layout: str | None = None,
    adaptation: Adaptation | None = None,
    **conventions: Any,
) -> list[str]:
    """Writes a model folder that knows the classes of `examples` too; returns its classes.

    Checkpoints lie in `out`.work until the model is written. The same call after an interruption goes on from the last
    one, to the weights that an undisturbed run has.

    Args:
        model: model folder.
        examples: folder with one folder of recordings a class (`llm_action.datasets.folder`), test parts left out. A
            class that the model knows already gets more examples.
        out: folder to write.
        rehearse: the same with recordings of old classes, for a model that has no rehearsal files.
        layout: joint layout of files that do not say theirs.
        conventions: what else files do not say, as `read_skeleton` takes it.

    Raises:
        FileNotFoundError: a folder, or no recordings in it.
        ValueError: the model has neither rehearsal files nor recordings to rehearse.
        BlockingIOError: another process is writing `out`.
    """
    adaptation, folder, out = adaptation or Adaptation(), Path(model), Path(out)
    with sole_writer(out, lock_beside(out)):
        processor = LlmArProcessor.from_pretrained(folder)
        old = read_rehearsal(folder) if rehearse is None else None
        if old is None:
            if rehearse is None:
                raise ValueError(
                    f"{folder}: has no {REHEARSAL_FILE} and {FEATURES_FILE} to rehearse its classes with; pass "
                    "--rehearse FOLDER with recordings of them in one folder a class."
                )
            old = read_examples(rehearse, processor, layout, adaptation, **conventions)
        new = read_examples(examples, processor, layout, adaptation, **conventions)
        recognizer = LlmArForActionRecognition.from_pretrained(folder, is_trainable=True, dtype=base_dtype("auto"))
        work = out.with_name(out.name + ".work")
        _prepare_work_folder(work, {"settings": asdict(adaptation), "inputs": _fingerprint(recognizer, old, new)})
        known = adapt_recognizer(recognizer, processor, old, new, adaptation, work)
        export(recognizer, processor, out, finish=partial(write_rehearsal, known=known))
        shutil.rmtree(work)
        assert recognizer.config.label_names is not None
        return recognizer.config.label_names


def adapt_recognizer(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    old: Rehearsal,
    new: Rehearsal,
    adaptation: Adaptation,
    work: Path | None = None,
) -> Rehearsal:
    """Teaches a recognizer, in place: its classes become the old and the new ones.

    The language model is trained on where there are `adaptation.enough` examples of every new class, or no new class.

    Args:
        model: loaded with `is_trainable=True`.
        processor: gives motion features from then on.
        old: of the classes it knows; a class that is missing here may be forgotten.
        new: of classes to learn.
        work: folder for checkpoints, from the last of which the training goes on; None writes none.

    Returns:
        What is known of all classes.
    """
    old, new = _with_names(old), _with_names(new)
    known = _joined(old, new)
    before = [normalize_label(name) for name in model.config.label_names or ()]
    added = [len(rows) for name, rows in new.features.items() if name not in before]
    teach = not added or min(added) >= adaptation.enough
    names = list(dict.fromkeys([*before, *known.sentences]))
    names = list(LabelTree.from_labels(names, processor.tokenizer).labels)
    model.prototypes = _prototypes(model, processor, names, old, new, teach).to(model.device)
    processor.motion_features = True
    if processor.familiarity is not None and new.familiar:
        processor.familiarity = processor.familiarity.with_classes(list(new.familiar.values()), new.longest)
    _name_classes(model, names, processor)
    if not teach:
        return known
    examples = naming_examples(known.sentences, processor)
    with TemporaryDirectory() if work is None else nullcontext(work) as folder:
        saving = "no" if work is None else "steps"
        parts = (adaptation.experiment(), model, processor, examples, Path(folder))
        trainer = recognizer_trainer(*parts, balanced=True, save_strategy=saving)
        fit(trainer, resume=work is not None)
    model.eval()
    return known


def naming_examples(sentences: dict[str, list[list[int]]], processor: LlmArProcessor) -> Dataset:
    """A table with the columns of `llm_action.training.sentences.write_sentences`: every sentence, asked for its label.

    Args:
        sentences: action sentences (token ids) of each label.
    """
    before, after = processor.prompt_parts()
    answers = label_token_ids(list(sentences), processor.tokenizer)
    rows: dict[str, list] = {"input_ids": [], "answer_length": [], "prompt_length": [], "label": []}
    for number, (of_label, ids) in enumerate(zip(sentences.values(), answers, strict=True)):
        answer = [*ids, processor.tokenizer.eos_token_id]
        for sentence in of_label:
            prompt = [*before, *sentence, *after]
            rows["input_ids"].append(prompt + answer)
            rows["answer_length"].append(len(answer))
            rows["prompt_length"].append(len(prompt))
            rows["label"].append(number)
    return Dataset.from_dict(rows)


def augmented_sentences(
    normalized: Sequence[np.ndarray], processor: LlmArProcessor, adaptation: Adaptation
) -> list[list[int]]:
    """The plain action sentence of every normalised sequence and the augmented ones."""
    extractor = processor.feature_extractor
    film = filming(extractor)
    sentences: list[list[int]] = []
    for index, persons in enumerate(normalized):
        plain = plain_batch([extractor.as_seen(persons)], extractor.num_frames, extractor.max_persons)
        rows = [{name: part[0] for name, part in plain.items()}]
        for version in range(adaptation.sentences):
            rng = np.random.default_rng((adaptation.seed, index, version))
            seen = augment(persons, adaptation.augmentation, extractor.num_frames, rng, film=film)
            rows.append(padded(seen, extractor.max_persons))
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in plain}
        sentences += processor.encode_features(batch["skeletons"], batch["person_mask"])
    return sentences


def table_examples(table: Dataset, processor: LlmArProcessor, adaptation: Adaptation) -> Rehearsal:
    """What a table's rows show of their classes, by the classes' names."""
    names = table.features["label"].names
    sequences: dict[str, list[SkeletonSequence]] = {}
    for row in table.with_format("numpy"):
        sequences.setdefault(names[int(row["label"])], []).append(row_to_sequence(row))
    return _shown_by(sequences, processor, adaptation)


def read_examples(
    folder: str | os.PathLike[str],
    processor: LlmArProcessor,
    layout: str | None,
    adaptation: Adaptation,
    **conventions: Any,
) -> Rehearsal:
    """What the recordings in one folder a class show of their classes.

    Raises:
        FileNotFoundError: no recordings there.
    """
    root = checked_folder(folder, "your examples")
    rows = [row for row in class_folders(root) if row["split"] in ("", "train")]
    if not rows:
        raise FileNotFoundError(f"{root}: expected recordings to learn from, found test and validation folders alone")
    recordings: dict[str, list[SkeletonSequence]] = {}
    for row in ProgressBar(rows, desc="reading recordings"):
        recordings.setdefault(row["label"], []).append(read_skeleton(row["path"], layout, **conventions))
    return _shown_by(recordings, processor, adaptation)


def _shown_by(
    sequences: dict[str, list[SkeletonSequence]], processor: LlmArProcessor, adaptation: Adaptation
) -> Rehearsal:
    """Action sentences, plain and augmented, and features of sequences by class."""
    all_given = [sequence for given in sequences.values() for sequence in given]
    extractor, known = processor.feature_extractor, Rehearsal({}, {}, longest=longest_of(all_given))
    for label, given in sequences.items():
        normalized = [extractor.normalize_in_space(sequence) for sequence in given]
        known.sentences[label] = augmented_sentences(normalized, processor, adaptation)
        views = [extractor.views_of(extractor.as_seen(persons), _VIEWS) for persons in normalized]
        known.features[label] = np.stack([example_features(of_one, extractor.layout) for of_one in views])
        if processor.familiarity is not None:
            changed = [changed_features(persons, extractor, adaptation.seed) for persons in normalized]
            known.familiar[label] = np.stack(changed)
    return known


def _with_names(known: Rehearsal) -> Rehearsal:
    """The same with names as models spell them."""
    return Rehearsal(
        {normalize_label(label): found for label, found in known.sentences.items()},
        {normalize_label(label): rows for label, rows in known.features.items()},
        {normalize_label(label): rows for label, rows in known.familiar.items()},
        known.longest,
    )


def _joined(old: Rehearsal, new: Rehearsal) -> Rehearsal:
    sentences: dict[str, list[list[int]]] = {}
    features = dict(old.features)
    for part in (old, new):
        for name, found in part.sentences.items():
            if found:
                sentences.setdefault(name, []).extend(found)
    for name, rows in new.features.items():
        before = features.get(name, rows[:0])
        views, width = min(before.shape[1], rows.shape[1]), min(before.shape[2], rows.shape[2])
        features[name] = np.concatenate([of[:, :views, :width] for of in (before, rows)])
    return Rehearsal(sentences, features)


def _prototypes(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    names: list[str],
    old: Rehearsal,
    new: Rehearsal,
    teach: bool,
) -> ClassPrototypes:
    """Of all classes; of a rehearsal file of earlier versions, of the features that it has."""
    extractor, earlier = processor.feature_extractor, model.prototypes
    width = min(rows.shape[2] for part in (old, new) for rows in part.features.values())
    none = np.zeros((0, 1, width), np.float32)
    known, given = ([part.features.get(name, none)[..., :width] for name in names] for part in (old, new))
    before = len(model.config.label_names or ())  # which come first
    few, taught = [False] * before, [True] * before
    if earlier is not None and earlier.few is not None and earlier.taught is not None:
        few, taught = earlier.few.tolist(), earlier.taught.tolist()
    few += [True] * (len(names) - before)
    taught = [teach or one for one in taught] + [teach] * (len(names) - before)
    shape = (1, extractor.max_persons, extractor.num_frames, len(get_layout(extractor.layout).joints), 3)
    of_motion = motion_features(np.zeros(shape, np.float32)).shape[1]
    meant = _meant_by_names(model, processor, names)
    return ClassPrototypes.fitted(known, given, few, taught, meant, of_motion if width > of_motion else 0)


def _meant_by_names(model: LlmArForActionRecognition, processor: LlmArProcessor, names: list[str]) -> np.ndarray | None:
    """(attributes, values, classes) how much likelier each name is where the joints show a value, in nats."""
    config = model.config
    if not config.attribute_statistics:
        return None
    statistics = AttributeStatistics(**config.attribute_statistics)
    lexicon = LabelLexicon(config.label_lexicon or {}, model.lexicon)
    said, tokenizer = [LabelDescription()] * len(names), processor.tokenizer
    meant = lexicon.value_shares(names, said, statistics, model.causal_lm, tokenizer, KeptStates())
    table = np.zeros((len(ATTRIBUTES), max(len(one.values) for one in ATTRIBUTES.values()), len(names)))
    for rows, (name, attribute) in zip(table, ATTRIBUTES.items(), strict=True):
        values = np.arange(len(attribute.values))
        rows[: len(values)] = statistics.scores(values[:, None], {name: meant[name]})
    return table


def _name_classes(model: LlmArForActionRecognition, names: list[str], processor: LlmArProcessor) -> None:
    config = model.config
    config.label_names, config.label_token_ids = names, label_token_ids(names, processor.tokenizer)
    config.id2label, config.label2id = dict(enumerate(names)), {name: index for index, name in enumerate(names)}
    model.__dict__.pop("trained_labels", None)  # made of the config, once


def _prepare_work_folder(work: Path, made_from: dict[str, object]) -> None:
    """Keeps the checkpoints of an interrupted run of the same inputs; those of any other go."""
    record = work / "made_from.json"
    if recorded(record) == made_from:
        return
    shutil.rmtree(work, ignore_errors=True)
    write_json(made_from, record)


def _fingerprint(model: LlmArForActionRecognition, *known: Rehearsal) -> str:
    """SHA-256 of the weights to be trained on and of all examples."""
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            digest.update(name.encode())
            digest.update(weight.detach().float().cpu().numpy().tobytes())
    for rehearsal in known:
        digest.update(json.dumps(rehearsal.sentences).encode())
        for label, rows in rehearsal.features.items():
            digest.update(label.encode())
            digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()
