"""Configurations of the action tokenizer (VQ-VAE) and of the recognizer (LLaMA with LoRA)."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .hub_repository import (
    FORMAT_VERSION,
    MODEL_AUTO_MAP,
    PIPELINES,
    VQVAE_AUTO_MAP,
    check_format,
    from_hub_code,
    written_format,
)
from .removed_options import without_removed
from .skeleton_layouts import get_layout, own_layout
from .skeleton_trunk import SIZES


@strict
class ActionVQVAEConfig(PreTrainedConfig):
    """Configuration of `ActionVQVAE`, which turns a skeleton sequence into an action sentence and back.

    Args:
        layout: joints the model sees, a name of `skeleton_layouts.LAYOUTS`; others are mapped to it by joint name.
        own_layout: the whole layout where it is none of the built-in ones, see `SkeletonLayout.to_dict`.
        dimensions: 3, or 2 of a model that sees pictures: depths are 0.
        num_frames: frames a sequence is resampled to, default 64; a multiple of `downsample`.
        downsample: frames a token step stands for, a power of two, default 4 as in T2M-GPT.
        codebook_size: codes a codebook holds, default 512 (the setting of sibling papers).
        body_parts: whether trunk, arms and legs have tokens of their own (`SkeletonLayout.body_parts`), five a step and
            person from one codebook, instead of one for the whole body, the paper's single stream. This project's
            option, default False; with downsample 4 a person's sentence has 80 tokens.
        num_levels: tokens a step has. Level 0 quantises the latent vector, each further level what the levels before
            it left over (residual quantisation, this project's option). Default 1, the paper's single stream.
        code_dim: width of the vectors that are quantised, default 32. The paper's setting is code_dim = embedding_dim.
        embedding_dim: width of the token embeddings that decoder and LLM see: the LLM's word-embedding width.
        geometry: "hyperbolic" (Poincare ball, as in the paper), or one of two controls: "euclidean" (flat codebook) or
            "continuous" (no codebook: the decoder and probes get the latent vectors themselves, the LLM nothing).
        curvature: c > 0 of the ball, default 1.
        max_norm: latent vectors and codes stay below this tangent norm, default 1.5, so that float32 distances hold.
        encoder: what makes one vector of a step: "trunk", `SkeletonTrunk` or `SignalTrunk` (this project's choice,
            default), or "transformer", a convolution over its frames, which models saved without this field have.
        trunk_widths: of the trunk's blocks, default the large one of `skeleton_trunk.SIZES`.
        channels: names of the channels of a signal, for a tokenizer of another sense than the skeleton, see
            `SignalSequence`. Its `layout` means nothing. Default None: skeletons.
        unit: of the signal, in words.
        hidden_size, num_layers, num_heads: width, attention layers and heads of encoder and decoder.
        dropout: in the attention layers while training, default 0.3.

    Raises:
        ValueError: values that do not fit each other, each named.
    """

    model_type = "action_vqvae"

    layout: str = "kinect20"
    own_layout: dict | None = None
    dimensions: int = 3
    num_frames: int = 64
    downsample: int = 4
    codebook_size: int = 512
    body_parts: bool = False
    num_levels: int = 1
    code_dim: int = 32
    embedding_dim: int = 576
    geometry: str = "hyperbolic"
    curvature: float = 1.0
    max_norm: float = 1.5
    encoder: str = "trunk"
    trunk_widths: list[int] = field(default_factory=lambda: list(SIZES["large"]))
    channels: list[str] | None = None
    unit: str = ""
    hidden_size: int = 128
    num_layers: int = 3
    num_heads: int = 4
    dropout: float = 0.3

    def __post_init__(self, **kwargs):
        check_format(kwargs.pop("format_version", FORMAT_VERSION), "action tokenizer")
        kwargs = without_removed(kwargs)
        kwargs["auto_map"] = VQVAE_AUTO_MAP
        super().__post_init__(**kwargs)
        if self.own_layout is not None:
            get_layout(self.own_layout)
        self.own_layout = own_layout(self.layout)
        if self.dimensions not in (2, 3):
            raise ValueError(f"Expected dimensions 2 or 3, got {self.dimensions}.")
        if self.downsample < 1 or self.downsample & (self.downsample - 1):
            raise ValueError(f"Expected downsample to be a power of two, got {self.downsample}.")
        if self.num_frames < 1 or self.num_frames % self.downsample:
            raise ValueError(
                f"Expected num_frames to be a multiple of downsample {self.downsample}, got {self.num_frames}."
            )
        if self.geometry not in ("hyperbolic", "euclidean", "continuous"):
            raise ValueError(f"Expected geometry 'hyperbolic', 'euclidean' or 'continuous', got {self.geometry!r}.")
        if self.encoder not in ("transformer", "trunk"):
            raise ValueError(f"Expected encoder 'transformer' or 'trunk', got {self.encoder!r}.")
        if not self.trunk_widths or any(width < 8 or width % 8 for width in self.trunk_widths):
            raise ValueError(f"Expected trunk_widths to be multiples of 8, got {self.trunk_widths}.")
        if self.channels is not None and (not self.channels or self.body_parts):
            raise ValueError("Expected channels of one name or more, without body_parts.")
        if self.curvature <= 0 or self.max_norm <= 0:
            raise ValueError(f"Expected curvature and max_norm above 0, got {self.curvature} and {self.max_norm}.")
        if min(self.codebook_size, self.num_levels, self.code_dim, self.embedding_dim, self.num_heads) < 1:
            raise ValueError("Expected codebook_size, num_levels, code_dim, embedding_dim and num_heads of at least 1.")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"Expected hidden_size to be a multiple of num_heads, got {self.hidden_size}/{self.num_heads}."
            )

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """As any configuration's; one saved before there was a trunk has the transformer."""
        return super().from_dict({"encoder": "transformer", **config_dict}, **kwargs)

    @property
    def num_steps(self) -> int:
        """Moments in a person's sentence."""
        return self.num_frames // self.downsample

    @property
    def num_streams(self) -> int:
        """Streams of tokens: one for the whole body, or one for each of its parts."""
        return len(get_layout(self.layout).body_parts) if self.body_parts else 1

    @property
    def num_places(self) -> int:
        """Latent vectors of a person's sentence: step by step, within a step stream by stream."""
        return self.num_steps * self.num_streams

    @property
    def tokens_per_person(self) -> int:
        """Action tokens of a person's sentence."""
        return self.num_places * self.num_levels

    @property
    def num_action_tokens(self) -> int:
        """Different action tokens: codes of all levels."""
        return self.codebook_size * self.num_levels

    def to_dict(self):
        return {**super().to_dict(), "format_version": written_format(self.channels)}


_FORMAT_1_FIELDS = {"motion_evidence": "attribute_statistics", "readings": "taught"}
_FORMAT_1_STATISTICS = {"answered": "confusions"}


@strict
class LlmArConfig(PreTrainedConfig):
    """Configuration of `LlmArForActionRecognition`, a LoRA-tuned LLaMA that names the action of action sentences.

    Args:
        base_model: Hub id or folder of the LlamaForCausalLM underneath; its weights are not part of this model.
        base_fingerprint: hash of the base weights trained on; another base at load gives a warning.
        base_vocab_size: ids below it are the base's words, ids from it up are action tokens.
        num_action_tokens: rows of the action-embedding table.
        vqvae_fingerprint: hash of the VQ-VAE whose sentences this model knows; the processor has the same one.
        sense_fingerprints: the same of every further sense's VQ-VAE, by the sense's name; default None: there are none.
        hidden_size: word-embedding width of the base.
        label_names: the classes, index = class id.
        label_token_ids: each class's answer as the base's token ids.
        end_token_id: closes every answer.
        taught: what training taught it to say after a sentence, some of "label", "description" and "questions"; see
            `open_vocabulary`. Default the label alone.
        attribute_statistics: fields of `attribute_likelihood.AttributeStatistics`, from the training part; default
            None: attributes do not count.
        label_lexicon: names of movements to their attributes, see `attribute_likelihood.LabelLexicon`; default None: no
            attributes are guessed.
        background_label: the class that means that nothing is done, one of `label_names`; default None: there is none.
        point_window: seconds of the windows about action points that it was trained on; default None: whole actions.
        active_adapters: of several adapters; default None: "default" alone.
        temperature: divides the log-likelihoods of the classes trained on before they become a posterior, fitted on
            left-out training subjects by `llm-action calibrate`; default 1.
        sense_weights: of each further sense's log-posterior beside the skeleton's, fitted there, too; default None:
            `sense_fusion.SENSE_WEIGHT` each.
        id2label: what a pipeline calls the classes, default `label_names`. Another name here changes no score.
    """

    model_type = "llm_ar"

    base_model: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    base_fingerprint: str | None = None
    base_vocab_size: int = 49152
    num_action_tokens: int = 512
    vqvae_fingerprint: str | None = None
    sense_fingerprints: dict[str, str] | None = None
    hidden_size: int = 576
    label_names: list[str] | None = None
    label_token_ids: list[list[int]] | None = None
    end_token_id: int | None = None
    taught: list[str] | None = None
    attribute_statistics: dict[str, dict] | None = None
    label_lexicon: dict[str, str] | None = None
    background_label: str | None = None
    point_window: float | None = None
    active_adapters: list[str] | None = None
    temperature: float = 1.0
    sense_weights: dict[str, float] | None = None

    def __post_init__(self, **kwargs):
        check_format(kwargs.pop("format_version", FORMAT_VERSION), "recognizer")
        for earlier, name in _FORMAT_1_FIELDS.items():
            if (value := kwargs.pop(earlier, None)) is not None:
                setattr(self, name, value)
        if statistics := self.attribute_statistics:
            self.attribute_statistics = {_FORMAT_1_STATISTICS.get(name, name): of for name, of in statistics.items()}
        kwargs["auto_map"] = MODEL_AUTO_MAP
        # pipeline() asks for trust_remote_code when it sees this entry; the installed package needs no remote code
        pipelines = kwargs.pop("custom_pipelines", None)
        if pipelines and from_hub_code():
            kwargs["custom_pipelines"] = pipelines
        if self.label_names is not None:
            given = getattr(self, "id2label", None) or {}
            renamed = {int(index): str(name) for index, name in given.items()}
            self.id2label = {index: renamed.get(index, name) for index, name in enumerate(self.label_names)}
            self.label2id = {name: index for index, name in self.id2label.items()}
        super().__post_init__(**kwargs)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What results call the classes: `id2label`, where that has a name, else `label_names`."""
        renamed = self.id2label or {}
        return tuple(str(renamed.get(number, name)) for number, name in enumerate(self.label_names or ()))

    @property
    def background_name(self) -> str | None:
        """What results call the class `background_label`."""
        if self.background_label is None or self.background_label not in (self.label_names or ()):
            return self.background_label
        return self.class_names[(self.label_names or []).index(self.background_label)]

    def to_dict(self):
        version = written_format(self.sense_fingerprints)
        return {**super().to_dict(), "custom_pipelines": PIPELINES, "format_version": version}
