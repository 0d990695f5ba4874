"""`pipeline("skeleton-action-recognition")`: recordings in, ranked action names out."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Pipeline
from transformers.utils import logging

from .explanation import Explanation, explain
from .familiarity import familiarity_entry
from .hub_repository import HubUpload
from .motion_attribution import METHODS, MotionScorer, StudentScorer
from .open_vocabulary import NamedCandidates, WeightedCandidates, candidates_for
from .prompt_states import KeptStates
from .segmentation import Segmentation, segments
from .segmentation import each_person as persons_of
from .skeleton_recording import CONVENTIONS, is_several
from .skeleton_sequence import SKELETON, SkeletonSequence
from .skeleton_stream import StreamResult, recognize_streams
from .student import ActionStudent
from .student_recognizer import StudentRecognizer

logger = logging.get_logger(__name__)

_OF_FILES = ("columns", "persons", "pose_model")  # what else can be said of files
_ENCODED_AT_ONCE = 64  # sequences in memory
_NOT_GIVEN = object()  # top_k=None means all labels


class SkeletonActionRecognitionPipeline(HubUpload, Pipeline):
    """Names the action of skeleton sequences.

    ```python
    recognize = pipeline("skeleton-action-recognition", model="runs/demo/model")
    recognize("S001C001P001R001A023.skeleton", top_k=3)
    [{"label": "hand waving", "score": 0.93}, ...]
    ```

    Input: a path, a `SkeletonSequence`, an array (frames, joints, 2|3) or (persons, frames, joints, 2|3), a mapping
    with the key joints; or a list, a generator or a `datasets` column of such. Of a model of several senses, also a
    mapping of those that a recording has: `{"skeleton": ..., "inertial": ...}`, see `LlmArProcessor`. What neither the
    input nor an option says (layout, order of axes, what points up, unit ...) is inferred; doubts are said with a
    `RecordingWarning`.

    Options, at construction or in the call:
        top_k: labels to return, default 5; None for all.
        candidate_labels: names to choose from, default the classes trained on; any text, seen in training or not. The
            attributes of a new name are guessed from described names that the language model finds alike, and compared
            with those the joints show. Or a mapping of names to what they mean: a text, several, or {"phrasings",
            "phases", "attributes"} as `label_descriptions` has them. Then a name counts by all its phrasings, its
            attributes by what the joints show, and a model that was taught descriptions or questions
            (`config.taught`) is asked for those as well; this takes several times as long. Classes trained on still go
            by their names, see `open_vocabulary`.
        calibrate: whether each candidate's score is taken relative to its prior, what the model says of it whatever
            moves, so that frequent names and classes trained on are not favoured. Default: of a mapping and of a list
            with names not trained on. False: a list is scored by its names alone, the best of thousands found by a
            search; no unseen name stands a chance beside classes trained on.
        layout, fps, axes, up, unit, mirrored, missing, image_size: of inputs that do not say theirs, see
            `SkeletonRecording`.
        merge: at construction, whether the adapter is folded into the base, which is faster (default); a model loaded
            with `is_trainable`, rounded or on disk is left as it is.
        views: test-time views of a sequence, whose posteriors are averaged, default 1, see `SkeletonFeatureExtractor`.
            Takes `views` times as long.
        each_person: in the call, whether every person is recognised alone, default False.
        fast: at construction, whether the student beside the model (`llm-action distill`) answers where the candidates
            are labels trained on, in milliseconds, default False. Other candidates are the language model's.
        hybrid: at construction, whether student and language model both answer there and their posteriors are averaged,
            default False.
        states: a `KeptStates` that several calls share, so that priors and guessed attributes of candidates are
            computed once. For a model whose weights stay as they are; default: one of its own for each call.

    Returns:
        `[{"label", "score"}]`, best first, for one input; a list of such for several; an iterator for a generator.
        Where the model knows how familiar motions are, every entry has "familiarity" as well: 0..1, the share of
        familiar motions that are stranger than this one; and `"unfamiliar": True` below `familiarity.THRESHOLD`: then
        none of the candidates may be what is done.
        With `each_person` a list of such for one input, one a person, in the order of the recording's rows.
        Scores are the posterior over the candidates, from exact likelihoods (of a mapping and with `calibrate`: the
        shares of the calibrated likelihoods): over all candidates they sum to 1. Where
        `top_k` of many candidates are asked for, labels and order are exact as well, and a score may be up to
        `SCORE_TOLERANCE` (absolute) below the posterior: what the unscored candidates could hold is taken off. Lists
        are recognised in batches of prompts of one length, so `batch_size` costs little padding.

    Raises:
        ValueError: bad input, an empty candidate list, duplicate candidates.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(
        self,
        *args,
        candidate_labels=None,
        calibrate: bool | None = None,
        merge: bool = True,
        fast: bool = False,
        hybrid: bool = False,
        **kwargs,
    ):
        self._given = _kept(candidate_labels), calibrate
        self._last_candidates: tuple[str, NamedCandidates | WeightedCandidates] | None = None
        super().__init__(*args, **kwargs)
        self.tokenizer = self.processor.tokenizer  # transformers collates no batch without
        self._check_parts()
        if merge and self.model.is_mergeable:
            self.model.merge()
        self.hybrid = hybrid
        self.student = ActionStudent.from_pretrained(self.model.name_or_path) if fast or hybrid else None
        logger.info("recognizing with %s", self.model.arithmetic)
        if candidate_labels is not None:
            self._candidates()  # says at once what is wrong with them

    def __call__(
        self,
        inputs: Any,
        candidate_labels=None,
        calibrate: bool | None = None,
        each_person: bool = False,
        **kwargs,
    ):
        """See the class."""
        kwargs["candidates"] = self._candidates(candidate_labels, calibrate)
        kwargs["states"] = kwargs.get("states") or KeptStates()
        if each_person:
            return self._recognize_people(inputs, **kwargs)
        if self._student_for(kwargs["candidates"]) is not None:
            return self._recognize_with_student(inputs, **kwargs)
        return self._ask_language_model(inputs, **kwargs)

    def _ask_language_model(self, inputs: Any, **kwargs) -> Any:
        if not is_several(inputs):
            return super().__call__([inputs], **kwargs)[0]  # a bare list of numbers would be taken for several inputs
        if isinstance(inputs, Sequence):
            return self._recognize_all(list(inputs), **kwargs)
        return super().__call__((one for one in inputs), **kwargs)

    def _recognize_people(self, inputs: Any, **kwargs) -> list:
        """One list of results for each input, one result for each of its persons."""
        several = is_several(inputs)
        recordings = [self._read(one, **kwargs) for one in (inputs if several else [inputs])]
        people = [persons_of(recording) for recording in recordings]
        alone = [person for persons in people for person in persons]
        known = self._student_for(kwargs["candidates"]) is not None
        results = iter((self._recognize_with_student if known else self._recognize_all)(alone, **kwargs))
        answers = [[next(results) for _ in persons] for persons in people]
        return answers if several else answers[0]

    def _read_options(self, **kwargs) -> dict[str, Any]:
        options = {name: value for name, value in kwargs.items() if name not in ("batch_size", "num_workers")}
        return self._preprocess_params | self._sanitize_parameters(**options)[0]

    def _read(self, recording: Any, any_length: bool = False, **kwargs) -> SkeletonSequence:
        """A recording's skeleton with what the options say of it."""
        if isinstance(recording, Mapping) and not {SKELETON, *self.processor.senses}.isdisjoint(recording):
            raise ValueError(
                "Expected the skeleton alone with each_person and in segment(), got a mapping of senses: a signal does "
                "not say whose it is. Pass what the mapping has under skeleton."
            )
        options = self._read_options(**kwargs)
        known = {name: value for name, value in options.items() if name not in ("views", "attributes")}
        return self.processor.read(recording, any_length=any_length, **known)

    def _recognize_all(self, inputs: list, **kwargs) -> list:
        """A list's results: encoded together, recognised in the order of their sentences' lengths."""
        read = self._read_options(**kwargs)
        encoded: list[dict[str, Any]] = []
        for start in range(0, len(inputs), _ENCODED_AT_ONCE):
            chunk = self.processor.encode_recordings(inputs[start : start + _ENCODED_AT_ONCE], **read)
            encoded += [{"recording": recording} for recording in chunk]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]["recording"].sentences[0]))
        ranked = super().__call__([encoded[index] for index in order], **kwargs) if encoded else []
        return [ranking for _, ranking in sorted(zip(order, ranked, strict=True), key=lambda pair: pair[0])]

    def explain(self, recording: Any, *, method: str = METHODS[0], **options: Any) -> Explanation:
        """Says why a recording is called what it is called by the student, where it answers, or the language model.

        What answers reads beginnings and windows of the recording, and the recording with frames and joints held still:
        some 100 of them, in batches. Of a hybrid the language model's part is explained.

        Args:
            recording: one input, as in a call.
            method: how frames and joints get their weights, see `motion_attribution`, default "motion".
            options: candidate_labels, calibrate, layout, fps, views and conventions, as in a call.

        Raises:
            ValueError: bad input, a recording without a skeleton, or a method that the model or the student does not
                allow.
        """
        candidates = self._candidates(options.pop("candidate_labels", None), options.pop("calibrate", None))
        views, states = options.pop("views", 1), options.pop("states", None) or KeptStates()
        read = {name: value for name, value in {**self._preprocess_params, **options}.items() if value is not None}
        asked = {"candidates": candidates, "states": states, "views": views, "top_k": None}
        student = None if self.hybrid else self._student_for(candidates)
        if student is not None:
            config, folder = self.model.config, self.model.name_or_path
            scorer: MotionScorer = StudentScorer(student.student, self.processor, config, folder, candidates.labels)
            rank = functools.partial(self._recognize_with_student, **asked)
        else:
            scorer = MotionScorer(self.model, self.processor, candidates, states)
            rank = functools.partial(self._ask_language_model, **asked)
        return explain(scorer, recording, rank, method, **{name: read[name] for name in read if name != "views"})

    def _recognize_with_student(self, inputs: Any, **kwargs) -> Any:
        """What the student says, or its mean with what the language model says."""
        if not is_several(inputs):
            return self._answers_of_student([inputs], **kwargs)[0]
        if not isinstance(inputs, Sequence):
            return (self._answers_of_student([one], **kwargs)[0] for one in inputs)
        return self._answers_of_student(inputs, **kwargs)

    def _answers_of_student(self, inputs: Sequence[Any], **kwargs) -> list:
        assert self.student is not None
        options = {name: value for name, value in kwargs.items() if name not in ("batch_size", "num_workers")}
        read, score, rank = self._sanitize_parameters(**options)
        read = {"views": 1, **self._preprocess_params, **read}
        top_k, views = {"top_k": 5, **self._forward_params, **score}["top_k"], read.pop("views")
        read.pop("attributes", None)
        senses = (self.processor.read_senses(one, **read) for one in inputs)
        sequences = [{SKELETON: skeleton, **signals} for skeleton, signals in senses]
        if not self.hybrid:
            return self._of_student()(sequences, rank["labels"], top_k, views)
        rankings = self.student.recognize(sequences, None, views, rank["labels"])
        asked = self._recognize_all(sequences, **{**kwargs, "top_k": None, "views": views})
        share = self.student.config.share
        return [_averaged(one, other, share)[:top_k] for one, other in zip(rankings, asked, strict=True)]

    def stream(
        self,
        frames: Any,
        window: int = 64,
        hop: int = 8,
        *,
        live: bool = False,
        smoothing: float = 0.5,
        hysteresis: float = 2.0,
        **options,
    ) -> Iterator[StreamResult]:
        """Names what a stream of skeletons shows every `hop` frames, from its last `window` frames.

        Of labels that it knows, the student alone answers where there is one (`fast` or `hybrid`).

        Args:
            frames: an iterable of frames, each (persons, joints, 2|3) or (joints, 2|3), NaN where a joint is missing,
                None or empty where nobody is seen; a person keeps its row while others come and go (a row of NaN holds
                the place of one who left). Or a mapping of names to several such, whose windows are batched.
            window: frames recognised at a time, default 64. A stream that ends before is recognised once.
            hop: frames between windows, default 8.
            live: whether the frames come whether or not they are waited for. Then each source is read by a thread of
                its own, and if recognition is slower than they come the newest window is taken and those before it are
                skipped. Default False: frames are asked for one after the other and every window is recognised.
            smoothing, hysteresis: of the label track, see `LabelTrack`; 0 and 1 turn them off. Labels beyond a
                window's `top_k` count there with an even share of what is left.
            options: layout, fps (default 30), up, unit, mirrored, missing, image_size, views, top_k and
                candidate_labels as in a call, but a list scored by its names alone. What is not said of the frames is
                inferred from the first window in which somebody is seen.

        Returns:
            An iterator of `StreamResult`: time, ranking, track, frames skipped. A window's ranking is what the pipeline
            says of a file with the same frames. A stream keeps what the model has read of the prompt's first words: for
            a model whose weights change begin a new one.

        Raises:
            ValueError: bad arguments at once; a frame that fits neither layout nor the frames before when it comes.
        """
        calibrate = options.pop("calibrate", bool(self._given[1]))
        candidates = self._candidates(options.pop("candidate_labels", None), calibrate)
        if not isinstance(candidates, NamedCandidates):
            raise ValueError(
                "Expected candidate_labels of a stream as a list of names, without calibrate: a stream is scored by "
                "names alone. Pass the list to stream()."
            )
        read, score, _ = self._sanitize_parameters(**options)
        read, score = self._preprocess_params | read, self._forward_params | score
        views, top_k, states = read.get("views", 1), score.get("top_k", 5), KeptStates()
        played: dict[str, Any] = {
            "window": window,
            "hop": hop,
            "live": live,
            "smoothing": smoothing,
            "hysteresis": hysteresis,
            "layout": read.get("layout"),
            "fps": read.get("fps", 30.0),
            **{name: read[name] for name in CONVENTIONS if name in read},
        }
        if (student := self._student_for(candidates)) is not None:
            return student.stream(frames, candidate_labels=candidates.labels, top_k=top_k, views=views, **played)

        def rank(windows: list[SkeletonSequence]) -> tuple[torch.Tensor, torch.Tensor, list[dict[str, Any]]]:
            recordings = self.processor.encode_recordings(windows, views=views)
            said = [familiarity_entry(one.familiarity) for one in recordings]
            return *candidates.best(recordings, top_k, states), said

        return recognize_streams(
            frames if isinstance(frames, Mapping) else {None: frames},
            labels=candidates.labels,
            rank=rank,
            model_layout=self.processor.feature_extractor.layout,
            **played,
        )

    def segment(
        self, recording: Any, settings: Segmentation | None = None, *, candidate_labels=None, **options
    ) -> list[dict[str, Any]]:
        """Finds what is done when in a long recording, by every person.

        Every window is recognised as a clip of its own, so memory does not grow with the recording; by the student
        alone where there is one (`fast` or `hybrid`), for there are some 20 windows a second.

        Args:
            recording: one input of a call.
            settings: windows, smoothing and threshold; default what fits the model, see `Segmentation.of_model`.
            candidate_labels: a list of names, scored by the names alone; default the classes trained on.
            options: layout, fps, views, states and what else is known of the recording, as in a call.

        Returns:
            `[{"start", "end", "peak", "label", "score", "person", "frames"}]` in the order of starts, times in seconds,
            see `Segment`. Where a model was trained with a background class (`config.background_label`), what shows it
            is left out.

        Raises:
            ValueError: bad input; candidates that are no list of names.
        """
        candidates = self._candidates(candidate_labels, bool(self._given[1]))
        if not isinstance(candidates, NamedCandidates):
            raise ValueError(
                "Expected candidate_labels of segment() as a list of names, without calibrate: windows are scored by "
                "names alone."
            )
        states = options.pop("states", None) or KeptStates()
        sequence = self._read(recording, any_length=True, **options)
        views = self._read_options(**options).get("views") or 1
        if (student := self._student_for(candidates)) is not None:
            return student.segment(sequence, settings, candidate_labels=candidates.labels, views=views)

        @torch.no_grad()
        def score_windows(windows: list[SkeletonSequence]) -> Any:
            encoded = self.processor.encode_recordings(windows, views=views)
            shares, numbers = candidates.best(encoded, None, states)
            posterior = np.zeros(shares.shape)
            np.put_along_axis(posterior, numbers.cpu().numpy(), shares.double().cpu().numpy(), axis=1)
            return np.log(posterior.clip(np.finfo(np.float64).tiny))

        settings = settings or Segmentation.of_model(self.model.config.point_window)
        found = segments(sequence, score_windows, candidates.labels, settings, self.model.config.background_name)
        return [one.to_dict() for one in sorted(found, key=lambda one: (one.start, one.person))]

    def _sanitize_parameters(
        self, top_k=_NOT_GIVEN, layout=None, fps=None, views=None, candidates=None, states=None, **conventions
    ):
        unknown = set(conventions) - {*CONVENTIONS, *_OF_FILES}
        if unknown:
            own = ("top_k", "candidate_labels", "calibrate", "layout", "fps", "views", "states")
            known = ", ".join((*own, *CONVENTIONS, *_OF_FILES))
            raise TypeError(f"Unknown option {', '.join(sorted(unknown))}; known: {known}.")
        options = {"layout": layout, "fps": fps, "views": views, **conventions}
        read: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        score: dict[str, Any] = {} if states is None else {"states": states}
        rank: dict[str, Any] = {}
        if candidates is not None:
            read["attributes"] = candidates.needs_attributes
            score["candidates"], rank["labels"] = candidates, candidates.labels
        if top_k is not _NOT_GIVEN:
            score["top_k"] = _count(top_k)
        return read, score, rank

    def _candidates(self, labels: Any = None, calibrate: bool | None = None) -> NamedCandidates | WeightedCandidates:
        """The candidates asked for; what was given at construction stands in. Calls in a row share their trees."""
        labels = self._given[0] if labels is None else labels
        calibrate = self._given[1] if calibrate is None else calibrate
        labels = _kept(labels)
        config = self.model.config
        known = config.label_names, config.class_names, config.taught, config.attribute_statistics, config.label_lexicon
        key, last = repr((labels, calibrate, known)), self._last_candidates
        if last is None or last[0] != key:
            self._last_candidates = last = key, candidates_for(self.model, self.processor, labels, calibrate)
        return last[1]

    def _of_student(self) -> StudentRecognizer:
        assert self.student is not None
        return StudentRecognizer(self.student, self.processor.familiarity, self.model.config.background_name)

    def _student_for(self, candidates: NamedCandidates | WeightedCandidates) -> StudentRecognizer | None:
        """The student, if there is one that knows all candidates."""
        if self.student is None or not isinstance(candidates, NamedCandidates):
            return None
        student = self._of_student()
        return student if student.knows(candidates.labels) else None

    def preprocess(self, skeleton, **read):
        if isinstance(skeleton, dict) and "recording" in skeleton:
            return skeleton  # encoded already
        return {"recording": self.processor.encode_recordings([skeleton], **read)[0]}

    def _forward(self, model_inputs, candidates, states, top_k=5):
        recordings = model_inputs["recording"]  # a list of them in a batch
        recordings = recordings if isinstance(recordings, list) else [recordings]
        scores, numbers = candidates.best(recordings, top_k, states)
        familiar = [np.nan if one.familiarity is None else one.familiarity for one in recordings]
        return {"scores": scores, "numbers": numbers, "familiarity": torch.tensor(familiar)}

    def postprocess(self, model_outputs, labels):
        best = zip(model_outputs["scores"][0].tolist(), model_outputs["numbers"][0].tolist(), strict=True)
        familiarity = float(model_outputs["familiarity"][0])
        said = familiarity_entry(None if np.isnan(familiarity) else familiarity)
        return [{"label": labels[number], "score": score, **said} for score, number in best]

    def save_pretrained(self, save_directory, **kwargs):
        """Writes all that `pipeline(model=folder)` loads: model, processor and code.

        Args:
            kwargs: for the model's `save_pretrained`.
        """
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(Path(save_directory))

    def _check_parts(self) -> None:
        model, processor = self.model.config.vqvae_fingerprint, self.processor.vqvae_fingerprint
        if model is not None and model != processor:
            raise ValueError(
                f"The model reads sentences of the VQ-VAE {model}, the processor writes those of {processor}; "
                "use the processor saved with the model."
            )
        known, given = self.model.config.sense_fingerprints or {}, self.processor.sense_fingerprints or {}
        if known != given:
            raise ValueError(
                f"The model reads sentences of the further senses {known}, the processor writes those of {given}; use "
                "the processor saved with the model."
            )
        words, first_action = self.model.config.base_vocab_size, self.processor.first_action_id
        if words != first_action:
            raise ValueError(
                f"The model's action tokens begin at id {words}, the processor's at {first_action}; "
                "use the processor saved with the model."
            )


def _averaged(student: list[dict[str, Any]], model: list[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    """The mean of two posteriors over the same labels, best first; `share` is the student's."""
    scores = {entry["label"]: (1 - share) * entry["score"] for entry in model}
    for entry in student:
        scores[entry["label"]] += share * entry["score"]
    best = sorted(model, key=lambda entry: -scores[entry["label"]])
    return [{**entry, "score": scores[entry["label"]]} for entry in best]


def _kept(labels: Any) -> Any:
    """Candidate labels of any kind, a generator's as a list: they are gone through more than once."""
    if labels is None or isinstance(labels, (str, Mapping)):
        return dict(labels) if isinstance(labels, Mapping) else labels
    return list(labels)


def _count(top_k: Any) -> int | None:
    """The labels wanted, any whole number, NumPy's as well."""
    try:
        count = None if top_k is None else operator.index(top_k)
    except TypeError:
        count = 0
    if (count is not None and count < 1) or isinstance(top_k, bool):
        raise ValueError(f"Expected top_k of at least 1, or None for all labels, got {top_k!r}.")
    return count
