"""`dimensions=2`: both stages learn from what cameras see of recordings in three dimensions."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline
from llm_action.config.experiment import load_experiment
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.skeleton_io import read_skeleton
from llm_action.training.train import train

LABELS = {"a3": "wave", "a4": "clap", "a27": "squat"}
# a tiny model learns little: few cameras, no errors
EASY = [f"cameras.{name}={value}" for name, value in
        {"yaw": 0.3, "pitch": 0.05, "roll": 0.05, "offset": 0, "drift": 0, "jitter": 0, "lost": 0}.items()]  # fmt: skip


@pytest.fixture(scope="module")
def model(tiny_config, recordings, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("flat")
    train(load_experiment(tiny_config, ["dimensions=2", *EASY]), str(recordings), out)
    return out / "model"


def test_pixels_are_recognised_and_not_doubted(model, recordings):
    recognize = SkeletonActionRecognitionPipeline(
        model=LlmArForActionRecognition.from_pretrained(model), processor=LlmArProcessor.from_pretrained(model)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecordingWarning)
        right = []
        for subject in (1, 3, 5, 7):
            for number, label in LABELS.items():
                recording = read_skeleton(recordings / f"{number}_s{subject}_t1_skeleton.mat")
                # a camera far in front of the person: x of recordings grows to its left, rows of pictures downwards
                pixels = recording.joints[..., :2] * [-200, -200] + [960, 540]
                for given in (pixels, np.insert(pixels, 2, 0, axis=-1), recording):
                    answer = recognize(given, layout=recording.layout, top_k=1)
                    right.append(answer[0]["label"] == label)
    assert np.mean(right) > 0.6  # one in three by chance


def test_the_model_s_files_say_it(model):
    assert json.loads((model / "vqvae/config.json").read_text())["dimensions"] == 2
    assert json.loads((model / "processor_config.json").read_text())["feature_extractor"]["dimensions"] == 2


def test_other_dimensions_are_refused(tiny_config):
    with pytest.raises(ValueError, match="dimensions: expected 2 or 3, got 4"):
        load_experiment(tiny_config, ["dimensions=4"])
