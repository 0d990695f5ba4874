"""How well strange motions are told from familiar ones: classes left out, another data set, and what is no motion.

Fits UTD-MHAD's training subjects without five classes, for five fixed splits, and scores its test recordings of the 22
classes and of the five, and frozen, empty and random skeletons. Then fits all 27 classes, and scores NW-UCLA's classes
with a counterpart and without as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.datasets import open_dataset, row_to_sequence
from llm_action.datasets.protocols import protocol_parts
from llm_action.evaluation.ledger import Origin, config_hash, enter
from llm_action.evaluation.recordings import feature_extractor
from llm_action.experiments.class_splits import class_splits
from llm_action.modeling.familiarity import THRESHOLD, Familiarity, familiarity_features
from llm_action.training.familiarity import changed_features

KNOWN = ("stand up", "sit down", "throw", "walk around")
STRANGE = ("donning", "doffing", "carry", "drop trash")


def auroc(familiar: np.ndarray, strange: np.ndarray) -> float:
    """Probability that a strange motion has the larger distance."""
    below = (familiar[:, None] < strange).mean() + 0.5 * (familiar[:, None] == strange).mean()
    return float(below)


def familiarity_figures(utd_folder: str, ucla_folder: str) -> Iterator[dict[str, str | float]]:
    """Figures of each split, of their mean, and of all classes; those of test parts are entered in the ledger.

    Args:
        utd_folder, ucla_folder: UTD-MHAD and NW-UCLA, raw or prepared.

    Yields:
        "left_out" (names, "mean" or "none"); AUROC against familiar recordings as "auroc of ..."; shares that are
        flagged as unfamiliar as "flagged: ...".
    """
    experiment = Experiment(dataset="utd_mhad")
    extractor = feature_extractor(experiment)
    benchmark, utd = open_dataset("utd_mhad", utd_folder)
    ucla_names, ucla = open_dataset("nw_ucla", ucla_folder)
    part, label = protocol_parts(utd, benchmark.default_protocol), np.array(utd["label"])
    bodies = [extractor.normalize(row_to_sequence(row)) for row in utd.with_format("numpy")]
    others = [extractor.normalize(row_to_sequence(row)) for row in ucla.with_format("numpy")]
    other_label = np.array(ucla_names.labels)[ucla["label"]]

    def plain(persons: list[np.ndarray]) -> np.ndarray:
        arrays = np.concatenate([extractor.views_of(body, 1)[:, :1] for body in persons])
        return familiarity_features(arrays, extractor.layout)

    train, test = np.flatnonzero(part == "train"), np.flatnonzero(part == "test")
    fitted = np.stack([changed_features(bodies[row], extractor, number) for number, row in enumerate(train)])
    tested, elsewhere = plain([bodies[row] for row in test]), plain(others)
    rng = np.random.default_rng(0)
    frames, joints = extractor.num_frames, bodies[0].shape[2]
    nothing = {
        "frozen": plain([np.repeat(bodies[row][:, :1], frames, 1) for row in test[::4]]),
        "empty": plain([np.zeros((1, frames, joints, 3), np.float32)]),
        "random": plain(list(rng.normal(size=(100, 1, frames, joints, 3)).astype(np.float32))),
        "random, frozen": plain(list(rng.normal(size=(100, 1, 1, joints, 3)).repeat(frames, 2).astype(np.float32))),
    }
    subject = np.array(utd["subject"])[train]

    def scored(seen: np.ndarray) -> tuple[Familiarity, np.ndarray, dict[str, float]]:
        """What is fitted to some training recordings, distances of the test recordings of those classes, figures."""
        known = Familiarity.fitted(fitted[seen], label[train][seen], subject[seen])
        familiar = tested[np.isin(label[test], label[train][seen])]
        far = known.distances(familiar)
        figures = {f"auroc of {name}": auroc(far, known.distances(of)) for name, of in nothing.items()}
        return known, far, {**figures, "flagged: familiar": flagged(known, familiar)}

    rows = []
    for split in class_splits(benchmark.labels, 5, 5):
        unseen = np.isin(label, [benchmark.labels.index(name) for name in split.unseen])
        known, far, figures = scored(~unseen[train])
        left_out = tested[unseen[test]]
        figures["auroc of left out"] = auroc(far, known.distances(left_out))
        figures["flagged: left out"] = flagged(known, left_out)
        rows.append(figures)
        names = ", ".join(split.unseen)
        origin = Origin(f"benchmark familiarity, without {names}", config_hash(experiment))
        enter(origin, benchmark.name, benchmark.default_protocol, len(test), figures)
        yield {"left_out": names, **figures}
    yield {"left_out": "mean", **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]}}
    known, far, figures = scored(np.ones(len(train), bool))
    figures["auroc of other actions elsewhere"] = auroc(far, known.distances(elsewhere[np.isin(other_label, STRANGE)]))
    for name in (*KNOWN, *STRANGE):
        figures[f"flagged: {name}"] = flagged(known, elsewhere[other_label == name])
    figures["flagged: the same actions elsewhere"] = flagged(known, elsewhere[np.isin(other_label, KNOWN)])
    origin = Origin(f"benchmark familiarity, {benchmark.name} beside all of {ucla_names.name}", config_hash(experiment))
    enter(origin, benchmark.name, benchmark.default_protocol, len(test), figures)
    yield {"left_out": "none", **figures}


def flagged(known: Familiarity, features: np.ndarray) -> float:
    """Share of recordings that are said to be unfamiliar."""
    return float((known.familiarity(features) < THRESHOLD).mean())
