"""Learning curves of a run, and pictures of mistakes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from llm_action.cli import main
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.visualization import Mistake, plot_mistakes, plot_run


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    terms = [{"step": k, "loss": 2 / k, "zipf": 1 / k, "mmd": -0.1, "learning_rate": 1e-3} for k in range(1, 20)]
    (folder / "processor").mkdir(parents=True)
    (folder / "processor" / "metrics.json").write_text(json.dumps({"loss": terms, "bits": 7.0}))
    return folder


def test_a_panel_a_finished_stage(run, tmp_path, capsys):
    one = pixels(plot_run(run, tmp_path / "one.png"))
    (run / "recognizer").mkdir()
    (run / "recognizer" / "history.json").write_text(
        json.dumps([{"step": 5, "loss": 1.0}, {"step": 9, "loss": 0.2}, {"step": 9, "train_loss": 0.6}])
    )
    assert main(["learning-curves", str(run), str(tmp_path / "two.png")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "two.png")
    assert len(pixels(tmp_path / "two.png")) == 2 * len(one)
    assert (one.sum(-1) < 600).sum() > 500


def test_a_run_that_has_finished_nothing(tmp_path, capsys):
    assert main(["learning-curves", str(tmp_path), str(tmp_path / "a.png")]) == 2
    assert "run folder" in capsys.readouterr().err


def test_mistakes_are_rows_of_two_strips(tmp_path):
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(1, 1, 20, 3)) + np.linspace(0, 1, 30)[None, :, None, None]
    one = Mistake("waving", "clapping", 3, 0.5, *(SkeletonSequence(joints, "kinect20") for _ in range(2)))
    picture = pixels(plot_mistakes([one, one], tmp_path / "mistakes.png", frames=4))
    assert picture.shape == (2 * 144, 2 * 4 * 120 + 36, 3)
    left, right = picture[24:144, : 4 * 120], picture[24:144, 4 * 120 + 36 :]
    assert (left == right).all() and (left.sum(-1) < 500).sum() > 400
    with pytest.raises(ValueError, match="0 mistakes"):
        plot_mistakes([], tmp_path / "none.png")
