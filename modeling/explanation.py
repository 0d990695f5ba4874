"""Why the recognizer names what it names: data alone, for a page, a picture or another program.

What an `Explanation` says is measured on the model that answered: it reads beginnings and parts of the recording, and
the recording with frames and joints held still. What it says about training needs a model that carries its rehearsal.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .action_attributes import ATTRIBUTES, value_numbers
from .attribute_likelihood import LabelLexicon
from .label_descriptions import LabelDescription
from .label_tree import label_key
from .motion_attribution import METHODS, Attribution, MotionScorer, attribute, log_odds, skeleton_tokens
from .processing_llm_ar import EncodedRecording, LlmArProcessor
from .skeleton_normalization import resample
from .skeleton_recording import RecordingWarning
from .skeleton_sequence import SKELETON

REHEARSAL_FILE = "rehearsal.json"  # action sentences of each class, which a training leaves beside its model
_MOMENTS = 16  # beginnings that are read
_WINDOW = 0.5  # share of the recording that a window is
_WINDOWS = 9
_CONTEXT = 1  # steps before and after a token that say what moment it is
_NEAREST = 3


@dataclass(frozen=True)
class PosteriorOverTime:
    """What the model says of parts of a recording.

    Attributes:
        starts, ends: (parts,) shares of the recording, 0..1.
        shares: (parts, labels) posteriors, in the order of `Explanation.labels`.
    """

    starts: list[float]
    ends: list[float]
    shares: list[list[float]]


@dataclass(frozen=True)
class Moment:
    """A place in a training recording: its class, its number among those carried, when in it (0..1), how far off."""

    label: str
    recording: int
    time: float
    distance: float


@dataclass(frozen=True)
class Token:
    """One step of one person's sentence.

    Attributes:
        names: of its tokens as they are written, one a body part and level.
        person, step: whose it is, and its number.
        start, end: the share of the recording, 0..1.
        weight: of the label's log-odds, what its frames carry.
        pose: (joints, 3) mean of the decoded frames of the step, in torso lengths.
        moments: of training recordings that are most like this one and the steps around it.
    """

    names: list[str]
    person: int
    step: int
    start: float
    end: float
    weight: float
    pose: np.ndarray
    moments: list[Moment]


@dataclass(frozen=True)
class TrainingRecording:
    """A training recording that is like the explained one.

    Attributes:
        label: its class.
        recording: its number among those carried.
        distance: mean distance of its tokens to those of the explained one, in the codebook's geometry.
        joints: (persons, frames, joints, 3) decoded from its tokens.
    """

    label: str
    recording: int
    distance: float
    joints: np.ndarray


@dataclass(frozen=True)
class AttributeSeen:
    """One attribute of the movement.

    Attributes:
        name, question: see `ATTRIBUTES`.
        seen: the value that the joints show.
        expected: those that the label's description has; none where it says nothing.
        usual: the value that most training recordings of the label show, decoded; None of a model that carries none.
    """

    name: str
    question: str
    seen: str
    expected: list[str]
    usual: str | None = None

    @property
    def fits(self) -> bool | None:
        """Whether they agree; None where the label says nothing."""
        return self.seen in self.expected if self.expected else None


@dataclass(frozen=True)
class SenseSpoken:
    """What one of several senses of a recording said.

    Attributes:
        name: of the sense.
        weight: what the explained label's log-odds lose without it, below 0 of one that speaks against the label.
        label, score: the best label of this sense alone, and its share.
        share: of the explained label, by this sense alone.
    """

    name: str
    weight: float
    label: str
    score: float
    share: float


@dataclass(frozen=True)
class Explanation:
    """Why a recording is called what it is called.

    Attributes:
        name, frames, fps: of the recording; fps is None where it is not known.
        layout: of all joints here.
        skeletons: (persons, frames, joints, 3) as the model sees the recording, in torso lengths.
        decoded: the same, made of the tokens alone.
        ranking: all candidates, best first, as the pipeline gives them.
        labels: all candidates; the first of the ranking is explained.
        prefixes: the posterior after more and more of the sentence, of a student of the recording.
        windows: the posterior of parts of the recording, each taken for a whole one.
        attribution: how much frames and joints speak for the label.
        tokens: the sentence, a person's steps after one another.
        nearest: training recordings; empty of a model that carries none.
        attributes: what the joints show beside what the label means.
        notes, doubts: what was inferred of the recording, and what may be wrong with it.
        answered_by: "language model" or "student".
        senses: what each said, where the recording has several; none of a model that knows classes by their motion
            (`adapt`), which needs the skeleton.
    """

    name: str
    frames: int
    fps: float | None
    layout: str
    skeletons: np.ndarray
    decoded: np.ndarray
    ranking: list[dict[str, Any]]
    labels: list[str]
    prefixes: PosteriorOverTime
    windows: PosteriorOverTime
    attribution: Attribution
    tokens: list[Token]
    nearest: list[TrainingRecording]
    attributes: list[AttributeSeen]
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    answered_by: str = MotionScorer.answered_by
    senses: list[SenseSpoken] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The label that is explained."""
        return str(self.ranking[0]["label"])

    @property
    def seconds(self) -> float | None:
        """How long the recording lasts; None where that is not known."""
        return None if self.fps is None else self.frames / self.fps

    def to_dict(self) -> dict[str, Any]:
        """All but the skeletons, as plain values for JSON."""
        content = {name: value for name, value in asdict(self).items() if name not in ("skeletons", "decoded")}
        for one in content["nearest"]:
            del one["joints"]
        for seen, given in zip(content["attributes"], self.attributes, strict=True):
            seen["fits"] = given.fits
        return _plain(content)


