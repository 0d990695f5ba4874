"""Training on several data sets: layouts mapped by joint name, classes by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets import BENCHMARKS
from llm_action.datasets.augmentation import normalized
from llm_action.datasets.descriptions import load_descriptions
from llm_action.datasets.split import described_labels, load_split
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.label_descriptions import LabelDescription
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.skeleton_io import write_npz
from llm_action.training.rehearsal import read_rehearsal
from llm_action.training.train import train


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A prepared folder in another layout: one class of UTD-MHAD's, one of its own."""
    source, out = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("prepared") / "other"
    for label, action in {"Clap": "clapping hands", "bow": "bowing"}.items():
        (source / "train" / label).mkdir(parents=True)
        for subject in (1, 2):
            sequence = generate_sequence(action, subject, camera=2, repetition=1)
            write_npz(sequence, source / "train" / label / f"{subject}.npz")
    assert main(["prepare", "folder", "--source", str(source), "--out", str(out), "--workers", "1"]) == 0
    return out


def split_of(tiny_config, recordings, *settings: str):
    experiment = load_experiment(tiny_config, list(settings))
    return experiment, load_split(experiment, str(recordings))


def test_further_training_parts_come_with_their_classes(tiny_config, recordings, other):
    _, alone = split_of(tiny_config, recordings)
    _, split = split_of(tiny_config, recordings, f"extra_datasets=[{{dataset: {other}}}]")
    assert len(alone.labels) == 27 and split.labels == [*alone.labels, "bow"]
    classes, clap = list(split.train["label"]), split.labels.index("clap")
    assert classes[: len(alone.train)] == list(alone.train["label"])
    assert sorted(classes[len(alone.train) :]) == [clap] * 2 + [27] * 2
    assert list(split.test["label"]) == list(alone.test["label"]) and split.test["name"] == alone.test["name"]
    sequences = normalized(split.train, SkeletonFeatureExtractor("kinect20", 16), "")
    assert {sequence.shape[2] for sequence in sequences} == {20}  # of ntu25's 25


def test_a_further_data_set_is_found_by_its_name_beside_the_first(tiny_config, recordings, other, tmp_path):
    """A shared model's record has names alone, no folders of the machine that trained it."""
    (tmp_path / "utd_mhad").symlink_to(recordings)
    (tmp_path / "other").symlink_to(other)
    _, split = split_of(tiny_config, recordings, f"extra_datasets=[{{dataset: {other}}}]")
    experiment = load_experiment(tiny_config, ["extra_datasets=[{dataset: other}]"])
    found = load_split(experiment, str(tmp_path / "utd_mhad"))
    assert found.labels == split.labels and found.train["name"][:] == split.train["name"][:]


def test_unseen_classes_stay_unseen_by_name(tiny_config, recordings, other):
    _, split = split_of(tiny_config, recordings, f"extra_datasets=[{{dataset: {other}}}]", "unseen=[clap]")
    classes = list(split.train["label"])
    assert split.labels.index("clap") not in classes and classes.count(27) == 2
    assert "clap" not in split.trained_labels and split.trained_labels[-1] == "bow"


def test_both_stages_learn_them(tiny_config, recordings, other, tmp_path):
    settings = (f"extra_datasets=[{{dataset: {other}}}]", "vqvae.steps=2", "recognizer.steps=2")
    train(load_experiment(tiny_config, list(settings)), str(recordings), tmp_path)
    model = LlmArForActionRecognition.from_pretrained(tmp_path / "model")
    assert model.config.label_names[-1] == "bow" and len(model.config.label_names) == 28
    assert set(read_rehearsal(tmp_path / "model").sentences) >= {"clap", "bow"}


def test_labels_are_described_as_in_the_first_data_set_that_has_them(tiny_config):
    utd, msr = (load_descriptions(BENCHMARKS[name].labels, [name]) for name in ("utd_mhad", "msr_action3d"))
    both = load_experiment(tiny_config, ["extra_datasets=[{dataset: msr_action3d, data: anywhere}]"])
    found = described_labels(both, ["draw x", "side kick", "bow"])
    assert utd["draw x"] != msr["draw x"], "else this shows nothing"
    assert found == {"draw x": utd["draw x"], "side kick": msr["side kick"], "bow": LabelDescription()}
    alone = described_labels(load_experiment(tiny_config), ["draw x", "side kick"])
    assert alone == {name: found[name] for name in alone}, "known from the other data sets' files, too"


def test_settings(tiny_config):
    with pytest.raises(ValueError, match="extra_datasets: expected"):
        load_experiment(tiny_config, ["extra_datasets=[{name: utd_mhad}]"])
