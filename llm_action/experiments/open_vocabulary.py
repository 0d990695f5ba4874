"""Measuring what `llm_action.modeling.open_vocabulary` reads: scores, the choice of weights, generalised accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from llm_action.evaluation.evaluate import Scorer
from llm_action.modeling.attribute_likelihood import motion_numbers
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.open_vocabulary import OpenVocabularyScorer, Prior, Scores, Weights
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SkeletonSequence

_PENALTIES = np.linspace(-8, 8, 65).tolist()


def described_scorer(
    model: LlmArForActionRecognition, processor: LlmArProcessor, descriptions: Mapping[str, LabelDescription]
) -> Scorer:
    """Scores by names and by what they mean: the logarithm of each label's share, as the pipeline has them of a
    mapping."""
    read = OpenVocabularyScorer(model, processor, list(descriptions), descriptions)
    prior, weights = read.prior(), Weights()

    def score(sequences: list[SkeletonSequence]) -> np.ndarray:
        motion = motion_numbers(processor.feature_extractor, sequences)
        return weights.combine(read(processor.encode_batch(sequences), motion), prior, read.trained)

    return score


def choose_weights(scores: Scores, prior: Prior, targets: np.ndarray, seen: np.ndarray, default: Weights) -> Weights:
    """The weights that do best on classes held out of training: of the readings and the calibration those of the best
    top-1 among the held-out classes, then the penalty of the best harmonic mean. Of equals the nearest to the default.

    Args:
        scores, prior: see `Weights.combine`.
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool, the classes trained on; the others were held out.
    """
    unseen, held_out = np.flatnonzero(~seen), ~seen[targets]
    among_unseen = {name: found[held_out][:, unseen] for name, found in scores.items()}
    of_unseen = {name: found[unseen] for name, found in prior.items()}

    def zero_shot(weights: Weights) -> float:
        combined = weights.combine(among_unseen, of_unseen, seen[unseen])
        return float((unseen[combined.argmax(1)] == targets[held_out]).mean())

    best = max(_grid(list(scores), default), key=zero_shot)

    def harmonic(weights: Weights) -> float:
        return generalised(weights.combine(scores, prior, seen), targets, seen)["harmonic_mean"]

    candidates = (replace(best, seen_penalty=penalty) for penalty in sorted(_PENALTIES, key=abs))
    return max(candidates, key=harmonic)


def _grid(readings: list[str], default: Weights) -> Iterator[Weights]:
    yield default
    for calibration in (1.0, 0.5, 0.0):
        for factors in itertools.product((1.0, 2.0, 0.5, 0.0), repeat=len(readings)):
            if any(factors):
                weights = {
                    name: factor * getattr(default, name) for name, factor in zip(readings, factors, strict=True)
                }
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
