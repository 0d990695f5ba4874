"""Experiments: a run's settings in one YAML file. Every field has a default; unknown fields are refused."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from llm_action.config.arguments import PRESETS, preset_names
from llm_action.config.atomic_files import write_text
from llm_action.config.fields import build, check_names, converted, naming, override, read_fields
from llm_action.config.sections import Augmentation, Cameras, RecognizerStage, SenseStage, VQVAEStage
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.removed_options import OFF, without_removed
from llm_action.modeling.segmentation import BACKGROUND
from llm_action.modeling.skeleton_sequence import SKELETON

_MANIFEST = "manifest.json"  # of a folder that llm-action prepare wrote
# options on trial that gained nothing on held-out data, and what they were when off
_ON_TRIAL = {**OFF, "codebook_update": "ema", "codebook_weight": 1.0, "token_noise": 0.0, "loss": "answer"}


@dataclass
class Experiment:
    """A whole run: data, both stages, export.

    Args:
        dataset: key of `llm_action.datasets.BENCHMARKS`, a folder that `llm-action prepare` wrote, or user/name or
            user/name@revision of such a table on the Hub, which is read part by part.
        protocol: a protocol column; None for the benchmark's own.
        layout: what the VQ-VAE sees; None for the data set's, "kinect20" for its other file orders.
        base_model: folder, GGUF file or Hub id; None for the default.
        extra_datasets: further data sets to train both stages on, {"dataset": NAME, "data": FOLDER} each, without data
            the folder NAME beside the first one's; see `llm_action.datasets.extra_datasets`. The test part stays the
            data set's own.
        seed: of everything random.
        max_persons: persons of a recording that are kept, those who move most.
        dimensions: 2 trains both stages on what `cameras` see of recordings in three dimensions, for a model that is
            asked about pixels; None for as many as the recordings have.
        align_facing: whether everybody is turned to face the camera, see `SkeletonFeatureExtractor`.
        holdout_subjects, holdout_cameras: training subjects and cameras left out of training and scored instead of the
            test part, for choosing settings.
        training_examples_per_class: of the training part, chosen by the seed; 0 for all.
        background: name of the class that means that nothing is done, where the data has it; long recordings are then
            segmented without it.
        unseen: names of classes left out of the training of both stages; they stay in the test part.
        hub_model_id: a Hub repository ("user/name") that gets every checkpoint and the result; None pushes nothing.
        report_to: where the Trainer logs to beside the terminal: "tensorboard", "trackio", "wandb" ...; default "none".
        senses: further senses than the skeleton by name, as the data set's columns are called, each a `SenseStage`.
        augmentation, cameras, vqvae, recognizer: see their classes.

    Raises:
        ValueError: settings that do not go together.
    """

    dataset: str = "synthetic"
    protocol: str | None = None
    layout: str | None = None
    base_model: str | None = None
    extra_datasets: list[dict[str, str]] = field(default_factory=list)
    seed: int = 0
    max_persons: int = 2
    dimensions: int | None = None
    align_facing: bool = True
    holdout_subjects: list[int] = field(default_factory=list)
    holdout_cameras: list[int] = field(default_factory=list)
    training_examples_per_class: int = 0
    background: str = BACKGROUND
    unseen: list[str] = field(default_factory=list)
    hub_model_id: str | None = None
    report_to: str = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)
    cameras: Cameras = field(default_factory=Cameras)
    vqvae: VQVAEStage = field(default_factory=VQVAEStage)
    recognizer: RecognizerStage = field(default_factory=RecognizerStage)
    senses: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        stage = self.recognizer
        for name, sense in self.senses.items():
            if not isinstance(sense, SenseStage):
                self.senses[name] = build(SenseStage, sense or {}, f"senses: {name}")
        if unknown := set(stage.senses) - {SKELETON, *self.senses}:
            known = ", ".join([SKELETON, *self.senses])
            raise ValueError(f"recognizer: senses: unknown {', '.join(sorted(unknown))}; this experiment has {known}.")
        for source in self.extra_datasets:
            if not isinstance(source, dict) or not {"dataset"} <= set(source) <= {"dataset", "data"}:
                raise ValueError(f"extra_datasets: expected {{dataset: NAME, data: FOLDER}}, got {source!r}.")
        if self.dimensions not in (None, 2, 3):
            raise ValueError(f"dimensions: expected 2 or 3, got {self.dimensions!r}.")
        if self.training_examples_per_class < 0:
            raise ValueError(
                f"training_examples_per_class: expected 0 for all or a number, got {self.training_examples_per_class}."
            )


def load_experiment(config: str | os.PathLike[str], overrides: list[str] | None = None) -> Experiment:
    """Reads an experiment from a YAML file, or from the preset of that name.

    Args:
        config: path of a YAML file, a preset's name (`preset_names`), or a folder that `llm-action prepare` wrote, for
            the defaults on that data.
        overrides: "section.field=value" each, value as YAML: "recognizer.steps=100"; or the path of a YAML file whose
            fields come on top.

    Raises:
        FileNotFoundError: none of these.
        ValueError: an unknown field, a value of the wrong type or out of its range, named.
    """
    path = Path(config)
    if not path.is_file():
        path = PRESETS / f"{config}.yaml"
    if path.is_file():
        fields = read_fields(path)
    elif (Path(config) / _MANIFEST).is_file():
        fields = {"dataset": str(config)}
    else:
        raise FileNotFoundError(
            f"{config}: expected a YAML file, a folder that llm-action prepare wrote, or a preset: "
            f"{', '.join(preset_names())}"
        )
    for change in overrides or []:
        override(fields, change)
    with naming(str(path)):
        _leave_out_removed(fields)
    experiment = build(Experiment, fields, str(path))
    where = f"{path}: vqvae: model"
    experiment.vqvae.model = _vqvae_fields(experiment.vqvae.model, where)
    for name, sense in experiment.senses.items():
        sense.model = _vqvae_fields(sense.model, f"{path}: senses: {name}: model")
    with naming(where):
        tokenizer_config(experiment)
    return experiment


def _leave_out_removed(fields: dict[str, Any]) -> None:
    """Takes options out that trainings once recorded, see `without_removed`."""
    trial = fields.pop("on_trial", None)
    if isinstance(trial, dict):
        with naming("on_trial"):
            left = without_removed(trial, _ON_TRIAL)
        if left:
            fields["on_trial"] = left  # unknown, which is said
    if isinstance(fields.get("recognizer"), dict) and not fields.get("senses"):
        fields["recognizer"].pop("sense_dropout", None)


def tokenizer_config(experiment: Experiment, **others: Any) -> ActionVQVAEConfig:
    """Makes the configuration of an experiment's action tokenizer.

    Args:
        others: what the data and the base decide: layout, embedding_dim. Fields of the experiment come first.
    """
    return ActionVQVAEConfig(**{**others, **experiment.vqvae.model})


def sense_config(stage: SenseStage, **others: Any) -> ActionVQVAEConfig:
    """Makes the configuration of another sense's action tokenizer; `others` as in `tokenizer_config`."""
    return ActionVQVAEConfig(**{**others, **stage.model})


def save_experiment(experiment: Experiment, path: Path) -> None:
    """Writes the resolved experiment as YAML; `load_experiment` reads it back."""
    write_text(yaml.safe_dump(dataclasses.asdict(experiment), sort_keys=False), path)


def _vqvae_fields(fields: dict[str, Any], where: str) -> dict[str, Any]:
    """Checks fields of `ActionVQVAEConfig`, which itself takes any name, before a training begins."""
    defaults = ActionVQVAEConfig()
    check_names(fields, ActionVQVAEConfig.__annotations__, "ActionVQVAEConfig", where)
    return {name: converted(value, type(getattr(defaults, name)), f"{where}: {name}") for name, value in fields.items()}
