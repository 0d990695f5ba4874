"""The numbers a recognizer trains in: dtype of the frozen base, and arithmetic that makes a step fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from peft.helpers import disable_input_dtype_casting
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import BitsAndBytesConfig
from transformers.utils import is_bitsandbytes_available

from llm_action.modeling.base_model import fast_dtype
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition


def base_dtype(name: str) -> torch.dtype:
    """Finds the dtype that a configuration names.

    "auto" is bfloat16 where the hardware multiplies it fast, float32 elsewhere. That of "nf4" holds for all weights
    that are not quantised, and for the arithmetic.
    """
    return fast_dtype(torch.bfloat16) if name in ("auto", "nf4") else getattr(torch, name)


def quantization(name: str) -> BitsAndBytesConfig | None:
    """Configures how bitsandbytes quantises the base for a `base_dtype` of "nf4", as QLoRA does; None for any other.

    Raises:
        ValueError: no CUDA device, or no bitsandbytes.
    """
    if name != "nf4":
        return None
    if not torch.cuda.is_available():
        raise ValueError("base_dtype nf4: expected a CUDA device, found none; set recognizer.base_dtype=auto.")
    if not is_bitsandbytes_available():
        raise ValueError("base_dtype nf4: expected bitsandbytes, which is not installed; pip install -U bitsandbytes.")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=base_dtype(name),
        bnb_4bit_quant_storage=base_dtype(name),  # whose shards FSDP can spread
    )


@contextmanager
def fast_training(model: LlmArForActionRecognition, device: torch.device) -> Iterator[None]:
    """Speeds up a whole training; `half_arithmetic` is for its forward passes.

    On a bfloat16 base the adapters, float32 themselves, compute in bfloat16 too: casting every layer's input and output
    to float32 and back takes longer than their products. On a CPU attention is plain matrix products: the backward pass
    of the fused kernel takes far longer on sentences of some 50 tokens.
    """
    with (
        disable_input_dtype_casting(model, active=_half_base(model)),
        sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext(),
    ):
        yield


def fast_arithmetic(device: torch.device) -> AbstractContextManager:
    """Casts automatically to bfloat16 where the device multiplies it fast; for models of float32 weights."""
    fast = fast_dtype(torch.bfloat16, device.type) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()


def half_arithmetic(model: LlmArForActionRecognition, device: torch.device) -> AbstractContextManager:
    """Casts automatically where the base is bfloat16."""
    return torch.autocast(device.type, torch.bfloat16) if _half_base(model) else nullcontext()


def _half_base(model: LlmArForActionRecognition) -> bool:
    return model.causal_lm.dtype == torch.bfloat16