def explain(
    scorer: MotionScorer,
    recording: Any,
    rank: Callable[..., list[dict[str, Any]]],
    method: str = METHODS[0],
    **reading: Any,
) -> Explanation:
    """Explains one recording; `SkeletonActionRecognitionPipeline.explain` is the front door and says the arguments.

    Args:
        scorer: of the candidates.
        rank: gives the ranking of a recording.
        reading: what is known of the recording, see `LlmArProcessor.read`.
    """
    processor = scorer.processor
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordingWarning)
        sequence, signals = processor.read_senses(recording, **reading)
    if sequence is None:
        raise ValueError("Expected a recording with a skeleton: what is explained are frames and joints.")
    scorer.signals = {name: processor.standardized(name, [signals.get(name)]) for name in processor.senses}
    normalized = scorer.normalizer.normalize(sequence)
    seen = scorer.normalizer.views_of(normalized, 1)[0, : len(normalized)]
    encoded = scorer.encoded(seen[None])[0]
    ranking = rank(recording, **reading) if signals else rank(sequence)
    labels = list(scorer.labels)
    label = labels.index(ranking[0]["label"])
    attribution = attribute(scorer, seen, label, method)
    known = _training_sentences(scorer.folder, processor)
    return Explanation(
        name=sequence.name,
        frames=sequence.num_frames,
        fps=sequence.fps,
        layout=scorer.layout.name,
        skeletons=seen,
        decoded=processor.decode(encoded.sentences[0]).joints,
        ranking=ranking,
        labels=labels,
        prefixes=_prefixes(scorer, normalized, ranking),
        windows=_windows(scorer, normalized),
        attribution=attribution,
        tokens=_tokens(scorer, encoded, attribution, known),
        nearest=_nearest(scorer, encoded, known),
        attributes=_attributes(scorer, seen, labels[label], known),
        notes=list(sequence.notes),
        doubts=[str(one.message) for one in caught if issubclass(one.category, RecordingWarning)],
        answered_by=scorer.answered_by,
        senses=_senses(scorer, seen, label),
    )


