"""Data parallelism on two processes (gloo): one codebook, and what one process learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

STEPS = 12
SETTINGS = [
    f"vqvae.steps={STEPS}",
    "vqvae.save_steps=100",
    "vqvae.zipf_weight=0.1",
    "vqvae.mmd_weight=0.1",
    "vqvae.context_weight=0.1",
]


@pytest.fixture(scope="module")
def trained(tiny_config: Path, recordings: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("two_ranks.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, script, tiny_config, recordings, folder, *SETTINGS]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_two_ranks_end_with_one_codebook_bit_for_bit(trained):
    first, second = (load_file(trained / f"two{rank}.safetensors") for rank in (0, 1))
    assert {"vqvae.codebook.codes", "codebook_learner.usage", "codebook_learner.sums"} <= first.keys() == second.keys()
    differ = [name for name in first if not torch.equal(first[name], second[name])]
    # what normalisation saw in the last step is each rank's own: the others take over the first one's, which is saved,
    # when the next step begins
    assert [name for name in differ if not name.endswith(("running_mean", "running_var"))] == []
    saved = load_file(trained / "two" / "processor" / "vqvae" / "model.safetensors")
    assert torch.equal(saved["codebook.codes"], first["vqvae.codebook.codes"])


def test_two_ranks_learn_what_one_process_does_with_the_same_batches(trained):
    two, one = (json.loads((trained / name / "processor" / "metrics.json").read_text()) for name in ("two", "one"))
    losses = [[entry["loss"] for entry in run["loss"] if "loss" in entry] for run in (two, one)]
    assert len(losses[1]) == STEPS
    assert losses[0] == pytest.approx(losses[1], rel=0.05)  # dropout and the codes' first draw differ
    for name in ("reconstruction_error", "velocity_error"):
        assert two[name] == pytest.approx(one[name], rel=0.05), name
