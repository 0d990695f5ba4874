"""Spreads a model over devices, main memory and disk with accelerate, as `device_map` asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import disk_offload, dispatch_model, infer_auto_device_map
from accelerate.utils import get_balanced_memory
from accelerate.utils.modeling import get_state_dict_offloaded_model
from torch import Tensor, nn
from transformers import PreTrainedModel

_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")


def one_device(device_map: Any) -> str | int | torch.device | None:
    """The device that a map puts everything on; None of a map over several, and of none."""
    if isinstance(device_map, Mapping):
        places = set(device_map.values())
        return places.pop() if len(places) == 1 and "disk" not in places else None
    return None if device_map in _STRATEGIES else device_map


def spread(
    model: PreTrainedModel,
    device_map: str | Mapping[str, Any],
    max_memory: Mapping[Any, Any] | None,
    offload_folder: str | os.PathLike | None,
) -> None:
    """Puts each part of a whole model where a map says; what lies elsewhere comes to its device when it is needed.

    Args:
        model: on the CPU, adapters inside.
        device_map: "auto", "balanced", "balanced_low_0" or "sequential", or the names of parts of the model, each with
            a device, "cpu" or "disk".
        max_memory: of each device and of "cpu", for a map that is not given whole; default what is free.
        offload_folder: where the weights on disk are written.

    Raises:
        ValueError: parts on disk without an offload_folder; names that leave parts out.
    """
    if isinstance(device_map, str):
        split = list(model._no_split_modules or ())
        memory = None if max_memory is None else dict(max_memory)
        if device_map != "sequential":
            low_first = device_map == "balanced_low_0"
            memory = get_balanced_memory(model, memory, split, low_zero=low_first)
        device_map = infer_auto_device_map(model, memory, split)
    assert not isinstance(device_map, str)
    if "disk" in device_map.values() and offload_folder is None:
        on_disk = [name for name, place in device_map.items() if place == "disk"]
        raise ValueError(f"Expected offload_folder=FOLDER for what the device_map puts on disk: {on_disk[:3]}.")
    if set(device_map.values()) == {"disk"}:
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        disk_offload(model, str(offload_folder), execution_device=device)
        model.hf_device_map = {"": str(device)}  # where it computes
        return
    # a pipeline sends inputs to the first
    devices_first = sorted(device_map.items(), key=lambda part: part[1] == "disk")
    dispatch_model(model, dict(devices_first), offload_dir=offload_folder)


def is_offloaded(module: nn.Module) -> bool:
    """Whether some weights are not in a device's memory and only come when they are needed."""
    return any(weight.is_meta for weight in module.parameters())


def whole_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """All weights, those that are elsewhere as well."""
    return get_state_dict_offloaded_model(module) if is_offloaded(module) else module.state_dict()


def execution_device(module: nn.Module) -> torch.device:
    """The device that a module without parts computes on, wherever its weights wait."""
    device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    return next(module.parameters()).device if device is None else torch.device(device)
