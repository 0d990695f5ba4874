"""Saves and loads the recognizer: config, trained weights, adapters, on top of a base that is never written."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from .action_lexicon import LEXICON_FILE, ActionLexicon
from .adapters import ADAPTER_FOLDER, DEFAULT_ADAPTER, Adapters, check_tensors
from .base_model import (
    BASE_MODEL_VARIABLE,
    base_from_environment,
    base_location,
    check_base,
    fast_dtype,
    parse_dtype,
    quantize_linears,
)
from .class_prototypes import ClassPrototypes
from .configuration_llm_ar import LlmArConfig
from .device_placement import is_offloaded, one_device, spread, whole_state_dict
from .hub_repository import HubUpload, check_file_names, check_finite, check_parts, copy_code, reading

_WEIGHTS = "model.safetensors"
_PROTOTYPES = "prototypes."


class RecognizerFiles(Adapters, HubUpload, PreTrainedModel):
    """How `LlmArForActionRecognition` is written and read.

    Attributes:
        base_resolver: finds a base model's folder beyond the Hub and its cache; the installed package sets it.
    """

    base_resolver: Callable[[str], Path] | None = None
    config: LlmArConfig
    action_embeddings: nn.Embedding
    prototypes: ClassPrototypes | None
    lexicon: ActionLexicon | None
    base_name: str

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

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The LlamaForCausalLM, LoRA layers inside."""
        return self.language_model.get_base_model()

    @property
    def is_trainable(self) -> bool:
        """Whether the adapter's weights take gradients."""
        return any(weight.requires_grad for weight in self.language_model.parameters())

    @property
    def is_mergeable(self) -> bool:
        """Whether `merge` is of use: nothing is trained, and the base's weights can take the adapter's."""
        return not (self.is_trainable or self.is_quantized or is_offloaded(self))

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
