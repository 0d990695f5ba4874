"""Both stages on two and four processes (gloo) learn what one does, also where their number changes on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STEPS = 12


@pytest.fixture(scope="module")
def trained(tiny_config: Path, recordings: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    script = Path(__file__).with_name("several_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, script, tiny_config, recordings, folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def losses(history: list[dict]) -> list[float]:
    return [entry["loss"] for entry in history if "loss" in entry]


@pytest.mark.parametrize("run", ("2", "4", "2to4", "4to1"))
def test_stage_1(trained, run):
    """The first draw of the codes is by chance, and each process has its own."""
    found, expected = (
        losses(json.loads((trained / name / "processor" / "metrics.json").read_text())["loss"]) for name in (run, "1")
    )
    assert len(found) == len(expected) == STEPS
    assert found == pytest.approx(expected, rel=0.05)
    assert found[-1] < 0.9 * found[0]


@pytest.mark.parametrize("run", ("2", "4", "2to4", "4to1"))
def test_stage_2(trained, run):
    """The same examples in the same order: only the order of sums differs."""
    found, expected = (
        losses(json.loads((trained / name / "recognizer" / "history.json").read_text())) for name in (run, "1")
    )
    assert len(found) == len(expected) == STEPS
    assert found == pytest.approx(expected, rel=1e-3)
    assert found[-1] < found[0]
    weights, single = (load_file(trained / name / "model" / "model.safetensors") for name in (run, "1"))
    for name, weight in single.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-2, atol=1e-3)
