"""What others would pick: 1-NN DTW against plain loops, MiniRocket and the small transformer on separable motions."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from llm_action.config.experiment import load_experiment
from llm_action.datasets import row_to_sequence
from llm_action.datasets.split import load_split
from llm_action.evaluation.evaluate import table_scores
from llm_action.evaluation.probe import joint_inputs, probe_steps, train_probe
from llm_action.evaluation.recordings import Recordings, feature_extractor
from llm_action.experiments.baselines import minirocket, nearest_neighbour

SHAPE = ["vqvae.model.num_frames=16"]


@pytest.fixture(scope="module")
def inputs(tiny_config, recordings) -> Recordings:
    experiment = load_experiment(tiny_config, SHAPE)
    return Recordings(experiment, load_split(experiment, str(recordings)), feature_extractor(experiment))


def accuracy(score, table) -> float:
    return float(np.mean(table_scores(score, table).argmax(1) == table["label"]))


def warped_distance(a: np.ndarray, b: np.ndarray, band: int) -> float:
    """Dynamic time warping of (frames, coordinates) by its definition."""
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(len(a)):
        for j in range(max(0, i - band), min(len(b), i + band + 1)):
            steps = cost[i, j], cost[i, j + 1], cost[i + 1, j]
            cost[i + 1, j + 1] = ((a[i] - b[j]) ** 2).sum() + min(steps)
    return cost[-1, -1]


def test_dtw_is_the_nearest_training_sequence_of_each_class(inputs):
    pytest.importorskip("aeon")
    sequences = [row_to_sequence(row) for row in inputs.split.test.with_format("numpy").select(range(3))]
    scores = nearest_neighbour(inputs, window=0.25).score(sequences)
    templates, tested = (
        part.transpose(0, 2, 1, 3, 4).reshape(len(part), 16, -1).astype(float)
        for part in (inputs.plain()[0], inputs.read(sequences)[0])
    )
    for row, sequence in zip(scores, tested, strict=True):
        distances = np.array([warped_distance(sequence, template, band=4) for template in templates])
        for target in range(27):
            known = distances[inputs.targets == target]
            assert row[target] == (pytest.approx(-known.min(), rel=1e-4) if len(known) else -np.inf)


def test_minirocket_counts_what_its_ridge_learned(inputs):
    pytest.importorskip("aeon")
    trained = minirocket(inputs, kernels=84)
    present = len(np.unique(inputs.targets))
    assert trained.parameters == present * (84 + 1)
    assert accuracy(trained.score, inputs.split.test) > 0.6
    again = minirocket(inputs, copies=2, kernels=84)
    assert again.parameters == trained.parameters


@pytest.mark.parametrize("baseline", [minirocket, nearest_neighbour])
def test_without_aeon_the_remedy_is_said(inputs, monkeypatch, baseline):
    for module in [name for name in sys.modules if name.split(".")[0] == "aeon"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "aeon", None)
    with pytest.raises(ImportError, match=r"pip install llm-action\[bench\]"):
        baseline(inputs)


def test_the_small_transformer_learns_the_motions_the_same_way_each_time(inputs):
    trained, again = (train_probe(inputs, joint_inputs, steps=8) for _ in range(2))
    assert accuracy(trained.score, inputs.split.test) > 0.6
    sequences = [row_to_sequence(row) for row in inputs.split.test.with_format("numpy").select(range(2))]
    np.testing.assert_array_equal(trained.score(sequences), again.score(sequences))


def test_recordings_are_read_as_the_training_part_was(inputs):
    sequences = [row_to_sequence(row) for row in inputs.split.train.with_format("numpy").select(range(4))]
    for given, expected in zip(inputs.read(sequences), inputs.plain(), strict=True):
        np.testing.assert_allclose(given, expected[:4], atol=1e-6)


def test_a_pass_of_augmented_copies_has_every_sequence_once(inputs):
    for skeletons, person_mask, targets in inputs.augmented(len(inputs.targets), 2):
        assert sorted(targets.tolist()) == sorted(inputs.targets.tolist())
        assert skeletons.shape == inputs.plain()[0].shape and person_mask.all()


@pytest.mark.parametrize(("sequences", "steps"), [(50, 800), (431, 800), (1020, 1275), (1500, 1500), (6400, 4600)])
def test_the_transformer_trains_long_enough(sequences, steps):
    assert probe_steps(sequences) == steps
    assert steps * 64 / sequences >= 46
