"""What a run is: one YAML file, every field with a default, unknown fields refused."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from llm_action.config.atomic_files import write_text
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig

PRESETS = Path(__file__).parent / "presets"


@dataclass
class Augmentation:
    """Ranges of the random changes; zero (one for `shortest_crop`) switches a change off.

    Args:
        yaw: turn about the vertical, radians, uniform in +-yaw.
        pitch: turn about the left-right axis, radians, uniform in +-pitch.
        roll: turn about the depth axis, radians, uniform in +-roll.
        scale: size, uniform in 1 +- scale.
        stretch: size along each axis of the room, uniform in 1 +- stretch.
        shortest_crop: shortest share of the sequence that is kept, uniform in shortest_crop..1 at a random place.
        noise: standard deviation of each coordinate's noise, torso lengths.
        limb_scale: standard deviation of a per-joint stretch of the offset from the root.
        speed: how much slower or faster parts of a movement become, below 1: the pace varies smoothly over the sequence
            within 1 +- speed of its mean.
        joint_dropout: probability that a joint is lost between two random frames; it then moves in a straight line, as
            `fill_missing` has a joint do that a tracker lost.

    There is no mirroring: a left swipe would become a right one.

    Raises:
        ValueError: speed outside 0..1 (time would run backwards) or a joint_dropout that is no probability.
    """

    yaw: float = 0.9
    pitch: float = 0.6
    roll: float = 0.2
    scale: float = 0.3
    stretch: float = 0.2
    shortest_crop: float = 0.5
    noise: float = 0.02
    limb_scale: float = 0.1
    speed: float = 0.7
    joint_dropout: float = 0.0

    def __post_init__(self):
        if not (0 <= self.speed < 1 and 0 <= self.joint_dropout <= 1):
            raise ValueError(
                f"Expected speed in 0..1 (below 1) and joint_dropout in 0..1, got {self.speed}, {self.joint_dropout}."
            )


@dataclass
class VQVAEStage:
    """Stage 1, the action tokenizer.

    Args:
        model: fields of `ActionVQVAEConfig` that differ from its defaults (layout and width are filled in).
        steps, batch_size, learning_rate, weight_decay, warmup_share: of AdamW with a cosine schedule.
        velocity_weight, commitment_weight: beside the reconstruction's weight of 1.
        codebook_update: "ema", moving averages of the latent vectors that chose a code, or "gradient", the optimiser
            with the codebook loss |sg(z) - e|^2, whose gradient is the codes' alone.
        codebook_weight: of the codebook loss, default 1 as in van den Oord et al. (2017).
        label_weight: classification of the mean token vector, so that tokens agree across subjects (this project's
            option).
        zipf_weight, context_weight, mmd_weight: the three language biases of the paper (`llm_action.training.losses`);
            0 switches one off.
        probe_steps: training steps of the small transformers that read tokens and joints when training has ended, see
            `llm_action.evaluation.probe`; 0 for none, default 400. Tables and `evaluate-vqvae` train theirs for longer.
        save_steps: steps between checkpoints.
    """

    model: dict[str, Any] = field(default_factory=dict)
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    velocity_weight: float = 0.5
    commitment_weight: float = 0.25
    codebook_update: Literal["ema", "gradient"] = "ema"
    codebook_weight: float = 1.0
    label_weight: float = 0.5
    zipf_weight: float = 0.0
    context_weight: float = 0.0
    mmd_weight: float = 0.0
    probe_steps: int = 400
    save_steps: int = 250


@dataclass
class RecognizerStage:
    """Stage 2, the LLM.

    Args:
        sentences: differently augmented action sentences of each training sequence, beside the plain one; no more of
            them are written than the training reads.
        token_noise: share of a sentence's action tokens that training replaces by one of the codes nearest to it, in
            the codebook's own geometry (this project's option; a random code would tell of another movement).
        answers: what the LLM learns to answer: "label", the name (the paper's); "description", one of the label's texts
            (`llm_action.datasets.descriptions`); or "both", each to a request of its own.
        descriptions: a description file of one's own, beside the shipped ones.
        question_share: share of the examples that are questions about the motion, answered from the joints and from
            the label's attributes (`llm_action.training.answers`), so that the LLM learns what tokens mean.
        loss: "answer", the cross-entropy of the answer's words (the paper's), or "closed_set", that of the label among
            all labels, from the exact posterior; it reads the label tree behind every prompt, so it takes longer.
        label_smoothing: of either loss, spread over the words or over the labels.
        steps, batch_size, learning_rate, embedding_learning_rate, weight_decay, warmup_share: of AdamW (cosine);
            adapters and action embeddings have a learning rate each.
        lora_rank, lora_alpha, lora_dropout, lora_targets: the adapter; alpha / rank scales it.
        base_dtype: of the frozen base: "auto" is bfloat16 where the hardware multiplies it fast, float32 elsewhere;
            "nf4" is 4-bit (bitsandbytes, CUDA only).
        base_weights: "pretrained", or "random", the same architecture that never saw a word: the control of whether
            pre-training helps.
        train: "lora", or "full", the control that trains the base's own weights in float32, without an adapter. A rate
            of 1e-4 suits it better.
        inputs: "tokens", or "features", the control that reads the VQ-VAE's vectors before they are quantised.
        label_names: "names", or "neutral" ("class 7"), the control of whether the labels' meaning helps.
        gradient_checkpointing: trade time for memory; not with the closed-set loss.
        save_steps: steps between checkpoints.
    """

    sentences: int = 20
    token_noise: float = 0.0
    answers: Literal["label", "description", "both"] = "label"
    descriptions: str | None = None
    question_share: float = 0.0
    loss: Literal["answer", "closed_set"] = "answer"
    label_smoothing: float = 0.0
    steps: int = 100
    batch_size: int = 16
    learning_rate: float = 1e-3
    embedding_learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    base_dtype: Literal["auto", "float32", "bfloat16", "float16", "nf4"] = "auto"
    base_weights: Literal["pretrained", "random"] = "pretrained"
    train: Literal["lora", "full"] = "lora"
    inputs: Literal["tokens", "features"] = "tokens"
    label_names: Literal["names", "neutral"] = "names"
    gradient_checkpointing: bool = False
    save_steps: int = 100

    @property
    def taught(self) -> list[str]:
        """What it is taught to say of a sentence, in the words of `llm_action.modeling.open_vocabulary`."""
        names = {"label": ["label"], "description": ["description"], "both": ["label", "description"]}[self.answers]
        return [*names, "questions"] if self.question_share else names

    @property
    def is_control(self) -> bool:
        """Whether the result is no adapter of an untouched base, so that it is scored and not exported."""
        return (self.base_weights, self.train, self.inputs) != ("pretrained", "lora", "tokens")


@dataclass
class Experiment:
    """A whole run: data, both stages, export.

    Args:
        dataset: key of `llm_action.datasets.BENCHMARKS`.
        protocol: a protocol column; None for the benchmark's own.
        layout: what the VQ-VAE sees; None for the data set's, "kinect20" for its other file orders.
        base_model: folder, GGUF file or Hub id; None for the default.
        extra_datasets: further data sets to train both stages on, {"dataset": NAME, "data": FOLDER} each; see
            `llm_action.datasets.extra_datasets`. The test part stays the data set's own.
        seed: of everything random.
        holdout_subjects, holdout_views: training subjects and camera views left out of training and scored instead of
            the test part, for choosing settings.
        training_examples_per_class: of the training part, chosen by the seed; 0 for all.
        unseen: names of classes left out of the training of both stages; they stay in the test part.
        hub_model_id: a Hub repository ("user/name") that gets every checkpoint and the result; None pushes nothing.
        report_to: where the Trainer logs to beside the terminal: "tensorboard", "trackio", "wandb" ...; default "none".
        align_facing, normalize_bones: see `SkeletonFeatureExtractor`.
        augmentation, vqvae, recognizer: see their classes.
    """

    dataset: str = "synthetic"
    protocol: str | None = None
    layout: str | None = None
    base_model: str | None = None
    extra_datasets: list[dict[str, str]] = field(default_factory=list)
    seed: int = 0
    max_persons: int = 2
    align_facing: bool = True
    normalize_bones: bool = False
    holdout_subjects: list[int] = field(default_factory=list)
    holdout_views: list[int] = field(default_factory=list)
    training_examples_per_class: int = 0
    unseen: list[str] = field(default_factory=list)
    hub_model_id: str | None = None
    report_to: str = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)
    vqvae: VQVAEStage = field(default_factory=VQVAEStage)
    recognizer: RecognizerStage = field(default_factory=RecognizerStage)


def load_experiment(config: str | os.PathLike[str], overrides: list[str] | None = None) -> Experiment:
    """An experiment from a YAML file or the name of a preset.

    Args:
        config: path of a YAML file, or a preset's name (`preset_names`).
        overrides: "section.field=value" each, value as YAML: "recognizer.steps=100".

    Raises:
        FileNotFoundError: neither a file nor a preset.
        ValueError: an unknown field, a value of the wrong type or out of its range, named.
    """
    path = Path(config)
    if not path.is_file():
        path = PRESETS / f"{config}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{config}: expected a YAML file or a preset: {', '.join(preset_names())}")
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: expected fields of Experiment, got {fields!r:.80}.")
    for override in overrides or []:
        _override(fields, override)
    experiment = _build(Experiment, fields, str(path))
    _check_ranges(experiment, str(path))
    experiment.vqvae.model = _vqvae_fields(experiment.vqvae.model, f"{path}: vqvae: model")
    return experiment


def save_experiment(experiment: Experiment, path: Path) -> None:
    """Writes the resolved experiment as YAML; `load_experiment` reads it back."""
    write_text(yaml.safe_dump(dataclasses.asdict(experiment), sort_keys=False), path)


def preset_names() -> list[str]:
    """Presets that ship with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _override(fields: dict[str, Any], override: str) -> None:
    name, found, value = override.partition("=")
    if not found:
        raise ValueError(f"Expected an override like recognizer.steps=100, got {override!r}.")
    *sections, last = name.strip().split(".")
    for section in sections:
        if not isinstance(fields.get(section), dict):
            fields[section] = {}
        fields = fields[section]
    try:
        fields[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError(f"Expected a YAML value in the override {override!r}.") from None


def _build(cls: type, fields: dict[str, Any], where: str) -> Any:
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: expected fields of {cls.__name__}, got {fields!r}.")
    known = {entry.name: entry for entry in dataclasses.fields(cls)}
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; {cls.__name__} has {', '.join(known)}.")
    defaults, kinds, values = cls(), get_type_hints(cls), {}
    for name, value in fields.items():
        default = getattr(defaults, name)
        if value is None:  # a key without a value
            continue
        if dataclasses.is_dataclass(default):
            value = _build(type(default), value, f"{where}: {name}")
        elif default is not None:
            value = _converted(value, type(default), f"{where}: {name}")
        if get_origin(kinds[name]) is Literal and value not in get_args(kinds[name]):
            raise ValueError(f"{where}: {name}: expected {' or '.join(get_args(kinds[name]))}, got {value!r}.")
        values[name] = value
    return cls(**values)


def _check_ranges(experiment: Experiment, where: str) -> None:
    for section in ("vqvae", "recognizer"):
        for name in ("steps", "batch_size", "save_steps"):
            value = getattr(getattr(experiment, section), name)
            if value < 1:
                raise ValueError(f"{where}: {section}: {name}: expected at least 1, got {value}.")
    for name in ("token_noise", "label_smoothing", "question_share"):
        if not 0 <= (share := getattr(experiment.recognizer, name)) < 1:
            raise ValueError(f"{where}: recognizer: {name}: expected a share from 0 to below 1, got {share}.")
    if experiment.recognizer.token_noise and experiment.recognizer.inputs == "features":
        raise ValueError(f"{where}: recognizer: token_noise: features are no tokens; expected 0 with inputs=features.")
    for source in experiment.extra_datasets:
        if not isinstance(source, dict) or not {"dataset"} <= set(source) <= {"dataset", "data"}:
            raise ValueError(f"{where}: extra_datasets: expected {{dataset: NAME, data: FOLDER}}, got {source!r}.")
    stage = experiment.recognizer
    if stage.loss == "closed_set" and (stage.answers != "label" or stage.question_share):
        raise ValueError(f"{where}: recognizer: loss: closed_set is for answers=label without questions.")
    if experiment.training_examples_per_class < 0:
        raise ValueError(
            f"{where}: training_examples_per_class: expected 0 for all or a number, got "
            f"{experiment.training_examples_per_class}."
        )


def _vqvae_fields(fields: dict[str, Any], where: str) -> dict[str, Any]:
    """Fields of `ActionVQVAEConfig`, which itself takes any name: refused here, before a training has begun."""
    known, defaults = ActionVQVAEConfig.__annotations__, ActionVQVAEConfig()
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; ActionVQVAEConfig has {', '.join(known)}.")
    kinds = {name: type(getattr(defaults, name)) for name in fields}
    fields = {name: _converted(value, kinds[name], f"{where}: {name}") for name, value in fields.items()}
    try:
        ActionVQVAEConfig(**fields)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return fields


def _converted(value: Any, kind: type, where: str) -> Any:
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as text
        except ValueError:
            pass
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: expected {kind.__name__}, got {value!r}.")
