"""Hands in a layout of one's own: prepared, trained, drawn, exported, and read with the layout that the model keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline, read_skeleton
from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.modeling.skeleton_layouts import LAYOUTS
from llm_action.training.train import train

FINGERS = ("thumb", "index", "middle", "ring", "little")
# the order of First-Person Hand Action: wrist, the five knuckles, then the rest of each finger
_CHAIN = ("mcp", "pip", "dip", "tip")
_BONES = {f"{finger}_{part}": f"{finger}_{above}" for finger in FINGERS for above, part in pairwise(_CHAIN)}
LAYOUT = {
    "name": "first_person21",
    "joints": ["wrist", *(f"{finger}_mcp" for finger in FINGERS), *_BONES],
    "parents": {**{f"{finger}_mcp": "wrist" for finger in FINGERS}, **_BONES},
}
ACTIONS = ("fist", "point", "turn")
# a tiny model learns little: more steps, fewer random changes
EASY = [
    "vqvae.steps=160", "recognizer.steps=120", "recognizer.sentences=4", "augmentation.shortest_crop=0.9",
    "augmentation.yaw=0.2", "augmentation.pitch=0.2", "augmentation.limb_scale=0", "augmentation.stretch=0.05",
]  # fmt: skip


def hand(action: str, person: int, frames: int = 24) -> np.ndarray:
    """(frames, 21, 3) metres: a hand does something, as one of many people with noise."""
    rng = np.random.default_rng((ACTIONS.index(action), person))
    time = np.linspace(0, 1, frames) ** rng.uniform(0.7, 1.4)
    size = rng.uniform(0.85, 1.15)
    joints = np.zeros((frames, 21, 3))
    for number, finger in enumerate(FINGERS):
        bent = action == "fist" or (action == "point" and finger != "index")
        curl = (1.2 * time if bent else np.zeros(frames)) + 0.1
        place = np.repeat([[0.025 * (number - 2), 0.08, 0.0]], frames, axis=0)
        joints[:, 1 + number] = place
        for part in range(3):
            angle = curl * (part + 1)
            place = place + 0.03 * np.stack([0 * angle, np.cos(angle), -np.sin(angle)], axis=-1)
            joints[:, 6 + 3 * number + part] = place
    if action == "turn":
        turn = np.pi * time
        x, z = joints[..., 0].copy(), joints[..., 2].copy()
        joints[..., 0] = x * np.cos(turn)[:, None] - z * np.sin(turn)[:, None]
        joints[..., 2] = x * np.sin(turn)[:, None] + z * np.cos(turn)[:, None]
    return size * (joints + rng.normal(0, 0.001, joints.shape)) + rng.normal(0, 0.2, 3)


@pytest.fixture(scope="module")
def layout_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("layout") / "first_person.json"
    file.write_text(json.dumps(LAYOUT))
    return file


@pytest.fixture(scope="module")
def model(tiny_config, layout_file, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hands")
    for action in ACTIONS:
        (folder / "raw" / action).mkdir(parents=True)
        for person in range(12):
            np.save(folder / "raw" / action / f"{person}.npy", hand(action, person))
    source, data = str(folder / "raw"), str(folder / "data")
    said = ["--layout", str(layout_file), "--workers", "1"]
    assert main(["prepare", "folder", "--source", source, "--out", data, *said]) == 0
    assert not (folder / "data" / "doubtful.csv").exists()
    train(load_experiment(tiny_config, [f"dataset={data}", *EASY]), None, folder / "run")
    LAYOUTS.pop(LAYOUT["name"], None)
    return folder / "run" / "model"


def test_hands_of_new_people_are_recognised_with_the_layout_that_the_model_keeps(model):
    recognize = SkeletonActionRecognitionPipeline(
        model=LlmArForActionRecognition.from_pretrained(model), processor=LlmArProcessor.from_pretrained(model)
    )
    answers = [
        (recognize(hand(action, person), layout=LAYOUT["name"], top_k=1)[0]["label"], action)
        for action in ACTIONS
        for person in range(20, 26)
    ]
    assert np.mean([found == wanted for found, wanted in answers]) > 0.8


def test_the_model_s_files_and_card_say_the_layout(model):
    kept = json.loads((model / "processor_config.json").read_text())["feature_extractor"]["own_layout"]
    assert kept["name"] == LAYOUT["name"] and kept["joints"] == LAYOUT["joints"]
    assert LAYOUT["name"] in (model / "README.md").read_text()


def test_a_new_process_reads_the_file_and_draws_it(model, layout_file, tmp_path):
    np.save(tmp_path / "fist.npy", hand("fist", 30))
    said = ["--layout", str(layout_file)]
    command = [sys.executable, "-m", "llm_action.cli", "recognize", str(model), str(tmp_path / "fist.npy"), *said]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and ": fist" in done.stdout, done.stderr
    sequence = read_skeleton(tmp_path / "fist.npy", layout=str(layout_file))
    assert sequence.joints.shape == (1, 24, 21, 3)
    assert main(["render", str(tmp_path / "fist.npy"), "--out", str(tmp_path / "fist.gif"), *said]) == 0
    assert (tmp_path / "fist.gif").stat().st_size > 1000
