"""`pipeline("skeleton-action-recognition")`: recordings in, ranked action names out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Pipeline

from .label_tree import LabelTree


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
        `[{"label", "score"}]`, best first, for one input; a list of such for several; an iterator for a generator. Scores are
        the posterior over the candidates, from every candidate's exact likelihood: over all candidates they sum to 1.

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
        if isinstance(inputs, Iterable) and not _is_one_input(inputs):
            inputs = list(inputs) if isinstance(inputs, Sequence) else iter(inputs)
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(self, top_k=-1, candidate_labels=None, layout=None, fps=None, **kwargs):
        if kwargs:
            raise TypeError(f"Unknown option {', '.join(kwargs)}; known: top_k, candidate_labels, layout, fps.")
        read = {name: value for name, value in (("layout", layout), ("fps", fps)) if value is not None}
        score = {} if candidate_labels is None else {"tree": self._tree(candidate_labels)}
        rank = {} if top_k == -1 else {"top_k": top_k}
        if top_k is not None and top_k != -1 and top_k < 1:
            raise ValueError(f"Expected top_k of at least 1, or None for all labels, got {top_k}.")
        return read, score, rank

    def preprocess(self, skeleton, layout=None, fps=None):
        return dict(self.processor([self.processor.read(skeleton, layout, fps)], return_tensors="pt"))

    def _forward(self, model_inputs, tree=None):
        tree = tree or self.model.trained_labels
        scores = self.model.score(model_inputs["input_ids"], model_inputs["attention_mask"], tree)
        return {"posterior": scores.softmax(-1), "labels": [tree.labels] * len(scores)}

    def postprocess(self, model_outputs, top_k=5):
        posterior, labels = model_outputs["posterior"][0], model_outputs["labels"][0]
        best = posterior.topk(min(top_k or len(labels), len(labels)))
        return [
            {"label": labels[i], "score": s} for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def _tree(self, candidate_labels: Sequence[str]) -> LabelTree:
        if isinstance(candidate_labels, str):
            raise ValueError(f"Expected candidate_labels as a list of names, got the text {candidate_labels!r}.")
        return LabelTree.from_labels(list(candidate_labels), self.processor.tokenizer)

    def _check_parts(self) -> None:
        model, processor = self.model.config.vqvae_fingerprint, self.processor.vqvae_fingerprint
        if model is not None and model != processor:
            raise ValueError(
                f"The model reads sentences of the VQ-VAE {model}, the processor writes those of {processor}; "
                "use the processor saved with the model."
            )


def _is_one_input(inputs: Any) -> bool:
    if isinstance(inputs, (str, Path, dict, np.ndarray)) or torch.is_tensor(inputs) or hasattr(inputs, "joints"):
        return True
    first = inputs
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(inputs, (list, tuple)) and isinstance(first, (int, float))  # an array written as nested lists
