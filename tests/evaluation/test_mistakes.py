"""Confused classes as pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from llm_action.cli import main
from llm_action.datasets import load_benchmark, row_to_sequence
from llm_action.datasets.split import Split
from llm_action.evaluation.evaluate import evaluate
from llm_action.evaluation.ledger import Origin
from llm_action.evaluation.mistakes import find_mistakes, typical
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor


@pytest.fixture(scope="module")
def parts(recordings):
    table = load_benchmark("utd_mhad", recordings)
    return tuple(
        table.filter(lambda part, wanted=wanted: part == wanted, input_columns="cross_subject")
        for wanted in ("train", "test")
    )


@pytest.fixture(scope="module")
def extractor() -> SkeletonFeatureExtractor:
    return SkeletonFeatureExtractor("kinect20", 16)


def always(label: int, parts) -> dict:
    """The metrics of a classifier that only ever says one thing."""
    split = Split(*parts, parts[1].features["label"].names, "cross_subject", dataset="utd_mhad")

    def score(sequences):
        return np.eye(27)[[label] * len(sequences)]

    return evaluate(score, split, Origin("test", ""), posterior=False)


def test_a_pair_shows_a_mistaken_sequence_and_one_of_what_it_was_taken_for(parts, extractor):
    train, test = parts
    labels = test.features["label"].names
    wave, clap, squat = (labels.index(name) for name in ("wave", "clap", "squat"))
    mistakes = find_mistakes(always(clap, parts), train, test, extractor)
    assert [(m.true, m.predicted, m.count, m.rate) for m in mistakes] == [
        ("wave", "clap", 4, 1.0),
        ("squat", "clap", 4, 1.0),
    ]
    for mistake, true in zip(mistakes, (wave, squat), strict=True):
        row = test["name"].index(mistake.mistaken.name)
        assert test["label"][row] == true
        assert train["label"][train["name"].index(mistake.typical.name)] == clap
    assert find_mistakes(always(0, parts), train, test, extractor) == []  # nothing of that class to show


def test_typical_is_the_one_nearest_to_all_others(parts, extractor):
    _, test = parts
    indices = np.arange(5)
    sequences = [row_to_sequence(row) for row in test.with_format("numpy").select(indices)]
    joints = [extractor([sequence])["skeletons"][0] for sequence in sequences]
    sums = [sum(np.sqrt(((a - b) ** 2).sum(-1)).mean() for b in joints) for a in joints]
    assert typical(test, indices, extractor).name == sequences[int(np.argmin(sums))].name


def test_evaluate_draws_them(tiny_export, recordings, tmp_path):
    arguments = [str(tiny_export), "--dataset", "utd_mhad", "--data", str(recordings)]
    arguments += ["--json", str(tmp_path / "metrics.json")]
    assert main(["evaluate", *arguments, "--mistakes", str(tmp_path / "mistakes.png")]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    drawn = tmp_path / "mistakes.png"
    if metrics["top1"] == 1:
        assert not drawn.exists()
    else:
        assert Image.open(drawn).height == 144 * len(metrics["most_confused"])
