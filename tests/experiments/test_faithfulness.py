"""Faithfulness: deleting by interpolation, the share that is deleted, and figures of a trained model."""

import json

import numpy as np
import pytest

from llm_action.cli import main
from llm_action.experiments.faithfulness import (
    faithfulness_lines,
    highest,
    interpolated_frames,
    interpolated_joints,
    measure_faithfulness,
)


def test_a_movement_at_even_speed_loses_nothing_by_interpolation():
    places = np.random.default_rng(0).normal(size=(2, 1, 20, 3))
    speed = np.random.default_rng(1).normal(size=(2, 1, 20, 3))
    even = (places + speed * np.arange(32)[None, :, None, None]).astype(np.float32)
    deleted = np.zeros(32, bool)
    deleted[[3, 4, 5, 20]] = True
    np.testing.assert_allclose(interpolated_frames(even, deleted), even, atol=1e-4)
    np.testing.assert_allclose(interpolated_joints(even, np.ones((2, 20), bool), 0), even, atol=1e-4)


def test_interpolation_changes_what_is_deleted_alone():
    given = np.random.default_rng(0).normal(size=(1, 16, 20, 3)).astype(np.float32)
    deleted = np.zeros(16, bool)
    deleted[[0, 7, 15]] = True
    found = interpolated_frames(given, deleted)
    assert np.array_equal(found[:, ~deleted], given[:, ~deleted])
    np.testing.assert_allclose(found[:, 7], (given[:, 6] + given[:, 8]) / 2, atol=1e-6)
    assert np.array_equal(found[:, 0], given[:, 1]) and np.array_equal(found[:, 15], given[:, 14])
    joints = np.zeros((1, 20), bool)
    joints[0, 5] = True
    kept = interpolated_joints(given, joints, 0)
    assert np.array_equal(np.delete(kept, 5, 2), np.delete(given, 5, 2))
    np.testing.assert_allclose(kept[:, [0, -1], 5], given[:, [0, -1], 5], atol=1e-6)


def test_a_fifth_of_the_places_is_the_highest():
    weights = np.arange(20.0).reshape(2, 10)
    assert highest(weights).sum() == 4 and highest(weights)[1, 6:].all()


def test_a_trained_model_s_figures_and_their_table(tiny_export, recordings, tmp_path, capsys):
    out = tmp_path / "faithfulness.json"
    command = ["faithfulness", str(tiny_export), "--dataset", "utd_mhad", "--data", str(recordings)]
    assert main([*command, "--subjects", "1", "--deleting", "hold", "--limit", "2", "--json", str(out)]) == 0
    measured = json.loads(out.read_text())
    assert measured["n"] == 2 and set(measured["methods"]) == {"motion", "tokens", "gradients"}
    for found in measured["methods"].values():
        for one in found.values():
            assert one["low"] <= one["difference"] <= one["high"]
            assert one["difference"] == pytest.approx(one["lost"] - one["random"])
    assert capsys.readouterr().out.strip() == "\n".join(faithfulness_lines(measured))
    assert main([*command, "--subjects", "77"]) == 2
    assert "expected training subjects" in capsys.readouterr().err


def test_an_unknown_way_of_deleting_is_refused_by_name():
    with pytest.raises(ValueError, match="hold, interpolate, got 'melt'"):
        measure_faithfulness(None, None, "melt")
