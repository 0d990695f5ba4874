"""What answers a command: the pipeline, or with --fast the model's student wherever it can."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm_action.commands.options import check_model, load_pipeline
from llm_action.modeling.student_recognizer import StudentRecognizer

if TYPE_CHECKING:
    from llm_action import LlmArProcessor, SkeletonActionRecognitionPipeline
    from llm_action.modeling.explanation import Explanation
    from llm_action.modeling.skeleton_stream import StreamResult


def load_answering(
    model: str, dtype: str | None = None, fast: bool = False
) -> SkeletonActionRecognitionPipeline | StudentFirst:
    """Loads what answers with these options, see `options.add_answer_options`."""
    check_model(model)
    return StudentFirst(model, dtype) if fast else load_pipeline(model, dtype)


class StudentFirst:
    """Answers as the pipeline does. The language model is loaded when a name needs it.

    Args:
        model: folder or Hub id.
        dtype: of the language model.

    Raises:
        FileNotFoundError: the model has no student.
    """

    def __init__(self, model: str, dtype: str | None = None):
        self.student = StudentRecognizer.from_pretrained(model)
        self._model, self._dtype = model, dtype

    @cached_property
    def processor(self) -> LlmArProcessor:
        from llm_action import registration as registration  # it reads files of all formats

        return self.student.processor

    @cached_property
    def language_model(self) -> SkeletonActionRecognitionPipeline:
        print("some labels are new to the student: the whole model answers", file=sys.stderr)
        return load_pipeline(self._model, self._dtype)

    def knowing(self, labels: Any) -> StudentRecognizer | SkeletonActionRecognitionPipeline:
        """Who can choose among candidates.

        Raises:
            OSError: only the language model could, and it cannot be loaded.
        """
        if self.student.knows(labels):
            return self.student
        try:
            return self.language_model
        except (ValueError, OSError) as error:
            raise OSError(
                f"expected names that the student was trained on, as they are, found {', '.join(labels)}; the language "
                f"model takes other names, and what they mean, but it cannot be loaded: {error}"
            ) from error

    def __call__(self, sequences: Any, *, candidate_labels: Any = None, **options: Any) -> Any:
        return self.knowing(candidate_labels)(sequences, candidate_labels=candidate_labels, **options)

    def stream(self, *frames: Any, candidate_labels: Any = None, **options: Any) -> Iterator[StreamResult]:
        return self.knowing(candidate_labels).stream(*frames, candidate_labels=candidate_labels, **options)

    def segment(self, recording: Any, *, candidate_labels: Any = None, **options: Any) -> list[dict[str, Any]]:
        return self.knowing(candidate_labels).segment(recording, candidate_labels=candidate_labels, **options)

    def explain(self, recording: Any, *, candidate_labels: Any = None, **options: Any) -> Explanation:
        from llm_action import registration as registration  # the action tokenizer is asked for, too

        return self.knowing(candidate_labels).explain(recording, candidate_labels=candidate_labels, **options)
