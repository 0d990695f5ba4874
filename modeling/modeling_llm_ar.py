"""The recognizer: a LLaMA with LoRA that names the action of an action sentence; the base's weights never change."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
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

from .action_lexicon import LEXICON_FILE, ActionLexicon
from .adapters import ADAPTER_FOLDER, DEFAULT_ADAPTER, Adapters, check_tensors
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
from .device_placement import execution_device, is_offloaded, one_device, spread, whole_state_dict
from .hub_repository import HubUpload, check_file_names, check_finite, check_parts, copy_code, reading
from .label_scoring import RankedLabels, rank_labels, ranked, score_labels
from .label_tree import LabelTree
from .prompt_states import KeptStates, common_words, encode_prompts, without_first

# of transformers, which peft asks for an attribute renamed since
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

_WEIGHTS = "model.safetensors"
_PROTOTYPES = "prototypes."


@dataclass
class ActionRecognitionOutput(ModelOutput):
    """Output of `LlmArForActionRecognition.forward`.

    Attributes:
        loss: scalar; only with `labels`.
        logits: (batch, classes) exact log-likelihood of each class name, see `score`; not with `labels` of words.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class LlmArForActionRecognition(Adapters, HubUpload, PreTrainedModel):
    """A `PeftModel` around a LlamaForCausalLM plus an embedding table for action tokens (the paper's stage 2).

    Ids below the base's vocabulary size are words, the others action tokens. The vocabulary is not resized: the
    language-model head only ever says words. The base's weights are never trained or saved.

    Args:
        config: see `LlmArConfig`.
        language_model: the PeftModel; use `from_base` for a new model and `from_pretrained` for a saved one.

    Attributes:
        prototypes: of its classes, if it has learned some from a few examples; else None.
        lexicon: what names mean that it was not trained on; None: those of `config.label_lexicon` alone.
        is_merged: whether the adapter is folded into the base's weights, see `merge`.
        base_name: folder or Hub id the base was loaded from.
    """

    config_class = LlmArConfig
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True  # a Trainer passes num_items_in_batch
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True  # the base itself knows, and is asked
    # finds a base model's folder beyond the Hub and its cache; the installed package sets it
    base_resolver: Callable[[str], Path] | None = None

    def __init__(self, config: LlmArConfig, language_model: PeftModel | None = None):
        if language_model is None:
            raise ValueError(
                "Expected a language_model: a config holds no LLaMA. Use LlmArForActionRecognition.from_base for a new "
                "model, from_pretrained for a saved one."
            )
        super().__init__(config)
        self.language_model = language_model
        self.action_embeddings = nn.Embedding(config.num_action_tokens, config.hidden_size)
        self.prototypes: ClassPrototypes | None = None
        self.lexicon: ActionLexicon | None = None
        self.is_merged = False
        self.base_name = config.base_model
        self.post_init()

    def init_weights(self) -> None:
        """Leaves all weights as they are: the base is loaded, adapter and embeddings are initialised already."""

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
        motion_features: Tensor | None = None,
        smoothing: float = 0.0,
        num_items_in_batch: Tensor | int | None = None,
    ) -> ActionRecognitionOutput:
        """The loss of the answer words or of the classes, and the log-likelihood of every class name.

        Args:
            input_ids: (batch, tokens) prompts, with `labels` of words followed by the answer.
            attention_mask: (batch, tokens), 0 for padding.
            labels: (batch, tokens) the answer's ids, -100 elsewhere: the loss is the cross-entropy of those words. Or
                (batch,) class ids, -100 for none: it is that of the posterior over all classes.
            motion_features: (batch, features), see `score`.
            smoothing: share of each target that is spread over the vocabulary or the classes, default 0.
            num_items_in_batch: what the sum over the targets is divided by, the targets of all forwards of an optimizer
                step; default those of this batch. A Trainer passes it.

        Raises:
            ValueError: labels of another shape or out of range; rows that end in an answer, but no labels; class ids or
                no labels, and the model knows no classes.
        """
        if labels is None or labels.ndim == 1:
            self._check_prompts(input_ids, attention_mask)
            logits = self.score(input_ids, attention_mask, motion_features=motion_features)
            if labels is None:
                return ActionRecognitionOutput(logits=logits)
            self._check_labels(labels, input_ids, logits.shape[1])
            return ActionRecognitionOutput(_cross_entropy(logits, labels, smoothing, num_items_in_batch), logits)
        self._check_labels(labels, input_ids, self.config.base_vocab_size)
        hidden = self.causal_lm.get_decoder()(
            inputs_embeds=self.embed(input_ids), attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        targets = labels[:, 1:]
        answers = targets != -100  # logits of the answer's positions alone: the head is the largest layer
        logits = self.causal_lm.get_output_embeddings()(hidden[:, :-1][answers]).float()
        return ActionRecognitionOutput(_cross_entropy(logits, targets[answers], smoothing, num_items_in_batch))

    def _check_labels(self, labels: Tensor, input_ids: Tensor, size: int) -> None:
        if labels.ndim == 1 and labels.shape[0] == input_ids.shape[0]:
            expected = f"class ids below {size}, -100 for none"
        elif labels.shape == input_ids.shape:
            expected = f"ids of words (below {size}) of the answers, -100 elsewhere and at the first token"
        else:
            raise ValueError(
                f"Expected labels of shape {tuple(input_ids.shape)}, the answers' words, or ({input_ids.shape[0]},), "
                f"class ids; got {tuple(labels.shape)}."
            )
        wrong = ((labels < 0) & (labels != -100)) | (labels >= size)
        if labels.ndim == 2:
            wrong[:, 0] |= labels[:, 0] != -100  # nothing comes before it
        if wrong.any():
            raise ValueError(f"Expected as labels {expected}; got {labels[wrong][:5].tolist()}.")

    def _check_prompts(self, input_ids: Tensor, attention_mask: Tensor | None) -> None:
        """Refuses rows that have their answer already, of which the class scores would mean nothing."""
        if self.config.end_token_id is None:
            return
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        places = torch.arange(input_ids.shape[1], device=input_ids.device) * real.bool()
        last = input_ids.gather(1, places.amax(1, keepdim=True))
        if (last == self.config.end_token_id).any():
            raise ValueError(
                "Expected prompts, or labels= with rows that end in an answer; got such rows without. A Trainer's "
                "label_smoothing_factor takes labels of words away: give class ids as labels (prompts alone as rows), "
                "or set it to 0 and pass smoothing= in a compute_loss of your own."
            )

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

    @torch.no_grad()
    def generate(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options) -> Tensor:
        """What the language model says after the prompts, in words of the base: no action token is ever said.

        For descriptions and answers to questions (`config.taught`); `rank` names the action among candidates.

        Args:
            input_ids, attention_mask: (batch, tokens) prompts, as the processor makes them, padded on either side.
            options: of transformers' `generate`; default up to 32 new tokens, closed by `config.end_token_id`.

        Returns:
            (batch, new tokens) ids of words without the prompt, for the tokenizer's `batch_decode`.

        Raises:
            TypeError: `inputs_embeds` or `inputs`, which the prompts are made into.
        """
        if given := {"inputs", "inputs_embeds"} & options.keys():
            raise TypeError(f"Expected prompts as input_ids, got {given.pop()} as well.")
        options.pop("motion_features", None)  # of a processor for prototypes, which say nothing in words
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        order = mask.argsort(dim=1, stable=True)  # padding comes first: what is said follows the last word
        input_ids, mask = input_ids.gather(1, order), mask.gather(1, order)
        if not {"max_new_tokens", "max_length", "generation_config"} & options.keys():
            options["max_new_tokens"] = 32
        if self.config.end_token_id is not None and "generation_config" not in options:
            options = {"eos_token_id": self.config.end_token_id, "pad_token_id": self.config.end_token_id, **options}
        return self.causal_lm.generate(inputs_embeds=self.embed(input_ids), attention_mask=mask, **options)

    def _prototype_scores(self, tree: LabelTree, motion_features: Tensor | None) -> Tensor | None:
        """(batch, labels) log-likelihoods of the labels' prototypes; None if some label is no class of the model."""
        if self.prototypes is None or motion_features is None:
            return None
        places = {name: number for number, name in enumerate(self.config.label_names or ())}
        numbers = [places.get(label, -1) for label in tree.labels]
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
        with torch.inference_mode(False):  # it is kept, and training may follow
            return LabelTree.from_token_ids(config.label_token_ids, config.end_token_id, config.label_names)

    def embed(self, input_ids: Tensor) -> Tensor:
        """(batch, tokens, hidden) words from the base's embeddings, action tokens from the model's own."""
        first_action = self.config.base_vocab_size
        is_action = input_ids >= first_action
        words = self.causal_lm.get_input_embeddings()(input_ids.masked_fill(is_action, 0))
        actions = self.action_embeddings((input_ids - first_action).clamp(min=0))
        return torch.where(is_action[..., None], actions.to(words), words)

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

        Raises:
            ValueError: the base's weights are rounded (`quantization_config`) or on disk.
        """
        if self.is_quantized or is_offloaded(self):
            raise ValueError(
                "Expected a base whole and in memory to fold the adapter into, got one with quantization_config or "
                "offloaded weights. With a device_map pass merge=True to from_pretrained."
            )
        if not self.is_merged:
            self.language_model.merge_adapter()
            self.is_merged = True

    def train(self, mode: bool = True) -> LlmArForActionRecognition:
        """As of any module; refused for a merged model, whose adapter would learn nothing."""
        if mode:
            self._check_not_merged()
        return super().train(mode)

    @property
    def is_trainable(self) -> bool:
        """Whether the adapter's weights take gradients."""
        return any(weight.requires_grad for weight in self.language_model.parameters())

    @property
    def is_quantized(self) -> bool:
        """Whether the base was loaded with a `quantization_config`."""
        return getattr(self.causal_lm, "hf_quantizer", None) is not None

    @property
    def is_mergeable(self) -> bool:
        """Whether `merge` is of use: nothing is trained, and the base's weights can take the adapter's."""
        return not (self.is_trainable or self.is_quantized or is_offloaded(self))

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the word embeddings, also while their weights wait elsewhere."""
        return execution_device(self.get_input_embeddings())

    @property
    def arithmetic(self) -> str:
        """The base and what it computes in, for people: "owner/base in float32 on cpu, adapter merged"."""
        is_int8 = any(isinstance(module, Int8Linear) for module in self.causal_lm.modules())
        dtype = "int8" if is_int8 else str(self.causal_lm.dtype).removeprefix("torch.")
        if self.is_quantized:
            dtype = f"{dtype}, rounded by {self.causal_lm.config.quantization_config.quant_method.value},"
        beside = "adapter merged" if self.is_merged else "adapter beside it"
        return f"{self.base_name} in {dtype} on {self.device}, {beside}"

    def save_pretrained(
        self,
        save_directory,
        is_main_process: bool = True,
        state_dict=None,
        push_to_hub: bool = False,
        resumable: bool | None = None,
        **kwargs,
    ):
        """Writes config.json, model.safetensors (what is not LoRA's), adapter/ (PEFT) and the code; never the base.

        Args:
            resumable: whether model.safetensors holds the adapters' weights as well, which is where a Trainer that
                resumes looks for them; default of a model that is trainable.
            state_dict: whole weights, under this model's names, of a model that is sharded (FSDP, ZeRO-3); default
                its own.

        Raises:
            ValueError: a state_dict lacks the action embeddings; the adapter was removed (`unload`).
        """
        if not is_main_process:
            return
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        weights = whole_state_dict(self) if state_dict is None else state_dict
        if "action_embeddings.weight" not in weights:
            raise ValueError(
                f"Expected the whole weights in state_dict, got {len(weights)} without the action embeddings; with "
                "DeepSpeed ZeRO-3 set zero3_save_16bit_model: true in the accelerate config."
            )
        prefix = f"{self.base_model_prefix}."
        adapted = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        self.save_adapters(folder / ADAPTER_FOLDER, adapted, self.config.base_model)
        active = self.active_adapters()
        self.config.active_adapters = None if active == [DEFAULT_ADAPTER] else active
        kept = self._trained_names() if (self.is_trainable if resumable is None else resumable) else ()
        own = {name: weight for name, weight in weights.items() if name in kept or not name.startswith(prefix)}
        own = {name: weight.detach().contiguous().cpu() for name, weight in own.items()}
        save_file(own, folder / _WEIGHTS, {"format": "pt"})
        self.config.architectures = [type(self).__name__]
        self.config.save_pretrained(folder)
        if self.lexicon is not None:
            self.lexicon.save(folder)
        copy_code(folder)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)

    def _trained_names(self) -> set[str]:
        """Names of the weights that training makes: the adapters' and what is not the base's."""
        prefix = f"{self.base_model_prefix}."
        return {name for name in self.state_dict() if "lora_" in name or not name.startswith(prefix)}

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        """As of any module; with strict=False what training has made may still not be missing, only the base.

        Raises:
            ValueError: names what is missing.
        """
        if missing := self._trained_names() - set(state_dict):
            raise ValueError(
                f"Expected all trained weights, {len(missing)} are missing, such as {min(missing)!r}. A training "
                "resumes from a checkpoint that a Trainer saved; load_trained(folder) loads a model folder."
            )
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path,
        *,
        base_model: str | os.PathLike | None = None,
        config: LlmArConfig | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        quantization_config: Any = None,
        attn_implementation: str | None = None,
        merge: bool = False,
        is_trainable: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        device_map=None,
        max_memory: Mapping[Any, Any] | None = None,
        offload_folder: str | os.PathLike | None = None,
        output_loading_info: bool = False,
        **kwargs,
    ) -> Any:
        """Loads a saved model from a folder or the Hub, on top of its base.

        Args:
            base_model: the base to use; default the environment variable LLM_ACTION_BASE_MODEL, then the folder
                `base/` of the model, then `config.base_model`.
            dtype: of the base's weights: "auto" (default) as they were saved where the device multiplies that fast,
                else float32 (see `fast_dtype`); or float32, bfloat16, float16 or int8, each as `torch.float32` or
                "float32". int8 rounds the decoder's linear layers (see `Int8Linear`), runs on CPUs and implies merge.
                `torch_dtype` is its earlier name.
            quantization_config: of the base, as everywhere in transformers; the adapter stays beside it.
            attn_implementation: of the base, default the fastest.
            merge: fold the adapter into the base, see `merge`.
            is_trainable: whether the adapter's weights take gradients.
            device_map: a device, or "auto", "balanced" ..., or the names of this model's parts and their places, of
                which "cpu" and "disk" are offloading: what waits there comes to the accelerator when it is needed.
                "auto" arithmetic is for the one device, default the accelerator if there is one, else the CPU. With
                quantization_config the map is the base's.
            max_memory, offload_folder: for a device_map, as everywhere in transformers.
            revision, token, cache_dir, local_files_only, force_download: as everywhere in transformers.
            output_loading_info: whether to return a dictionary as well, of missing and unexpected keys; there are none,
                as those are errors.

        Raises:
            TypeError: an unknown option.
            OSError: the folder, a part of it or the base cannot be found.
            ValueError: a part is damaged or does not fit; an unknown dtype; int8 or merge with is_trainable.
        """
        _check_options(kwargs)
        if dtype is not None and torch_dtype is not None:
            raise ValueError(f"Expected dtype or its earlier name torch_dtype, got both: {dtype!r}, {torch_dtype!r}.")
        wanted = parse_dtype(dtype or torch_dtype or "auto")
        merge = merge or wanted == torch.int8
        if merge and quantization_config is not None:
            raise ValueError("Expected no merge and no dtype int8 with quantization_config: rounded weights stay.")
        if merge and is_trainable:
            raise ValueError("Expected is_trainable=False with merge=True or dtype int8: those are for inference.")
        hub = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        hub["force_download"] = force_download
        folder = _local_folder(pretrained_model_name_or_path, hub, bool(base_model or base_from_environment()))
        with reading(folder / "config.json"):
            saved = LlmArConfig.from_pretrained(folder)
        config = config or saved
        attn_implementation = attn_implementation or config._attn_implementation  # AutoModel puts it into the config
        if config.base_model != saved.base_model:  # AutoModel and pipeline() put base_model= into the config
            base_model, config.base_model = base_model or config.base_model, saved.base_model
        base_name = base_location(base_model, folder, config)
        options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        options |= {"force_download": force_download, "attn_implementation": attn_implementation}
        if quantization_config is not None:
            options |= {"quantization_config": quantization_config}
        try:
            base_folder = cls.base_resolver(base_name) if cls.base_resolver else base_name
            check_file_names(base_folder)
            with reading(base_folder):
                base = AutoModelForCausalLM.from_pretrained(
                    base_folder,
                    dtype="auto" if quantization_config is None else wanted or "auto",
                    device_map=device_map if quantization_config is not None else one_device(device_map),
                    use_safetensors=True,
                    **options,
                )
        except OSError as error:
            raise OSError(
                f"{folder}: the base model {base_name} was not found ({error}). Pass base_model=FOLDER or set "
                f"{BASE_MODEL_VARIABLE}; `llm-action base-model` fetches the default one and prints its folder."
            ) from error
        config._attn_implementation = base.config._attn_implementation
        with reading(folder / "config.json"):
            # before a change of dtype, which may round the weights
            check_base(base, config, base_name, base_folder if quantization_config is not None else None)
        if quantization_config is not None:
            pass  # loaded in the dtype asked for
        elif wanted is None:
            base.to(fast_dtype(base.dtype, None if one_device(device_map) is None else base.device))
        else:
            base.to(torch.float32 if wanted == torch.int8 else wanted)
        with reading(folder / ADAPTER_FOLDER):
            adapted = _adapted(base, folder / ADAPTER_FOLDER, is_trainable)
        with reading(folder):
            model = cls(config, adapted)
            model.load_trained(folder)
            model.lexicon = ActionLexicon.load(folder)
            model.set_adapter(config.active_adapters or [DEFAULT_ADAPTER])
        model.action_embeddings.to(base.device)
        model.name_or_path, model.base_name = str(pretrained_model_name_or_path), str(base_name)
        if merge:
            model.merge()
        if wanted == torch.int8:
            quantize_linears(model.causal_lm)
        if device_map is not None and one_device(device_map) is None and quantization_config is None:
            spread(model, device_map, max_memory, offload_folder)
        model.eval()
        nothing: dict[str, Any] = {
            "missing_keys": set(),
            "unexpected_keys": set(),
            "mismatched_keys": set(),
            "error_msgs": [],
        }
        return (model, nothing) if output_loading_info else model

    def load_trained(self, folder: str | os.PathLike) -> None:
        """Puts a saved model's trained weights (all but the base's) into this one, as resuming does."""
        self._check_not_merged()
        with reading(Path(folder) / _WEIGHTS):
            weights = load_file(Path(folder) / _WEIGHTS)
            check_finite(weights)
            given = weights["action_embeddings.weight"].shape
        if given != self.action_embeddings.weight.shape:
            raise ValueError(
                f"{folder}: expected action embeddings {tuple(self.action_embeddings.weight.shape)} as config.json "
                f"says, got {tuple(given)}; {_WEIGHTS} belongs to another model."
            )
        adapters = {name: weight for name, weight in weights.items() if "lora_" in name}  # adapter/ has them too
        own = {name: weight for name, weight in weights.items() if name.startswith(_PROTOTYPES)}
        if unexpected := sorted(weights.keys() - adapters.keys() - own.keys() - {"action_embeddings.weight"}):
            raise ValueError(f"{folder}: {_WEIGHTS} holds unknown tensors {unexpected[:3]}; export the model again.")
        if own:
            self.prototypes = ClassPrototypes(**{name.removeprefix(_PROTOTYPES): part for name, part in own.items()})
            self.prototypes.to(self.action_embeddings.weight.device)
        with torch.no_grad():
            self.action_embeddings.weight.copy_(weights["action_embeddings.weight"])
        self.load_adapters(Path(folder) / ADAPTER_FOLDER, self.is_trainable)


def _cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, num_items: Tensor | int | None) -> Tensor:
    if num_items is None:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum") / num_items


# what AutoModel and pipeline() pass along without a meaning for this model
_PASSED_ALONG = {"_from_auto", "_from_pipeline", "_commit_hash", "adapter_kwargs", "code_revision", "trust_remote_code"}
_EMPTY_ALONE = {"subfolder": ("", None), "proxies": (None,), "use_safetensors": (True, None)}


def _check_options(options: dict[str, Any]) -> None:
    for name, allowed in _EMPTY_ALONE.items():
        if options.pop(name, allowed[0]) not in allowed:
            raise TypeError(
                f"from_pretrained has no {name}=: a recognizer is a whole folder of safetensors or a Hub id."
            )
    if unknown := sorted(options.keys() - _PASSED_ALONG):
        raise TypeError(
            f"Unknown option {', '.join(unknown)} of from_pretrained. Known: those in its docstring; fields of the "
            "config are set on the config."
        )


def _adapted(base: PreTrainedModel, folder: Path, is_trainable: bool) -> PeftModel:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # an error below
        adapted = PeftModel.from_pretrained(base, str(folder), is_trainable=is_trainable)
    check_tensors(adapted, DEFAULT_ADAPTER, folder)
    return adapted


def _local_folder(name: str | os.PathLike, hub: dict, other_base: bool) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        patterns = ["config.json", _WEIGHTS, LEXICON_FILE, "*.py", f"{ADAPTER_FOLDER}/*"] + (
            [] if other_base else ["base/*"]
        )
        folder = Path(snapshot_download(str(name), allow_patterns=patterns, **hub))
    check_file_names(folder)
    adapter = [f"{ADAPTER_FOLDER}/{part}" for part in ("adapter_config.json", "adapter_model.safetensors")]
    check_parts(folder, ["config.json", _WEIGHTS, *adapter])
    return folder
