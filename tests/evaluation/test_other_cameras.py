"""Recordings as other cameras would have seen them, and a model's accuracy on those."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from llm_action.cli import main
from llm_action.evaluation.other_cameras import MOST_TILT, from_elsewhere
from llm_action.modeling.skeleton_sequence import SkeletonSequence


@pytest.fixture
def recording() -> SkeletonSequence:
    joints = np.random.default_rng(0).normal((0.5, 1.0, 3.0), 1.0, (2, 7, 20, 3))
    joints[0, 3, 5] = np.nan
    return SkeletonSequence(joints.astype(np.float32), "kinect20", 30.0, name="somebody")


def test_the_body_stays_and_the_vertical_tilts_within_the_range(recording):
    tilts, headings = [], []
    for seed in range(200):
        moved = from_elsewhere(recording, np.random.default_rng(seed)).joints
        assert np.array_equal(np.isnan(moved), np.isnan(recording.joints))
        before, after = recording.joints[1, 0], moved[1, 0]
        for a, b in pairwise(range(20)):
            assert np.linalg.norm(after[a] - after[b]) == pytest.approx(np.linalg.norm(before[a] - before[b]), rel=1e-4)
        turn = np.linalg.lstsq(before - before.mean(0), after - after.mean(0), rcond=None)[0].T
        assert np.linalg.det(turn) == pytest.approx(1, abs=1e-3)  # no mirror image
        tilts.append(np.degrees(np.arccos(turn[1, 1])))
        headings.append(np.arctan2(turn[0, 2], turn[0, 0]))
    assert max(tilts) <= MOST_TILT + 0.1 and max(tilts) > 0.9 * MOST_TILT
    assert np.histogram(headings, 4, (-np.pi, np.pi))[0].min() > 25  # all around


def test_pictures_cannot_be_turned():
    flat = SkeletonSequence(np.random.default_rng(0).uniform(0, 500, (1, 4, 20, 2)), "kinect20", name="clip")
    with pytest.raises(ValueError, match="clip: expected joints in three dimensions"):
        from_elsewhere(flat, np.random.default_rng(0))


def test_the_command_gives_a_figure_a_draw_and_enters_each(tiny_export, recordings, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLM_ACTION_LEDGER", str(tmp_path / "ledger.jsonl"))
    command = ["evaluate", str(tiny_export), "--dataset", "utd_mhad", "--data", str(recordings)]
    assert main([*command, "--other-cameras", "2", "--json", str(tmp_path / "metrics.json")]) == 0
    figures = json.loads((tmp_path / "metrics.json").read_text())["top1_from_other_cameras"]
    assert len(figures) == 2 and all(0 <= one <= 1 for one in figures)
    assert f"from other cameras: top-1 {np.mean(figures):.1%} (" in capsys.readouterr().out
    entries = [json.loads(line)["command"] for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [entry.rpartition(", other cameras, ")[2] for entry in entries[1:]] == ["draw 0", "draw 1"]
    assert main([*command, "--other-cameras", "0"]) == 2
    assert "--other-cameras: expected 1 draw or more, got 0" in capsys.readouterr().err
