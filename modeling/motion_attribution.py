"""Where an answer comes from: how much each frame and each joint of a recording speaks for a label.

Three methods say it, all in the log-odds of the label among the candidates, log p - log(1 - p):

- `tokens` writes the token before in the place of a few steps' tokens. The steps' frames get what the log-odds lose;
  the joints share it by how far the decoded skeletons differ.
- `motion` holds the pose over a few frames, or a joint and its neighbours all the time, and encodes the rest anew.
- `gradients` follows the score through the token embeddings into the action tokenizer, whose choice of a code counts as
  a soft one, down to the joints; the gradient times the way from the held pose is what a joint adds in a frame.

Occlusion is that of Zeiler and Fergus (ECCV 2014), gradient times input that of Shrikumar et al. (2016); what stands in
for what is occluded is this project's choice. `llm-action faithfulness` measures how true each method is.

The student reads no tokens: of it there are `motion`, and `gradients` straight down to the joints.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .action_attributes import value_numbers
from .class_prototypes import prompt_features
from .configuration_llm_ar import ActionVQVAEConfig, LlmArConfig
from .label_descriptions import LabelDescription
from .label_scoring import score_labels
from .label_tree import LabelTree
from .modeling_llm_ar import LlmArForActionRecognition
from .motion_measures import motion_measures
from .open_vocabulary import NamedCandidates, WeightedCandidates
from .processing_llm_ar import EncodedRecording, LlmArProcessor
from .prompt_states import KeptStates
from .skeleton_layouts import get_layout
from .skeleton_normalization import SkeletonNormalizer, resample
from .skeleton_sequence import SKELETON
from .student import ActionStudent

METHODS = ("motion", "tokens", "gradients")
_AT_ONCE = 16  # sentences in a forward
_SPANS = 16  # of the recording, each half over the next
_LEAST = 1e-38  # a probability below it is one


@dataclass(frozen=True)
class Attribution:
    """How much of a label's log-odds frames and joints carry; what speaks against the label is below 0.

    Attributes:
        method: one of `METHODS`.
        frames: (frames,) of the frames that the model sees.
        joints: (persons, joints).
    """

    method: str
    frames: np.ndarray
    joints: np.ndarray


class MotionScorer:
    """Gives the language model's posterior over the candidates of skeletons and of sentences.

    Args:
        candidates: whose labels are scored.
        states: of all calls.

    Attributes:
        labels: of the candidates.
        config, folder: of the model.
        needs_attributes: whether recordings have to come with the attributes that the joints show.
        signals: (1, frames, channels) what further senses recorded beside all skeletons, as the processor
            standardises it; none at first.
    """

    answered_by = "language model"

    def __init__(
        self,
        model: LlmArForActionRecognition,
        processor: LlmArProcessor,
        candidates: NamedCandidates | WeightedCandidates,
        states: KeptStates | None = None,
    ):
        self.model, self.candidates = model, candidates
        self.states = states or KeptStates()
        self.needs_attributes = candidates.needs_attributes
        self._know(processor, model.config, model.name_or_path, candidates.labels)

    def _know(self, processor: LlmArProcessor, config: LlmArConfig, folder: str, labels: Sequence[str]) -> None:
        self.processor, self.config, self.folder, self.labels = processor, config, folder, tuple(labels)
        self.layout = get_layout(processor.vqvae.config.layout)
        self.signals: dict[str, Tensor] = {}

    def described(self, label: str) -> LabelDescription:
        """What the caller says that a label means."""
        if isinstance(self.candidates, WeightedCandidates):
            return self.candidates.scorer.described[self.labels.index(label)]
        return LabelDescription()

    @property
    def normalizer(self) -> SkeletonNormalizer:
        """What makes the skeletons that are scored."""
        return self.processor.feature_extractor

    @property
    def given(self) -> list[str]:
        """The senses that are scored, "skeleton" and those of which there are signals."""
        return [SKELETON, *(name for name, values in self.signals.items() if not values.isnan().any())]

    def posteriors_of(self, skeletons: np.ndarray, senses: Collection[str] | None = None) -> np.ndarray:
        """(batch, labels) float64 posteriors of normalised skeletons (batch, persons, frames, joints, 3).

        Args:
            senses: those of `given` that are not left out, default all.
        """
        return self.posteriors(self.encoded(skeletons, senses))

    def beginnings(self, normalized: np.ndarray, steps: Sequence[int]) -> np.ndarray:
        """(steps, labels) posteriors after so many steps of the sentence of a recording.

        Args:
            normalized: (persons, frames, joints, 3) of the recording, not yet resampled.
        """
        encoded = self.encoded(self.normalizer.views_of(normalized, 1)[:, : len(normalized)])[0]
        return self.posteriors([self.until(encoded, step) for step in steps])

    def gradient(self, skeletons: np.ndarray, label: int) -> np.ndarray:
        """The gradient of a label's log-odds at skeletons (persons, frames, joints, 3), through a soft choice of codes.

        Raises:
            ValueError: a model rounded to int8.
        """
        gradient = _embedding_gradient(self, self.encoded(skeletons[None])[0], label)
        given = torch.from_numpy(np.ascontiguousarray(skeletons)).to(self.processor.vqvae.device).requires_grad_()
        with torch.enable_grad():
            (_soft_embeddings(self, given) * gradient.to(given)).sum().backward()
        assert given.grad is not None
        return given.grad.cpu().numpy()

    def encoded(self, skeletons: np.ndarray, senses: Collection[str] | None = None) -> list[EncodedRecording]:
        """Encodes normalised skeletons (batch, persons, frames, joints, 3) as the processor does recordings.

        Args:
            senses: those of `given` that are not left out, default all.
        """
        skeletons = np.ascontiguousarray(skeletons, np.float32)
        seen = senses is None or SKELETON in senses
        mask = np.full(skeletons.shape[:2], seen)
        signals = self._signals(len(mask), senses)
        tokens = self.processor.tokens_of(torch.from_numpy(skeletons), torch.from_numpy(mask), signals)
        values = features = measures = None
        if self.needs_attributes and seen:
            values = value_numbers(skeletons, mask, self.layout.name)
            measures = motion_measures(skeletons, mask, self.layout.name)
        if self.processor.motion_features:
            absent = self.processor.feature_extractor.max_persons - skeletons.shape[1]
            whole, present = (
                np.pad(skeletons, ((0, 0), (0, absent), *[(0, 0)] * 3)),
                np.pad(mask, ((0, 0), (0, absent))),
            )
            features = prompt_features(whole, present, self.layout.name)
        return [
            EncodedRecording(
                self.processor.sentences_of([row]),
                None if values is None else values[number],
                None if features is None else features[number : number + 1],
                measures=None if measures is None else measures[number],
            )
            for number, row in enumerate(tokens)
        ]

    def _signals(self, count: int, senses: Collection[str] | None) -> dict[str, Tensor]:
        """(count, frames, channels) the signals of the senses that are not left out."""
        kept = {name: values for name, values in self.signals.items() if senses is None or name in senses}
        return {name: values.expand(count, -1, -1) for name, values in kept.items()}

    def posteriors(self, recordings: Sequence[EncodedRecording]) -> np.ndarray:
        """(recordings, labels) float64 posteriors; the same sentence is scored once."""
        keys = [
            (
                tuple(tuple(views[0]) for views in one.sentences_of.values()),
                *map(_bytes, (one.attributes, one.motion_features, one.measures)),
            )
            for one in recordings
        ]
        distinct = dict(zip(keys, recordings, strict=True))
        order = sorted(distinct, key=lambda key: len(distinct[key].sentences[0]))
        found: dict[tuple, np.ndarray] = {}
        for start in range(0, len(order), _AT_ONCE):
            batch = order[start : start + _AT_ONCE]
            shares, numbers = self.candidates.best([distinct[key] for key in batch], None, self.states)
            rows = torch.zeros(shares.shape, dtype=torch.float64).scatter(1, numbers.cpu(), shares.double().cpu())
            found |= dict(zip(batch, rows.numpy(), strict=True))
        return np.stack([found[key] for key in keys])

    def log_odds(self, recordings: Sequence[EncodedRecording], label: int) -> np.ndarray:
        """(recordings,) the log-odds of a label."""
        return log_odds(self.posteriors(recordings), label)

    def tokens(self, recording: EncodedRecording) -> np.ndarray:
        """(persons, steps, slots) ids of a recording's action tokens, see `skeleton_tokens`."""
        first, config = self.processor.first_action_id, self.processor.vqvae.config
        return skeleton_tokens(recording.sentences[0], first, config)

    def with_tokens(self, recording: EncodedRecording, tokens: np.ndarray) -> EncodedRecording:
        """The recording with other action tokens, shaped as `tokens` gives them."""

        def other(ids: np.ndarray) -> np.ndarray:
            ids[self._is_skeleton(ids)] = tokens.reshape(-1)
            return ids

        return _changed(recording, other)

    def until(self, recording: EncodedRecording, step: int) -> EncodedRecording:
        """The recording with the tokens of its first steps alone."""

        def beginning(ids: np.ndarray) -> np.ndarray:
            is_action = self._is_skeleton(ids)
            places = np.cumsum(is_action) - 1
            return ids[~is_action | (places // self.slots % self.steps < step)]

        return _changed(recording, beginning)

    def _is_skeleton(self, ids: Any) -> Any:
        """Which ids are action tokens of the skeleton."""
        return _are_skeleton(ids, self.processor.first_action_id, self.processor.vqvae.config)

    @property
    def steps(self) -> int:
        return self.processor.vqvae.config.num_steps

    @property
    def slots(self) -> int:
        """Tokens of a step."""
        config = self.processor.vqvae.config
        return config.num_streams * config.num_levels


class StudentScorer(MotionScorer):
    """Gives the student's posterior of skeletons; sentences are those that the language model would be given.

    Args:
        student: knows all the labels.
        processor, config, folder: of the model that it is a student of; folder or Hub id.
        labels: the candidates.
    """

    answered_by = "student"
    needs_attributes = False

    def __init__(
        self,
        student: ActionStudent,
        processor: LlmArProcessor,
        config: LlmArConfig,
        folder: str,
        labels: Sequence[str],
    ):
        self.student = student
        self._columns = [student.config.labels.index(label) for label in labels]
        self._know(processor, config, folder, labels)

    def described(self, label: str) -> LabelDescription:
        return LabelDescription()

    @property
    def normalizer(self) -> SkeletonNormalizer:
        return self.student.normalizer()

    @torch.no_grad()
    def posteriors_of(self, skeletons: np.ndarray, senses: Collection[str] | None = None) -> np.ndarray:
        return self._scores(torch.from_numpy(np.ascontiguousarray(skeletons, np.float32)), senses).softmax(-1).numpy()

    def beginnings(self, normalized: np.ndarray, steps: Sequence[int]) -> np.ndarray:
        """(steps, labels) posteriors of a recording's beginnings, each taken for a whole one."""
        frames = self.normalizer.num_frames
        return self.posteriors_of(np.stack([resample(normalized, frames, 0, step / self.steps) for step in steps]))

    def gradient(self, skeletons: np.ndarray, label: int) -> np.ndarray:
        given = torch.from_numpy(np.ascontiguousarray(skeletons)).requires_grad_()
        with torch.enable_grad():
            scores = self._scores(given[None])[0]
            others = scores[torch.arange(len(scores)) != label]
            (scores[label] - others.logsumexp(0)).backward()
        assert given.grad is not None
        return given.grad.numpy()

    def _scores(self, skeletons: Tensor, senses: Collection[str] | None = None) -> Tensor:
        """(batch, labels) float64 of skeletons whose persons are all there."""
        mask = torch.full(skeletons.shape[:2], senses is None or SKELETON in senses)
        scores = self.student(skeletons, mask, self._signals(len(mask), senses))
        return scores[:, self._columns].double() / self.student.config.temperature


def _are_skeleton(ids: Any, first_action_id: int, config: ActionVQVAEConfig) -> Any:
    return (ids >= first_action_id) & (ids < first_action_id + config.num_action_tokens)


def skeleton_tokens(sentence: Sequence[int], first_action_id: int, config: ActionVQVAEConfig) -> np.ndarray:
    """(persons, steps, slots) ids of the skeleton's action tokens in a sentence; slots are body parts and levels."""
    ids = np.asarray(sentence)
    tokens = ids[_are_skeleton(ids, first_action_id, config)]
    return tokens.reshape(-1, config.num_steps, config.num_streams * config.num_levels)


def log_odds(posteriors: np.ndarray, label: int) -> np.ndarray:
    """(rows,) log p - log(1 - p) of a label, from posteriors (rows, labels)."""
    others = np.delete(posteriors, label, axis=1).sum(1)
    return np.log(np.clip(posteriors[:, label], _LEAST, None)) - np.log(np.clip(others, _LEAST, None))


def attribute(scorer: MotionScorer, skeletons: np.ndarray, label: int, method: str = METHODS[0]) -> Attribution:
    """Says how much the frames and joints of a recording speak for a label.

    Args:
        skeletons: (persons, frames, joints, 3) as the model sees them.
        label: number among the candidates.
        method: one of `METHODS`.

    Raises:
        ValueError: another method; tokens of a student; gradients of a model rounded to int8.
    """
    if method not in _METHODS:
        raise ValueError(f"Expected a method of {', '.join(METHODS)}, got {method!r}.")
    if method == "tokens" and isinstance(scorer, StudentScorer):
        raise ValueError("Expected motion or gradients, got tokens: the student that answers reads none.")
    return _METHODS[method](scorer, skeletons, label)


def held_frames(skeletons: np.ndarray, deleted: np.ndarray) -> np.ndarray:
    """Deletes frames (frames,) of skeletons (persons, frames, joints, 3): the pose before them is held.

    At the start, where there is none before, it is the first pose after them.
    """
    kept = np.flatnonzero(~deleted)
    if not len(kept):
        raise ValueError("Expected a frame that is kept, got all to be deleted.")
    last = np.maximum.accumulate(np.where(deleted, kept[0], np.arange(len(deleted))))
    return skeletons[:, last]


def held_joints(skeletons: np.ndarray, deleted: np.ndarray, root: int) -> np.ndarray:
    """Deletes joints (persons, joints) of skeletons: they stay where they are first, seen from the root joint."""
    at_root = skeletons[:, :, root : root + 1]
    still = np.broadcast_to((skeletons - at_root)[:, :1], skeletons.shape) + at_root
    still[:, :, root] = np.broadcast_to(skeletons[:, :1, root], still[:, :, root].shape)
    return np.where(deleted[:, None, :, None], still, skeletons)


def _by_motion(scorer: MotionScorer, skeletons: np.ndarray, label: int) -> Attribution:
    persons, frames, joints, _ = skeletons.shape
    layout = scorer.layout
    spans = _spans(frames)
    groups = [(person, group) for person in range(persons) for group in _with_neighbours(layout.parents)]
    occluded = [skeletons, *(held_frames(skeletons, span) for span in spans)]
    for person, group in groups:
        deleted = np.zeros((persons, joints), bool)
        deleted[person] = group
        occluded.append(held_joints(skeletons, deleted, layout.root))
    whole, *others = log_odds(scorer.posteriors_of(np.stack(occluded)), label)
    lost = whole - np.array(others)
    of_frames, of_groups = lost[: len(spans)], lost[len(spans) :].reshape(persons, joints)
    members = np.stack([group for _, group in groups[:joints]])
    return Attribution("motion", _shared(of_frames, spans), np.stack([_shared(one, members) for one in of_groups]))


def _by_tokens(scorer: MotionScorer, skeletons: np.ndarray, label: int) -> Attribution:
    recording = scorer.encoded(skeletons[None])[0]
    tokens, pace = scorer.tokens(recording), skeletons.shape[1] // scorer.steps
    spans = _spans(scorer.steps)
    occluded = [tokens, *(held_frames(tokens, span) for span in spans)]
    whole, *others = scorer.log_odds([scorer.with_tokens(recording, one) for one in occluded], label)
    lost = whole - np.array(others)
    decoded = np.stack([scorer.processor.decode(one).joints for one in occluded])
    apart = np.linalg.norm(decoded[1:] - decoded[0], axis=-1).mean(2)
    shares = apart / apart.sum((1, 2), keepdims=True).clip(1e-8)
    return Attribution("tokens", np.repeat(_shared(lost, spans), pace), np.tensordot(lost, shares, 1))


def _by_gradients(scorer: MotionScorer, skeletons: np.ndarray, label: int) -> Attribution:
    every = np.ones((len(skeletons), skeletons.shape[2]), bool)
    way = skeletons - held_joints(skeletons, every, scorer.layout.root)
    added = (scorer.gradient(skeletons, label) * way).sum(-1)
    return Attribution("gradients", added.sum((0, 2)), added.sum(1))


_METHODS: dict[str, Callable[[MotionScorer, np.ndarray, int], Attribution]] = {
    "motion": _by_motion,
    "tokens": _by_tokens,
    "gradients": _by_gradients,
}


def _changed(recording: EncodedRecording, change: Callable[[np.ndarray], np.ndarray]) -> EncodedRecording:
    """The recording with another sentence of the skeleton."""
    changed = [change(np.array(ids)).tolist() for ids in recording.sentences_of[SKELETON]]
    return replace(recording, sentences_of={**recording.sentences_of, SKELETON: changed})


def _embedding_gradient(scorer: MotionScorer, recording: EncodedRecording, label: int) -> Tensor:
    """(persons, steps, slots, hidden) of the label's log-odds by its name, at the embeddings of the action tokens."""
    model, candidates = scorer.model, scorer.candidates
    if isinstance(candidates, NamedCandidates):
        tree = candidates.tree
    else:
        tree = LabelTree.from_labels(list(candidates.labels), scorer.processor.tokenizer)
    ids = scorer.processor.build_prompts(recording.sentences, return_tensors="pt")["input_ids"].to(model.device)
    with torch.enable_grad():
        embeds = model.embed(ids).detach().requires_grad_()
        try:
            scores = score_labels(model.causal_lm, tree, embeds)[0].float()
            others = scores[torch.arange(len(scores), device=scores.device) != label]
            (gradient,) = torch.autograd.grad(scores[label] - others.logsumexp(0), embeds)
        except (NotImplementedError, RuntimeError) as error:
            raise ValueError(f"Expected a model with gradients, got {model.arithmetic}; load it in float32.") from error
    actions = scorer._is_skeleton(ids[0])
    return gradient[0, actions].unflatten(0, (-1, scorer.steps, scorer.slots)).float()


def _soft_embeddings(scorer: MotionScorer, skeletons: Tensor) -> Tensor:
    """(persons, steps, slots, hidden) mean embeddings of the tokens that the codes near the latent vectors are."""
    vqvae, table = scorer.processor.vqvae, scorer.model.action_embeddings.weight.detach()
    latents = vqvae.latents(skeletons)
    rest, size, levels = latents.flatten(0, 1), vqvae.config.codebook_size, []
    for level, codes in enumerate(vqvae.codebook.codes):
        shares = vqvae.codebook.soft_assignments(rest, level)
        levels.append(shares @ table[level * size : (level + 1) * size].to(shares))
        rest = rest - codes[vqvae.codebook.nearest(rest.detach(), level)]
    return torch.stack(levels, 1).unflatten(0, (len(skeletons), scorer.steps, -1)).flatten(2, 3)


def _spans(length: int) -> np.ndarray:
    """(spans, length) bool: spans of equal lengths, each beginning in the middle of the one before."""
    width = max(1, round(2 * length / (_SPANS + 1)))
    starts = np.unique(np.linspace(0, length - width, min(_SPANS, length)).round().astype(int))
    places = np.arange(length)
    return (places >= starts[:, None]) & (places < starts[:, None] + width)


def _with_neighbours(parents: Sequence[int]) -> Iterable[np.ndarray]:
    """Each joint with its parent and children, as (joints,) bool."""
    for joint, parent in enumerate(parents):
        group = np.array([other == joint for other in parents])
        group[[joint, *([parent] if parent >= 0 else [])]] = True
        yield group


def _shared(lost: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(places,) the mean of what was lost (groups,) over the groups (groups, places) that hold each place."""
    return lost @ members / members.sum(0).clip(1)


def _bytes(array: np.ndarray | None) -> bytes:
    return b"" if array is None else array.tobytes()
