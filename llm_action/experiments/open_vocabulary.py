"""Measuring what `llm_action.modeling.open_vocabulary` gives: scores, the choice of weights, generalised accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from llm_action.evaluation.evaluate import Scorer
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.open_vocabulary import OpenVocabularyScorer, Prior, Scores, ScoreWeights
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.skeleton_sequence import SkeletonSequence

_PENALTIES = np.linspace(-8, 8, 65).tolist()


def described_scorer(
    model: LlmArForActionRecognition, processor: LlmArProcessor, descriptions: Mapping[str, LabelDescription]
) -> Scorer:
    """Scores by names and by what they mean: the logarithm of each label's share, as the pipeline has them of a
    mapping. For one evaluation: priors are those of the weights it begins with."""
    scorer = OpenVocabularyScorer(model, processor, list(descriptions), descriptions)
    weights, states = ScoreWeights(), KeptStates()

    def score(sequences: list[SkeletonSequence]) -> np.ndarray:
        scores = scorer(processor.encode_recordings(sequences, attributes=True), states=states)
        return weights.combine(scores, scorer.prior(states), scorer.trained)

    return score


def choose_weights(
    scores: Scores, prior: Prior, targets: np.ndarray, seen: np.ndarray, default: ScoreWeights
) -> ScoreWeights:
    """The weights that do best on classes held out of training: of the kinds and the calibration those of the best
    top-1 among the held-out classes, then the penalty of the best harmonic mean. Of equals the nearest to the default.

    Args:
        scores, prior: see `ScoreWeights.combine`.
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool, the classes trained on; the others were held out.
    """
    unseen, held_out = np.flatnonzero(~seen), ~seen[targets]
    among_unseen = {name: found[held_out][:, unseen] for name, found in scores.items()}
    of_unseen = {name: found[unseen] for name, found in prior.items()}

    def zero_shot(weights: ScoreWeights) -> float:
        combined = weights.combine(among_unseen, of_unseen, seen[unseen])
        return float((unseen[combined.argmax(1)] == targets[held_out]).mean())

    best = max(_grid(list(scores), default), key=zero_shot)

    def harmonic(weights: ScoreWeights) -> float:
        return generalised(weights.combine(scores, prior, seen), targets, seen)["harmonic_mean"]

    candidates = (replace(best, seen_penalty=penalty) for penalty in sorted(_PENALTIES, key=abs))
    return max(candidates, key=harmonic)


def _grid(kinds: list[str], default: ScoreWeights) -> Iterator[ScoreWeights]:
    yield default
    for calibration in (1.0, 0.5, 0.0):
        for factors in itertools.product((1.0, 2.0, 0.5, 0.0), repeat=len(kinds)):
            if any(factors):
                weights = {kind: factor * getattr(default, kind) for kind, factor in zip(kinds, factors, strict=True)}
                yield replace(default, calibration=calibration, **weights)


def generalised(scores: np.ndarray, targets: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Accuracy among all labels, of sequences of seen and of unseen classes, and the harmonic mean of the two.

    Args:
        scores: (sequences, labels).
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool.
    """
    right, of_seen = scores.argmax(1) == targets, seen[targets]
    known, new = float(right[of_seen].mean()), float(right[~of_seen].mean())
    return {"seen": known, "unseen": new, "harmonic_mean": 2 * known * new / (known + new) if known + new else 0.0}
