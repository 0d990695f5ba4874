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
from torch.utils.data import Dataset as TorchDataset

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment
from llm_action.config.progress import ProgressBar
from llm_action.config.reading import recorded
from llm_action.datasets.augmentation import augment, normalized, padded
from llm_action.datasets.cameras import filming
from llm_action.datasets.split import Split, augmentation_of
from llm_action.evaluation.language_likeness import zipf_divergence
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_normalization import resample
from llm_action.training.rehearsal import write_table_features
from llm_action.training.requests import Requests, examples_each
from llm_action.training.sense_examples import SenseExamples

NEIGHBOURS = 8  # codes that token noise chooses from: near enough to be mistaken for one another
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


class TokenNoise:
    """Replaces a share of the action tokens by one of the `NEIGHBOURS` codes nearest to each.

    Args:
        processor: whose codebooks say what is near, each in its own geometry and level by level.
        share: chance of a token to be replaced.
    """

    def __init__(self, processor: LlmArProcessor, share: float):
        self.first_action_id, self.share = processor.first_action_id, share
        tables, first = [], 0
        for model in (processor.vqvae, *processor.senses.values()):
            tables.append(_nearest_tokens(model) + first)
            first += model.config.num_action_tokens
        width = min(table.shape[1] for table in tables)
        self.neighbours = np.concatenate([table[:, :width] for table in tables])

    def __call__(self, input_ids: list[int], rng: np.random.Generator) -> list[int]:
        ids = np.array(input_ids)
        actions = np.flatnonzero(ids >= self.first_action_id)
        chosen = actions[rng.random(len(actions)) < self.share]
        choices = self.neighbours[ids[chosen] - self.first_action_id]
        ids[chosen] = (
            self.first_action_id + choices[np.arange(len(chosen)), rng.integers(choices.shape[1], size=len(chosen))]
        )
        return ids.tolist()


@torch.no_grad()
def _nearest_tokens(vqvae: ActionVQVAE) -> np.ndarray:
    """Finds the tokens of the same level nearest to each, itself left out: (num_action_tokens, neighbours)."""
    config, tokens = vqvae.config, []
    for level, codes in enumerate(vqvae.codebook.codes.detach().float()):
        distances = vqvae.codebook.distances(codes, codes)
        distances.fill_diagonal_(torch.inf)
        nearest = distances.topk(min(NEIGHBOURS, len(codes) - 1), largest=False).indices
        tokens.append(nearest + level * config.codebook_size)
    return torch.cat(tokens).cpu().numpy()


class SentenceStream(TorchDataset):
    """The examples of a whole training in their order.

    Seed and number decide an item, noise included, so it is the same for any number of ranks, and after a resume.

    Args:
        examples: see `write_sentences`.
        order: index of each item's example.
    """

    def __init__(self, examples: Dataset, order: list[int], seed: int, noise: TokenNoise | None = None):
        self.examples, self.order, self.seed, self.noise = examples, order, seed, noise

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, item: int) -> dict[str, Any]:
        example = self.examples[self.order[item]]
        if self.noise is not None:
            rng = np.random.default_rng((self.seed, 6, item))
            example = {**example, "input_ids": self.noise(example["input_ids"], rng)}
        return example


class Collator:
    """Pads examples on the right.

    With `loss="answer"` the answer follows the prompt, and `labels` has its ids where they stand and -100 elsewhere.
    With "closed_set" there is only the prompt, and `classes` (batch,) has the class ids.
    """

    def __init__(self, pad_token_id: int, loss: str = "answer"):
        self.pad_token_id, self.loss = pad_token_id, loss

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [torch.tensor(example["input_ids"]) for example in examples]
        answers = [example["answer_length"] for example in examples]
        if self.loss == "closed_set":
            batch = self._padded([row[:-answer] for row, answer in zip(rows, answers, strict=True)])
            return {**batch, "classes": torch.tensor([example["label"] for example in examples])}
        batch = self._padded(rows)
        labels = torch.full_like(batch["input_ids"], -100)
        for target, row, answer in zip(labels, rows, answers, strict=True):
            target[len(row) - answer : len(row)] = row[-answer:]
        return {**batch, "labels": labels}

    def _padded(self, rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad_token_id)
        lengths = torch.tensor([len(row) for row in rows])
        return {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
        }