def _senses(scorer: MotionScorer, seen: np.ndarray, label: int) -> list[SenseSpoken]:
    """What is lost without each sense, and what each says alone."""
    given = scorer.given
    if len(given) == 1 or scorer.processor.motion_features:
        return []
    (whole,) = log_odds(scorer.posteriors_of(seen[None]), label)
    found = []
    for name in given:
        (without,) = log_odds(scorer.posteriors_of(seen[None], [other for other in given if other != name]), label)
        (alone,) = scorer.posteriors_of(seen[None], [name])
        best = int(alone.argmax())
        found.append(
            SenseSpoken(name, float(whole - without), scorer.labels[best], float(alone[best]), float(alone[label]))
        )
    return found


def _prefixes(scorer: MotionScorer, normalized: np.ndarray, ranking: list[dict[str, Any]]) -> PosteriorOverTime:
    """The posterior after more and more of a recording; after all of it what the ranking says."""
    steps = np.unique(np.linspace(0, scorer.steps, min(_MOMENTS, scorer.steps) + 1).round().astype(int))[1:]
    whole = {one["label"]: one["score"] for one in ranking}  # a batch in bfloat16 rounds otherwise
    shares = [
        *scorer.beginnings(normalized, steps[:-1].tolist()).tolist(),
        [whole[label] for label in scorer.labels],
    ]
    return PosteriorOverTime([0.0] * len(steps), (steps / scorer.steps).tolist(), shares)


def _windows(scorer: MotionScorer, normalized: np.ndarray) -> PosteriorOverTime:
    """The posterior of windows of a recording, each half of it, as if each were a recording of skeletons alone."""
    starts = np.linspace(0, 1 - _WINDOW, _WINDOWS)
    frames = scorer.normalizer.num_frames
    parts = np.stack([resample(normalized, frames, start, start + _WINDOW) for start in starts])
    shares = scorer.posteriors_of(parts, [SKELETON])
    return PosteriorOverTime(starts.tolist(), (starts + _WINDOW).tolist(), shares.tolist())


@dataclass(frozen=True)
class _TrainingSentences:
    """Action sentences of training recordings: labels (recordings,), tokens each (persons, steps, slots)."""

    labels: list[str]
    tokens: list[np.ndarray]


def _training_sentences(folder: str, processor: LlmArProcessor) -> _TrainingSentences:
    """Reads the sentences that a model folder carries; none of a model from the Hub, whose owner kept them."""
    file, found = Path(folder) / REHEARSAL_FILE, _TrainingSentences([], [])
    if not file.is_file():
        return found
    content = json.loads(file.read_text(encoding="utf-8"))
    if content["vqvae_fingerprint"] != processor.vqvae_fingerprint:
        return found
    config = processor.vqvae.config
    for label, sentences in content["sentences"].items():
        for sentence in sentences:
            tokens = skeleton_tokens(sentence, processor.first_action_id, config)
            if len(tokens):
                found.labels.append(label)
                found.tokens.append(tokens)
    return found


@torch.no_grad()
def token_distances(processor: LlmArProcessor) -> np.ndarray:
    """(tokens, tokens) distances of action tokens in the codebook's geometry; between levels they are infinite."""
    codebook = processor.vqvae.codebook
    levels, size = codebook.codes.shape[:2]
    found = np.full((levels * size, levels * size), np.inf, np.float32)
    for level, codes in enumerate(codebook.codes.detach()):
        own = slice(level * size, (level + 1) * size)
        found[own, own] = codebook.distances(codes, codes).cpu().numpy()
    np.fill_diagonal(found, 0)
    return found


