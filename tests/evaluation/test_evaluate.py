"""What `evaluate` measures is what the pipeline answers its users, test-time views and descriptions included."""

from __future__ import annotations

import json

import numpy as np
import pytest
from transformers import pipeline

from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets.descriptions import load_descriptions
from llm_action.datasets.split import Split, load_split
from llm_action.evaluation.evaluate import milliseconds, recognizer_scorer, sequences_of, table_scores
from llm_action.experiments.open_vocabulary import single_scores
from llm_action.modeling.label_tree import normalize_label
from llm_action.training.train import train


@pytest.fixture(scope="module")
def split(tiny_config, recordings) -> Split:
    return load_split(load_experiment(tiny_config), str(recordings))


@pytest.fixture(scope="module")
def recognize(tiny_export):
    return pipeline("skeleton-action-recognition", model=str(tiny_export))


@pytest.fixture(scope="module")
def knows_attributes(tiny_config, recordings, tmp_path_factory):
    """The pipeline of a model with attribute statistics that was taught descriptions and questions."""
    out = tmp_path_factory.mktemp("run")
    more = ["vqvae.steps=8", "recognizer.steps=8", "recognizer.answers=both", "recognizer.question_share=0.3"]
    train(load_experiment(tiny_config, more), str(recordings), out)
    return pipeline("skeleton-action-recognition", model=str(out / "model"))


def asked_one_by_one(recognize, split: Split, candidates, **options) -> np.ndarray:
    """(sequences, candidates) the pipeline's posterior, in the order of the candidates."""
    rows = []
    for sequence in sequences_of(split.test):
        ranking = recognize(sequence, top_k=None, **options)
        shares = {entry["label"]: entry["score"] for entry in ranking}
        rows.append([shares[normalize_label(label)] for label in candidates])
    return np.array(rows)


@pytest.mark.parametrize("views", (1, 3))
def test_of_trained_labels_with_and_without_views(recognize, split, views):
    scores = table_scores(recognizer_scorer(recognize, split.labels, views), split.test, batch_size=5)
    expected = asked_one_by_one(recognize, split, split.labels, views=views)
    np.testing.assert_allclose(np.exp(scores), expected, atol=2e-5)


@pytest.mark.parametrize("views", (1, 2))
def test_of_described_labels(knows_attributes, split, views):
    candidates = {**load_descriptions(["wave", "clap", "squat"], ["utd_mhad"]), "moonwalk": {"phrasings": ["glide"]}}
    scores = table_scores(recognizer_scorer(knows_attributes, candidates, views), split.test, batch_size=5)
    expected = asked_one_by_one(knows_attributes, split, candidates, candidate_labels=candidates, views=views)
    np.testing.assert_allclose(np.exp(scores), expected, atol=2e-5)
    if views == 1:
        single = single_scores(knows_attributes, candidates, sequences_of(split.test))
        assert {"label", "description", "questions", "attributes"} == set(single.scores)
        assert single.trained.tolist() == [True, True, True, False]
        np.testing.assert_allclose(np.exp(single.combined()), expected, atol=2e-5)


def test_of_names_that_were_not_trained_on(knows_attributes, split):
    names = ["wave", "moonwalk", "do a somersault"]
    scores = table_scores(recognizer_scorer(knows_attributes, names), split.test, batch_size=5)
    expected = asked_one_by_one(knows_attributes, split, names, candidate_labels=names)
    np.testing.assert_allclose(np.exp(scores), expected, atol=2e-5)


def test_the_command_s_figures_are_the_pipeline_s(recognize, tiny_export, recordings, split, tmp_path, capsys):
    command = ["evaluate", str(tiny_export), "--dataset", "utd_mhad", "--data", str(recordings)]
    assert main([*command, "--views", "2", "--json", str(tmp_path / "metrics.json")]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    posterior = asked_one_by_one(recognize, split, split.labels, views=2)
    targets = np.array(split.test["label"])
    assert metrics["predicted"] == posterior.argmax(1).tolist()
    likelihoods = posterior[np.arange(len(targets)), targets]
    assert metrics["negative_log_likelihood"] == pytest.approx(-np.log(likelihoods).mean(), rel=1e-3)
    assert metrics["views"] == 2 and 0 <= metrics["calibration_error"] <= 1
    assert f"calibration error {metrics['calibration_error']:.1%} (by chance " in capsys.readouterr().out


def test_what_rounds_to_no_probability_has_a_finite_score(split):
    def sure(sequences, **options):
        return [[{"label": "a", "score": 1.0}, {"label": "b", "score": 0.0}] for _ in sequences]

    scores = recognizer_scorer(sure, ["a", "b"])(sequences_of(split.test, 0, 2))
    assert (scores[:, 0] == 0).all() and np.isfinite(scores[:, 1]).all() and (scores[:, 1] < -100).all()


def test_a_table_is_scored_in_its_own_order_whatever_the_batches(split):
    def frames(sequences):
        return np.array([[sequence.num_frames] for sequence in sequences])

    expected = [[sequence.num_frames] for sequence in sequences_of(split.test)]
    for batch_size in (1, 5, 100):
        assert table_scores(frames, split.test, batch_size).tolist() == expected
    with pytest.raises(ValueError, match="batch_size of at least 1, got 0"):
        table_scores(frames, split.test, 0)
    assert milliseconds(frames, split.test, 4) >= 0
