"""The vocabulary of a model: counts by hand, distances by the ball's own formula, a page with every token."""

import importlib.util
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from llm_action import LlmArProcessor
from llm_action.cli import main
from llm_action.evaluation.vocabulary import disk_places, vocabulary
from llm_action.hub.token_statistics import TokenStatistics, read_token_statistics, write_token_statistics
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig

_path = Path(__file__).parents[1] / "visualization" / "pages.py"
_spec = importlib.util.spec_from_file_location("pages", _path)
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)


@pytest.fixture(scope="module")
def processor(tiny_export):
    return LlmArProcessor.from_pretrained(tiny_export)


@pytest.fixture(scope="module")
def statistics(tiny_export, processor):
    return read_token_statistics(tiny_export, processor.first_action_id, processor.vqvae.config)


def test_tokens_are_counted_by_class_place_and_neighbour():
    config = ActionVQVAEConfig(num_frames=16, downsample=4)
    sentences = {
        "wave": [[101, 101, 102, 103], [101, 102, 102, 103]],
        "clap": [[103, 102, 103, 104, 7, 101, 101, 101, 101]],
    }
    found = TokenStatistics.gathered(sentences, 100, config)
    assert found.labels == ["wave", "clap"]
    assert {token: dict(use.classes) for token, use in found.tokens.items()} == {
        1: {0: 3, 1: 4},
        2: {0: 3, 1: 1},
        3: {0: 2, 1: 2},
        4: {1: 1},
    }
    assert (found.tokens[2].before, found.tokens[2].after) == (1, 3)
    assert (found.tokens[1].before, found.tokens[4].after) == (-1, -1)


def test_a_training_leaves_them_and_they_are_read_as_written(tiny_export, processor, statistics, tmp_path):
    assert (tiny_export / "training" / "tokens.json").is_file()
    write_token_statistics(statistics, tmp_path)
    again = read_token_statistics(tmp_path, processor.first_action_id, processor.vqvae.config)
    assert again == statistics


def test_without_them_the_rehearsal_is_counted(tiny_export, processor, tmp_path):
    shutil.copy(tiny_export / "rehearsal.json", tmp_path)
    found = read_token_statistics(tmp_path, processor.first_action_id, processor.vqvae.config)
    sentences = json.loads((tmp_path / "rehearsal.json").read_text())["sentences"]
    flat = Counter(token - processor.first_action_id for of in sentences.values() for one in of for token in one)
    assert {token: use.count for token, use in found.tokens.items()} == {k: n for k, n in flat.items() if k >= 0}
    assert read_token_statistics(tmp_path / "nowhere", 0, processor.vqvae.config) is None


def test_entries_are_the_used_tokens_with_their_nearest_others(processor, statistics):
    entries = vocabulary(processor, statistics)
    counts = [entry.count for entry in entries]
    assert counts == sorted(counts, reverse=True)
    assert sum(entry.share for entry in entries) == pytest.approx(1)
    codes = processor.vqvae.codebook.codes[0].detach().double().numpy()
    curvature = processor.vqvae.config.curvature

    def in_ball(code):
        length = math.sqrt(curvature) * np.linalg.norm(code)
        return math.tanh(length) / length * code

    def apart(one, other):  # by arcosh, where the codebook uses arsinh
        x, y = in_ball(codes[one]), in_ball(codes[other])
        ratio = 2 * curvature * ((x - y) ** 2).sum() / ((1 - curvature * x @ x) * (1 - curvature * y @ y))
        return math.acosh(1 + ratio) / math.sqrt(curvature)

    first = entries[0]
    number, used = int(first.name[2:-1]), [int(entry.name[2:-1]) for entry in entries]
    expected = sorted(apart(number, other) for other in used if other != number)[: len(first.neighbours)]
    np.testing.assert_allclose([distance for _, distance in first.neighbours], expected, rtol=1e-3, atol=1e-3)


def test_places_lie_in_the_disk(processor):
    places = disk_places(processor.vqvae)
    assert places.shape == (processor.vqvae.config.num_action_tokens, 2)
    assert (np.linalg.norm(places, axis=1) < 1).all()


def test_the_command_writes_a_page_with_every_used_token(tiny_export, statistics, tmp_path, capsys):
    assert main(["vocabulary", str(tiny_export), "--out", str(tmp_path / "vocabulary.html")]) == 0
    content = pages.check_page(tmp_path / "vocabulary.html")
    assert content.count('<li class="cell"') == len(statistics.tokens)
    assert f"{len(statistics.tokens)} of" in capsys.readouterr().out


def test_a_model_without_either_is_refused_with_a_way_on(tiny_export, tmp_path, capsys):
    bare = tmp_path / "model"
    shutil.copytree(tiny_export, bare)
    (bare / "rehearsal.json").unlink()
    (bare / "training" / "tokens.json").unlink()
    assert main(["vocabulary", str(bare), "--out", str(tmp_path / "vocabulary.html")]) == 2
    assert "training/tokens.json" in capsys.readouterr().err