def _tokens(
    scorer: MotionScorer, encoded: EncodedRecording, attribution: Attribution, known: _TrainingSentences
) -> list[Token]:
    tokens, processor = scorer.tokens(encoded), scorer.processor
    steps, distances = scorer.steps, token_distances(processor)
    poses = processor.decode(tokens).joints
    poses = poses.reshape(len(poses), steps, -1, *poses.shape[2:]).mean(2)
    weights = attribution.frames.reshape(steps, -1).mean(1)
    return [
        Token(
            names=processor.convert_ids_to_tokens(tokens[person, step].tolist()),
            person=person,
            step=step,
            start=step / steps,
            end=(step + 1) / steps,
            weight=float(weights[step]),
            pose=poses[person, step],
            moments=_moments(tokens[person] - processor.first_action_id, step, distances, known, processor),
        )
        for person in range(len(tokens))
        for step in range(steps)
    ]


def _moments(
    tokens: np.ndarray, step: int, distances: np.ndarray, known: _TrainingSentences, processor: LlmArProcessor
) -> list[Moment]:
    """The moments of training recordings nearest to a step (tokens (steps, slots)) with those around it."""
    steps = len(tokens)
    around = [other for other in range(step - _CONTEXT, step + _CONTEXT + 1) if 0 <= other < steps]
    found = []
    for recording, (label, theirs) in enumerate(zip(known.labels, known.tokens, strict=True)):
        codes = theirs - processor.first_action_id
        first, last = step - around[0], around[-1] - step  # no moment whose surroundings are cut off
        centres = np.arange(first, steps - last)
        apart = sum(distances[tokens[other], codes[:, centres + other - step]].mean(-1) for other in around)
        person, place = np.unravel_index(np.argmin(apart), np.shape(apart))
        distance = float(np.asarray(apart)[person, place]) / len(around)
        found.append(Moment(label, recording, float((centres[place] + 0.5) / steps), distance))
    return sorted(found, key=lambda moment: moment.distance)[:_NEAREST]


def _nearest(scorer: MotionScorer, encoded: EncodedRecording, known: _TrainingSentences) -> list[TrainingRecording]:
    tokens, first = scorer.tokens(encoded), scorer.processor.first_action_id
    distances, found = token_distances(scorer.processor), []
    for recording, (label, theirs) in enumerate(zip(known.labels, known.tokens, strict=True)):
        if len(theirs) == len(tokens):
            found.append((float(distances[tokens - first, theirs - first].mean()), recording, label))
    return [
        TrainingRecording(label, recording, distance, scorer.processor.decode(known.tokens[recording]).joints)
        for distance, recording, label in sorted(found)[:_NEAREST]
    ]


def _attributes(scorer: MotionScorer, seen: np.ndarray, label: str, known: _TrainingSentences) -> list[AttributeSeen]:
    numbers = _values(seen[None], scorer.layout.name)[0]
    meant = _description(label, scorer).attributes
    alike = [
        tokens for name, tokens in zip(known.labels, known.tokens, strict=True) if label_key(name) == label_key(label)
    ]
    decoded = [scorer.processor.decode(tokens).joints for tokens in alike]
    usual = np.concatenate([_values(joints[None], scorer.layout.name) for joints in decoded]) if decoded else None
    found = []
    for column, (name, one) in enumerate(ATTRIBUTES.items()):
        values = list(one.values)
        most = None if usual is None else values[int(np.bincount(usual[:, column]).argmax())]
        found.append(AttributeSeen(name, one.question, values[numbers[column]], list(meant.get(name, ())), most))
    return found


def _values(skeletons: np.ndarray, layout: str) -> np.ndarray:
    return value_numbers(skeletons, np.ones(skeletons.shape[:2], bool), layout)


def _description(label: str, scorer: MotionScorer) -> LabelDescription:
    """What a label means: as the caller describes it, else as the lexicon that the model carries has it."""
    if (given := scorer.described(label)).attributes:
        return given
    return LabelLexicon(scorer.config.label_lexicon or {}).known.get(label_key(label), LabelDescription())


def _plain(value: Any) -> Any:
    """Arrays as lists, numbers to five decimals."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return round(value, 5) if isinstance(value, float) else value
