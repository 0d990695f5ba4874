"""The examples of stage 2: prompts with action sentences and their answers, in order and in batches."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, Features, Value, load_from_disk
from datasets import Sequence as ListOf
from datasets.arrow_writer import ArrowWriter

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment
from llm_action.config.progress import ProgressBar
from llm_action.config.reading import recorded
from llm_action.datasets.augmentation import augment, normalized, padded
from llm_action.datasets.cameras import filming
from llm_action.datasets.split import Split, augmentation_of
from llm_action.evaluation.language_likeness import zipf_divergence
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_normalization import resample
from llm_action.training.rehearsal import write_table_features
from llm_action.training.requests import Requests, examples_each
from llm_action.training.sense_examples import SenseExamples

_CHUNK = 64
_COLUMNS = Features(
    input_ids=ListOf(Value("int64")), answer_length=Value("int64"), prompt_length=Value("int64"), label=Value("int64")
)
_SHOWN_TOKENS = 5


def training_sentences(experiment: Experiment, processor: LlmArProcessor, split: Split, folder: Path) -> Dataset:
    """Writes the sentences once and keeps them in `folder`, beside motion features of some sequences (`rehearsal`)."""
    wanted = {
        "vqvae": processor.vqvae_fingerprint,
        **(processor.sense_fingerprints or {}),
        "experiment": _sentence_settings(experiment),
        "rows": len(split.train),
        "versions": versions_read(experiment, len(split.train)),
    }
    record = folder / "made_from.json"
    if recorded(record) == wanted:
        return load_from_disk(str(folder))
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    rows = folder.with_name(folder.name + ".arrow.tmp")
    rows.parent.mkdir(parents=True, exist_ok=True)
    table = write_sentences(experiment, processor, split, rows)
    table.save_to_disk(str(temporary))
    write_json(sentence_statistics(table, processor, len(split.train)), temporary / "statistics.json")
    write_table_features(split.train, split.trained_labels, processor.feature_extractor, temporary)
    rows.unlink()
    write_json(wanted, temporary / record.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    return load_from_disk(str(folder))


def write_sentences(experiment: Experiment, processor: LlmArProcessor, split: Split, file: Path) -> Dataset:
    """Writes prompt and answer ids of every training sequence, in as many versions as the training reads.

    There are `1 + sentences` versions, the plain one and augmented ones. Chance decides for each sequence which of them
    are written, `versions_read` how many. A sentence has several rows if more is asked, see `Requests`.

    Args:
        file: takes the rows as they are made; the table returned is that file, memory-mapped.

    Returns:
        Columns input_ids, answer_length, prompt_length (of the prompt that asks for the label, whatever is asked) and
        label, the number among the classes trained on.
    """
    extractor, senses = processor.feature_extractor, SenseExamples(experiment, processor, split)
    sequences = normalized(split.train, extractor, "normalising skeletons")
    classes = list(split.train["label"])
    requests_about = Requests(experiment, processor, split.labels)
    numbers = {split.labels.index(label): number for number, label in enumerate(split.trained_labels)}
    before, after = processor.prompt_parts()
    writer = ArrowWriter(path=str(file), features=_COLUMNS)
    for versions in ProgressBar(_chosen_versions(experiment, len(sequences)), desc="writing action sentences"):
        for start in range(0, len(sequences), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(sequences)))
            batch = _seen(versions, sequences, chunk, experiment, extractor)
            skeletons, person_mask = map(torch.from_numpy, (batch["skeletons"], batch["person_mask"]))
            sentences = processor.encode_features(skeletons, *senses.of_sentences(versions, chunk, person_mask))
            shown = zip(batch["skeletons"], batch["person_mask"], strict=True)
            for index, sentence, (skeletons, mask) in zip(chunk, sentences, shown, strict=True):
                rng = np.random.default_rng((experiment.seed, 8, versions[index], index))
                for request, answer in requests_about(classes[index], skeletons[mask], rng):
                    row = {
                        "input_ids": before + sentence + request + answer,
                        "answer_length": len(answer),
                        "prompt_length": len(before) + len(sentence) + len(after),
                        "label": numbers[classes[index]],
                    }
                    writer.write(row)
    writer.finalize()
    return Dataset.from_file(str(file))


def sentence_statistics(table: Dataset, processor: LlmArProcessor, sequences: int) -> dict[str, Any]:
    """Counts how action sentences use their tokens, for the model card.

    Args:
        table: with the column input_ids of `write_sentences`.
        sequences: recordings that the sentences were made of.

    Returns:
        sequences, sentences, tokens, tokens_per_sentence, vocabulary, used; entropy_bits and perplexity of a token;
        zipf_divergence, the Jensen-Shannon divergence (bits) to Zipf-Mandelbrot's law; most_frequent tokens with their
        shares; counts of every token.
    """
    counts = np.zeros(processor.num_action_tokens, np.int64)
    for batch in table.select_columns("input_ids").iter(1000):
        ids = np.concatenate([np.asarray(row) for row in batch["input_ids"]]) - processor.first_action_id
        counts += np.bincount(ids[ids >= 0], minlength=len(counts))
    shares = counts / counts.sum()
    entropy = float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())
    most = np.argsort(-counts, kind="stable")[: min(_SHOWN_TOKENS, int((counts > 0).sum()))]
    tokens = processor.convert_ids_to_tokens((most + processor.first_action_id).tolist())
    return {
        "sequences": sequences,
        "sentences": len(table),
        "tokens": int(counts.sum()),
        "tokens_per_sentence": round(float(counts.sum() / len(table)), 1),
        "vocabulary": len(counts),
        "used": int((counts > 0).sum()),
        "entropy_bits": round(entropy, 3),
        "perplexity": round(2**entropy, 1),
        "zipf_divergence": round(float(zipf_divergence(torch.from_numpy(shares))) / math.log(2), 4),
        "most_frequent": [
            {"token": token, "share": round(float(shares[index]), 4)} for token, index in zip(tokens, most, strict=True)
        ],
        "counts": counts.tolist(),
    }


def _sentence_settings(experiment: Experiment) -> dict[str, Any]:
    data = (
        "dataset",
        "protocol",
        "extra_datasets",
        "holdout_subjects",
        "holdout_cameras",
        "training_examples_per_class",
        "unseen",
        "seed",
    )
    cameras = {} if experiment.dimensions != 2 else {"cameras": vars(experiment.cameras)}
    stage = ("sentences", "label_names", "answers", "descriptions", "question_share")
    return {
        **{name: getattr(experiment, name) for name in data},
        **{name: getattr(experiment.recognizer, name) for name in stage},
        **cameras,
        **({"senses": _sense_settings(experiment)} if experiment.senses else {}),
        "augmentation": vars(augmentation_of(experiment)),
    }


def _sense_settings(experiment: Experiment) -> dict[str, Any]:
    return {
        "read": experiment.recognizer.senses,
        **{name: vars(stage.augmentation) for name, stage in experiment.senses.items()},
    }


def versions_read(experiment: Experiment, sequences: int) -> int:
    """Counts the versions of each of so many sequences: no more than the training, on all its ranks, reads."""
    stage = experiment.recognizer
    examples = stage.steps * stage.batch_size * PartialState().num_processes
    return min(1 + stage.sentences, math.ceil(examples / (sequences * examples_each(stage))))


def _chosen_versions(experiment: Experiment, sequences: int) -> np.ndarray:
    """Draws the versions of each sequence: (versions read, sequences) numbers, 0 the plain one."""
    rng = np.random.default_rng((experiment.seed, 9))
    every = np.tile(np.arange(1 + experiment.recognizer.sentences), (sequences, 1))
    return rng.permuted(every, axis=1).T[: versions_read(experiment, sequences)]


def _seen(versions: np.ndarray, sequences, indices, experiment: Experiment, extractor) -> dict[str, np.ndarray]:
    """Makes a batch of the sequences `indices`, each in its version."""
    rows, film, ranges = [], filming(extractor, experiment.cameras), augmentation_of(experiment)
    for index in indices:
        persons, version = sequences[index], int(versions[index])
        rng = np.random.default_rng((experiment.seed, 3, version, index))
        if version:
            persons = augment(persons, ranges, extractor.num_frames, rng, film)
        else:
            persons = resample(extractor.as_seen(persons), extractor.num_frames).astype(np.float32)
        rows.append(padded(persons, extractor.max_persons))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class Collator:
    """Pads examples on the right; `labels` has the answer's ids where they stand and -100 elsewhere."""

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [torch.tensor(example["input_ids"]) for example in examples]
        input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad_token_id)
        labels = torch.full_like(input_ids, -100)
        for target, row, example in zip(labels, rows, examples, strict=True):
            answer = example["answer_length"]
            target[len(row) - answer : len(row)] = row[-answer:]
        lengths = torch.tensor([len(row) for row in rows])
        return {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
            "labels": labels,
        }
