"""The demo where no source of the base model answers, on a shrunken data set."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from llm_action import demo
from llm_action.config.experiment import load_experiment
from llm_action.datasets.synthetic import sequences as synthetic

SHRUNKEN = ["dataset=synthetic", "base_model=null", "vqvae.steps=4", "recognizer.steps=4", "recognizer.sentences=0"]


@pytest.fixture
def no_base(monkeypatch, tiny_config):
    def resolve(name=None):
        raise OSError("base model could not be had from any source")

    monkeypatch.setattr(demo, "resolve_base_model", resolve)
    smaller = partial(synthetic.build_synthetic, subjects=2, cameras=1)
    monkeypatch.setattr(synthetic, "build_synthetic", smaller)

    def shrunken(config):
        if config == "synthetic":
            experiment = load_experiment(tiny_config, SHRUNKEN)
            experiment.base_model = None
            return experiment
        return load_experiment(config)

    monkeypatch.setattr(demo, "load_experiment", shrunken)


@pytest.mark.slow
def test_without_a_base_model_it_says_so_and_goes_on_with_a_tiny_one(no_base, tmp_path, capfd):
    out = tmp_path / "demo"
    demo.run_demo(out)
    said = capfd.readouterr().out
    assert "could not be had from any source" in said and "tiny random LLaMA" in said
    assert str(out) in said.splitlines()[-1]

    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n"] == 20 and 0 <= metrics["top1"] <= metrics["top5"] <= 1
    assert metrics["pretrained"] is False
    assert {"base_model", "data", "train_vqvae", "train_recognizer", "evaluate"} <= set(metrics["seconds"])
    assert Image.open(out / "confusion.png").size[0] > 100
    assert Image.open(out / "reconstruction.gif").is_animated
    assert (out / "model" / "config.json").is_file()

    files = sorted((out / "sequences").iterdir())
    named = [line for line in said.splitlines() if line.startswith(str(out / "sequences"))]
    assert len(files) == len(named) == 6  # by the new process
    assert {line.split(": ")[0] for line in named} == {str(file) for file in files}


def test_a_run_of_other_settings_is_not_gone_on_with(no_base, tmp_path, monkeypatch):
    resumed: list[bool] = []

    def stop(experiment, data, out: Path, resume: bool):
        resumed.append(resume)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "train", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            demo.run_demo(tmp_path)
    record = tmp_path / "experiment.yaml"
    record.write_text(record.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path)
    assert resumed == [False, True, False]
