"""Turns recordings into action sentences and prompts, and action sentences back into skeletons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BatchEncoding, ProcessorMixin

from .attribute_likelihood import value_numbers
from .class_prototypes import motion_features
from .hub_repository import FORMAT_VERSION, PROCESSOR_AUTO_MAP, HubUpload, check_format, check_parts, copy_code, reading
from .modeling_action_vqvae import ActionVQVAE
from .skeleton_recording import is_several, recording_from_array, recording_of, warn
from .skeleton_sequence import SkeletonSequence

DEFAULT_PROMPT = "Human motion: {motion}\nThe action is:"
PERSON_SEPARATOR = " with"
_PARTS = ("processor_config.json", "tokenizer_config.json", "vqvae/config.json", "vqvae/model.safetensors")
_LONG, _USUAL_FPS = 40, 30.0  # seconds; frames a second where they are not known
_BATCH = 64  # recordings normalised at a time
_OPTIONS = {
    *("revision", "token", "cache_dir", "local_files_only", "force_download", "trust_remote_code", "code_revision"),
    *("prompt", "motion_features", "first_action_id", "padding_side"),
    *("_from_auto", "_from_pipeline", "_commit_hash"),
}


@dataclass(frozen=True)
class EncodedRecording:
    """All that a recognizer is given of one recording.

    Attributes:
        sentences: the action sentence of each test-time view, ids without the prompt.
        attributes: (attributes,) int64, the values that the joints show, see `value_numbers`; None if not asked for.
        motion_features: (views, features) float32, see `class_prototypes`; None of a processor that gives none.
    """

    sentences: list[list[int]]
    attributes: np.ndarray | None = None
    motion_features: np.ndarray | None = None


class LlmArProcessor(HubUpload, ProcessorMixin):
    """Turns recordings into prompts for `LlmArForActionRecognition`.

    An action token has an id from the base's vocabulary size up, `vocab_size + level * codebook_size + code`, and is
    written `<a17>` (`<b17>`, `<c17>` ... for further levels). A sentence lists the first person's tokens in time, the
    body parts of a step and the levels of each next to each other; a second person's sentence follows after a
    separating word.

    Args:
        feature_extractor: a `SkeletonFeatureExtractor`.
        tokenizer: the base model's tokenizer.
        vqvae: an `ActionVQVAE`; saved to and loaded from the subfolder `vqvae`.
        prompt: text with one `{motion}` where the sentence goes. The paper has an instruction, too; its words are this
            project's choice.
        vqvae_fingerprint: hash of the VQ-VAE this processor was saved with; another VQ-VAE is refused.
        first_action_id: rows of the base's word embeddings, where they are more than the tokenizer's words (default).
        motion_features: whether prompts come with `class_prototypes.motion_features`, for a model that has prototypes;
            default False.

    Raises:
        ValueError: parts that do not fit each other.
    """

    # reads files of recording formats into a SkeletonSequence; the installed package sets it, .npy needs none
    file_reader: Callable[..., SkeletonSequence] | None = None

    def __init__(
        self,
        feature_extractor=None,
        tokenizer=None,
        vqvae: ActionVQVAE | None = None,
        prompt: str = DEFAULT_PROMPT,
        vqvae_fingerprint: str | None = None,
        first_action_id: int | None = None,
        motion_features: bool = False,
        format_version: int = FORMAT_VERSION,
    ):
        check_format(format_version, "processor")
        super().__init__(feature_extractor, tokenizer)
        if prompt.count("{motion}") != 1:
            raise ValueError(f"Expected a prompt with exactly one {{motion}}, got {prompt!r}.")
        if vqvae is None:
            raise ValueError(
                "Expected a vqvae (ActionVQVAE); load a whole processor with LlmArProcessor.from_pretrained."
            )
        _check_parts(feature_extractor, vqvae, vqvae_fingerprint)
        self.prompt, self.motion_features = prompt, motion_features
        self.format_version = format_version
        self.auto_map = PROCESSOR_AUTO_MAP
        self.vqvae_fingerprint = vqvae_fingerprint or vqvae.fingerprint()
        self._vqvae = vqvae.eval()
        self.first_action_id = len(tokenizer) if first_action_id is None else first_action_id
        if self.first_action_id < len(tokenizer):
            raise ValueError(
                f"Expected first_action_id of at least {len(tokenizer)}, the tokenizer's size, got {first_action_id}."
            )

    @property
    def vqvae(self) -> ActionVQVAE:
        """The action tokenizer's model."""
        return self._vqvae

    def __call__(
        self,
        skeletons: Any,
        layout: str | None = None,
        fps: float | None = None,
        return_tensors: str | None = None,
        padding: bool | str = True,
        views: int = 1,
        **conventions: Any,
    ) -> BatchEncoding:
        """Prompts of one or several sequences.

        Args:
            skeletons: a `SkeletonSequence`, a path, an array (frames, joints, 2|3) or (persons, frames, joints, 2|3),
                a mapping with the key joints, or a list of such.
            layout: layout of inputs that carry none; default: the one whose bones fit.
            fps: frames per second of inputs that carry none.
            return_tensors: "pt", "np" or None for lists.
            padding: as a tokenizer's; prompts are padded on the left.
            views: test-time views of each sequence, a prompt each, default 1; see `SkeletonFeatureExtractor`.
            conventions: what else is known of inputs that do not say it, see `read`.

        Returns:
            input_ids and attention_mask (batch * views, tokens), a sequence's views one after the other; of a processor
            with `motion_features` these as well, (batch * views, features).

        Raises:
            ValueError: bad input; views out of range.
        """
        given = list(skeletons) if is_several(skeletons) else [skeletons]
        recordings = self.encode_recordings(given, layout, fps, views, **conventions)
        return self.prompts(recordings, return_tensors=return_tensors, padding=padding)

    def encode_recordings(
        self,
        skeletons: Sequence[Any],
        layout: str | None = None,
        fps: float | None = None,
        views: int = 1,
        attributes: bool = False,
        **conventions: Any,
    ) -> list[EncodedRecording]:
        """Encodes recordings; each is cleaned and normalised once, whatever is asked for.

        Args:
            skeletons, layout, fps, views, conventions: see `__call__`.
            attributes: whether to compute the values of `ATTRIBUTES` that the joints show, default False.
        """
        extractor, encoded = self.feature_extractor, list[EncodedRecording]()
        for start in range(0, len(skeletons), _BATCH):
            batch = [self.read(skeleton, layout, fps, **conventions) for skeleton in skeletons[start : start + _BATCH]]
            normalized = extractor(batch, views=views)
            seen, mask = normalized["skeletons"], normalized["person_mask"]
            sentences = self.encode_features(torch.from_numpy(seen), torch.from_numpy(mask))
            values = value_numbers(seen[::views], mask[::views], extractor.layout) if attributes else None
            features = motion_features(seen) if self.motion_features else None
            for number in range(len(batch)):
                of_views = slice(number * views, (number + 1) * views)
                encoded.append(
                    EncodedRecording(
                        sentences[of_views],
                        None if values is None else values[number],
                        None if features is None else features[of_views],
                    )
                )
        return encoded

    def prompts(
        self, recordings: Sequence[EncodedRecording], return_tensors: str | None = None, padding: bool | str = True
    ) -> BatchEncoding:
        """The prompts of encoded recordings, as a batch; see `__call__`."""
        sentences = [sentence for recording in recordings for sentence in recording.sentences]
        prompts = self.build_prompts(sentences, return_tensors=return_tensors, padding=padding)
        features = [one.motion_features for one in recordings if one.motion_features is not None]
        if features:
            prompts |= BatchEncoding({"motion_features": np.concatenate(features)}, tensor_type=return_tensors)
        return prompts

    def build_prompts(
        self, sentences: Sequence[Sequence[int]], return_tensors: str | None = None, padding: bool | str = True
    ) -> BatchEncoding:
        """The prompts around action sentences (ids), as a batch; see `__call__`."""
        before, after = self.prompt_parts()
        ids = [before + list(sentence) + after for sentence in sentences]
        if not ids:  # tokenizers pad no empty batch
            empty = {name: np.zeros((0, 0), np.int64) if return_tensors else [] for name in self.model_input_names}
            return BatchEncoding(empty, tensor_type=return_tensors)
        return self.tokenizer.pad(
            {"input_ids": ids}, padding=padding, padding_side="left", return_tensors=return_tensors
        )

    def prompt_parts(self) -> tuple[list[int], list[int]]:
        """Token ids of the prompt before and after the sentence."""
        before, after = self.prompt.split("{motion}")
        return tuple(
            self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before.rstrip(" "), after)
        )

    def encode(self, skeleton: Any, layout: str | None = None, fps: float | None = None, **conventions) -> list[int]:
        """The action sentence of one sequence: ids without the prompt."""
        return self.encode_batch([skeleton], layout, fps, **conventions)[0]

    def encode_batch(
        self, skeletons: Sequence[Any], layout: str | None = None, fps: float | None = None, **conventions: Any
    ) -> list[list[int]]:
        """The action sentences of several sequences."""
        return [recording.sentences[0] for recording in self.encode_recordings(skeletons, layout, fps, **conventions)]

    def encode_features(self, skeletons: torch.Tensor, person_mask: torch.Tensor) -> list[list[int]]:
        """Sentences of normalised skeletons (batch, persons, frames, joints, 3) with person_mask (batch, persons)."""
        codes = self._vqvae.encode(skeletons[person_mask].to(self._vqvae.device))
        size = self._vqvae.config.codebook_size
        offsets = torch.arange(codes.shape[-1], device=codes.device) * size + self.first_action_id
        tokens = iter((codes + offsets).flatten(1).tolist())
        separator = self._separator()
        sentences = []
        for persons in person_mask.sum(1).tolist():
            sentence = next(tokens)
            for _ in range(persons - 1):
                sentence = sentence + separator + next(tokens)
            sentences.append(sentence)
        return sentences

    def decode(self, ids: Any) -> SkeletonSequence:
        """The skeletons of an action sentence; words (prompt, padding, separator) are skipped.

        Returns:
            A sequence in the VQ-VAE's layout, in torso lengths with the first person's hips at the origin.

        Raises:
            ValueError: the action tokens are no whole number of sentences, or a level is out of turn.
        """
        config = self._vqvae.config
        tokens = torch.as_tensor(ids).flatten() - self.first_action_id
        tokens = tokens[tokens >= 0]
        per_person = config.num_places * config.num_levels
        if len(tokens) == 0 or len(tokens) % per_person:
            raise ValueError(
                f"Expected a multiple of {per_person} action tokens, got {len(tokens)}; decode a whole sentence."
            )
        tokens = tokens.view(-1, config.num_places, config.num_levels)
        codes = tokens - torch.arange(config.num_levels) * config.codebook_size
        if codes.min() < 0 or codes.max() >= config.codebook_size:
            raise ValueError("Expected the tokens of a step in the order of their levels, got another order.")
        skeletons = self._vqvae.decode(codes.to(self._vqvae.device)).float().cpu().numpy()
        return SkeletonSequence(skeletons, config.layout, name="decoded action sentence")

    def batch_decode(self, batch: Any) -> list[SkeletonSequence]:
        """`decode` of each row."""
        return [self.decode(ids) for ids in batch]

    def tokenize(self, skeleton: Any, layout: str | None = None, fps: float | None = None, **conventions) -> list[str]:
        """The action sentence of one sequence in readable form: ['<a17>', '<a402>', ...]."""
        return self.convert_ids_to_tokens(self.encode(skeleton, layout, fps, **conventions))

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """Readable form of ids, words as the base's tokenizer writes them."""
        return [self._token(int(index)) for index in ids]

    def read(self, skeleton: Any, layout: Any = None, fps: float | None = None, **conventions: Any) -> SkeletonSequence:
        """Any accepted input as a `SkeletonSequence`; see `__call__`.

        A `SkeletonSequence` and a row of a prepared table are taken as they are. Of all else, what neither the input
        nor the caller says is inferred, and doubts are said with a `RecordingWarning`.

        Args:
            skeleton: see `__call__`.
            layout, fps: of inputs that do not say theirs.
            conventions: axes, up, unit, mirrored, missing, image_size, as `SkeletonRecording` has them.

        Raises:
            ValueError: bad input; says what to pass.
        """
        if hasattr(skeleton, "to_layout"):  # duck-typed: hub code has a class of its own
            return skeleton
        if isinstance(skeleton, Mapping) and skeleton.get("shape") is not None:
            return _from_row(skeleton, layout, fps)
        sequence = self._inferred(skeleton, layout, fps, conventions)
        if sequence.num_frames > _LONG * (sequence.fps or _USUAL_FPS):
            seconds = sequence.num_frames / (sequence.fps or _USUAL_FPS)
            doubt = (
                f"it lasts {seconds:.0f} s, of which {self.feature_extractor.num_frames} moments are looked at for one "
                "label; what is done in turn is named by stream()."
            )
            warn(sequence.name, (doubt,))
        return sequence

    def _inferred(
        self, skeleton: Any, layout: Any, fps: float | None, conventions: Mapping[str, Any]
    ) -> SkeletonSequence:
        if isinstance(skeleton, (str, Path)):
            return self._read_file(Path(skeleton), layout, fps, **conventions)
        return recording_of(skeleton, layout, fps=fps, **conventions)

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask"]

    def to_dict(self) -> dict[str, Any]:
        vqvae = self.__dict__.pop("_vqvae")  # its weights have a folder of their own
        try:
            return {key: value for key, value in super().to_dict().items() if key != "vqvae"}
        finally:
            self._vqvae = vqvae

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        """Writes processor, tokenizer, the VQ-VAE (`vqvae/`) and the code a Hub repository needs."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self._vqvae.save_pretrained(folder / "vqvae")
        for module in (folder / "vqvae").glob("*.py"):
            module.unlink()  # the root has the code
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
        return {**processor_dict, "vqvae": vqvae}, kwargs

    def _token(self, index: int) -> str:
        action = index - self.first_action_id
        if action < 0:
            return self.tokenizer.convert_ids_to_tokens(index)
        level, code = divmod(action, self._vqvae.config.codebook_size)
        return f"<{chr(ord('a') + level)}{code}>"

    def _separator(self) -> list[int]:
        return self.tokenizer(PERSON_SEPARATOR, add_special_tokens=False)["input_ids"]

    def _read_file(self, path: Path, layout: Any, fps: float | None, **conventions: Any) -> SkeletonSequence:
        if (read := self.file_reader) is not None:
            return read(path, layout=layout, fps=fps, **conventions)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        if path.suffix != ".npy":
            raise ValueError(f"{path}: without the llm-action package only .npy files are read; pip install llm-action")
        array = np.load(path, allow_pickle=False)
        return recording_from_array(array, layout, fps=fps, name=path.name, **conventions).to_sequence()


def _from_row(row: Mapping[str, Any], layout: str | None, fps: float | None) -> SkeletonSequence:
    """A data set's row, whose joints are flat beside their shape and in the package's convention."""
    if "joints" not in row or (layout is None and "layout" not in row):
        raise ValueError(f"Expected a row with the keys joints and layout, got the keys {sorted(row)}.")
    name, shape = str(row.get("name", "")), tuple(int(size) for size in row["shape"])
    joints = np.asarray(row["joints"], np.float32)
    if joints.size != np.prod(shape):
        raise ValueError(f"{name}: expected {np.prod(shape)} numbers for the shape {shape}, got {joints.size}.")
    given = fps or row.get("fps") or np.nan  # a table's missing value is NaN in numpy's format
    fps = None if np.isnan(float(given)) else float(given)
    return SkeletonSequence(joints.reshape(shape), str(layout or row["layout"]), fps, name=name)


def _check_parts(feature_extractor, vqvae: ActionVQVAE, fingerprint: str | None) -> None:
    expected = (vqvae.config.layout, vqvae.config.num_frames)
    given = (feature_extractor.layout, feature_extractor.num_frames)
    if expected != given:
        raise ValueError(f"The VQ-VAE expects (layout, num_frames) {expected}, the feature extractor gives {given}.")
    if fingerprint is not None and fingerprint != vqvae.fingerprint():
        raise ValueError(
            f"The VQ-VAE's fingerprint is {vqvae.fingerprint()}, this processor was saved with {fingerprint}: its "
            "tokens would mean something else. Restore the vqvae folder that belongs to this processor."
        )
