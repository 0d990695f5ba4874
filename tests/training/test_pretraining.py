"""Stage 1 on several data sets: layouts mapped by joint name, classes by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_action.cli import main
from llm_action.datasets.synthetic import generate_sequence
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.skeleton_io import write_npz
from llm_action.training.data import load_split
from llm_action.training.experiment import load_experiment
from llm_action.training.pretraining import stage_one_sequences


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A prepared folder in another layout: one class of UTD-MHAD's, one of its own."""
    source, out = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("prepared") / "other"
    for label, action in {"Clap": "clapping hands", "bow": "bowing"}.items():
        (source / "train" / label).mkdir(parents=True)
        for subject in (1, 2):
            sequence = generate_sequence(action, subject, view=2, repetition=1)
            write_npz(sequence, source / "train" / label / f"{subject}.npz")
    assert main(["prepare", "folder", "--source", str(source), "--out", str(out), "--workers", "1"]) == 0
    return out


def learned_from(tiny_config, recordings, *settings: str):
    experiment = load_experiment(tiny_config, list(settings))
    split = load_split(experiment, str(recordings))
    return split, stage_one_sequences(experiment, split, SkeletonFeatureExtractor("kinect20", 16))


def test_further_data_sets_come_in_the_models_layout(tiny_config, recordings, other):
    split, (alone, _, count) = learned_from(tiny_config, recordings)
    assert len(alone) == len(split.train) and count == 27
    _, (sequences, classes, count) = learned_from(tiny_config, recordings, f"vqvae.also=[{{dataset: {other}}}]")
    assert {sequence.shape[2] for sequence in sequences} == {20}  # of ntu25's 25
    assert classes[: len(alone)] == list(split.train["label"])
    assert sorted(classes[len(alone) :]) == [split.labels.index("clap")] * 2 + [27] * 2 and count == 28


def test_unseen_classes_stay_unseen_by_name(tiny_config, recordings, other):
    settings = (f"vqvae.also=[{{dataset: {other}}}]", "unseen=[clap]")
    split, (_, classes, _) = learned_from(tiny_config, recordings, *settings)
    assert split.labels.index("clap") not in classes and classes.count(27) == 2


def test_settings(tiny_config):
    with pytest.raises(ValueError, match="also: expected"):
        load_experiment(tiny_config, ["vqvae.also=[{name: utd_mhad}]"])
