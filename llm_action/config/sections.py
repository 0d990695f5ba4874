"""The sections of an experiment: the augmentation and the two stages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Augmentation:
    """Ranges of the random changes (this project's choice); zero (one for `shortest_crop`) switches a change off.

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

    There is no mirroring: a left swipe would become a right one.

    Raises:
        ValueError: speed outside 0..1 (time would run backwards).
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

    def __post_init__(self):
        _check_speed(self)


@dataclass
class Cameras:
    """Where models of two dimensions see recordings from, and the errors of the pose estimator between.

    The errors are those of MediaPipe on videos of one person. Constant and drifting errors are what it differs by from
    the Kinect's joints on NTU RGB+D's videos; jitter, and landmarks with a visibility below 0.3, are those of other
    videos. Wrists, hands and feet have twice the errors of other joints.

    Args:
        yaw, pitch, roll: radians, uniform in +- these; they stand in for those of `Augmentation`.
        nearest, farthest: distance of the camera, torso lengths (about half a metre), uniform between.
        offset, drift, jitter: standard deviations of each coordinate's constant error, of one that changes over half a
            second, and of one in each frame; torso lengths.
        lost: share of the time in which an arm's or a leg's joints are not found.
        longest_loss: frames; losses last from 1 to so many.

    Raises:
        ValueError: a camera within the body, or a share outside 0..1.
    """

    yaw: float = 1.05
    pitch: float = 0.2
    roll: float = 0.1
    nearest: float = 5.0
    farthest: float = 12.0
    offset: float = 0.07
    drift: float = 0.03
    jitter: float = 0.02
    lost: float = 0.12
    longest_loss: int = 36

    def __post_init__(self):
        if not 2 <= self.nearest <= self.farthest:
            raise ValueError(
                f"nearest: expected 2 torso lengths or more, no more than farthest, got {self.nearest} and "
                f"{self.farthest}."
            )
        if not 0 <= self.lost < 1:
            raise ValueError(f"lost: expected 0 or more and below 1, got {self.lost}.")


@dataclass
class VQVAEStage:
    """Stage 1, the action tokenizer.

    Args:
        model: fields of `ActionVQVAEConfig` that differ from its defaults (layout and width are filled in).
        steps, batch_size, learning_rate, weight_decay, warmup_share: of AdamW with a cosine schedule.
        velocity_weight, commitment_weight: beside the reconstruction's weight of 1.
        label_weight: classification of the mean token vector, so that tokens agree across subjects, and of the mean
            hidden state that tokens are made of (this project's option).
        zipf_weight, context_weight, mmd_weight: the three language biases of the paper (`llm_action.training.losses`);
            0 switches one off.
        probe_steps: training steps of the small transformers that read tokens and joints when training has ended, see
            `llm_action.evaluation.probe`; 0 for none, default 400. Tables and `evaluate-vqvae` train theirs for longer.
        save_steps: steps between checkpoints.

    Raises:
        ValueError: a number out of range.
    """

    model: dict[str, Any] = field(default_factory=dict)
    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    velocity_weight: float = 0.5
    commitment_weight: float = 0.25
    label_weight: float = 2.0
    zipf_weight: float = 0.0
    context_weight: float = 0.0
    mmd_weight: float = 0.0
    probe_steps: int = 400
    save_steps: int = 250

    def __post_init__(self):
        _check_counts(self)


@dataclass
class SignalAugmentation:
    """Random changes of a signal (this project's choice); zero (one for `shortest_crop`) switches a change off.

    Crops and changes of pace are milder than a skeleton's: how long a movement lasts says more where less is seen.

    Args:
        rotation: standard deviation, radians, of a turn of the sensor: each three channels in a row are x, y and z.
        scale: size, uniform in 1 +- scale.
        noise: standard deviation of each value's noise, in those of the channels.
        shortest_crop, speed: as of `Augmentation`.

    Raises:
        ValueError: a rotation, and channels whose number is no multiple of three; said when training begins.
    """

    rotation: float = 0.0
    scale: float = 0.3
    noise: float = 0.05
    shortest_crop: float = 0.75
    speed: float = 0.4

    def __post_init__(self):
        _check_speed(self)


@dataclass
class SenseStage(VQVAEStage):
    """Stage 1 of another sense than the skeleton: an action tokenizer for its signal.

    Args:
        title: what the prompt calls it, such as "Wrist sensor"; default its name.
        augmentation: see its class.
    """

    title: str = ""
    augmentation: SignalAugmentation = field(default_factory=SignalAugmentation)


@dataclass
class RecognizerStage:
    """Stage 2, the language model.

    Args:
        sentences: differently augmented action sentences of each training sequence, beside the plain one; no more of
            them are written than the training reads.
        answers: what the language model learns to answer: "label", the name (the paper's); "description", one of the
            label's texts (`llm_action.datasets.descriptions`); or "both", each to a request of its own.
        descriptions: a description file of one's own, beside the shipped ones.
        question_share: share of the examples that are questions about the motion, answered from the joints and from
            the label's attributes (`llm_action.training.requests`), so that the language model learns what tokens mean.
        senses: what the sentences are made of, some of "skeleton" and the experiment's other senses, one an example;
            default all.
        label_smoothing: share of the loss that is spread over the other words.
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
        gradient_checkpointing: trade time for memory.
        save_steps: steps between checkpoints.

    Raises:
        ValueError: a number out of range.
    """

    sentences: int = 20
    answers: Literal["label", "description", "both"] = "label"
    descriptions: str | None = None
    question_share: float = 0.0
    senses: list[str] = field(default_factory=list)
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

    def __post_init__(self):
        _check_counts(self)
        _check_shares(self, "label_smoothing", "question_share")

    @property
    def taught(self) -> list[str]:
        """What it is taught to say of a sentence, in the words of `llm_action.modeling.open_vocabulary`."""
        names = {"label": ["label"], "description": ["description"], "both": ["label", "description"]}[self.answers]
        return [*names, "questions"] if self.question_share else names

    @property
    def is_control(self) -> bool:
        """Whether the result is no adapter of an untouched base, so that it is scored and not exported."""
        return (self.base_weights, self.train, self.inputs) != ("pretrained", "lora", "tokens")


def _check_speed(ranges: Augmentation | SignalAugmentation) -> None:
    if not 0 <= ranges.speed < 1:
        raise ValueError(f"speed: expected 0 or more and below 1, got {ranges.speed}.")


def _check_counts(stage: VQVAEStage | RecognizerStage) -> None:
    for name in ("steps", "batch_size", "save_steps"):
        if (value := getattr(stage, name)) < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}.")


def _check_shares(section: Any, *names: str) -> None:
    for name in names:
        if not 0 <= (share := getattr(section, name)) < 1:
            raise ValueError(f"{name}: expected a share from 0 to below 1, got {share}.")
