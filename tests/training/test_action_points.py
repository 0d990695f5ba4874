"""Action points end to end: annotated, prepared, learned by a student, found in long takes whose points are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_action.cli import main
from llm_action.config.experiment import load_experiment
from llm_action.datasets import open_dataset
from llm_action.datasets.split import augmentation_of, load_split
from llm_action.evaluation.recordings import Recordings, feature_extractor
from llm_action.evaluation.segments import action_point_counts, f1
from llm_action.evaluation.trunk_classifier import fit_averaged, label_loss, student_config
from llm_action.modeling.segmentation import Segmentation
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.student import ActionStudent
from llm_action.modeling.student_recognizer import StudentRecognizer
from tests.skeleton_io.motion import motion

FPS = 25.0
ARM = {label: [get_layout("kinect20").index(f"{side}_{joint}") for joint in ("elbow", "wrist", "hand")]
       for label, side in (("lift right", "right"), ("drop left", "left"))}  # fmt: skip
POINT = {"lift right": 0.6, "drop left": 1.2}  # seconds from the beginning: at the top, and when the arm is down again
SECONDS = 1.2


def take(seed: int, labels: tuple[str, ...], seconds: float = 30.0) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """(1, frames, 20, 3) metres and the action points: an arm rises and falls, again and again after pauses."""
    rng = np.random.default_rng(seed)
    joints = motion("kinect20", 1).repeat(round(seconds * FPS), 0) * rng.uniform(0.9, 1.1)
    points, start, clock = [], rng.uniform(1, 2), np.arange(len(joints)) / FPS
    while start + SECONDS < seconds - 1:
        label = labels[rng.integers(len(labels))]
        way = np.clip((clock - start) / SECONDS, 0, 1)
        joints[:, ARM[label]] += (np.sin(np.pi * way) ** 2)[:, None, None] * [0, 0.7, -0.2]
        points.append((start + POINT[label], label))
        start += SECONDS + rng.uniform(0.6, 1.8)
    return (joints + rng.normal(0, 0.005, joints.shape))[None].astype(np.float32), points


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("takes")
    lines = ["path,label,point,subject,split"]
    for number in range(8):
        joints, points = take(number, tuple(ARM))
        np.savez(folder / f"{number}.npz", joints=joints, layout="kinect20", fps=FPS, up="y", unit="m")
        part = "test" if number == 7 else "train"
        lines += [f"{number}.npz,{label},{point:.3f},{number},{part}" for point, label in points]
    (folder / "list.csv").write_text("\n".join(lines))
    arguments = ["--csv", str(folder / "list.csv"), "--out", str(folder / "out"), "--workers", "1"]
    assert main(["prepare", "folder", "--source", str(folder), *arguments]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def student(prepared):
    settings = [f"dataset={prepared}", "augmentation.yaw=0.3", "vqvae.model.num_frames=32"]
    experiment = load_experiment("utd_mhad", settings)
    split = load_split(experiment, None)
    recordings = Recordings(experiment, split, feature_extractor(experiment))
    torch.manual_seed(0)
    student = ActionStudent(replace(student_config(recordings, "small"), widths=[16, 24], hidden_size=32))
    batches = ((*seen, {}, targets) for *seen, targets in recordings.augmented(32, 160))
    return fit_averaged(student, batches, 160, label_loss)


def test_the_middle_of_a_window_stays_in_the_middle(prepared):
    experiment = load_experiment("utd_mhad", [f"dataset={prepared}"])
    assert open_dataset(prepared)[0].point_window == load_split(experiment, None).point_window == 1.5
    ranges = augmentation_of(experiment)
    assert ranges.shortest_crop >= 0.9 and ranges.speed <= 0.2 and ranges.yaw == experiment.augmentation.yaw
    assert augmentation_of(load_experiment("utd_mhad")) == load_experiment("utd_mhad").augmentation


def test_points_and_whole_actions_are_not_mixed(prepared):
    settings = [f"dataset={prepared}", "extra_datasets=[{dataset: synthetic}]"]
    with pytest.raises(ValueError, match="action points alone or of whole actions alone"):
        load_split(load_experiment("utd_mhad", settings), None)


def test_points_are_found_wherever_in_the_movement_they_lie(student, tmp_path):
    student.save_pretrained(tmp_path)
    recognize, total = StudentRecognizer.from_pretrained(tmp_path), np.zeros(3, int)
    for seed in (100, 101):
        joints, points = take(seed, tuple(ARM))
        found = recognize.segment(SkeletonSequence(joints, "kinect20", FPS))
        assert all(one["label"] in ARM and one["start"] <= one["peak"] <= one["end"] for one in found)
        total += action_point_counts([(one["peak"], one["label"]) for one in found], points)
    assert f1(*total) > 0.9, total


def test_the_command_counts_the_points_of_a_list(student, prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLM_ACTION_LEDGER", str(tmp_path / "ledger.jsonl"))
    student.save_pretrained(tmp_path / "model")
    listing = prepared.parent / "list.csv"
    command = ["benchmark", "points", str(tmp_path / "model"), "--fast", "--csv", str(listing)]
    assert main([*command, "--json", str(tmp_path / "counts.json")]) == 0
    one, total = json.loads((tmp_path / "counts.json").read_text())
    tested = sum(line.endswith(",test") for line in listing.read_text().splitlines())
    assert one["recording"] == "7.npz" and one["right"] + one["missed"] == tested and total["f1"] > 0.8
    assert f"1 recordings: F1 {total['f1']:.3f} within 0.333 s, {one['right']} right" in capsys.readouterr().out
    entry = json.loads((tmp_path / "ledger.jsonl").read_text())
    assert entry["protocol"] == "action points" and entry["model"] and entry["figures"]["right"] == one["right"]
    (tmp_path / "spans.csv").write_text(f"path,label,start,end\n{prepared.parent / '7.npz'},lift right,1,2\n")
    assert main([*command[:-1], str(tmp_path / "spans.csv")]) == 2
    assert "expected a column point" in capsys.readouterr().err


def test_the_language_model_and_its_student_are_asked_through_windows_of_points(prepared, tiny_config, tmp_path):
    from transformers import pipeline

    settings = ["--set", f"dataset={prepared}", "vqvae.steps=20", "recognizer.steps=10", "--out", str(tmp_path / "run")]
    assert main(["train", "--config", str(tiny_config), *settings]) == 0
    model = tmp_path / "run" / "model"
    assert main(["distill", str(model), "--data", str(prepared), "--steps", "10"]) == 0
    assert StudentRecognizer.from_pretrained(model).student.config.point_window == 1.5
    recognize = pipeline("skeleton-action-recognition", model=str(model))
    assert recognize.model.config.point_window == 1.5 and recognize.model.config.background_label == "nothing"
    joints, _ = take(100, tuple(ARM), 5.0)
    sequence = SkeletonSequence(joints, "kinect20", FPS)
    asked = recognize.segment(sequence, Segmentation.of_model(1.5))
    assert recognize.segment(sequence) == asked  # those windows are the default of such a model
