"""What the benchmark runs on: a recognizer, sequences, prompts and lists of labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, set_seed

from llm_action.config.experiment import Experiment
from llm_action.config.sections import RecognizerStage
from llm_action.datasets import describe_dataset, open_dataset, row_to_sequence
from llm_action.datasets.ntu import NTU120
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.datasets.split import dataset_name
from llm_action.datasets.synthetic.actions import TWO_PERSON
from llm_action.datasets.synthetic.sequences import LABELS, generate_sequence
from llm_action.hub.base_models import resolve_base_model
from llm_action.hub.model_folder import export
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_tree import LabelTree, normalize_label
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.training.train_recognizer import new_recognizer

_ADAPTER_SPREAD = 0.01

_VERBS = (
    "pick up, put down, carry, push, pull, lift, drop, throw, catch, kick, open, close, clean, wipe, wash, hold, "
    "hand over, point at, look at, reach for, walk to, run to, jump over, step over, sit down on, stand up from, "
    "lean on, lie down on, turn, shake, hit, tap, touch, move, hide, show, take, fold, tear, paint"
)
_OBJECTS = (
    "a cup, a ball, a book, a box, a chair, a table, a door, a window, a phone, a bag, a bottle, a plate, a knife, "
    "a pen, a hat, a shoe, a jacket, a towel, a broom, a ladder, a rope, a stone, a stick, a bicycle, a car, a dog, "
    "a cat, a child, another person, a friend, a shelf, a drawer, a lamp, a keyboard, a camera, a guitar, a drum, "
    "an umbrella, a suitcase, a trolley, a bed, a sofa, a mirror, a cushion, a basket, a bucket, a newspaper, "
    "a letter, a coin, a key"
)


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults take a quarter of an hour with SmolLM2-135M on two cores.

    Args:
        label_counts: lengths of the label lists whose cost is compared, ascending.
        labels: length of the list most figures are of, NTU RGB+D 120's.
        single_tokens: labels of one token.
        untrained_classes: candidates of a model that has learned nothing, where a trained one's are its classes.
        sequences: made-up recordings.
        dataset_sequences: recordings taken from a data set at most.
        batch: recordings of the pipeline's files and of the memory's scoring.
        batches: batch sizes of the throughput.
        windows: of the stream.
        training_steps: of each of our and the stock training, of 16 sentences.
        precision_sequences: made-up recordings scored in each precision; those of a data set all are.
    """

    label_counts: tuple[int, ...] = (10, 30, 120, 500, 2000)
    labels: int = 120
    single_tokens: int = 30
    untrained_classes: int = 30
    sequences: int = 32
    dataset_sequences: int = 128
    batch: int = 16
    batches: tuple[int, ...] = (1, 8, 32)
    windows: int = 12
    training_steps: int = 6
    precision_sequences: int = 8


@dataclass
class BenchInputs:
    """What every section gets.

    Attributes:
        folder: of the model, for sections that load it anew.
        model: in float32, in evaluation mode.
        sizes: how much to measure.
        sequences: recordings.
        targets: the class of each, into `names`, if they come from a data set whose classes were trained on.
        prompts: (1, tokens) ids of each sequence's prompt.
        names: candidate labels: the classes trained on, NTU RGB+D 120's, made-up ones.
        trained: False for the stand-in whose answers mean nothing.
        tested: the data set and protocol whose test part the sequences are of; None for made-up ones.
    """

    folder: Path
    model: LlmArForActionRecognition
    processor: LlmArProcessor
    sequences: list[SkeletonSequence]
    targets: list[int] | None
    prompts: list[Tensor]
    names: list[str]
    trained: bool
    sizes: Sizes
    tested: tuple[str, str] | None = None

    def tree(self, count: int) -> LabelTree:
        """The prefix tree of the first `count` names, on the model's device."""
        return LabelTree.from_labels(self.names[:count], self.processor.tokenizer).to(self.model.device)

    def classes(self) -> list[str]:
        """The candidates of everyday use: the classes trained on."""
        own = self.model.config.label_names if self.trained else None
        return list(own or self.names[: self.sizes.untrained_classes])

    def embeds(self, repeat: int) -> Tensor:
        """(1, tokens, hidden) the embedded prompt of a repeat: each has another one."""
        return self.model.embed(self.prompts[repeat % len(self.prompts)])


