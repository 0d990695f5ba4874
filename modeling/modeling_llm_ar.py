"""The recognizer: a LLaMA with LoRA that names the action of an action sentence; the base's weights never change."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .action_lexicon import ActionLexicon
from .base_model import (
    Int8Linear,
    weights_fingerprint,
)
from .class_prototypes import ClassPrototypes
from .configuration_llm_ar import LlmArConfig
from .device_placement import execution_device
from .label_scoring import RankedLabels, rank_labels, ranked, score_labels
from .label_tree import LabelTree
from .prompt_states import KeptStates, common_words, encode_prompts, without_first
from .recognizer_files import RecognizerFiles

# of transformers, which peft asks for an attribute renamed since
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


@dataclass
class ActionRecognitionOutput(ModelOutput):
    """Output of `LlmArForActionRecognition.forward`.

    Attributes:
        loss: scalar; only with `labels`.
        logits: (batch, classes) exact log-likelihood of each class name, see `score`; not with `labels` of words.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class LlmArForActionRecognition(RecognizerFiles):
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

    @can_return_tuple
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

        With `return_dict=False`, here or in the config, it gives a tuple of those that there are.

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
            _check_is_tensor(input_ids)
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
                candidates are classes of the model, their prototypes have a say, see `ClassPrototypes.joined`.
            states: of several calls between which no weight changes; the words before the action tokens are then read
                in the first of them alone. Not used where gradients are taken, which run through those words.

        Raises:
            TypeError: no tensor, such as the processor's batch without the two stars.
            ValueError: no tree, and the model knows no classes.
        """
        tree = tree or self.trained_labels
        scores = score_labels(self.causal_lm, tree, **self._prompts(input_ids, attention_mask, states))
        classes = self._classes_with_prototypes(tree, motion_features)
        if classes is None or self.prototypes is None or motion_features is None:
            return scores
        return self.prototypes.joined(scores, motion_features, classes)

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
        if self._classes_with_prototypes(tree, motion_features) is not None:
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

    @property
    def taught_labels(self) -> list[str]:
        """The classes whose names the language model learned to say; those of a few examples alone are none of them."""
        names = self.config.label_names or []
        if self.prototypes is None or self.prototypes.taught is None:
            return list(names)
        return [name for name, taught in zip(names, self.prototypes.taught.tolist(), strict=True) if taught]

    def _classes_with_prototypes(self, tree: LabelTree, motion_features: Tensor | None) -> list[int] | None:
        """The numbers of the labels' prototypes; None if there are none, or some label is no class of the model."""
        if self.prototypes is None or motion_features is None:
            return None
        places = {name: number for number, name in enumerate(self.config.label_names or ())}
        numbers = [places.get(label, -1) for label in tree.labels]
        return None if -1 in numbers else numbers

    def _prompts(self, input_ids: Tensor, attention_mask: Tensor | None, states: KeptStates | None) -> dict[str, Any]:
        """The prompts as `label_scoring` takes them; with `states`, without the words that all begin with."""
        _check_is_tensor(input_ids)
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

    def get_input_embeddings(self) -> nn.Module:
        """The base's word embeddings."""
        return self.causal_lm.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """The base's language-model head; FSDP has to know whether its weights are those of the word embeddings."""
        return self.causal_lm.get_output_embeddings()

    def train(self, mode: bool = True) -> LlmArForActionRecognition:
        """As of any module; refused for a merged model, whose adapter would learn nothing."""
        if mode:
            self._check_not_merged()
        return super().train(mode)

    @property
    def is_quantized(self) -> bool:
        """Whether the base was loaded with a `quantization_config`."""
        return getattr(self.causal_lm, "hf_quantizer", None) is not None

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


def _check_is_tensor(input_ids: Any) -> None:
    if not isinstance(input_ids, Tensor):
        raise TypeError(
            f"Expected input_ids as a tensor, got {type(input_ids).__name__}; what the processor makes is passed with "
            "two stars: model(**batch), model.score(**batch)."
        )


def _cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, num_items: Tensor | int | None) -> Tensor:
    if num_items is None:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum") / num_items
