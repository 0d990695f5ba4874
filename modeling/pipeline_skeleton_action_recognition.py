"""`pipeline("skeleton-action-recognition")`: recordings in, ranked action names out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from transformers import Pipeline
from transformers.utils import logging

from .attribute_likelihood import LabelLexicon, motion_numbers
from .class_prototypes import motion_features
from .label_descriptions import LabelDescription, parse_description
from .label_scoring import SCORE_TOLERANCE
from .label_tree import LabelTree
from .open_vocabulary import CalibratedScorer, guesses
from .processing_llm_ar import is_several
from .skeleton_stream import StreamResult, recognize_streams

logger = logging.get_logger(__name__)

_TOKENIZED_AT_ONCE = 64  # sequences in memory
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
        candidate_labels: names to choose from, default the classes trained on; any text, seen in training or not. What
            a new name means is guessed by the described names it reads like, and held against what the joints show
            (`label_lexicon`). Or a mapping of names to what they mean: a text, several, or {"phrasings", "phases",
            "attributes"} as `label_descriptions` has them. Then a name counts by all its phrasings, its attributes by
            what the joints show, and a model that was taught descriptions or questions (`config.readings`) is asked
            for those, too; takes several times as long. Classes trained on still go by their names, see
            `open_vocabulary`.
        calibrate: whether each candidate's score is taken relative to what the model says of it whatever moves, so that
            frequent names and classes trained on are not favoured. Default: of a mapping and of a list with names not
            trained on. False: a list is read by its names alone, the best of thousands found by a search; no unseen
            name stands a chance beside classes trained on.
        layout, fps: of inputs that carry none.
        merge: at construction, whether the adapter is folded into the base, which is faster (default); a model loaded
            with `is_trainable` is left as it is.
        views: action sentences of a sequence whose posteriors are averaged, default 1: it is also seen from other
            sides and begun at other moments (`SkeletonFeatureExtractor`). Takes `views` times as long.

    Returns:
        `[{"label", "score"}]`, best first, for one input; a list of such for several; an iterator for a generator.
        Scores are the posterior over the candidates, from exact likelihoods (of a mapping and with `calibrate`: the
        shares of the calibrated likelihoods): over all candidates they sum to 1. Where
        `top_k` of many candidates are asked for, labels and order are exact as well, and a score may be up to
        `SCORE_TOLERANCE` (absolute) below the posterior: what the candidates that were not read could hold is taken
        off. Lists are recognised in batches of prompts of one length, so `batch_size` costs little padding.

    Raises:
        ValueError: bad input, an empty candidate list, duplicate candidates.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(self, *args, views: int = 1, calibrate: bool | None = None, merge: bool = True, **kwargs):
        self._trees: dict[tuple[str, ...], LabelTree] = {}
        self._scorers: dict[str, CalibratedScorer] = {}
        self._views, self._calibrate = views, calibrate
        super().__init__(*args, **kwargs)
        self.tokenizer = self.processor.tokenizer  # batches are padded by it
        self.tokenizer.padding_side = "left"
        self._check_parts()
        if merge and not self.model.is_trainable:
            self.model.merge()
        logger.info("recognizing with %s", self.model.arithmetic)

    def __call__(self, inputs: Any, **kwargs):
        """See the class."""
        views = kwargs.pop("views", self._views)
        if views != 1:
            if not is_several(inputs):
                return self._recognize_views([inputs], views, **kwargs)[0]
            if isinstance(inputs, Sequence):
                return self._recognize_views(list(inputs), views, **kwargs)
            return (self._recognize_views([one], views, **kwargs)[0] for one in inputs)
        if not is_several(inputs):
            return super().__call__([inputs], **kwargs)[0]  # a bare list of numbers would be taken for several inputs
        if isinstance(inputs, Sequence):
            return self._recognize_all(list(inputs), **kwargs)
        return super().__call__((one for one in inputs), **kwargs)

    def _recognize_views(self, inputs: list, views: int, **kwargs) -> list:
        """A list's results, each the mean posterior of its views."""
        top_k = kwargs.pop("top_k", self._forward_params.get("top_k", 5))
        self._sanitize_parameters(top_k=top_k)
        rankings = self._recognize_all(inputs, views, top_k=None, **kwargs)
        means = []
        for start in range(0, len(rankings), views):
            scores: dict[str, float] = {}
            for entry in (entry for ranking in rankings[start : start + views] for entry in ranking):
                scores[entry["label"]] = scores.get(entry["label"], 0.0) + entry["score"] / views
            best = sorted(scores.items(), key=lambda item: -item[1])[:top_k]
            means.append([{"label": label, "score": score} for label, score in best])
        return means

    def _recognize_all(self, inputs: list, views: int = 1, **kwargs) -> list:
        """A list's results: tokenised together, recognised in the order of their prompts' lengths."""
        options = {name: value for name, value in kwargs.items() if name not in ("batch_size", "num_workers")}
        read = self._preprocess_params | self._sanitize_parameters(**options)[0]
        prompts: list[dict[str, Any]] = []
        for start in range(0, len(inputs), _TOKENIZED_AT_ONCE):
            prompts += self._prompts(inputs[start : start + _TOKENIZED_AT_ONCE], views=views, **read)
        order = sorted(range(len(prompts)), key=lambda index: prompts[index]["input_ids"].shape[1])
        prompts = [prompts[index] for index in order]
        ranked = super().__call__(prompts, **kwargs) if prompts else []
        return [ranking for _, ranking in sorted(zip(order, ranked, strict=True), key=lambda pair: pair[0])]

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
            options: layout, fps (default 30), top_k and candidate_labels as in a call, but a list read by names alone.

        Returns:
            An iterator of `StreamResult`: time, ranking, track, frames skipped. A window's ranking is what the pipeline
            says of a file with the same frames.

        Raises:
            ValueError: bad arguments at once; a frame that fits neither layout nor the frames before when it comes.
        """
        options.setdefault("calibrate", bool(self._calibrate))
        given = (self._preprocess_params, self._forward_params, self._postprocess_params)
        read, score, _ = (a | b for a, b in zip(given, self._sanitize_parameters(**options)))
        if score.get("scorer") is not None:
            raise ValueError(
                "Expected candidate_labels of a stream as a list of names, without calibrate: a stream is read by "
                "names alone. Pass the list to stream()."
            )
        return recognize_streams(
            self.model,
            self.processor,
            frames if isinstance(frames, Mapping) else {None: frames},
            tree=score.get("tree"),
            window=window,
            hop=hop,
            layout=read.get("layout"),
            fps=read.get("fps", 30.0),
            live=live,
            smoothing=smoothing,
            hysteresis=hysteresis,
            top_k=score.get("top_k", 5),
        )

    def _sanitize_parameters(
        self, top_k=_NOT_GIVEN, candidate_labels=None, calibrate=None, layout=None, fps=None, **kwargs
    ):
        if kwargs:
            known = "top_k, candidate_labels, calibrate, layout, fps, views"
            raise TypeError(f"Unknown option {', '.join(kwargs)}; known: {known}.")
        read = {name: value for name, value in (("layout", layout), ("fps", fps)) if value is not None}
        score: dict[str, Any] = {}
        rank: dict[str, Any] = {}
        calibrate = self._calibrate if calibrate is None else calibrate
        if calibrate is None and candidate_labels is not None and not isinstance(candidate_labels, Mapping):
            calibrate = guesses(self.model.config, self._tree(candidate_labels).labels)
        if calibrate or isinstance(candidate_labels, Mapping):
            names = self.model.trained_labels.labels if candidate_labels is None else candidate_labels
            scorer = self._scorer(names, calibrate is not False)
            read["motion"] = scorer.asks_joints
            score |= {"scorer": scorer, "tree": None}
            rank["labels"] = scorer.labels
        elif candidate_labels is not None:
            tree = self._tree(candidate_labels)
            read["motion"] = False
            score |= {"scorer": None, "tree": tree}
            rank["labels"] = tree.labels
        if top_k is not _NOT_GIVEN:
            if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
                raise ValueError(f"Expected top_k of at least 1, or None for all labels, got {top_k!r}.")
            score["top_k"] = top_k
        return read, score, rank

    def _prompts(
        self, inputs: Sequence[Any], layout=None, fps=None, motion: bool = False, views: int = 1
    ) -> list[dict[str, Any]]:
        """A prompt for each input's views, with what the joints answer if `motion`."""
        skeletons = [self.processor.read(one, layout, fps) for one in inputs]
        sentences = self.processor.encode_batch(skeletons, views=views)
        prompts = [dict(self.processor.build_prompts([sentence], return_tensors="pt")) for sentence in sentences]
        if motion:
            answers = torch.from_numpy(motion_numbers(self.processor.feature_extractor, skeletons))
            for index, prompt in enumerate(prompts):
                prompt["motion"] = answers[None, index // views]
        if self.processor.motion_features:
            features = torch.from_numpy(motion_features(self.processor.feature_extractor, skeletons, views))
            for prompt, row in zip(prompts, features, strict=True):
                prompt["motion_features"] = row[None]
        return prompts

    def preprocess(self, skeleton, layout=None, fps=None, motion=False):
        if isinstance(skeleton, Mapping) and "input_ids" in skeleton:
            return dict(skeleton)  # a prompt already
        return self._prompts([skeleton], layout, fps, motion)[0]

    def _forward(self, model_inputs, tree=None, scorer=None, top_k=5):
        ids, mask, features = (model_inputs.get(name) for name in ("input_ids", "attention_mask", "motion_features"))
        if scorer is not None:
            posterior = scorer(ids, mask, model_inputs.get("motion"))
            scores, indices = posterior.topk(min(top_k or posterior.shape[1], posterior.shape[1]))
            return {"scores": scores, "indices": indices}
        ranked = self.model.rank(ids, mask, tree, top_k, SCORE_TOLERANCE, features)
        return {"scores": ranked.posterior_bounds()[0], "indices": ranked.indices}

    def postprocess(self, model_outputs, labels=None):
        labels = labels or self.model.trained_labels.labels
        best = zip(model_outputs["scores"][0].tolist(), model_outputs["indices"][0].tolist(), strict=True)
        return [{"label": labels[index], "score": score} for score, index in best]

    def _scorer(self, candidates: Sequence[str] | Mapping[str, Any], calibrate: bool) -> CalibratedScorer:
        # names are checked, and spelled as results spell them
        if isinstance(candidates, Mapping):
            names = self._tree(list(candidates)).labels
            entries = zip(names, candidates.values(), strict=True)
            described = {name: parse_description(entry, f"candidate_labels: {name!r}") for name, entry in entries}
        else:
            described = {name: LabelDescription() for name in self._tree(candidates).labels}
        key = repr((described, calibrate))
        if key not in self._scorers:
            self._scorers = {key: CalibratedScorer(self.model, self.processor, described, calibrate, self._lexicon)}
        return self._scorers[key]

    def _tree(self, candidate_labels: Sequence[str]) -> LabelTree:
        if isinstance(candidate_labels, str):
            raise ValueError(f"Expected candidate_labels as a list of names, got the text {candidate_labels!r}.")
        names = list(candidate_labels)
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"Expected candidate_labels as a list of names, got {names!r:.80}.")
        if tuple(names) not in self._trees:
            self._trees = {tuple(names): LabelTree.from_labels(names, self.processor.tokenizer)}
        return self._trees[tuple(names)]

    @cached_property
    def _lexicon(self) -> LabelLexicon:
        """Read once, whatever candidates come."""
        return LabelLexicon(self.model.config.label_lexicon or {})

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
