"""The student asked like its whole model: recordings, streams and long recordings in, ranked names out.

Neither the language model nor its base is loaded, and transformers only where action sentences are asked for: by
`processor` and for an explanation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .familiarity import FAMILIARITY_FILE, Familiarity, familiarity_entries
from .label_tree import label_key
from .segmentation import BACKGROUND, Segmentation, segments
from .skeleton_sequence import SKELETON, SkeletonSequence, skeleton_of
from .skeleton_stream import StreamResult, recognize_streams
from .student import ActionStudent, downloaded

if TYPE_CHECKING:
    from .explanation import Explanation
    from .processing_llm_ar import LlmArProcessor

_CONFIG = "config.json"


class StudentRecognizer:
    """Names actions by a model's student alone, with what the model knows of familiar motions.

    Its methods are the pipeline's, see `SkeletonActionRecognitionPipeline`; `candidate_labels` are labels of its own,
    default all. `states` are a language model's, and count for nothing here.

    Args:
        student: answers.
        familiarity: how familiar motions are; default None: that is not known.
        background: what the class is called that means that nothing is done, whether or not it is a label.
        model: folder or Hub id of the whole model, for `processor` and `explain`.
    """

    def __init__(
        self,
        student: ActionStudent,
        familiarity: Familiarity | None = None,
        background: str | None = BACKGROUND,
        model: str | Path = "",
    ):
        self.student, self.familiarity, self.model = student, familiarity, str(model)
        own = {label_key(label): label for label in student.config.labels}
        self.background = None if background is None else own.get(label_key(background), background)

    @classmethod
    def from_pretrained(cls, model: str | Path) -> StudentRecognizer:
        """The student of a model folder or a Hub repository, of which only its own small files are read.

        Raises:
            FileNotFoundError: there is no student.
            ValueError: files that are damaged.
        """
        student = ActionStudent.from_pretrained(model)
        folder = Path(model) if Path(model).is_dir() else downloaded(str(model), _CONFIG, FAMILIARITY_FILE)
        known = folder / FAMILIARITY_FILE
        try:
            config = folder / _CONFIG
            said = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        except ValueError as error:
            raise ValueError(f"{config}: expected JSON, found a damaged file ({error}); export it again.") from error
        background = said.get("background_label") or BACKGROUND
        return cls(student, Familiarity.load(known) if known.is_file() else None, background, model)

    @cached_property
    def processor(self) -> LlmArProcessor:
        """The processor saved with the model."""
        from .processing_llm_ar import LlmArProcessor

        return LlmArProcessor.from_pretrained(self.model)

    def knows(self, labels: Any) -> bool:
        """Whether it can choose among candidates: its own (None), or a list of some of its own without meanings."""
        return labels is None or (not isinstance(labels, Mapping) and set(labels) <= set(self.student.config.labels))

    def __call__(
        self,
        sequences: Sequence[Any],
        candidate_labels: Sequence[str] | None = None,
        top_k: int | None = 5,
        views: int = 1,
        states: Any = None,
    ) -> list[list[dict[str, Any]]]:
        """`[{"label", "score"}]` of each recording, best first; see `ActionStudent.log_posterior` for recordings."""
        sequences = list(sequences)
        rankings = self.student.recognize(sequences, top_k, views, candidate_labels)
        said = familiarity_entries(self.familiarity, self.student.normalizer(), list(map(skeleton_of, sequences)))
        return [[{**one, **of} for one in ranking] for ranking, of in zip(rankings, said, strict=True)]

    def stream(
        self,
        frames: Any,
        window: int = 64,
        hop: int = 8,
        *,
        candidate_labels: Sequence[str] | None = None,
        top_k: int | None = 5,
        views: int = 1,
        live: bool = False,
        smoothing: float = 0.5,
        hysteresis: float = 2.0,
        layout: Any = None,
        fps: float = 30.0,
        **conventions: Any,
    ) -> Iterator[StreamResult]:
        """Names what a stream of skeletons shows every `hop` frames."""
        labels = self._labels(candidate_labels)

        def rank(windows: list[SkeletonSequence]) -> tuple[Tensor, Tensor, list[dict[str, Any]]]:
            posterior = self.student.log_posterior(windows, views, labels).exp()
            best, numbers = posterior.topk(min(top_k or len(labels), len(labels)))
            return best, numbers, familiarity_entries(self.familiarity, self.student.normalizer(), windows)

        return recognize_streams(
            frames if isinstance(frames, Mapping) else {None: frames},
            labels=labels,
            rank=rank,
            model_layout=self.student.config.layout,
            window=window,
            hop=hop,
            layout=layout,
            fps=fps,
            live=live,
            smoothing=smoothing,
            hysteresis=hysteresis,
            **conventions,
        )

    def segment(
        self,
        sequence: SkeletonSequence,
        settings: Segmentation | None = None,
        *,
        candidate_labels: Sequence[str] | None = None,
        views: int = 1,
        states: Any = None,
    ) -> list[dict[str, Any]]:
        """Finds what is done when in a long recording, by every person."""
        labels = self._labels(candidate_labels)
        settings = settings or Segmentation.of_model(self.student.config.point_window)

        def score(windows: list[SkeletonSequence]) -> Tensor:
            return self.student.log_posterior(windows, views, labels)

        found = segments(sequence, score, labels, settings, self.background)
        return [one.to_dict() for one in sorted(found, key=lambda one: (one.start, one.person))]

    def explain(
        self,
        recording: Any,
        *,
        candidate_labels: Sequence[str] | None = None,
        method: str = "motion",
        views: int = 1,
        states: Any = None,
        **reading: Any,
    ) -> Explanation:
        """Says why the student calls a recording what it calls it."""
        from .configuration_llm_ar import LlmArConfig
        from .explanation import explain
        from .motion_attribution import StudentScorer

        labels, read = self._labels(candidate_labels), self.processor.read_senses
        config = LlmArConfig.from_pretrained(self.model)
        scorer = StudentScorer(self.student, self.processor, config, self.model, labels)

        def rank(given: Any, **reading: Any) -> list[dict[str, Any]]:
            skeleton, signals = read(given, **reading)
            return self([{SKELETON: skeleton, **signals}], labels, None, views)[0]

        return explain(scorer, recording, rank, method, **reading)

    def _labels(self, given: Sequence[str] | None) -> list[str]:
        return list(self.student.config.labels if given is None else given)
