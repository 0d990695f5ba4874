"""Distills a trained model into a student, which answers the trained labels in milliseconds.

The student (`llm_action.modeling.student`) is the small trunk with a reader. It learns from augmented training
recordings, half from their labels, half from the language model's posterior, and rebuilds joints beside. The
posterior of a recording is the mean over some augmented action sentences of it. A student of a model of several senses
reads them all; a share of its examples lacks one, as of the model's. All of that is this project's choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm_action.config.experiment import Experiment, load_experiment
from llm_action.config.folder_lock import lock_beside, sole_writer
from llm_action.config.progress import ProgressBar
from llm_action.datasets import BENCHMARKS
from llm_action.datasets.prepared import is_prepared
from llm_action.datasets.split import load_split
from llm_action.evaluation.ledger import config_hash, recognizer_fingerprint
from llm_action.evaluation.recordings import Recordings
from llm_action.evaluation.trunk_classifier import BATCH, fit_averaged, label_loss, student_config
from llm_action.hub.model_folder import describe
from llm_action.modeling.label_tree import normalize_label
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.open_vocabulary import NamedCandidates
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import EncodedRecording, LlmArProcessor
from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.skeleton_sequence import SKELETON
from llm_action.modeling.student import STUDENT_FOLDER, ActionStudent, SenseInput
from llm_action.training.sense_examples import SenseExamples

_SCORED_AT_ONCE = 32
_MOST_SENTENCES = 6000  # that the language model is asked about: minutes, whatever the size of the data
_POSTERIORS = "teacher-{}.safetensors"


@dataclass(frozen=True)
class Distillation:
    """How a student learns.

    Args:
        steps: of AdamW with a one-cycle schedule, batches of 32.
        versions: augmented sentences of each training recording that the language model reads, beside the plain one;
            fewer of many recordings: it reads 6,000 sentences at most, or each recording once.
        share: of the language model's posterior in the loss; the rest is the labels'.

    Raises:
        ValueError: a number out of range.
    """

    steps: int = 3000
    versions: int = 3
    share: float = 0.5

    def __post_init__(self):
        if self.steps < 1 or self.versions < 0 or not 0 <= self.share <= 1:
            raise ValueError(f"Expected steps of at least 1, versions of at least 0 and a share in 0..1, got {self}.")


def distill(
    model: str | Path,
    data_dir: str | None,
    distillation: Distillation | None = None,
    experiment: Experiment | None = None,
) -> ActionStudent:
    """Adds a student to a model folder; gives it.

    The same call after an interruption asks the language model nothing again.

    Args:
        model: folder that `llm-action train` wrote.
        data_dir: of the data set, see `load_split`; of data of one's own, whose folder a record does not say, the
            prepared folder.
        experiment: what the model was trained with; default what its training record says.

    Raises:
        FileNotFoundError: no model folder, or one without the record of its training.
        ValueError: data of other classes than the model's, or without its senses; a model trained without skeletons.
        BlockingIOError: another process is distilling the same model.
    """
    folder = Path(model)
    describe(folder)
    experiment = experiment or _recorded_experiment(folder, data_dir)
    with sole_writer(folder, lock_beside(folder)):
        recognize = SkeletonActionRecognitionPipeline(
            model=LlmArForActionRecognition.from_pretrained(folder), processor=LlmArProcessor.from_pretrained(folder)
        )
        work = folder / STUDENT_FOLDER
        student = distill_recognizer(experiment, data_dir, recognize, distillation, work)
        student.save_pretrained(folder)
        for file in work.glob(_POSTERIORS.format("*")):
            file.unlink()
    return student


def _recorded_experiment(model: Path, data_dir: str | None) -> Experiment:
    recipe = model / "training" / "experiment.yaml"
    if not recipe.is_file():
        raise FileNotFoundError(f"{recipe}: expected the settings of the model's training, found none.")
    experiment = load_experiment(recipe)
    if experiment.dataset not in BENCHMARKS and data_dir is not None and is_prepared(data_dir):
        return replace(experiment, dataset=data_dir)
    return experiment


def distill_recognizer(
    experiment: Experiment,
    data_dir: str | None,
    recognize: SkeletonActionRecognitionPipeline,
    distillation: Distillation | None = None,
    work: Path | None = None,
) -> ActionStudent:
    """Trains a student of a model on the training part of an experiment.

    Args:
        recognize: the teacher.
        work: folder that keeps the teacher's posteriors until the student is saved.
    """
    settings = distillation or Distillation()
    split = load_split(experiment, data_dir)
    trained, known = [normalize_label(label) for label in split.trained_labels], recognize.model.config.label_names
    if trained != known:
        raise ValueError(f"expected the data that the model learned from, with {known}, got data with {trained}")
    senses = SenseExamples(experiment, recognize.processor, split)
    if SKELETON not in senses.read:
        raise ValueError(
            f"expected a model that learned from skeletons, got one that learned from {', '.join(senses.read)} alone "
            "(recognizer.senses), which has no student"
        )
    recordings = Recordings(experiment, split, recognize.processor.feature_extractor)
    versions = min(settings.versions, max(0, _MOST_SENTENCES // len(recordings.sequences) - 1))
    posteriors = _kept_posteriors(experiment, recognize, recordings, senses, versions, work)
    # its labels are the model's: spelled as results spell them, without those that training left out
    numbers = {split.labels.index(label): number for number, label in enumerate(split.trained_labels)}
    targets = torch.tensor([numbers[target] for target in recordings.targets.tolist()])
    torch.manual_seed(experiment.seed)
    labels = list(recognize.model.config.class_names)
    tokenizers = {name: recognize.processor.senses[name] for name in senses.heard}
    inputs = {
        name: SenseInput(list(model.config.channels or ()), model.config.num_frames)
        for name, model in tokenizers.items()
    }
    student = ActionStudent(replace(student_config(recordings, "small"), labels=labels, senses=inputs))
    for name, trunk in student.trunk_of.items():
        trunk.means.copy_(tokenizers[name].channel_means)
        trunk.scales.copy_(tokenizers[name].channel_scales)

    def batches() -> Iterator[tuple[Any, ...]]:
        for number, (skeletons, person_mask, rows) in enumerate(recordings.augmented_rows(BATCH, settings.steps)):
            items = rows.tolist(), number * BATCH
            person_mask, signals = senses.dropped(person_mask, senses.augmented(*items), *items)
            yield skeletons, person_mask, signals, posteriors[rows], targets[rows]

    def loss(scores: Tensor, posterior: Tensor, targets: Tensor) -> Tensor:
        taught = -(posterior * scores.log_softmax(-1)).sum(-1).mean()
        return settings.share * taught + (1 - settings.share) * label_loss(scores, targets)

    return fit_averaged(student, batches(), settings.steps, loss, title="distilling")


def _kept_posteriors(
    experiment: Experiment,
    recognize: SkeletonActionRecognitionPipeline,
    recordings: Recordings,
    senses: SenseExamples,
    versions: int,
    work: Path | None,
) -> Tensor:
    if work is None:
        return teacher_posteriors(recognize, recordings, senses, versions)
    fingerprint = recognizer_fingerprint(recognize.model, recognize.processor)
    asked = {"experiment": config_hash(experiment), "seed": experiment.seed, "teacher": fingerprint}
    file = work / _POSTERIORS.format(config_hash({**asked, "versions": versions}))
    if file.is_file():
        return load_file(file)["posteriors"]
    posteriors = teacher_posteriors(recognize, recordings, senses, versions)
    work.mkdir(exist_ok=True)
    unfinished = file.with_suffix(".tmp")
    save_file({"posteriors": posteriors}, unfinished)
    unfinished.replace(file)
    return posteriors


@torch.inference_mode()
def teacher_posteriors(
    recognize: SkeletonActionRecognitionPipeline, recordings: Recordings, senses: SenseExamples, versions: int
) -> Tensor:
    """(sequences, labels) float32, the language model's mean posterior over each sequence's action sentences.

    Args:
        senses: all that there are of a recording are read.
        versions: augmented sentences, beside the plain one.
    """
    candidates, states = NamedCandidates(recognize.model, recognize.processor), KeptStates()
    count = len(recordings.sequences)
    total = torch.zeros(count, len(candidates.labels))

    def ask(skeletons: Tensor, person_mask: Tensor, rows: Tensor, signals: dict[str, Tensor]) -> None:
        processor = recognize.processor
        tokens = processor.tokens_of(skeletons, person_mask, signals)
        encoded = [EncodedRecording(processor.sentences_of([one])) for one in tokens]
        order = sorted(range(len(encoded)), key=lambda number: len(encoded[number].sentences[0]))
        for group in _of_one_length(order, encoded):
            shares, numbers = candidates.best([encoded[one] for one in group], None, states)
            total.index_add_(0, rows[group], torch.zeros_like(shares).scatter(1, numbers, shares).float())

    skeletons, person_mask = map(torch.from_numpy, recordings.plain())
    for rows in ProgressBar(torch.arange(count).split(_SCORED_AT_ONCE), desc="asking the language model"):
        ask(skeletons[rows], person_mask[rows], rows, senses.plain(rows.tolist()))
    batches = versions * count // _SCORED_AT_ONCE
    augmented = recordings.augmented_rows(_SCORED_AT_ONCE, batches)
    progress = ProgressBar(augmented, desc="asking again, of augmented ones", total=batches)
    for number, (skeletons, person_mask, rows) in enumerate(progress):
        ask(skeletons, person_mask, rows, senses.augmented(rows.tolist(), number * _SCORED_AT_ONCE))
    return total / total.sum(1, keepdim=True)


def _of_one_length(order: list[int], encoded: list[EncodedRecording]) -> Iterator[list[int]]:
    """Groups of numbers of recordings whose sentences are equally long."""
    for _, group in groupby(order, key=lambda number: len(encoded[number].sentences[0])):
        yield list(group)
