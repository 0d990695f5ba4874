"""Recordings of foreign conventions, with the option that names it, are what they are in the package's own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from llm_action.cli import main
from llm_action.datasets import open_dataset, row_to_sequence
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE, ActionVQVAEConfig
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.skeleton_io import write_npz
from llm_action.training.adapt import Adaptation, read_examples

ACTIONS = {"wave": "waving a hand", "bow": "bowing"}
SUBJECTS = (1, 2)
LOST = -5.0  # a mark of missing joints that nobody would guess


def without_some_joints(joints: np.ndarray) -> np.ndarray:
    joints = joints.copy()
    joints[:, 5:9, 7] = np.nan
    return joints


def marked(joints: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(joints), LOST, joints)


# How (persons, frames, joints, 3) are written, and the options that say so: y up, metres, right-handed are native.
WRITTEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "layout": (lambda joints: joints[0], {}),
    "axes": (lambda joints: joints.transpose(3, 1, 2, 0), {"axes": "CTVM"}),
    "up": (lambda joints: np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1), {"up": "z"}),
    "down": (lambda joints: joints * [-1, -1, 1], {"up": "-y"}),
    "unit": (lambda joints: joints * 1000, {"unit": "mm"}),
    "missing": (marked, {"missing": LOST}),
    "mirrored": (lambda joints: joints * [1, 1, -1], {"mirrored": True}),
}


def write(folder: Path, written: Any = None) -> Path:
    """One folder a class; native `.npz`, or arrays as `written` makes them."""
    for label, action in ACTIONS.items():
        (folder / label).mkdir(parents=True)
        for subject in SUBJECTS:
            sequence = generate_sequence(action, subject, camera=2, repetition=1)
            sequence.joints = without_some_joints(sequence.joints)
            if written is None:
                write_npz(sequence, folder / label / f"{subject}.npz")
            else:
                np.save(folder / label / f"{subject}.npy", written(sequence.joints.astype(np.float64)))
    return folder


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def processor(tiny_base) -> LlmArProcessor:
    torch.manual_seed(0)
    config = ActionVQVAEConfig(
        layout="ntu25", num_frames=16, codebook_size=32, code_dim=6, embedding_dim=64, hidden_size=16, num_layers=1,
        num_heads=2,
    )  # fmt: skip
    extractor = SkeletonFeatureExtractor("ntu25", num_frames=16)
    return LlmArProcessor(extractor, AutoTokenizer.from_pretrained(tiny_base), ActionVQVAE(config))


@pytest.mark.parametrize("kind", WRITTEN)
def test_adapt_learns_from_the_same_sentences(native, processor, tmp_path, kind):
    written, options = WRITTEN[kind]
    foreign = write(tmp_path / "foreign", written)
    few = Adaptation(sentences=1)
    expected = read_examples(native, processor, None, few)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecordingWarning)  # what is said is not doubted
        found = read_examples(foreign, processor, "ntu25", few, **options)
    assert found.sentences == expected.sentences
    for label, features in expected.features.items():
        np.testing.assert_allclose(found.features[label], features, atol=1e-4)


@pytest.mark.parametrize("kind", WRITTEN)
def test_prepare_writes_the_same_table(native, tmp_path, kind):
    written, options = WRITTEN[kind]
    foreign = write(tmp_path / "foreign", written)
    said = ["--layout", "ntu25"]
    for name, value in options.items():
        said += [f"--{name}"] if value is True else [f"--{name}={value}"]
    tables = []
    for source, options_of in ((native, []), (foreign, said)):
        out = tmp_path / f"prepared_{source.name}"
        arguments = ["prepare", "folder", "--source", str(source), "--out", str(out), "--workers", "1", *options_of]
        assert main(arguments) == 0
        assert not (out / "doubtful.csv").exists()
        tables.append([row_to_sequence(row) for row in open_dataset(out)[1].with_format("numpy")])
    for expected, found in zip(*tables, strict=True):
        np.testing.assert_allclose(found.joints, expected.joints, atol=1e-5)
