"""The base LLaMA: where its weights are, whether they are the ones trained with, and which arithmetic suits them."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from .configuration_llm_ar import LlmArConfig

BASE_MODEL_VARIABLE = "LLM_ACTION_BASE_MODEL"
Weight = tuple[str, Callable[[], Tensor]]  # a name, and how to read it: one tensor is in memory at a time
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def base_from_environment() -> str | None:
    """The base model the user names in the environment, if any."""
    return os.environ.get(BASE_MODEL_VARIABLE)


def base_location(base_model: str | os.PathLike | None, folder: Path, config: LlmArConfig) -> str:
    """Where the base of the model in `folder` is: as asked for, in the environment, in the folder, as trained."""
    included = folder / "base"
    return str(base_model or base_from_environment() or (included if included.is_dir() else config.base_model))


def check_base(
    base: PreTrainedModel, config: LlmArConfig, name: str, rounded_from: str | os.PathLike | None = None
) -> None:
    """Refuses a base of another size, warns of one of other weights.

    Args:
        base: in the precision it was saved in.
        rounded_from: of a base that is not, the folder whose files say which weights they were; none are compared where
            it is no folder.

    Raises:
        ValueError: names both sizes.
    """
    words = base.get_input_embeddings().weight
    if tuple(words.shape) != (config.base_vocab_size, config.hidden_size):
        raise ValueError(
            f"{name}: expected a base with word embeddings {(config.base_vocab_size, config.hidden_size)}, got "
            f"{tuple(words.shape)}; this model was trained on {config.base_model}."
        )
    if config.base_fingerprint is None or not (rounded_from is None or Path(rounded_from).is_dir()):
        return
    found = weights_fingerprint(base if rounded_from is None else rounded_from)
    if found != config.base_fingerprint:
        warnings.warn(
            f"The weights of {name} differ from those this model was trained on ({config.base_model}, fingerprint "
            f"{config.base_fingerprint[:16]}, here {found[:16]}): scores will differ.",
            stacklevel=4,
        )


def weights_fingerprint(model_or_folder: nn.Module | str | os.PathLike[str]) -> str:
    """SHA-256 (64 hex digits) over the names, shapes and float32 values of a LLaMA's weights.

    The same for a folder of safetensors and for the model loaded from it, in whatever dtype that holds its values; tied
    weights count once. What PEFT adds to a base model does not count: LoRA leaves the fingerprint as it was.
    """
    if isinstance(model_or_folder, nn.Module):
        return _hash_tensors(_model_weights(model_or_folder))
    return _hash_tensors(_folder_weights(Path(model_or_folder)))


def _hash_tensors(weights: Iterable[Weight]) -> str:
    digest = hashlib.sha256()
    for name, read in sorted(weights, key=lambda weight: weight[0]):
        tensor = read().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _model_weights(model: nn.Module) -> Iterator[Weight]:
    for name, parameter in model.named_parameters():  # names a shared parameter once
        if "lora_" not in name:
            yield name.removeprefix("base_model.model.").replace(".base_layer.", "."), parameter.detach


def _folder_weights(folder: Path) -> Iterator[Weight]:
    tied = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings", False)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
        for name in names:
            # Old LLaMA checkpoints also store the rotary frequencies, which are no weights.
            if not name.endswith("rotary_emb.inv_freq") and not (tied and name == "lm_head.weight"):
                yield name, partial(_read_tensor, file, name)


def _read_tensor(file: Path, name: str) -> Tensor:
    with safe_open(file, framework="pt") as tensors:
        return tensors.get_tensor(name)


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


def fast_dtype(stored: torch.dtype, device: str | torch.device | None = None) -> torch.dtype:
    """Chooses what to compute in: `stored` where the device multiplies that faster than float32, else float32.

    A CPU without AVX512-BF16 or AMX multiplies bfloat16 some 70 times slower than float32. A CUDA device does not
    emulate bfloat16 either; other accelerators compute in what is stored.

    Args:
        stored: what weights are stored in.
        device: default the accelerator if there is one, else the CPU. A torch that was built for one may have none.
    """
    if stored.itemsize >= torch.float32.itemsize:
        return stored
    device = torch.device(device) if device is not None else torch.accelerator.current_accelerator(check_available=True)
    if device is None or device.type == "cpu":
        fast = _outruns_float32(stored)
    else:
        emulated = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        fast = not (emulated and stored == torch.bfloat16)
    return stored if fast else torch.float32


@cache
def _outruns_float32(dtype: torch.dtype) -> bool:
    """Times products on one CPU thread, some 100 ms at worst. Flags do not tell what oneDNN makes of the hardware."""

    def seconds(matrix: Tensor) -> float:
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        return time.perf_counter() - started

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # whatever else the machine does, no thread waits for another
    try:
        with torch.no_grad():  # in turn, so that what else the machine does slows both
            matrices = [torch.ones(256, 256, dtype=kind, device="cpu") for kind in (dtype, torch.float32)]
            runs = [[seconds(matrix) for matrix in matrices] for _ in range(6)]
            half, full = map(min, zip(*runs, strict=True))
            return half < full
    finally:
        torch.set_num_threads(threads)


class Int8Linear(nn.Module):
    """A linear layer whose weights are int8 and whose input is rounded to int8 at every call (dynamic quantisation).

    Every output channel and every token has a scale of its own. `torch.ao.quantization.quantize_dynamic` gives all
    tokens of a call one scale, and LLaMA's first token has activations thousands of times larger than the rest, which
    would round those to nothing.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = _rounded(linear.weight.detach().float())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.squeeze(1))
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        tokens, scale = _rounded(inputs.flatten(0, -2).float())
        outputs = torch._int_mm(tokens, self.weight.t()) * (scale * self.scale)
        outputs = outputs.to(inputs.dtype).unflatten(0, inputs.shape[:-1])
        return outputs if self.bias is None else outputs + self.bias


def quantize_linears(module: nn.Module) -> None:
    """Turns all linear layers inside `module` but those of an adapter into `Int8Linear`, in place.

    Raises:
        ValueError: the module is not on a CPU.
    """
    device = next(module.parameters()).device
    if device.type != "cpu":
        raise ValueError(f"Expected a model on the CPU for int8, got {device}; use dtype bfloat16 there.")
    for name, child in module.named_children():
        if name.startswith("lora_"):
            continue
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        elif next(child.parameters(), None) is not None:
            quantize_linears(child)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, width) as int8 and the (n, 1) factors that give them back."""
    scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (rows / scale).round().to(torch.int8), scale
