"""How well strange motions are told from familiar ones: classes left out, another data set, and what is no motion.

    python -m llm_action.experiments.familiarity --utd UTD_MHAD_FOLDER --ucla NW_UCLA_FOLDER

Fits UTD-MHAD's training subjects without five classes, for five fixed splits, and scores its test recordings of the 22
classes and of the five, and frozen, empty and random skeletons. Then fits all 27 classes, and scores NW-UCLA's classes
with a counterpart and without as well.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from llm_action.config.experiment import Experiment
from llm_action.datasets import open_dataset, row_to_sequence
from llm_action.datasets.protocols import protocol_parts
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utd", required=True)
    parser.add_argument("--ucla", required=True)
    arguments = parser.parse_args()
    experiment = Experiment(dataset="utd_mhad")
    extractor = feature_extractor(experiment)
    benchmark, utd = open_dataset("utd_mhad", arguments.utd)
    ucla_names, ucla = open_dataset("nw_ucla", arguments.ucla)
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
        figures = {name: auroc(far, known.distances(of)) for name, of in nothing.items()}
        return known, far, {**figures, "flagged": float((known.familiarity(familiar) < THRESHOLD).mean())}

    rows = []
    for split in class_splits(benchmark.labels, 5, 5):
        unseen = np.isin(label, [benchmark.labels.index(name) for name in split.unseen])
        known, far, figures = scored(~unseen[train])
        left_out = tested[unseen[test]]
        caught = float((known.familiarity(left_out) < THRESHOLD).mean())
        rows.append({"left out": auroc(far, known.distances(left_out)), "flagged left out": caught, **figures})
        _show(", ".join(split.unseen), rows[-1])
    _show("mean", {name: float(np.mean([row[name] for row in rows])) for name in rows[0]})
    known, far, figures = scored(np.ones(len(train), bool))
    strange = elsewhere[np.isin(other_label, STRANGE)]
    figures["elsewhere"] = auroc(far, known.distances(strange))
    for name in (*KNOWN, *STRANGE):
        figures[f"flagged {name}"] = float((known.familiarity(elsewhere[other_label == name]) < THRESHOLD).mean())
    shared = elsewhere[np.isin(other_label, KNOWN)]
    figures["flagged of those with a counterpart"] = float((known.familiarity(shared) < THRESHOLD).mean())
    _show("all 27 classes", figures)


def _show(name: str, figures: dict[str, float]) -> None:
    print(json.dumps({"what": name, **{key: round(value, 3) for key, value in figures.items()}}), flush=True)


if __name__ == "__main__":
    main()
