"""The recognizer: a LLaMA with LoRA that names the action of an action sentence; the base's weights never change."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.utils import ModelOutput

from .base_model import (
    BASE_MODEL_VARIABLE,
    Int8Linear,
    base_from_environment,
    base_location,
    check_base,
    fast_dtype,
    parse_dtype,
    quantize_linears,
    weights_fingerprint,
)
from .class_prototypes import ClassPrototypes
from .configuration_llm_ar import LlmArConfig
from .hub_repository import HubUpload, check_file_names, check_parts, copy_code, reading
from .label_scoring import RankedLabels, rank_labels, ranked, score_labels
from .label_tree import LabelTree
from .prompt_states import KeptStates, common_words, encode_prompts, without_first

# of transformers, which peft asks for an attribute renamed since
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

ADAPTER_FOLDER = "adapter"
_WEIGHTS = "model.safetensors"
_PROTOTYPES = "prototypes."


@dataclass
class ActionRecognitionOutput(ModelOutput):
    """Output of `LlmArForActionRecognition.forward`.

    Attributes:
        loss: scalar, mean cross-entropy of the answer words; only with `labels`.
        logits: (batch, classes) exact log-likelihood of each class name, see `score`; only without `labels`.
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

    Attributes:
        prototypes: of its classes, if it has learned some from a few examples; else None.
        is_merged: whether the adapter is folded into the base's weights, see `merge`.
        base_name: folder or Hub id the base was loaded from.
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
        self.prototypes: ClassPrototypes | None = None
        self.is_merged = False
        self.base_name = config.base_model

    @classmethod
    def from_base(
        cls,
        base_folder: str | os.PathLike,
        action_embeddings: Tensor,
        lora: LoraConfig,
        *,
        dtype: torch.dtype | str = "auto",
        quantization: BitsAndBytesConfig | None = None,
        **config,
    ) -> LlmArForActionRecognition:
        """A new model to train.

        Args:
            base_folder: folder or Hub id of a LlamaForCausalLM.
            action_embeddings: (num_action_tokens, embedding_dim), `ActionVQVAE.token_embeddings()`. They are scaled to
                the spread of the base's word embeddings, so that the base meets vectors of a size it knows.
            lora: the adapter to add.
            dtype: of the base's weights; adapters and action embeddings train in float32.
            quantization: of the frozen base, which is then read from a folder; None keeps `dtype`.
            config: further fields of `LlmArConfig`; `base_model`, where a saved model looks for its base, is
                `base_folder` by default.
        """
        base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=dtype, quantization_config=quantization)
        words = base.get_input_embeddings().weight.detach().float().cpu()
        if action_embeddings.shape[1] != words.shape[1]:
            raise ValueError(
                f"Expected action embeddings of the base's width {words.shape[1]}, got {action_embeddings.shape[1]}; "
                "set embedding_dim of the VQ-VAE to it."
            )
        config = LlmArConfig(
            # of the files: `dtype` may have rounded the weights in memory
            base_fingerprint=weights_fingerprint(base_folder if Path(base_folder).is_dir() else base),
            base_vocab_size=words.shape[0],
            num_action_tokens=len(action_embeddings),
            hidden_size=words.shape[1],
            **{"base_model": str(base_folder), **config},
        )
        model = cls(config, get_peft_model(base, lora))
        with torch.no_grad():
            centred = action_embeddings.float() - action_embeddings.float().mean(0)
            scaled = centred / centred.std().clamp(min=1e-8) * words.std()
            model.action_embeddings.weight.copy_(scaled + words.mean(0))
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        label_smoothing: float = 0.0,
        motion_features: Tensor | None = None,
        **kwargs,
    ) -> ActionRecognitionOutput:
        """Loss of the answer words, or the log-likelihood of every class name.

        Args:
            input_ids: (batch, tokens) prompt, in training followed by the answer.
            attention_mask: (batch, tokens), 0 for padding.
            labels: (batch, tokens) the answer's ids, -100 elsewhere.
            label_smoothing: share of each answer token's target that is spread over the vocabulary.
            motion_features: (batch, features), see `score`.

        Raises:
            ValueError: no labels, and the model knows no classes.
        """
        if labels is None:
            scores = self.score(input_ids, attention_mask, motion_features=motion_features)
            return ActionRecognitionOutput(logits=scores)
        hidden = self.causal_lm.get_decoder()(
            inputs_embeds=self.embed(input_ids), attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        targets = labels[:, 1:]
        answers = targets != -100  # logits of the answer's positions alone: the head is the largest layer
        logits = self.causal_lm.get_output_embeddings()(hidden[:, :-1][answers]).float()
        return ActionRecognitionOutput(loss=F.cross_entropy(logits, targets[answers], label_smoothing=label_smoothing))

    def score(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        tree: LabelTree | None = None,
        motion_features: Tensor | None = None,
        states: KeptStates | None = None,
    ) -> Tensor:
        """(batch, labels) exact log-likelihood of every label after the prompts; a softmax over them is the posterior.

        Args:
            input_ids, attention_mask: (batch, tokens) prompts, as the processor makes them.
            tree: the candidates (`LabelTree.from_labels`); default the classes trained on.
            motion_features: (batch, features) as the processor of a model with `prototypes` gives them. Where all
                candidates are classes of the model, the log-likelihoods of their prototypes are added.
            states: of several calls between which no weight changes; the words before the action tokens are then read
                in the first of them alone. Not used where gradients are taken, which run through those words.

        Raises:
            ValueError: no tree, and the model knows no classes.
        """
        tree = tree or self.trained_labels
        scores = score_labels(self.causal_lm, tree, **self._prompts(input_ids, attention_mask, states))
        of_prototypes = self._prototype_scores(tree, motion_features)
        return scores if of_prototypes is None else scores + of_prototypes

    @torch.no_grad()
    def rank(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        tree: LabelTree | None = None,
        k: int | None = None,
        tolerance: float | None = None,
        motion_features: Tensor | None = None,
        states: KeptStates | None = None,
    ) -> RankedLabels:
        """The k best labels after the prompts with their exact log-likelihoods, by whichever exact way is fastest.

        Args:
            input_ids, attention_mask, tree, motion_features, states: see `score`.
            k: labels wanted a prompt, best first; default all.
            tolerance: what `posterior_bounds` may differ by where not all labels are scored; default any amount.

        Raises:
            ValueError: see `score`; k < 1; a tolerance that is not above 0.
        """
        tree = tree or self.trained_labels
        if self._prototype_scores(tree, motion_features) is not None:
            return ranked(self.score(input_ids, attention_mask, tree, motion_features, states), k)
        prompts = self._prompts(input_ids, attention_mask, states)
        return rank_labels(self.causal_lm, tree, **prompts, k=k, tolerance=tolerance)

    def _prototype_scores(self, tree: LabelTree, motion_features: Tensor | None) -> Tensor | None:
        """(batch, labels) log-likelihoods of the labels' prototypes; None if some label is no class of the model."""
        if self.prototypes is None or motion_features is None:
            return None
        numbers = [self.config.label2id.get(label, -1) for label in tree.labels]
        return None if -1 in numbers else self.prototypes(motion_features)[:, numbers]

    def _prompts(self, input_ids: Tensor, attention_mask: Tensor | None, states: KeptStates | None) -> dict[str, Any]:
        """The prompts as `label_scoring` takes them; with `states`, without the words that all begin with."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        prefix = None
        if states is not None and not torch.is_grad_enabled() and not self.training:
            words = common_words(input_ids, mask, self.config.base_vocab_size)
            if words:
                ids = torch.tensor([words], device=input_ids.device)
                prefix = states.kept(("words", words), lambda: encode_prompts(self.causal_lm, self.embed(ids)))
                input_ids, mask = without_first(input_ids, mask, len(words))
        return {"inputs_embeds": self.embed(input_ids), "attention_mask": mask, "prefix": prefix}

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

    def get_input_embeddings(self) -> nn.Module:
        """The base's word embeddings."""
        return self.causal_lm.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """The base's language-model head; FSDP has to know whether its weights are those of the word embeddings."""
        return self.causal_lm.get_output_embeddings()

    def merge(self) -> None:
        """Folds the adapter into the base's weights: the same scores, to rounding, in fewer operations.

        For inference: a merged model cannot be trained. The adapter is kept beside the weights, so it can be saved.
        """
        if not self.is_merged:
            self.language_model.merge_adapter()
            self.is_merged = True

    def train(self, mode: bool = True) -> LlmArForActionRecognition:
        """As of any module; refused for a merged model, whose adapter would learn nothing."""
        if mode:
            self._check_not_merged()
        return super().train(mode)

    def _check_not_merged(self) -> None:
        if self.is_merged:
            raise ValueError(
                "This model's adapter is merged into its base, for inference only; load it with is_trainable=True to "
                "train it or to load trained weights. A pipeline merges what was loaded without that."
            )

    @property
    def is_trainable(self) -> bool:
        """Whether the adapter's weights take gradients."""
        return any(weight.requires_grad for weight in self.language_model.parameters())

    @property
    def arithmetic(self) -> str:
        """The base and what it computes in, for people: "owner/base in float32 on cpu, adapter merged"."""
        is_int8 = any(isinstance(module, Int8Linear) for module in self.causal_lm.modules())
        dtype = "int8" if is_int8 else str(self.causal_lm.dtype).removeprefix("torch.")
        beside = "adapter merged" if self.is_merged else "adapter beside it"
        return f"{self.base_name} in {dtype} on {self.device}, {beside}"

    def save_pretrained(
        self, save_directory, is_main_process: bool = True, state_dict=None, push_to_hub: bool = False, **kwargs
    ):
        """Writes config.json, model.safetensors (what is not LoRA's), adapter/ (PEFT) and the code; never the base.

        Args:
            state_dict: whole weights, under this model's names, of a model that is sharded (FSDP, ZeRO-3); default
                its own.

        Raises:
            ValueError: a state_dict lacks the action embeddings.
        """
        if not is_main_process:
            return
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        weights = self.state_dict() if state_dict is None else state_dict
        if "action_embeddings.weight" not in weights:
            raise ValueError(
                f"Expected the whole weights in state_dict, got {len(weights)} without the action embeddings; with "
                "DeepSpeed ZeRO-3 set zero3_save_16bit_model: true in the accelerate config."
            )
        prefix = f"{self.base_model_prefix}."
        adapted = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        for adapter in self.language_model.peft_config.values():
            adapter.base_model_name_or_path = self.config.base_model  # not where this machine keeps it
        self.language_model.save_pretrained(folder / ADAPTER_FOLDER, state_dict=adapted)
        (folder / ADAPTER_FOLDER / "README.md").unlink(missing_ok=True)  # peft's own card; the root has ours
        own = {name: weight for name, weight in weights.items() if not name.startswith(prefix)}
        own = {name: weight.detach().contiguous().cpu() for name, weight in own.items()}
        save_file(own, folder / _WEIGHTS, {"format": "pt"})
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
        merge: bool = False,
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
            dtype: of the base's weights: "auto" (default) as they were saved where the device multiplies that fast,
                else float32 (see `fast_dtype`); or float32, bfloat16, float16 or int8, each as `torch.float32` or
                "float32". int8 rounds the decoder's linear layers (see `Int8Linear`), runs on CPUs and implies merge.
            merge: fold the adapter into the base, see `merge`.
            is_trainable: whether the adapter's weights take gradients.
            device_map: as everywhere in transformers; "auto" arithmetic is for its device, default the accelerator if
                there is one, else the CPU.
            revision, token, cache_dir, local_files_only: as everywhere in transformers.

        Raises:
            OSError: the folder, a part of it or the base cannot be found.
            ValueError: a part is damaged or does not fit; an unknown dtype; int8 or merge with is_trainable.
        """
        wanted = parse_dtype(dtype)
        merge = merge or wanted == torch.int8
        if merge and is_trainable:
            raise ValueError("Expected is_trainable=False with merge=True or dtype int8: those are for inference.")
        hub = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        folder = _local_folder(pretrained_model_name_or_path, hub, bool(base_model or base_from_environment()))
        with reading(folder / "config.json"):
            saved = LlmArConfig.from_pretrained(folder)
        config = config or saved
        if config.base_model != saved.base_model:  # AutoModel and pipeline() put base_model= into the config
            base_model, config.base_model = base_model or config.base_model, saved.base_model
        base_name = base_location(base_model, folder, config)
        options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        try:
            base_folder = cls.base_resolver(base_name) if cls.base_resolver else base_name
            check_file_names(base_folder)
            base = AutoModelForCausalLM.from_pretrained(
                base_folder, dtype="auto", device_map=device_map, use_safetensors=True, **options
            )
        except OSError as error:
            raise OSError(
                f"{folder}: the base model {base_name} was not found ({error}). Pass base_model=FOLDER or set "
                f"{BASE_MODEL_VARIABLE}; `llm-action base-model` fetches the default one and prints its folder."
            ) from error
        check_base(base, config, base_name)  # before a change of dtype, which may round the weights
        if wanted is None:
            base.to(fast_dtype(base.dtype, None if device_map is None else base.device))
        else:
            base.to(torch.float32 if wanted == torch.int8 else wanted)
        with reading(folder / ADAPTER_FOLDER):
            adapted = PeftModel.from_pretrained(base, str(folder / ADAPTER_FOLDER), is_trainable=is_trainable)
        model = cls(config, adapted)
        model.load_trained(folder)
        model.action_embeddings.to(base.device)
        model.name_or_path, model.base_name = str(pretrained_model_name_or_path), str(base_name)
        if merge:
            model.merge()
        if wanted == torch.int8:
            quantize_linears(model.causal_lm)
        return model.eval()

    def load_trained(self, folder: str | os.PathLike) -> None:
        """Puts a saved model's trained weights (all but the base's) into this one, as resuming does."""
        self._check_not_merged()
        with reading(Path(folder) / _WEIGHTS):
            weights = load_file(Path(folder) / _WEIGHTS)
            given = weights["action_embeddings.weight"].shape
        if given != self.action_embeddings.weight.shape:
            raise ValueError(
                f"{folder}: expected action embeddings {tuple(self.action_embeddings.weight.shape)} as config.json "
                f"says, got {tuple(given)}; {_WEIGHTS} belongs to another model."
            )
        own = {name: weight for name, weight in weights.items() if name.startswith(_PROTOTYPES)}
        if own:
            self.prototypes = ClassPrototypes(**{name.removeprefix(_PROTOTYPES): part for name, part in own.items()})
        self.load_state_dict(weights, strict=False)
        adapter = str(Path(folder) / ADAPTER_FOLDER)
        self.language_model.load_adapter(adapter, "default", is_trainable=self.is_trainable)


def _local_folder(name: str | os.PathLike, hub: dict, other_base: bool) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        patterns = ["config.json", _WEIGHTS, "*.py", f"{ADAPTER_FOLDER}/*"] + ([] if other_base else ["base/*"])
        folder = Path(snapshot_download(str(name), allow_patterns=patterns, **hub))
    check_file_names(folder)
    adapter = [f"{ADAPTER_FOLDER}/{part}" for part in ("adapter_config.json", "adapter_model.safetensors")]
    check_parts(folder, ["config.json", _WEIGHTS, *adapter])
    return folder
