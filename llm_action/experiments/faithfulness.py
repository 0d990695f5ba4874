"""Whether explanations are true: frames and joints that are said to count are deleted, and the label should suffer.

Of each sequence the fifth of the frames, and of the joints, that a method ranks highest is deleted, and what the
predicted label's log-odds lose is compared with deleting random ones (Samek et al., 2017). Frames in a row cost more
than scattered ones whatever they show, so random frames come in runs of the same lengths: the deleted ones, moved along
the recording by chance. The method is chosen on held-out training subjects with one way of deleting (`hold`), and
judged on the test part with another (`interpolate`), which no method uses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from llm_action.config.progress import ProgressBar
from llm_action.datasets import row_to_sequence
from llm_action.experiments.intervals import paired_bootstrap
from llm_action.modeling.motion_attribution import (
    METHODS,
    MotionScorer,
    attribute,
    held_frames,
    held_joints,
)
from llm_action.modeling.open_vocabulary import candidates_for
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline

SHARE = 0.2  # of the frames and joints that is deleted
_DRAWS = 4  # random deletions of each sequence


@dataclass(frozen=True)
class Deletion:
    """A way to delete frames and joints of skeletons (persons, frames, joints, 3).

    Attributes:
        frames: of skeletons and (frames,) bool.
        joints: of skeletons, (persons, joints) bool and the root joint.
    """

    frames: Callable[[np.ndarray, np.ndarray], np.ndarray]
    joints: Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def interpolated_frames(skeletons: np.ndarray, deleted: np.ndarray) -> np.ndarray:
    """Deletes frames (frames,): every joint goes straight from the kept frame before to the one after."""
    kept = np.flatnonzero(~deleted)
    if not len(kept):
        raise ValueError("expected a frame that is kept, got all to be deleted")
    moments = np.arange(len(deleted))
    after = np.searchsorted(kept, moments).clip(max=len(kept) - 1)
    before = (np.searchsorted(kept, moments, side="right") - 1).clip(min=0)
    start, end = kept[before], kept[after]
    share = np.clip((moments - start) / np.maximum(end - start, 1), 0, 1).astype(skeletons.dtype)[None, :, None, None]
    return skeletons[:, start] * (1 - share) + skeletons[:, end] * share


def interpolated_joints(skeletons: np.ndarray, deleted: np.ndarray, root: int) -> np.ndarray:
    """Deletes joints (persons, joints): seen from the root they go straight from where they are first to the last."""
    share = np.linspace(0, 1, skeletons.shape[1], dtype=skeletons.dtype)[None, :, None, None]
    at_root = skeletons[:, :, root : root + 1]
    away = skeletons - at_root
    straight = away[:, :1] * (1 - share) + away[:, -1:] * share + at_root
    own = skeletons[:, :1, root] * (1 - share[:, :, 0]) + skeletons[:, -1:, root] * share[:, :, 0]
    straight[:, :, root] = own
    return np.where(deleted[:, None, :, None], straight, skeletons)


DELETIONS = {
    "hold": Deletion(held_frames, held_joints),
    "interpolate": Deletion(interpolated_frames, interpolated_joints),
}


def measure_faithfulness(
    recognize: SkeletonActionRecognitionPipeline,
    table: Dataset,
    deleting: str = "hold",
    methods: Sequence[str] = METHODS,
    limit: int | None = None,
) -> dict[str, Any]:
    """Deletes what each method says counts, and random frames and joints, in the sequences of a table.

    Args:
        table: as `llm_action.datasets` makes it.
        deleting: one of `DELETIONS`.
        limit: so many sequences, evenly spread over the table; default all.

    Returns:
        deleting, n, and `methods`: of each, for `frames` and `joints`, what the log-odds lose (`lost`), what random
        deletions cost (`random`), and the difference with its 95 % interval (`difference`, `low`, `high`).

    Raises:
        ValueError: an unknown way of deleting; see `attribute`.
    """
    if deleting not in DELETIONS:
        raise ValueError(f"expected a way of deleting of {', '.join(DELETIONS)}, got {deleting!r}")
    count = len(table) if limit is None else min(limit, len(table))
    rows = table.select(np.linspace(0, len(table) - 1, count).round().astype(int)).with_format("numpy")
    scorer = MotionScorer(
        recognize.model, recognize.processor, candidates_for(recognize.model, recognize.processor, None, None)
    )
    costs = [
        _costs(scorer, row_to_sequence(row), deleting, methods, seed)
        for seed, row in enumerate(ProgressBar(rows, desc="deleting frames and joints"))
    ]
    return {
        "deleting": deleting,
        "n": count,
        "methods": {
            method: {what: _summary([one[method, what] for one in costs]) for what in ("frames", "joints")}
            for method in methods
        },
    }


def _costs(
    scorer: MotionScorer, sequence: Any, deleting: str, methods: Sequence[str], seed: int
) -> dict[tuple[str, str], tuple[float, float]]:
    """What each deletion of one sequence costs, and what random ones cost on average: by method and what is deleted."""
    extractor, way, root = scorer.processor.feature_extractor, DELETIONS[deleting], scorer.layout.root
    normalized = extractor.normalize(sequence)
    seen = extractor.views_of(normalized, 1)[0, : len(normalized)]
    label = int(scorer.posteriors(scorer.encoded(seen[None]))[0].argmax())
    rng = np.random.default_rng((seed, 7))
    deleted, places = [seen], list[tuple[str, str, bool]]()
    for method in methods:
        found = attribute(scorer, seen, label, method)
        frames, joints = highest(found.frames), highest(found.joints)
        random_frames = [np.roll(frames, shift) for shift in rng.integers(1, len(frames), _DRAWS)]
        random_joints = [rng.permutation(joints.ravel()).reshape(joints.shape) for _ in range(_DRAWS)]
        deleted += [way.frames(seen, one) for one in (frames, *random_frames)]
        deleted += [way.joints(seen, one, root) for one in (joints, *random_joints)]
        places += [(method, what, chosen) for what in ("frames", "joints") for chosen in (True, *[False] * _DRAWS)]
    whole, *others = scorer.log_odds(scorer.encoded(np.stack(deleted)), label)
    lost: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
    for place, other in zip(places, others, strict=True):
        lost[place].append(whole - other)
    means = {place: float(np.mean(found)) for place, found in lost.items()}
    return {(method, what): (means[method, what, True], means[method, what, False]) for method, what, _ in means}


def highest(weights: np.ndarray, share: float = SHARE) -> np.ndarray:
    """The places of the highest weights, a share of all, as bools of the same shape; of equal ones the first."""
    order = np.argsort(-weights, axis=None, kind="stable")[: max(1, round(share * weights.size))]
    found = np.zeros(weights.size, bool)
    found[order] = True
    return found.reshape(weights.shape)


def _summary(costs: Sequence[tuple[float, float]]) -> dict[str, float]:
    lost, random = np.array(costs).T
    low, high = paired_bootstrap(lost, random)
    difference = float((lost - random).mean())
    return {
        "lost": float(lost.mean()), "random": float(random.mean()), "difference": difference, "low": low, "high": high,
        "sequences_worse": float((lost > random).mean()),
    }  # fmt: skip


def faithfulness_lines(measured: dict[str, Any]) -> list[str]:
    """The figures as a Markdown table."""
    lines = [
        f"Deleting by {measured['deleting']}, {measured['n']} sequences; log-odds that the predicted label loses.",
        "",
        "| method | deleted | highest 20 % | random 20 % | difference | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for method, found in measured["methods"].items():
        for what, one in found.items():
            figures = f"{one['lost']:.2f} | {one['random']:.2f} | {one['difference']:+.2f}"
            lines.append(f"| {method} | {what} | {figures} | {one['low']:+.2f} to {one['high']:+.2f} |")
    return lines
