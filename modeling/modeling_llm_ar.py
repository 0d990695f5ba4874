"""The recognizer: a LLaMA with LoRA, its own weights untouched, that reads an action sentence and names the action."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import ModelOutput

from .base_fingerprint import weights_fingerprint
from .configuration_llm_ar import LlmArConfig
from .label_scoring import score_labels
from .label_tree import LabelTree
from .repo_code import HubUpload, check_file_names, check_parts, copy_code, reading

# of transformers, which peft asks for an attribute renamed since
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

BASE_MODEL_VARIABLE = "LLM_ACTION_BASE_MODEL"
ADAPTER_FOLDER = "adapter"
_WEIGHTS = "model.safetensors"


@dataclass
class ActionRecognitionOutput(ModelOutput):
    """Output of `LlmArForActionRecognition.forward`.

    Attributes:
        loss: scalar, mean cross-entropy of the answer words; only with `labels`.
        logits: (batch, classes) exact log-likelihood of each class name; only without `labels`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class LlmArForActionRecognition(HubUpload, PreTrainedModel):
    """A `PeftModel` around a LlamaForCausalLM plus an embedding table for action tokens (the paper's stage 2).

    Ids below the base's vocabulary size are words, the others action tokens. The vocabulary is not resized: the
    language-model head only ever says words. The base's weights are never trained or saved.

    Args:
        config: see `LlmArConfig`.
        language_model: the PeftModel; use `from_base` for a new model and `from_pretrained` for a saved one.
    """

    config_class = LlmArConfig
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # finds a base model's folder beyond the Hub and its cache; the installed package sets it
    base_resolver: Callable[[str], Path] | None = None

    def __init__(self, config: LlmArConfig, language_model: PeftModel):
        super().__init__(config)
        self.language_model = language_model
        self.action_embeddings = nn.Embedding(config.num_action_tokens, config.hidden_size)

    @classmethod
    def from_base(
        cls,
        base_folder: str | os.PathLike,
        action_embeddings: Tensor,
        lora: LoraConfig,
        *,
        dtype: torch.dtype | str = "auto",
        **config,
    ) -> LlmArForActionRecognition:
        """A new model to train.

        Args:
            base_folder: folder or Hub id of a LlamaForCausalLM.
            action_embeddings: (num_action_tokens, embedding_dim), `ActionVQVAE.token_embeddings()`. They are scaled to
                the spread of the base's word embeddings, so that the base meets vectors of a size it knows.
            lora: the adapter to add.
            dtype: of the base's weights; adapters and action embeddings train in float32.
            config: further fields of `LlmArConfig`; `base_model`, where a saved model looks for its base, is
                `base_folder` by default.
        """
        base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=dtype)
        words = base.get_input_embeddings().weight
        if action_embeddings.shape[1] != words.shape[1]:
            raise ValueError(
                f"Expected action embeddings of the base's width {words.shape[1]}, got {action_embeddings.shape[1]}; "
                "set embedding_dim of the VQ-VAE to it."
            )
        config = LlmArConfig(
            base_fingerprint=weights_fingerprint(base),
            base_vocab_size=words.shape[0],
            num_action_tokens=len(action_embeddings),
            hidden_size=words.shape[1],
            **{"base_model": str(base_folder), **config},
        )
        model = cls(config, get_peft_model(base, lora))
        with torch.no_grad():
            centred = action_embeddings.float() - action_embeddings.float().mean(0)
            scaled = centred / centred.std().clamp(min=1e-8) * words.float().std()
            model.action_embeddings.weight.copy_(scaled + words.float().mean(0))
        return model

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs):
        """Loss of the answer words, or the log-likelihood of every class name.

        Args:
            input_ids: (batch, tokens) prompt, in training followed by the answer.
            attention_mask: (batch, tokens), 0 for padding.
            labels: (batch, tokens) the answer's ids, -100 elsewhere.

        Raises:
            ValueError: no labels, and the model knows no classes.
        """
        if labels is None:
            return ActionRecognitionOutput(logits=self.score(input_ids, attention_mask))
        hidden = self.causal_lm.get_decoder()(
            inputs_embeds=self.embed(input_ids), attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        targets = labels[:, 1:]
        answers = targets != -100  # logits of the answer's positions alone: the head is the largest layer
        logits = self.causal_lm.get_output_embeddings()(hidden[:, :-1][answers]).float()
        return ActionRecognitionOutput(loss=F.cross_entropy(logits, targets[answers]))

    def score(self, input_ids: Tensor, attention_mask: Tensor | None = None, tree: LabelTree | None = None) -> Tensor:
        """(batch, labels) exact log-likelihood of every label after the prompts; a softmax over them is the posterior.

        Args:
            input_ids, attention_mask: (batch, tokens) prompts, as the processor makes them.
            tree: the candidates (`LabelTree.from_labels`); default the classes trained on.

        Raises:
            ValueError: no tree, and the model knows no classes.
        """
        tree = tree or self.trained_labels
        return score_labels(self.causal_lm, tree.to(self.device), self.embed(input_ids), attention_mask)

    @cached_property
    def trained_labels(self) -> LabelTree:
        """The prefix tree of the classes trained on."""
        config = self.config
        if config.label_token_ids is None:
            raise ValueError("This model has no classes of its own; pass a tree (LabelTree.from_labels).")
        return LabelTree.from_token_ids(config.label_token_ids, config.end_token_id, config.label_names)

    def embed(self, input_ids: Tensor) -> Tensor:
        """(batch, tokens, hidden) words from the base's embeddings, action tokens from the model's own."""
        first_action = self.config.base_vocab_size
        is_action = input_ids >= first_action
        words = self.causal_lm.get_input_embeddings()(input_ids.masked_fill(is_action, 0))
        actions = self.action_embeddings((input_ids - first_action).clamp(min=0))
        return torch.where(is_action[..., None], actions.to(words.dtype), words)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The LlamaForCausalLM, LoRA layers inside."""
        return self.language_model.get_base_model()

    def save_pretrained(
        self, save_directory, is_main_process: bool = True, state_dict=None, push_to_hub: bool = False, **kwargs
    ):
        """Writes config.json, model.safetensors (action embeddings), adapter/ (PEFT) and the code; never the base."""
        if not is_main_process:
            return
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        for adapter in self.language_model.peft_config.values():
            adapter.base_model_name_or_path = self.config.base_model  # not where this machine keeps it
        self.language_model.save_pretrained(folder / ADAPTER_FOLDER)
        (folder / ADAPTER_FOLDER / "README.md").unlink(missing_ok=True)  # peft's own card; the root has ours
        save_file(
            {"action_embeddings.weight": self.action_embeddings.weight.detach().contiguous().cpu()},
            folder / _WEIGHTS,
            {"format": "pt"},
        )
        self.config.architectures = [type(self).__name__]
        self.config.save_pretrained(folder)
        copy_code(folder)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path,
        *args,
        base_model: str | os.PathLike | None = None,
        config: LlmArConfig | None = None,
        dtype: torch.dtype | str = "auto",
        is_trainable: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        device_map=None,
        **kwargs,
    ) -> LlmArForActionRecognition:
        """Loads a saved model from a folder or the Hub, on top of its base.

        Args:
            base_model: the base to use; default the environment variable LLM_ACTION_BASE_MODEL, then the folder
                `base/` of the model, then `config.base_model`.
            dtype: of the base's weights, "auto" as they were saved.
            is_trainable: whether the adapter's weights take gradients.
            revision, token, cache_dir, local_files_only, device_map: as everywhere in transformers.

        Raises:
            OSError: the folder, a part of it or the base cannot be found.
        """
        hub = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        folder = _local_folder(pretrained_model_name_or_path, hub, bool(base_model or _base_from_environment()))
        with reading(folder / "config.json"):
            saved = LlmArConfig.from_pretrained(folder)
        config = config or saved
        if config.base_model != saved.base_model:  # AutoModel and pipeline() put base_model= into the config
            base_model, config.base_model = base_model or config.base_model, saved.base_model
        base_name = _base_location(base_model, folder, config)
        options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        try:
            base_folder = cls.base_resolver(base_name) if cls.base_resolver else base_name
            check_file_names(base_folder)
            base = AutoModelForCausalLM.from_pretrained(
                base_folder, dtype=dtype, device_map=device_map, use_safetensors=True, **options
            )
        except OSError as error:
            raise OSError(
                f"{folder}: the base model {base_name} was not found ({error}). Pass base_model=FOLDER or set "
                f"{BASE_MODEL_VARIABLE}; `llm-action base-model` fetches the default one and prints its folder."
            ) from error
        _check_base(base, config, base_name)
        with reading(folder / ADAPTER_FOLDER):
            adapted = PeftModel.from_pretrained(base, str(folder / ADAPTER_FOLDER), is_trainable=is_trainable)
        model = cls(config, adapted)
        model.load_trained(folder)
        model.action_embeddings.to(base.device)
        model.name_or_path = str(pretrained_model_name_or_path)
        return model.eval()

    def load_trained(self, folder: str | os.PathLike) -> None:
        """Puts a saved model's trained weights (adapter and action embeddings) into this one, as resuming does."""
        with reading(Path(folder) / _WEIGHTS):
            weights = load_file(Path(folder) / _WEIGHTS)
            given = weights["action_embeddings.weight"].shape
        if given != self.action_embeddings.weight.shape:
            raise ValueError(
                f"{folder}: expected action embeddings {tuple(self.action_embeddings.weight.shape)} as config.json "
                f"says, got {tuple(given)}; {_WEIGHTS} belongs to another model."
            )
        self.load_state_dict(weights, strict=False)
        trainable = any(weight.requires_grad for weight in self.language_model.parameters())
        self.language_model.load_adapter(str(Path(folder) / ADAPTER_FOLDER), "default", is_trainable=trainable)


def _local_folder(name: str | os.PathLike, hub: dict, other_base: bool) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        patterns = ["config.json", _WEIGHTS, "*.py", f"{ADAPTER_FOLDER}/*"] + ([] if other_base else ["base/*"])
        folder = Path(snapshot_download(str(name), allow_patterns=patterns, **hub))
    check_file_names(folder)
    adapter = [f"{ADAPTER_FOLDER}/{part}" for part in ("adapter_config.json", "adapter_model.safetensors")]
    check_parts(folder, ["config.json", _WEIGHTS, *adapter])
    return folder


def _base_location(base_model, folder: Path, config: LlmArConfig) -> str:
    included = folder / "base"
    return str(base_model or _base_from_environment() or (included if included.is_dir() else config.base_model))


def _base_from_environment() -> str | None:
    return os.environ.get(BASE_MODEL_VARIABLE)


def _check_base(base: PreTrainedModel, config: LlmArConfig, name: str) -> None:
    words = base.get_input_embeddings().weight
    if tuple(words.shape) != (config.base_vocab_size, config.hidden_size):
        raise ValueError(
            f"{name}: expected a base with word embeddings {(config.base_vocab_size, config.hidden_size)}, got "
            f"{tuple(words.shape)}; this model was trained on {config.base_model}."
        )
    if config.base_fingerprint is not None and weights_fingerprint(base) != config.base_fingerprint:
        warnings.warn(
            f"The weights of {name} differ from those this model was trained on ({config.base_model}, fingerprint "
            f"{config.base_fingerprint[:16]}, here {weights_fingerprint(base)[:16]}): scores will differ.",
            stacklevel=3,
        )
