"""A hash of a base model's weights, so that a model knows the base it was trained on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open

Weight = tuple[str, Callable[[], torch.Tensor]]  # a name, and how to read it: one tensor is in memory at a time


def weights_fingerprint(model_or_folder: torch.nn.Module | str | os.PathLike[str]) -> str:
    """SHA-256 (64 hex digits) over the names, shapes and float32 values of a LLaMA's weights.

    The same for a folder of safetensors and for the model loaded from it, in whatever dtype that holds its values; tied
    weights count once. What PEFT adds to a base model does not count: LoRA leaves the fingerprint as it was.
    """
    if isinstance(model_or_folder, torch.nn.Module):
        return _hash_tensors(_model_weights(model_or_folder))
    return _hash_tensors(_folder_weights(Path(model_or_folder)))


def _hash_tensors(weights: Iterable[Weight]) -> str:
    digest = hashlib.sha256()
    for name, read in sorted(weights, key=lambda weight: weight[0]):
        tensor = read().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _model_weights(model: torch.nn.Module) -> Iterator[Weight]:
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


def _read_tensor(file: Path, name: str) -> torch.Tensor:
    with safe_open(file, framework="pt") as tensors:
        return tensors.get_tensor(name)
