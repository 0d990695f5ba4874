"""The base model under a recognizer: where it is found, whether it is the right one, in which precision it runs."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from transformers import PreTrainedModel

from .base_fingerprint import weights_fingerprint
from .configuration_llm_ar import LlmArConfig

BASE_MODEL_VARIABLE = "LLM_ACTION_BASE_MODEL"
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def base_from_environment() -> str | None:
    """The base model the user names in the environment, if any."""
    return os.environ.get(BASE_MODEL_VARIABLE)


def base_location(base_model: str | os.PathLike | None, folder: Path, config: LlmArConfig) -> str:
    """Where the base of the model in `folder` is: as asked for, in the environment, in the folder, as trained."""
    included = folder / "base"
    return str(base_model or base_from_environment() or (included if included.is_dir() else config.base_model))


def check_base(base: PreTrainedModel, config: LlmArConfig, name: str) -> None:
    """Refuses a base of another size, warns of one of other weights; `base` in the precision it was saved in.

    Raises:
        ValueError: names both sizes.
    """
    words = base.get_input_embeddings().weight
    if tuple(words.shape) != (config.base_vocab_size, config.hidden_size):
        raise ValueError(
            f"{name}: expected a base with word embeddings {(config.base_vocab_size, config.hidden_size)}, got "
            f"{tuple(words.shape)}; this model was trained on {config.base_model}."
        )
    if config.base_fingerprint is None:
        return
    found = weights_fingerprint(base)
    if found != config.base_fingerprint:
        warnings.warn(
            f"The weights of {name} differ from those this model was trained on ({config.base_model}, fingerprint "
            f"{config.base_fingerprint[:16]}, here {found[:16]}): scores will differ.",
            stacklevel=4,
        )


def parse_dtype(dtype: torch.dtype | str) -> torch.dtype | None:
    """A dtype or its name; None for "auto".

    Raises:
        ValueError: something else than "auto", float32, bfloat16, float16, float64 and int8.
    """
    if dtype == "auto":
        return None
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (*_FLOATS, torch.int8):
        raise ValueError(f"Expected dtype 'auto', float32, bfloat16, float16, float64 or int8, got {dtype!r}.")
    return found
