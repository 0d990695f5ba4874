"""`pipeline("skeleton-action-recognition")`: recordings in, ranked action names out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import Pipeline

from .label_tree import LabelTree
from .processing_llm_ar import is_several

_NOT_GIVEN = object()  # top_k=None means all labels


class SkeletonActionRecognitionPipeline(Pipeline):
    """Names the action of skeleton sequences.

    ```python
    recognize = pipeline("skeleton-action-recognition", model="runs/demo/model")
    recognize("S001C001P001R001A023.skeleton", top_k=3)
    [{"label": "hand waving", "score": 0.93}, ...]
    ```

    Input: a path, a `SkeletonSequence`, an array (frames, joints, 2|3) or (persons, frames, joints, 2|3) with `layout`,
    a mapping with the keys joints and layout; or a list, a generator or a `datasets` column of such.

    Options, at construction or in the call:
        top_k: labels to return, default 5; None for all.
        candidate_labels: names to choose from, default the classes trained on; any text, seen in training or not.
        layout, fps: of inputs that carry none.

    Returns:
        `[{"label", "score"}]`, best first, for one input; a list of such for several; an iterator for a generator.
        Scores are the posterior over the candidates, from every candidate's exact likelihood: over all candidates they
        sum to 1.

    Raises:
        ValueError: bad input, an empty candidate list, duplicate candidates.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.tokenizer = self.processor.tokenizer  # batches are padded by it
        self.tokenizer.padding_side = "left"
        self._check_parts()

    def __call__(self, inputs: Any, **kwargs):
        """See the class."""
        if not is_several(inputs):
            return super().__call__([inputs], **kwargs)[0]  # a bare list of numbers would be taken for several inputs
        if isinstance(inputs, Sequence):
            inputs = list(inputs)
            return super().__call__(inputs, **kwargs) if inputs else []
        return super().__call__((one for one in inputs), **kwargs)

    def _sanitize_parameters(self, top_k=_NOT_GIVEN, candidate_labels=None, layout=None, fps=None, **kwargs):
        if kwargs:
            raise TypeError(f"Unknown option {', '.join(kwargs)}; known: top_k, candidate_labels, layout, fps.")
        read = {name: value for name, value in (("layout", layout), ("fps", fps)) if value is not None}
        score: dict[str, Any] = {}
        rank: dict[str, Any] = {}
        if candidate_labels is not None:
            score["tree"] = self._tree(candidate_labels)
            rank["labels"] = score["tree"].labels
        if top_k is not _NOT_GIVEN:
            if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
                raise ValueError(f"Expected top_k of at least 1, or None for all labels, got {top_k!r}.")
            rank["top_k"] = top_k
        return read, score, rank

    def preprocess(self, skeleton, layout=None, fps=None):
        return dict(self.processor([self.processor.read(skeleton, layout, fps)], return_tensors="pt"))

    def _forward(self, model_inputs, tree=None):
        return {"scores": self.model.score(model_inputs["input_ids"], model_inputs["attention_mask"], tree)}

    def postprocess(self, model_outputs, top_k=5, labels=None):
        posterior, labels = model_outputs["scores"][0].double().softmax(-1), labels or self.model.trained_labels.labels
        best = posterior.topk(min(top_k or len(labels), len(labels)))
        return [
            {"label": labels[i], "score": s} for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def _tree(self, candidate_labels: Sequence[str]) -> LabelTree:
        if isinstance(candidate_labels, str):
            raise ValueError(f"Expected candidate_labels as a list of names, got the text {candidate_labels!r}.")
        names = list(candidate_labels)
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"Expected candidate_labels as a list of names, got {names!r:.80}.")
        return LabelTree.from_labels(names, self.processor.tokenizer)

    def _check_parts(self) -> None:
        model, processor = self.model.config.vqvae_fingerprint, self.processor.vqvae_fingerprint
        if model is not None and model != processor:
            raise ValueError(
                f"The model reads sentences of the VQ-VAE {model}, the processor writes those of {processor}; "
                "use the processor saved with the model."
            )
        words, first_action = self.model.config.base_vocab_size, self.processor.first_action_id
        if words != first_action:
            raise ValueError(
                f"The model's action tokens begin at id {words}, the processor's at {first_action}; "
                "use the processor saved with the model."
            )
