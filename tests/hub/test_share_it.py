"""The README's "share it", with the pre-trained base model: train, push, lose everything local, recognise by id."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from llm_action.hub.base_models import DEFAULT_BASE_MODEL

A_LITTLE = [
    "vqvae.steps=4",
    "vqvae.probe_steps=0",
    "vqvae.batch_size=8",
    "recognizer.steps=2",
    "recognizer.batch_size=4",
    "recognizer.sentences=0",
]


def a_recording(folder: Path, made_up: Path) -> Path:
    """A real one if there are some, else a made-up one."""
    named = os.environ.get("LLM_ACTION_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
    real = sorted((Path(named) / "ntu_samples").rglob("*.skeleton"))
    file = real[0] if real else made_up / "recording.npz"
    return Path(shutil.copy(file, folder))


@pytest.mark.slow
@pytest.mark.pretrained
@pytest.mark.timeout(900)
def test_share_it(client, clean_client, hub, pretrained_base, recordings, recording, tmp_path):
    run, name = tmp_path / "runs" / "mine", "alice/smol-actions"
    hub.add_folder(DEFAULT_BASE_MODEL, pretrained_base)
    local = {"HF_HOME": str(tmp_path / "home"), "LLM_ACTION_CACHE": str(tmp_path / "cache")}
    mine = {**local, "LLM_ACTION_BASE_MODEL": str(pretrained_base)}
    file = a_recording(tmp_path, recording)

    settings = ["--config", "utd_mhad", "--data", recordings, "--out", run, "--set", *A_LITTLE]
    for arguments in (("train", *settings), ("push", run / "model", name, "--space")):
        done = client.command(*arguments, **mine)
        assert done.status == 0, done.err[-3000:]
    labels = json.loads((run / "model" / "config.json").read_text())["label_names"]
    for folder in (run, tmp_path / "home", tmp_path / "cache"):
        shutil.rmtree(folder, ignore_errors=True)

    answers = tmp_path / "answers.json"
    command = ["recognize", name, str(file), "--json", str(answers)]
    client.fresh(f"from llm_action.cli import main\nassert main({command!r}) == 0", **local)
    (told,) = json.loads(answers.read_text())
    assert told["file"] == str(file) and len(told["ranking"]) == min(5, len(labels))
    assert {entry["label"] for entry in told["ranking"]} <= set(labels)

    without_package = f"""
import json
import numpy as np
from transformers import pipeline
recognize = pipeline("skeleton-action-recognition", model={name!r}, trust_remote_code=True)
print(json.dumps(recognize(np.load({str(recording / "recording.npy")!r}), layout="kinect20", top_k=None)))
"""
    ranking = clean_client.fresh(without_package, **local).json
    assert {entry["label"] for entry in ranking} == set(labels)
    assert np.isclose(sum(entry["score"] for entry in ranking), 1)
    assert any("SmolLM2" in line and "/resolve/" in line for line in hub.requests), "the base came from the Hub"
