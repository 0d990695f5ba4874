"""The action tokenizer: a VQ-VAE whose codebook lives in the Poincare ball (the paper's stage 1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.initialization import normal_
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_llm_ar import ActionVQVAEConfig
from .hub_repository import HubUpload, check_file_names, check_finite, copy_code, weights_hash
from .hyperbolic_codebook import HyperbolicCodebook, Quantized
from .signal_trunk import SignalTrunk
from .skeleton_layouts import get_layout
from .skeleton_trunk import JointMixing, SkeletonTrunk

_VELOCITY_SCALE = 4.0  # brings frame-to-frame differences to the order of magnitude of positions


@dataclass
class ActionVQVAEOutput(ModelOutput):
    """Output of `ActionVQVAE.forward`.

    Attributes:
        reconstruction: (batch, frames, joints, 3) in torso lengths.
        latents: (batch, places, code_dim) before quantisation, tangent vectors at the origin.
        quantized: see `Quantized`, leading dimensions (batch, places).
        last_hidden_state: (batch, places, hidden_size) what the latents are a projection of.

    Places are `config.num_places`: the steps, with body parts those of each step next to each other.
    """

    reconstruction: Tensor | None = None
    latents: Tensor | None = None
    quantized: Quantized | None = None
    last_hidden_state: Tensor | None = None


class ActionVQVAE(HubUpload, PreTrainedModel):
    """Skeletons, or with `config.channels` the signals of another sense, to action sentences and back.

    What is said of skeletons (batch, frames, joints, 3) holds of signals (batch, frames, channels), standardised with
    `channel_means` and `channel_scales`, which are saved with the weights.

    Encoder: frames become joints relative to the root, root path and velocities (bones are differences of joints, which
    the first layer can form); a strided temporal convolution makes one vector a step, dilated ones and self-attention
    follow, because what a movement means depends on its neighbours (the attention is this project's choice; the paper
    has a 1-D convolutional encoder). The decoder has convolutions only. The codebook's tangent vectors, projected to
    `embedding_dim`, are what the decoder and the LLM see.
    """

    channel_means: Tensor
    channel_scales: Tensor
    config_class = ActionVQVAEConfig
    base_model_prefix = "vqvae"
    main_input_name = "skeletons"
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["codebook"]

    def __init__(self, config: ActionVQVAEConfig):
        super().__init__(config)
        layout = get_layout(config.layout)
        joints, width = layout.num_joints, config.hidden_size
        # a step sees its own frames and those of the step before and after
        pace = config.downsample
        step: dict[str, Any] = {"kernel_size": 3 * pace, "stride": pace, "padding": pace}
        self.root_joint = layout.root
        self.streams = list(layout.body_parts.values()) if config.body_parts else [tuple(range(joints))]
        if config.channels:
            self.register_buffer("channel_means", torch.zeros(len(config.channels)))
            self.register_buffer("channel_scales", torch.ones(len(config.channels)))
        if config.encoder == "trunk" and config.channels:
            self.signal_trunk = SignalTrunk(len(config.channels), width, pace)
        elif config.encoder == "trunk":
            self.trunk = SkeletonTrunk(layout, config.trunk_widths, pace)
            parts = 1 if config.body_parts else len(self.trunk.parts)
            self.part_projection = nn.Linear(parts * self.trunk.width, width)
        else:
            widths = [2 * len(config.channels)] if config.channels else [6 * len(part) + 3 for part in self.streams]
            self.step_projections = nn.ModuleList(nn.Conv1d(features, width, **step) for features in widths)
            self.encoder_blocks = nn.Sequential(TemporalBlock(width, 1), TemporalBlock(width, 3))
        self.place_embeddings = nn.Parameter(torch.empty(config.num_places, width))
        self.attention = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                width, config.num_heads, 2 * width, config.dropout, "gelu", batch_first=True, norm_first=True
            ),
            config.num_layers,
            norm=nn.LayerNorm(width),
            enable_nested_tensor=False,
        )
        self.latent_projection = nn.Linear(width, config.code_dim)
        self.codebook = HyperbolicCodebook(config)
        narrow = config.code_dim != config.embedding_dim
        self.token_projection = (
            nn.Linear(config.code_dim, config.embedding_dim, bias=False) if narrow else nn.Identity()
        )
        self.embedding_projection = nn.Linear(config.num_streams * config.embedding_dim, width)
        self.decoder_positions = nn.Parameter(torch.empty(config.num_steps, width))
        self.decoder_blocks = nn.Sequential(TemporalBlock(width, 1), TemporalBlock(width, 3))
        self.joint_projection = nn.ConvTranspose1d(width, len(config.channels or ()) or 3 * joints, **step)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # torch's own initialisation for its layers: they are small, and PreTrainedModel's 0.02 starts them too flat
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.BatchNorm1d, JointMixing)):
            module.reset_parameters()
        elif isinstance(module, HyperbolicCodebook):
            module.init_weights()
        elif isinstance(module, ActionVQVAE):
            normal_(module.place_embeddings, std=0.02)
            normal_(module.decoder_positions, std=0.02)

    @can_return_tuple
    def forward(self, skeletons: Tensor) -> ActionVQVAEOutput:
        """Encodes, quantises and decodes skeletons (batch, frames, joints, 3), one person each, in torso lengths.

        With `return_dict=False`, here or in the config, it gives a tuple.
        """
        hidden = self.hidden_states(skeletons)
        latents = self._projected(hidden)
        quantized = self.codebook(latents)
        return ActionVQVAEOutput(self.decode_vectors(quantized.straight_through), latents, quantized, hidden)

    @torch.no_grad()
    def encode(self, skeletons: Tensor) -> Tensor:
        """Skeletons (batch, frames, joints, 3) to codes (batch, places, levels), int64.

        Raises:
            ValueError: skeletons of another shape, or a model of continuous features, which has no tokens.
        """
        codes = self.codebook(self.latents(skeletons)).codes
        if codes is None:
            raise ValueError(
                "Expected a model with tokens, got geometry 'continuous', the control without a codebook; "
                "train with geometry hyperbolic or euclidean."
            )
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (batch, places, levels) to skeletons (batch, frames, joints, 3)."""
        return self.decode_vectors(self.codebook.lookup(codes))

    def latents(self, skeletons: Tensor) -> Tensor:
        """Tangent vectors (batch, places, code_dim), each shorter than `config.max_norm`."""
        return self._projected(self.hidden_states(skeletons))

    def hidden_states(self, skeletons: Tensor) -> Tensor:
        """(batch, places, hidden_size) what the encoder makes of skeletons (batch, frames, joints, 3)."""
        self._check_skeletons(skeletons)
        return self.attention(self._places(skeletons) + self.place_embeddings)

    def _projected(self, hidden: Tensor) -> Tensor:
        """Latents (batch, places, code_dim) of hidden states.

        v -> max_norm v / sqrt(1 + |v|^2) keeps them inside the ball with a gradient everywhere; clipping has none.
        """
        latents = self.latent_projection(hidden).float() * self.config.code_dim**-0.5
        return self.config.max_norm * latents / (1 + latents.square().sum(-1, keepdim=True)).sqrt()

    def _places(self, skeletons: Tensor) -> Tensor:
        """(batch, places, width) of skeletons (batch, frames, joints, 3)."""
        if self.config.encoder == "trunk" and self.config.channels:
            return self.signal_trunk.steps(skeletons)
        if self.config.encoder == "trunk":
            parts = self.trunk(skeletons)
            return self.part_projection(parts.flatten(1, 2) if self.config.body_parts else parts.flatten(2))
        streams = zip(self.step_projections, self._frame_features(skeletons), strict=True)
        hidden = torch.cat([project(features.transpose(1, 2)) for project, features in streams])
        hidden = self.encoder_blocks(hidden).unflatten(0, (len(self.streams), -1))
        return hidden.permute(1, 3, 0, 2).flatten(1, 2)

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Tangent vectors (batch, places, code_dim) to skeletons (batch, frames, joints, 3)."""
        embeddings = self.token_projection(vectors.to(self.dtype)).unflatten(1, (self.config.num_steps, -1)).flatten(2)
        hidden = self.decoder_blocks((self.embedding_projection(embeddings) + self.decoder_positions).transpose(1, 2))
        frames = self.joint_projection(F.gelu(hidden)).transpose(1, 2)
        return frames if self.config.channels else frames.reshape(*frames.shape[:2], -1, 3)

    def token_embeddings(self) -> Tensor:
        """(num_action_tokens, embedding_dim) what decoder and LLM see of every token, level after level."""
        return self.token_projection(self.codebook.codes.flatten(0, 1).to(self.dtype))

    def fingerprint(self) -> str:
        """Hash of the weights that decide which tokens a skeleton becomes and what they look like decoded."""
        return weights_hash(self.state_dict())

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path,
        *args,
        subfolder: str = "",
        output_loading_info: bool = False,
        **kwargs,
    ) -> Any:
        """As any model's, from safetensors alone; None for a `config` and a `state_dict` of one's own.

        Raises:
            TypeError: an unknown option.
            ValueError: tensors are missing, unexpected or of another shape.
        """
        if pretrained_model_name_or_path is not None:
            check_file_names(Path(pretrained_model_name_or_path) / subfolder)
        kwargs["use_safetensors"] = True
        model, info = super().from_pretrained(
            pretrained_model_name_or_path, *args, subfolder=subfolder, output_loading_info=True, **kwargs
        )
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if names := sorted(map(str, info.get(kind, ()))):
                raise ValueError(
                    f"{pretrained_model_name_or_path}: the action tokenizer's weights have {len(names)} "
                    f"{kind.replace('_', ' ')}, such as {names[0]}; export or download the model again."
                )
        check_finite(model.state_dict())
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory, **kwargs):
        """As any model's; also writes the code a Hub repository needs."""
        super().save_pretrained(save_directory, **kwargs)
        copy_code(save_directory)

    def _frame_features(self, skeletons: Tensor) -> list[Tensor]:
        """(batch, frames, 6 joints + 3) of every stream: joints relative to the root, root path, velocities.

        Of signals (batch, frames, 2 channels): the channels and their differences.
        """
        if self.config.channels:
            return [torch.cat([skeletons, F.pad(skeletons.diff(dim=1), (0, 0, 1, 0))], -1)]
        root = skeletons[:, :, self.root_joint : self.root_joint + 1]
        velocity = F.pad(skeletons.diff(dim=1), (0, 0, 0, 0, 1, 0)) * _VELOCITY_SCALE
        return [
            torch.cat(
                [(skeletons - root)[:, :, stream].flatten(2), root.flatten(2), velocity[:, :, stream].flatten(2)], -1
            )
            for stream in self.streams
        ]

    def _check_skeletons(self, skeletons: Tensor) -> None:
        if self.config.channels:
            sizes = (self.config.num_frames, len(self.config.channels))
            if tuple(skeletons.shape[1:]) != sizes:
                raise ValueError(f"Expected signals of shape (batch, {sizes[0]}, {sizes[1]}), got {skeletons.shape}.")
            return
        expected = (self.config.num_frames, get_layout(self.config.layout).num_joints, 3)
        if skeletons.ndim != 4 or tuple(skeletons.shape[1:]) != expected:
            raise ValueError(
                f"Expected skeletons of shape (batch, {', '.join(map(str, expected))}) "
                f"in layout {self.config.layout!r}, got {tuple(skeletons.shape)}; "
                "SkeletonFeatureExtractor makes that shape."
            )


class TemporalBlock(nn.Module):
    """Pre-norm residual block of a dilated convolution over the steps, (batch, width, steps) to the same shape."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.dilated = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.pointwise = nn.Conv1d(width, width, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.pointwise(F.gelu(self.dilated(F.gelu(self.norm(hidden)))))
