"""Measures open vocabulary: the pipeline's single scores, the choice of weights, generalised accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llm_action.modeling.open_vocabulary import Prior, Scores, ScoreWeights, WeightedCandidates, candidates_for
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.skeleton_sequence import SkeletonSequence

_PENALTIES = np.linspace(-8, 8, 65).tolist()


@dataclass(frozen=True)
class SingleScores:
    """The scores that the pipeline combines to its posterior among described candidates.

    Attributes:
        scores: name of a score to (sequences, candidates).
        prior: name of a score to (candidates,), of a sentence without tokens.
        trained: (candidates,) bool, the classes trained on.
    """

    scores: Scores
    prior: Prior
    trained: np.ndarray

    def combined(self, weights: ScoreWeights | None = None) -> np.ndarray:
        """(sequences, candidates) the log-posterior; of the default weights the pipeline's own."""
        return (weights or ScoreWeights()).combine(self.scores, self.prior, self.trained)

    def alone(self, name: str, weights: ScoreWeights) -> np.ndarray:
        """(sequences, candidates) one score minus its share of the prior."""
        return self.scores[name] - weights.calibration * self.prior[name]


def single_scores(
    recognize: SkeletonActionRecognitionPipeline, candidates: Mapping[str, Any], sequences: Sequence[SkeletonSequence]
) -> SingleScores:
    """The single scores of the very scorer that the pipeline answers with.

    Args:
        candidates: names and what they mean, see `candidate_labels` of the pipeline.
    """
    weighted = candidates_for(recognize.model, recognize.processor, candidates, calibrate=True)
    assert isinstance(weighted, WeightedCandidates)  # as calibrated candidates are
    recordings = recognize.processor.encode_recordings(sequences, attributes=weighted.needs_attributes)
    return SingleScores(weighted.scorer(recordings), weighted.scorer.prior(), weighted.scorer.trained)


def choose_weights(single: SingleScores, targets: np.ndarray, seen: np.ndarray, default: ScoreWeights) -> ScoreWeights:
    """Chooses weights on classes held out of training.

    The weights of the single scores and the calibration are those of the best top-1 among the held-out classes; the
    penalty is that of the best harmonic mean. Of equals the one nearest to the default is taken.

    Args:
        targets: (sequences,) numbers of the true labels.
        seen: (labels,) bool, the classes trained on; the others were held out.
    """
    unseen, held_out = np.flatnonzero(~seen), ~seen[targets]
    among_unseen = SingleScores(
        {name: found[held_out][:, unseen] for name, found in single.scores.items()},
        {name: found[unseen] for name, found in single.prior.items()},
        single.trained[unseen],
    )

    def zero_shot(weights: ScoreWeights) -> float:
        return float((unseen[among_unseen.combined(weights).argmax(1)] == targets[held_out]).mean())

    best = max(_grid(list(single.scores), default), key=zero_shot)

    def harmonic(weights: ScoreWeights) -> float:
        return generalised(single.combined(weights), targets, seen)["harmonic_mean"]

    candidates = (replace(best, seen_penalty=penalty) for penalty in sorted(_PENALTIES, key=abs))
    return max(candidates, key=harmonic)


def _grid(names: list[str], default: ScoreWeights) -> Iterator[ScoreWeights]:
    yield default
    for calibration in (1.0, 0.5, 0.0):
        for factors in itertools.product((1.0, 2.0, 0.5, 0.0), repeat=len(names)):
            if any(factors):
                weights = {name: factor * getattr(default, name) for name, factor in zip(names, factors, strict=True)}
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
