"""The adapters of a recognizer: LoRA layers of peft inside its language model, under the names transformers has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor

from .hub_repository import check_finite, reading

ADAPTER_FOLDER = "adapter"
DEFAULT_ADAPTER = "default"


class Adapters:
    """transformers' methods for adapters, for a model that holds a `PeftModel` as `language_model`.

    The adapter "default" is the one that training made. Further ones are saved beside it and come back, as does which
    of them is active.
    """

    language_model: PeftModel
    is_merged: bool

    def active_adapters(self) -> list[str]:
        """The names of the adapters that take part in a forward pass."""
        return list(self.language_model.active_adapters)

    def set_adapter(self, adapter_name: str | list[str]) -> None:
        """Makes one adapter, or several together, the active ones; raises ValueError for an unknown name."""
        self._check_not_merged()
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        if unknown := [name for name in names if name not in self.language_model.peft_config]:
            raise ValueError(f"Expected adapters of {list(self.language_model.peft_config)}, got {unknown}.")
        trainable = any(weight.requires_grad for weight in self.language_model.parameters())
        if len(names) == 1:
            self.language_model.set_adapter(names[0], inference_mode=not trainable)
        else:
            self.language_model.base_model.set_adapter(names, inference_mode=not trainable)

    def disable_adapters(self) -> None:
        """Leaves the base's weights alone in a forward pass, until `enable_adapters`."""
        self._check_not_merged()
        self.language_model.base_model.disable_adapter_layers()

    def enable_adapters(self) -> None:
        """Undoes `disable_adapters`."""
        self._check_not_merged()
        self.language_model.base_model.enable_adapter_layers()

    def add_adapter(self, adapter_config: Any, adapter_name: str) -> None:
        """Adds a new adapter (`peft.LoraConfig`) beside those there are; `set_adapter` makes it active."""
        self._check_not_merged()
        self.language_model.add_adapter(adapter_name, adapter_config)

    def delete_adapter(self, adapter_names: str | list[str]) -> None:
        """Removes adapters."""
        self._check_not_merged()
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            self.language_model.delete_adapter(name)

    def load_adapter(
        self, peft_model_id: str | os.PathLike, adapter_name: str = DEFAULT_ADAPTER, is_trainable: bool = False
    ) -> None:
        """Loads an adapter from the folder that `save_pretrained` or peft wrote; one of that name gets its weights.

        Raises:
            ValueError: the folder is damaged, of another base, or lacks tensors or has some that the adapter has not.
        """
        self._check_not_merged()
        with reading(Path(peft_model_id)):
            self.language_model.load_adapter(str(peft_model_id), adapter_name, is_trainable=is_trainable)
            check_tensors(self.language_model, adapter_name, Path(peft_model_id))

    def get_adapter_state_dict(
        self, adapter_name: str | None = None, state_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The weights of an adapter, default the first active one, under peft's names."""
        name = adapter_name or self.active_adapters()[0]
        return get_peft_model_state_dict(self.language_model, state_dict, name, save_embedding_layers=False)

    def save_adapters(self, folder: Path, state_dict: dict[str, Tensor], base_model: str) -> None:
        """Writes all adapters, each as plain peft has it: "default" into `folder`, the others into folders inside.

        Raises:
            ValueError: there is no adapter left, or none that is called "default".
        """
        adapters = self.language_model.peft_config
        layers = any(isinstance(module, BaseTunerLayer) for module in self.language_model.modules())
        if not layers or DEFAULT_ADAPTER not in adapters:
            raise ValueError(
                f"Expected a model with its adapter {DEFAULT_ADAPTER!r}, got "
                f"{f'the adapters {sorted(adapters)}' if layers else 'one without (merge_and_unload, unload)'}: what "
                "was trained would be lost. Load the model again; merge() is the way to fold an adapter in and save."
            )
        for adapter in adapters.values():
            adapter.base_model_name_or_path = base_model  # not where this machine keeps it
        self.language_model.save_pretrained(folder, state_dict=state_dict, save_embedding_layers=False)
        for card in folder.rglob("README.md"):
            card.unlink()  # peft's own; the root has ours

    def load_adapters(self, folder: Path, is_trainable: bool) -> None:
        """Loads all adapters that `save_adapters` wrote."""
        self.load_adapter(folder, DEFAULT_ADAPTER, is_trainable)
        for config in sorted(folder.glob("*/adapter_config.json")):
            self.load_adapter(config.parent, config.parent.name, is_trainable)

    def _check_not_merged(self) -> None:
        if self.is_merged:
            raise ValueError(
                "This model's adapter is merged into its base, for inference only; load it with is_trainable=True to "
                "train it, to change its adapters or to load trained weights. A pipeline merges what was loaded "
                "without that."
            )


def check_tensors(model: PeftModel, adapter_name: str, folder: Path) -> None:
    """Refuses an adapter file that lacks tensors of the adapter or has others: peft only warns of some of those.

    Raises:
        ValueError: names some of the tensors.
    """
    expected = set(get_peft_model_state_dict(model, adapter_name=adapter_name, save_embedding_layers=False))
    weights = load_file(folder / "adapter_model.safetensors")
    check_finite(weights)
    found = set(weights)
    if found != expected:
        missing, unexpected = sorted(expected - found), sorted(found - expected)
        raise ValueError(
            f"expected the {len(expected)} tensors that adapter_config.json describes, got {len(found)}: "
            f"{len(missing)} missing {missing[:2]}, {len(unexpected)} unexpected {unexpected[:2]}; export or download "
            "the model again."
        )
