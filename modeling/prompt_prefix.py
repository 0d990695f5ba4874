"""The words every prompt begins with, read once by a model and reused."""

from __future__ import annotations

from collections.abc import Callable

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from transformers import PreTrainedModel

from .label_reading import EncodedPrompts, encode_prompts


class PromptPrefix:
    """Keeps the language model's states after the last prefix until a weight, the adapter or the prefix changes."""

    def __init__(self) -> None:
        self._key: tuple | None = None
        self._states: EncodedPrompts | None = None

    def states(
        self, language_model: PreTrainedModel, embed: Callable[[Tensor], Tensor], words: tuple[int, ...]
    ) -> EncodedPrompts:
        """The states after the ids `words`, which `embed` turns into (1, tokens, hidden)."""
        key = (words, _weights_state(language_model))
        if self._key != key or self._states is None:
            ids = torch.tensor([words], device=language_model.device)
            self._key, self._states = key, encode_prompts(language_model, embed(ids))
        return self._states


def common_words(input_ids: Tensor, mask: Tensor, first_action_id: int) -> tuple[int, ...]:
    """The words before the first action token of prompts (batch, tokens), if all begin with the same and go on."""
    prompts = [ids[real].tolist() for ids, real in zip(input_ids, mask.bool(), strict=True)]
    count = next((place for place, token in enumerate(prompts[0]) if token >= first_action_id), 0)
    words = prompts[0][:count]
    return tuple(words) if all(prompt[:count] == words and len(prompt) > count for prompt in prompts) else ()


def without_first(input_ids: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Prompts (batch, tokens), padded on either side, and their mask without the first `count` tokens of each."""
    rest = mask * (mask.cumsum(1) > count)
    return input_ids[:, count:], rest[:, count:]  # the columns before hold padding and the tokens to drop


def _weights_state(language_model: PreTrainedModel) -> tuple:
    """Equal as long as no weight has changed and the same adapter is in use."""
    weights = list(language_model.parameters())
    versions = sum(0 if weight.is_inference() else weight._version for weight in weights)
    adapted = next((layer for layer in language_model.modules() if isinstance(layer, BaseTunerLayer)), None)
    adapter = None if adapted is None else (adapted.disable_adapters, tuple(adapted.active_adapters))
    return versions, len(weights), weights[0].dtype, weights[0].device, adapter
