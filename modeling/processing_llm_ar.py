"""Turns recordings into action sentences and prompts, and action sentences back into skeletons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import BatchEncoding

from .action_attributes import value_numbers
from .class_prototypes import prompt_features
from .familiarity import Familiarity, familiarity_features
from .hub_repository import FORMAT_VERSION, PROCESSOR_AUTO_MAP, check_format, written_format
from .modeling_action_vqvae import ActionVQVAE
from .motion_measures import motion_measures
from .processor_files import SENSES_FOLDER, ProcessorFiles, check_fit
from .recording_inputs import RecordingInputs, with_signals
from .signal_sequence import standardized
from .skeleton_recording import is_several
from .skeleton_sequence import SKELETON, SkeletonSequence

DEFAULT_PROMPT = "Human motion: {motion}\nThe action is:"
PERSON_SEPARATOR = " with"
_PLACE = r"\{(\w+)\}"  # of a sense in a prompt
_BATCH = 64  # recordings normalised at a time


@dataclass(frozen=True)
class EncodedRecording:
    """All that a recognizer is given of one recording.

    Attributes:
        sentences_of: of each sense that it has, the action sentence of every test-time view, ids without the prompt.
        attributes: (attributes,) int64, the values that the joints show, see `value_numbers`; None if not asked for.
        motion_features: (views, features) float32, see `class_prototypes`; None of a processor that gives none.
        familiarity: 0..1, see `Familiarity`; None of a processor that does not know.
        measures: (measures,) float32, see `motion_measures`; None if no attributes were asked for.
    """

    sentences_of: dict[str, list[list[int]]]
    attributes: np.ndarray | None = None
    motion_features: np.ndarray | None = None
    familiarity: float | None = None
    measures: np.ndarray | None = None

    @property
    def sentences(self) -> list[list[int]]:
        """(views) the sentences of its first sense, the skeleton where it has one."""
        return next(iter(self.sentences_of.values()))


class LlmArProcessor(RecordingInputs, ProcessorFiles):
    """Turns recordings into prompts for `LlmArForActionRecognition`.

    An action token has an id from the base's vocabulary size up, `vocab_size + level * codebook_size + code`, and is
    written `<a17>` (`<b17>`, `<c17>` ... for further levels). A sentence lists the first person's tokens in time, the
    body parts of a step and the levels of each next to each other; a second person's sentence follows after a
    separating word.

    Further senses each have an action tokenizer of their own, whose tokens `<s17>` follow those of the skeleton's. A
    prompt has the sentence of one sense, behind the words that name it; a recording of several has a prompt of each.

    Args:
        feature_extractor: a `SkeletonFeatureExtractor`.
        tokenizer: the base model's tokenizer.
        vqvae: an `ActionVQVAE`; saved to and loaded from the subfolder `vqvae`.
        prompt: text with one `{motion}` where the skeleton's sentence goes. The paper has an instruction, too; its
            words are this project's choice.
        senses: an `ActionVQVAE` of signals (with `channels`) of every further sense, by the sense's name; saved to and
            loaded from the subfolders `senses/NAME`. `prompt` then has a line with `{NAME}` for each, see
            `prompt_with`.
        sense_fingerprints: as `vqvae_fingerprint`, of each of them.
        vqvae_fingerprint: hash of the VQ-VAE this processor was saved with; another VQ-VAE is refused.
        first_action_id: rows of the base's word embeddings, where they are more than the tokenizer's words (default).
        motion_features: whether prompts come with `class_prototypes.prompt_features`, for a model that has prototypes;
            default False.
        familiarity: how familiar motions are; saved to and loaded from `familiarity.safetensors`. Default None: it is
            not known.

    Raises:
        ValueError: parts that do not fit each other.
    """

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
        familiarity: Familiarity | None = None,
        senses: Mapping[str, ActionVQVAE] | None = None,
        sense_fingerprints: Mapping[str, str] | None = None,
    ):
        check_format(format_version, "processor")
        super().__init__(feature_extractor, tokenizer)
        self._senses = {name: model.eval() for name, model in (senses or {}).items()}
        for name in ("motion", *self._senses):
            if prompt.count(f"{{{name}}}") != 1:
                raise ValueError(f"Expected a prompt with exactly one {{{name}}}, got {prompt!r}.")
        if vqvae is None:
            raise ValueError(
                "Expected a vqvae (ActionVQVAE); load a whole processor with LlmArProcessor.from_pretrained."
            )
        check_fit(feature_extractor, vqvae, vqvae_fingerprint)
        self.prompt, self.motion_features = prompt, motion_features
        self.format_version = written_format(self._senses)
        found = {name: model.fingerprint() for name, model in self._senses.items()}
        for name, fingerprint in (sense_fingerprints or {}).items():
            if found.get(name) != fingerprint:
                raise ValueError(
                    f"The fingerprint of {name}'s VQ-VAE is {found.get(name)}, this processor was saved with "
                    f"{fingerprint}: its tokens would mean something else. Restore the folder {SENSES_FOLDER}/{name}."
                )
        self.sense_fingerprints = found or None
        self.auto_map = PROCESSOR_AUTO_MAP
        self.vqvae_fingerprint = vqvae_fingerprint or vqvae.fingerprint()
        self._vqvae = vqvae.eval()
        self._familiarity = familiarity
        self.first_action_id = len(tokenizer) if first_action_id is None else first_action_id
        if self.first_action_id < len(tokenizer):
            raise ValueError(
                f"Expected first_action_id of at least {len(tokenizer)}, the tokenizer's size, got {first_action_id}."
            )

    @property
    def vqvae(self) -> ActionVQVAE:
        """The action tokenizer's model."""
        return self._vqvae

    @property
    def familiarity(self) -> Familiarity | None:
        """What tells strange motions from familiar ones."""
        return self._familiarity

    @familiarity.setter
    def familiarity(self, familiarity: Familiarity | None) -> None:
        self._familiarity = familiarity

    @property
    def senses(self) -> dict[str, ActionVQVAE]:
        """The action tokenizers of further senses than the skeleton, by name."""
        return dict(self._senses)

    @property
    def num_action_tokens(self) -> int:
        """Different action tokens of all senses."""
        return sum(model.config.num_action_tokens for model in (self._vqvae, *self._senses.values()))

    def token_embeddings(self) -> torch.Tensor:
        """(num_action_tokens, embedding_dim) the tokens of all senses as their decoders see them.

        Those of several senses are standardised, each sense's apart.
        """
        tables = [model.token_embeddings().detach() for model in (self._vqvae, *self._senses.values())]
        if len(tables) == 1:
            return tables[0]
        return torch.cat([(table - table.mean(0)) / table.std().clamp(min=1e-8) for table in tables])

    def with_senses(self, senses: Mapping[str, ActionVQVAE], titles: Mapping[str, str]) -> LlmArProcessor:
        """The same processor with further senses.

        Args:
            titles: what the prompt calls each; default the name, capitalised.
        """
        plain = re.sub(r"\n[^\n]*\{(?!motion\})\w+\}", "", self.prompt)
        return type(self)(
            self.feature_extractor,
            self.tokenizer,
            self._vqvae,
            prompt_with({name: titles.get(name) or name.capitalize() for name in senses}, plain),
            first_action_id=self.first_action_id,
            motion_features=self.motion_features,
            familiarity=self._familiarity,
            senses=senses,
        )

    def __call__(
        self,
        skeletons: Any = None,
        layout: str | None = None,
        fps: float | None = None,
        return_tensors: str | None = None,
        padding: bool | str = True,
        views: int = 1,
        signals: Mapping[str, Any] | None = None,
        **conventions: Any,
    ) -> BatchEncoding:
        """Prompts of one or several sequences.

        Args:
            skeletons: a `SkeletonSequence`, a path, an array (frames, joints, 2|3) or (persons, frames, joints, 2|3),
                a mapping with the key joints, a mapping of senses (`{"skeleton": ..., "inertial": ...}`), or a list of
                such; None with signals alone.
            layout: layout of inputs that carry none; default: the one whose bones fit.
            fps: frames per second of inputs that carry none.
            return_tensors: "pt", "np" or None for lists.
            padding: as a tokenizer's; prompts are padded on the left.
            views: test-time views of each sequence, a prompt each, default 1; see `SkeletonFeatureExtractor`.
            signals: what further senses recorded of the same, by the sense's name: a `SignalSequence`, a path, an array
                (samples, channels) or a mapping with the key values; where `skeletons` are several, a list of such for
                each sense, None where one is lacking.
            conventions: what else is known of inputs that do not say it, see `read`.

        Returns:
            input_ids and attention_mask (batch * views, tokens), a sequence's views one after the other, and those of
            each of its senses after another's; of a processor with `motion_features` these as well, (batch * views,
            features).

        Raises:
            ValueError: bad input; views out of range.
        """
        given = list(skeletons) if is_several(skeletons) else [skeletons]
        if signals is not None:
            given = with_signals(given if skeletons is not None else None, signals, is_several(skeletons))
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
            attributes: whether to compute the values of `ATTRIBUTES` that the joints show, and measures; default False.
        """
        extractor, encoded = self.feature_extractor, list[EncodedRecording]()
        for start in range(0, len(skeletons), _BATCH):
            given = skeletons[start : start + _BATCH]
            read = [self.read_senses(one, layout, fps, **conventions) for one in given]
            seen, mask, signals = self._batch(read, views)
            tokens = self.tokens_of(torch.from_numpy(seen), torch.from_numpy(mask), signals)
            shown = mask[::views].any(1)
            values_of, measures_of = dict[int, np.ndarray](), dict[int, np.ndarray]()
            if attributes and shown.any():
                joints = seen[::views][shown], mask[::views][shown], extractor.layout
                values_of = dict(zip(np.flatnonzero(shown).tolist(), value_numbers(*joints), strict=True))
                measures_of = dict(zip(values_of, motion_measures(*joints), strict=True))
            features = prompt_features(seen, mask, extractor.layout, views) if self.motion_features else None
            familiar: list[float | None] = [None] * len(read)
            if self._familiarity is not None and shown.any():
                shares = self._familiarity.familiarity(familiarity_features(seen[::views][shown], extractor.layout))
                for number, share in zip(np.flatnonzero(shown), shares.tolist(), strict=True):
                    familiar[number] = share
            for number in range(len(read)):
                of_views = slice(number * views, (number + 1) * views)
                encoded.append(
                    EncodedRecording(
                        self.sentences_of(tokens[of_views]),
                        values_of.get(number),
                        None if features is None else features[of_views],
                        familiar[number],
                        measures_of.get(number),
                    )
                )
        return encoded

    def _batch(
        self, read: Sequence[tuple[SkeletonSequence | None, Mapping[str, np.ndarray]]], views: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, torch.Tensor]]:
        """Normalised skeletons, person_mask and signals of recordings, as `encode_features` takes them."""
        skeletons = [skeleton for skeleton, _ in read]
        if self.motion_features and any(skeleton is None for skeleton in skeletons):
            raise ValueError("Expected a skeleton in every recording: this model knows classes by their motion.")
        seen, mask = self.feature_extractor.arrays(skeletons, views)
        signals = {name: self.standardized(name, [one.get(name) for _, one in read], views) for name in self._senses}
        return seen, mask, signals

    def standardized(self, sense: str, values: Sequence[np.ndarray | None], views: int = 1) -> torch.Tensor:
        """(batch * views, frames, channels) of signals (samples, channels), NaN throughout where one is lacking."""
        model = self._senses[sense]
        means, scales = model.channel_means.cpu().numpy(), model.channel_scales.cpu().numpy()
        rows = torch.from_numpy(standardized(values, model.config.num_frames, means, scales))
        return rows.repeat_interleave(views, 0)

    def prompts(
        self, recordings: Sequence[EncodedRecording], return_tensors: str | None = None, padding: bool | str = True
    ) -> BatchEncoding:
        """The prompts of encoded recordings, as a batch; see `__call__`."""
        sentences = [
            one for recording in recordings for of_sense in recording.sentences_of.values() for one in of_sense
        ]
        prompts = self.build_prompts(sentences, return_tensors=return_tensors, padding=padding)
        features = [
            one.motion_features for one in recordings for _ in one.sentences_of if one.motion_features is not None
        ]
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
            empty: dict[str, Any] = {
                name: np.zeros((0, 0), np.int64) if return_tensors else [] for name in self.model_input_names
            }
            return BatchEncoding(empty, tensor_type=return_tensors)
        return self.tokenizer.pad(
            {"input_ids": ids}, padding=padding, padding_side="left", return_tensors=return_tensors
        )

    def prompt_parts(self) -> tuple[list[int], list[int]]:
        """Token ids of the prompt before and after the sentence."""
        if self._senses:  # the sentence has the words of its senses
            return [], self._words(re.split(_PLACE, self.prompt)[-1])
        before, after = self.prompt.split("{motion}")
        return self._words(before.rstrip(" ")), self._words(after)

    @property
    def empty_sentence(self) -> list[int]:
        """The sentence of a skeleton that has no token, for priors."""
        return self._sentence(SKELETON, [])

    def _sentence(self, sense: str, tokens: list[int]) -> list[int]:
        """A sense's tokens behind the words that name it; without further senses the tokens alone."""
        if not self._senses:
            return tokens
        words = re.split(_PLACE, self.prompt)[:-1]
        before = words[words.index("motion" if sense == SKELETON else sense, 1) - 1]
        return self._words(before.strip()) + tokens

    def _words(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def encode(self, skeleton: Any, layout: str | None = None, fps: float | None = None, **conventions) -> list[int]:
        """The action sentence of one sequence: ids without the prompt."""
        return self.encode_batch([skeleton], layout, fps, **conventions)[0]

    def encode_batch(
        self, skeletons: Sequence[Any], layout: str | None = None, fps: float | None = None, **conventions: Any
    ) -> list[list[int]]:
        """The action sentences of several sequences."""
        return [recording.sentences[0] for recording in self.encode_recordings(skeletons, layout, fps, **conventions)]

    def encode_features(
        self,
        skeletons: torch.Tensor,
        person_mask: torch.Tensor,
        signals: Mapping[str, torch.Tensor] | None = None,
    ) -> list[list[int]]:
        """Sentences of normalised skeletons or signals, of each recording's first sense.

        Args:
            skeletons: (batch, persons, frames, joints, 3).
            person_mask: (batch, persons), all False where the skeleton is lacking.
            signals: of further senses, (batch, frames, channels) each, see `standardized`.
        """
        tokens = self.tokens_of(skeletons, person_mask, signals)
        return [self._sentence(*next(iter(row.items()))) for row in tokens]

    def sentences_of(self, tokens: Sequence[Mapping[str, list[int]]]) -> dict[str, list[list[int]]]:
        """The sentences of each sense of a recording, from what `tokens_of` gives of every view."""
        return {sense: [self._sentence(sense, view[sense]) for view in tokens] for sense in tokens[0]}

    def tokens_of(
        self,
        skeletons: torch.Tensor,
        person_mask: torch.Tensor,
        signals: Mapping[str, torch.Tensor] | None = None,
    ) -> list[dict[str, list[int]]]:
        """The tokens of each sense that a recording has, by sense; arguments as of `encode_features`."""
        tokens = iter(self._encoded(self._vqvae, skeletons[person_mask], self.first_action_id))
        separator = self._separator()
        rows: list[dict[str, list[int]]] = [{} for _ in person_mask]
        for row, persons in zip(rows, person_mask.sum(1).tolist(), strict=True):
            if persons:
                row[SKELETON] = next(tokens)
            for _ in range(persons - 1):
                row[SKELETON] = row[SKELETON] + separator + next(tokens)
        first = self.first_action_id + self._vqvae.config.num_action_tokens
        for name, model in self._senses.items():
            values = (signals or {}).get(name)
            if values is not None:
                there = ~values.isnan().flatten(1).any(1)
                found = self._encoded(model, values[there], first)
                for number, sentence in zip(there.nonzero().flatten().tolist(), found, strict=True):
                    rows[number][name] = sentence
            first += model.config.num_action_tokens
        return rows

    @staticmethod
    def _encoded(model: ActionVQVAE, inputs: torch.Tensor, first_id: int) -> list[list[int]]:
        """The token ids of a batch of one sense, whose first token has the id `first_id`."""
        if not len(inputs):
            return []
        codes = model.encode(inputs.to(model.device))
        offsets = torch.arange(codes.shape[-1], device=codes.device) * model.config.codebook_size + first_id
        return (codes + offsets).flatten(1).tolist()

    def decode(self, ids: Any) -> SkeletonSequence:
        """The skeletons of an action sentence; words (prompt, padding, separator) and other senses are skipped.

        Returns:
            A sequence in the VQ-VAE's layout, in torso lengths with the first person's hips at the origin.

        Raises:
            ValueError: the action tokens are no whole number of sentences, or a level is out of turn.
        """
        config = self._vqvae.config
        tokens = torch.as_tensor(ids).flatten() - self.first_action_id
        tokens = tokens[(tokens >= 0) & (tokens < config.num_action_tokens)]
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

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask"]

    def _token(self, index: int) -> str:
        action = index - self.first_action_id
        if action < 0:
            return self.tokenizer.convert_ids_to_tokens(index)
        letter = ord("a")
        for model in (self._vqvae, *self._senses.values()):
            if action < model.config.num_action_tokens:
                level, code = divmod(action, model.config.codebook_size)
                return f"<{chr(letter + level)}{code}>"
            action -= model.config.num_action_tokens
            letter = ord("s") if model is self._vqvae else letter + model.config.num_levels
        return f"<{index}>"

    def _separator(self) -> list[int]:
        return self.tokenizer(PERSON_SEPARATOR, add_special_tokens=False)["input_ids"]


def prompt_with(titles: Mapping[str, str], prompt: str = DEFAULT_PROMPT) -> str:
    """A prompt with a line for each further sense below that of the skeleton.

    Args:
        titles: what each sense is called, by its name.
    """
    lines = "".join(f"\n{title}: {{{name}}}" for name, title in titles.items())
    return prompt.replace("{motion}", "{motion}" + lines)
