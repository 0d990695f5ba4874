"""The figures of an action tokenizer, against hand-computed values and against the tokenizer itself."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from llm_action.cli import main
from llm_action.datasets.synthetic import build_synthetic
from llm_action.evaluation.token_metrics import _codebook_figures, _language_figures, token_metrics
from llm_action.modeling.processing_llm_ar import LlmArProcessor


def test_codebook_figures_of_a_known_sentence():
    codes = torch.tensor([[[0], [0], [1], [1]]])  # two codes of four, equally often
    figures = _codebook_figures(codes, size=4)
    assert figures["used_codes"] == [2] and figures["dead_codes"] == [2]
    assert figures["perplexity"] == [pytest.approx(2.0)]


def test_bits_of_a_token_and_of_one_that_follows_from_the_last():
    alternating = torch.tensor([[0, 1] * 500])
    figures = _language_figures(alternating, size=4)
    assert figures["bits"] == pytest.approx(1.0)
    assert figures["bits_given_previous"] < 0.02  # the next token is certain
    torch.manual_seed(0)
    independent = torch.randint(0, 2, (1, 20_000))
    assert _language_figures(independent, size=4)["bits_given_previous"] == pytest.approx(1.0, abs=0.01)


def test_the_zipf_exponent_of_a_zipf_sample():
    ranks = np.arange(1, 201)
    for exponent in (0.8, 1.2):
        counts = np.round(1e6 / (ranks + 2.7) ** exponent).astype(int)
        codes = torch.from_numpy(np.repeat(ranks - 1, counts))[None]
        figures = _language_figures(codes, size=200)
        assert figures["zipf_exponent"] == pytest.approx(exponent, abs=0.02)
    uniform = torch.arange(200).repeat(50)[None]
    assert _language_figures(uniform, size=200)["zipf_divergence"] > figures["zipf_divergence"]


def test_figures_of_a_trained_tokenizer(tiny_export):
    processor = LlmArProcessor.from_pretrained(tiny_export)
    table = build_synthetic(subjects=2, views=1).select(range(6))
    figures = token_metrics(processor, table)
    sequences = [processor.read(dict(row)) for row in table]
    assert figures["n"] == 6
    assert 0 < figures["reconstruction_error"] < 2
    torso = [processor.feature_extractor.torso_length(sequence) for sequence in sequences]
    assert min(torso) * 900 < figures["reconstruction_error_mm"] / figures["reconstruction_error"] < max(torso) * 1100
    assert 0 <= figures["stable_tokens"] <= 1
    assert figures["perplexity"][0] <= figures["used_codes"][0] <= processor.vqvae.config.codebook_size
    assert figures["bits"] == pytest.approx(math.log2(figures["perplexity"][0]))


def test_the_command_measures_a_run(tiny_run, recordings, tmp_path, capsys):
    out = tmp_path / "figures.json"
    command = ["evaluate-vqvae", str(tiny_run), "--data", str(recordings), "--probe-steps", "2", "--json", str(out)]
    assert main(command) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["n"] == 12 and 0 <= figures["probe_tokens"] <= 1 and 0 <= figures["probe_joints"] <= 1
    assert "perplexity" in capsys.readouterr().out


def test_the_command_wants_a_run_folder(tmp_path, capsys):
    assert main(["evaluate-vqvae", str(tmp_path)]) == 2
    assert "experiment.yaml is missing" in capsys.readouterr().err