def load_inputs(
    folder: Path, trained: bool, sizes: Sizes, dataset: str | None = None, data_dir: str | None = None
) -> BenchInputs:
    """Loads a model and makes or reads its sequences.

    Args:
        folder: of the model.
        trained: whether its answers mean something.
        dataset, data_dir: as of `llm-action evaluate`: the sequences are then of the test part, evenly chosen; default:
            made-up ones of one person each.
    """
    model = LlmArForActionRecognition.from_pretrained(folder, dtype=torch.float32)
    processor = LlmArProcessor.from_pretrained(folder)
    sequences, labels, tested = made_up_sequences(sizes.sequences), None, None
    if dataset:
        tested = dataset_name(dataset), protocol_name(describe_dataset(dataset))
        sequences, labels = read_sequences(dataset, data_dir, sizes.dataset_sequences)
    classes = list(model.config.label_names or ())
    names = candidate_names(classes, max(len(classes), sizes.labels, *sizes.label_counts))
    sentences = processor.encode_batch(sequences)
    prompts = [processor.build_prompts([sentence], "pt")["input_ids"].to(model.device) for sentence in sentences]
    known = trained and labels is not None and set(labels) <= set(classes)
    targets = [names.index(label) for label in labels] if labels is not None and known else None
    return BenchInputs(folder, model, processor, sequences, targets, prompts, names, trained, sizes, tested)


def untrained_model(folder: Path, base_model: str | None = None) -> Path:
    """Writes a recognizer that has learned nothing, of default size, with NTU RGB+D 120's classes; for timing.

    Its adapters are given small random weights, so that leaving them out or merging them wrongly would show.
    """
    set_seed(0)
    base = resolve_base_model(base_model)
    base_config = AutoConfig.from_pretrained(base)
    config = ActionVQVAEConfig(embedding_dim=base_config.hidden_size)
    processor = LlmArProcessor(
        SkeletonFeatureExtractor(config.layout, config.num_frames),
        AutoTokenizer.from_pretrained(base),
        ActionVQVAE(config),
        first_action_id=base_config.vocab_size,
    )
    experiment = Experiment(base_model=base_model, recognizer=RecognizerStage(base_dtype="float32"))
    model = new_recognizer(experiment, processor, list(NTU120.labels), base)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=_ADAPTER_SPREAD)
    return export(model, processor, folder)


def read_sequences(dataset: str, data_dir: str | None, most: int) -> tuple[list[SkeletonSequence], list[str]]:
    """Up to `most` sequences of a data set's test part, evenly chosen, and the name of each one's class."""
    protocol = protocol_name(describe_dataset(dataset))
    _, table = open_dataset(dataset, data_dir)
    test = np.flatnonzero(protocol_parts(table, protocol) == "test")
    chosen = test[np.linspace(0, len(test) - 1, min(len(test), most)).astype(int)]
    part, names = table.select(chosen), table.features["label"].names
    sequences = [row_to_sequence(row) for row in part.with_format("numpy")]
    return sequences, [normalize_label(names[label]) for label in part["label"]]


def made_up_sequences(count: int) -> list[SkeletonSequence]:
    """Synthetic sequences of actions of one person, turn by turn."""
    actions = [action for action in LABELS if action not in TWO_PERSON]
    places = [divmod(index, len(actions)) for index in range(count)]
    return [generate_sequence(actions[action], subject + 1, 1 + subject % 3, 1) for subject, action in places]


def candidate_names(own: list[str], count: int) -> list[str]:
    """Distinct label names, always the same: `own`, then NTU RGB+D 120's, then "pick up a cup" and its like."""
    made_up = (f"{verb} {thing}" for verb, thing in itertools.product(_VERBS.split(", "), _OBJECTS.split(", ")))
    return list(itertools.islice(dict.fromkeys(map(normalize_label, [*own, *NTU120.labels, *made_up])), count))
