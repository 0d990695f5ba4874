"""A recognizer whose weights are sharded by torch's fully_shard trains, resumes and is exported as a whole one is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def rows(tiny_export, recordings, tmp_path_factory) -> Path:
    """Eight prompts with answers of different lengths."""
    prompts = LlmArProcessor.from_pretrained(tiny_export)(sorted(recordings.iterdir())[:8])["input_ids"]
    answers = [[*range(20, 22 + number % 3), 2] for number in range(8)]
    length = max(len(prompt) for prompt in prompts) + 5
    batch = {"input_ids": torch.zeros(8, length, dtype=torch.long)}
    batch |= {"attention_mask": batch["input_ids"].clone(), "labels": torch.full_like(batch["input_ids"], -100)}
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        batch["input_ids"][row, :end] = torch.tensor(prompt + answer)
        batch["attention_mask"][row, :end] = 1
        batch["labels"][row, len(prompt) : end] = torch.tensor(answer)
    file = tmp_path_factory.mktemp("rows") / "rows.safetensors"
    save_file(batch, file)
    return file


@pytest.fixture(scope="module")
def trained(tiny_export, rows, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    script = Path(__file__).with_name("sharded.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, script, tiny_export, rows, folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_losses_are_those_of_one_process(trained):
    single, begun, ended = (json.loads((trained / f"{name}.json").read_text()) for name in ("single", "begun", "ended"))
    assert begun + ended == pytest.approx(single, abs=1e-5)
    assert single[-1] < single[0]


def test_the_checkpoint_is_sharded(trained):
    assert len(list((trained / "checkpoint").glob("*.distcp"))) == 2


def test_the_export_is_whole(trained, rows):
    for part in ("model.safetensors", "adapter/adapter_model.safetensors"):
        sharded, single = (load_file(trained / name / part) for name in ("sharded", "single"))
        assert sharded.keys() == single.keys()
        for name, weight in single.items():
            torch.testing.assert_close(sharded[name], weight, rtol=1e-3, atol=1e-5)
    models = [
        LlmArForActionRecognition.from_pretrained(trained / name, dtype="float32") for name in ("sharded", "single")
    ]
    batch = load_file(rows)
    with torch.no_grad():
        losses = [model(**batch).loss.item() for model in models]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
