"""Saves and loads a processor with its action tokenizers, each in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import ProcessorMixin
from transformers.utils import cached_file

from .familiarity import FAMILIARITY_FILE, Familiarity
from .hub_repository import HubUpload, check_parts, copy_code, reading
from .modeling_action_vqvae import ActionVQVAE

SENSES_FOLDER = "senses"  # the folder of the further senses' action tokenizers
_PARTS = ("processor_config.json", "tokenizer_config.json", "vqvae/config.json", "vqvae/model.safetensors")
_ABSENT: dict[str, Any] = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
    "_raise_exceptions_for_gated_repo": False,
}  # a file that need not be there
_OPTIONS = {
    *("revision", "token", "cache_dir", "local_files_only", "force_download", "trust_remote_code", "code_revision"),
    *("prompt", "motion_features", "first_action_id", "padding_side"),
    *("_from_auto", "_from_pipeline", "_commit_hash"),
}


class ProcessorFiles(HubUpload, ProcessorMixin):
    """The files of an `LlmArProcessor`, which says its parts."""

    _vqvae: ActionVQVAE
    _senses: dict[str, ActionVQVAE]
    _familiarity: Familiarity | None

    def to_dict(self) -> dict[str, Any]:
        own = ("_vqvae", "_senses", "_familiarity")  # they have files of their own
        parts = {name: self.__dict__.pop(name) for name in own}
        try:
            left_out = {"vqvae", "senses", "familiarity", *([] if parts["_senses"] else ["sense_fingerprints"])}
            return {key: value for key, value in super().to_dict().items() if key not in left_out}
        finally:
            self.__dict__ |= parts

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        """Writes processor, tokenizer, the VQ-VAEs (`vqvae/`, `senses/NAME/`) and the code a Hub repository needs."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        parts = {"vqvae": self._vqvae, **{f"{SENSES_FOLDER}/{name}": model for name, model in self._senses.items()}}
        for part, model in parts.items():
            model.save_pretrained(folder / part)
            for module in (folder / part).glob("*.py"):
                module.unlink()  # the root has the code
        if self._familiarity is not None:
            self._familiarity.save(folder)
        copy_code(folder)
        files = super().save_pretrained(save_directory)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)
        return files

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """Loads a saved processor with its tokenizer and VQ-VAE from a folder or the Hub.

        Args:
            kwargs: revision, token, cache_dir, local_files_only, force_download as everywhere in transformers;
                prompt, motion_features and first_action_id of the class; padding_side of the tokenizer.

        Raises:
            OSError: the folder or a part of it cannot be found.
            TypeError: an unknown option.
            ValueError: a part is damaged, does not fit the others or was written by a newer release.
        """
        unknown = sorted(name for name in kwargs.keys() - _OPTIONS if kwargs[name] not in (None, ""))
        if "_from_pipeline" in kwargs:  # which passes the model's options to each part
            kwargs = {name: value for name, value in kwargs.items() if name in _OPTIONS}
        elif unknown:
            raise TypeError(
                f"Unknown option {', '.join(unknown)} of LlmArProcessor.from_pretrained; known: "
                f"{', '.join(sorted(name for name in _OPTIONS if name[0] != '_'))}."
            )
        if Path(pretrained_model_name_or_path).is_dir():
            check_parts(pretrained_model_name_or_path, _PARTS)
        with reading(pretrained_model_name_or_path):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path, **kwargs):
        """As any processor's, with the VQ-VAE from the subfolder `vqvae` of the same place as one more argument."""
        hub = {
            name: kwargs[name] for name in ("revision", "token", "cache_dir", "local_files_only") if kwargs.get(name)
        }
        processor_dict, kwargs = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        with reading(f"{pretrained_model_name_or_path}/vqvae"):
            vqvae = ActionVQVAE.from_pretrained(pretrained_model_name_or_path, subfolder="vqvae", **hub)
        senses = {}
        for name in processor_dict.get("sense_fingerprints") or ():
            with reading(f"{pretrained_model_name_or_path}/{SENSES_FOLDER}/{name}"):
                subfolder = f"{SENSES_FOLDER}/{name}"
                senses[name] = ActionVQVAE.from_pretrained(pretrained_model_name_or_path, subfolder=subfolder, **hub)
        file = cached_file(pretrained_model_name_or_path, FAMILIARITY_FILE, **hub, **_ABSENT)
        familiarity = None if file is None else Familiarity.load(file)
        parts = {"vqvae": vqvae, "familiarity": familiarity, **({"senses": senses} if senses else {})}
        return {**processor_dict, **parts}, kwargs


def check_fit(feature_extractor, vqvae: ActionVQVAE, fingerprint: str | None) -> None:
    """Raises ValueError where feature extractor, VQ-VAE and the fingerprint of what was saved do not fit."""
    expected = (vqvae.config.layout, vqvae.config.num_frames, vqvae.config.dimensions)
    given = (feature_extractor.layout, feature_extractor.num_frames, feature_extractor.dimensions)
    if expected != given:
        raise ValueError(
            f"The VQ-VAE expects (layout, num_frames, dimensions) {expected}, the feature extractor gives {given}."
        )
    if fingerprint is not None and fingerprint != vqvae.fingerprint():
        raise ValueError(
            f"The VQ-VAE's fingerprint is {vqvae.fingerprint()}, this processor was saved with {fingerprint}: its "
            "tokens would mean something else. Restore the vqvae folder that belongs to this processor."
        )
