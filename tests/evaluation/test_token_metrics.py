"""The figures of an action tokenizer, against hand-computed values and against the tokenizer itself."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from llm_action.cli import main
from llm_action.datasets.synthetic.sequences import build_synthetic
from llm_action.evaluation.token_metrics import (
    _codebook_figures,
    _language_figures,
    context_bits,
    token_metrics,
    word_sample,
)
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


def test_bits_given_context_of_a_chain_of_known_entropy():
    """x_t stays with chance 0.9: H(x_t | both neighbours) by enumeration of the three-step chain."""
    torch.manual_seed(0)
    flips = (torch.rand(40, 500) < 0.1).long()
    codes = flips.cumsum(1) % 2
    stay = {True: 0.9, False: 0.1}
    expected = 0.0
    for before in (0, 1):
        for after in (0, 1):
            joint = [0.5 * stay[before == t] * stay[t == after] for t in (0, 1)]
            expected -= sum(p * math.log2(p / sum(joint)) for p in joint)
    assert context_bits(codes, 2) == pytest.approx(expected, abs=0.01)
    assert _language_figures(codes, 2)["bits"] == pytest.approx(1, abs=0.01)


def test_bits_given_context_of_independent_tokens_are_no_fewer_than_alone():
    torch.manual_seed(0)
    codes = torch.randint(0, 30, (60, 16))  # few: counts learned by heart would seem to say much
    assert 0 < context_bits(codes, 30) - math.log2(30) < 0.1
    assert _language_figures(codes, 30)["bits_given_previous"] < math.log2(30) - 0.5  # as those do
    assert context_bits(codes[:1], 30) == pytest.approx(math.log2(30))  # nothing to learn from


def test_the_word_sample_is_of_the_base_s_embeddings(tiny_base):
    from transformers import AutoModelForCausalLM

    embeddings = AutoModelForCausalLM.from_pretrained(tiny_base).get_input_embeddings().weight.detach().float()
    words = word_sample(tiny_base, seed=3)
    assert words.shape == (min(512, len(embeddings)), embeddings.shape[1])
    rows = (words[:, None] == embeddings).all(-1)
    assert rows.any(1).all() and not torch.equal(words, word_sample(tiny_base, seed=4))


def test_the_zipf_exponent_of_a_zipf_sample():
    ranks = np.arange(1, 201)
    for exponent in (0.8, 1.2):
        counts = np.round(2e4 / (ranks + 2.7) ** exponent).astype(int)
        codes = torch.from_numpy(np.repeat(ranks - 1, counts))[None]
        figures = _language_figures(codes, size=200)
        assert figures["zipf_exponent"] == pytest.approx(exponent, abs=0.02)
    uniform = torch.arange(200).repeat(50)[None]
    assert _language_figures(uniform, size=200)["zipf_divergence"] > figures["zipf_divergence"]


def test_figures_of_a_trained_tokenizer(tiny_export, tiny_base):
    processor = LlmArProcessor.from_pretrained(tiny_export)
    table = build_synthetic(subjects=2, cameras=1).select(range(6))
    words = word_sample(tiny_base, 0)
    figures = token_metrics(processor, table, words)
    sequences = [processor.read(dict(row)) for row in table]
    assert figures["n"] == 6
    assert 0 < figures["reconstruction_error"] < 2
    torso = [processor.feature_extractor.torso_length(sequence) for sequence in sequences]
    assert min(torso) * 900 < figures["reconstruction_error_mm"] / figures["reconstruction_error"] < max(torso) * 1100
    assert 0 <= figures["stable_tokens"] <= 1
    assert figures["perplexity"][0] <= figures["used_codes"][0] <= processor.vqvae.config.codebook_size
    assert figures["bits"] == pytest.approx(math.log2(figures["perplexity"][0]))
    assert sum(figures["rank_counts"]) == 6 * 8 and figures["rank_counts"] == sorted(figures["rank_counts"])[::-1]
    assert figures["mmd"] == pytest.approx(float(mmd_by_hand(processor.vqvae.token_embeddings(), words)), rel=1e-4)


def mmd_by_hand(tokens: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Mean over five kernels of |mean phi(tokens) - mean phi(words)|^2, pair by pair in float64."""
    tokens, words = tokens.detach().double(), words.double()
    everything = torch.cat([tokens, words])
    squared = (everything[:, None] - everything).square().sum(-1)
    scale = squared[len(tokens) :, len(tokens) :].mean()
    weights = torch.cat([torch.full((len(tokens),), 1 / len(tokens)), torch.full((len(words),), -1 / len(words))])
    weights = weights.double()
    kernels = [torch.exp(-squared / scale / width) for width in (0.25, 0.5, 1, 2, 4)]
    return torch.stack([weights @ kernel @ weights for kernel in kernels]).mean()


def test_figures_of_continuous_features(tiny_export):
    processor = LlmArProcessor.from_pretrained(tiny_export)
    table = build_synthetic(subjects=2, cameras=1).select(range(2))
    processor.vqvae.config.geometry = "continuous"
    figures = token_metrics(processor, table)
    assert figures.keys() == {
        "n", "reconstruction_error", "reconstruction_error_mm", "velocity_error", "sequences_per_second"
    }  # fmt: skip


def test_the_command_measures_a_run(tiny_run, recordings, tmp_path, capsys):
    out, plot = tmp_path / "figures.json", tmp_path / "tokens.png"
    command = ["evaluate-vqvae", str(tiny_run), "--data", str(recordings), "--probe-steps", "2", "--json", str(out)]
    command += ["--plot", str(plot)]
    assert main(command) == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["n"] == 12 and 0 <= figures["probe_tokens"] <= 1 and 0 <= figures["probe_joints"] <= 1
    printed = capsys.readouterr().out
    assert "perplexity" in printed and "rank_counts" not in printed
    written = json.loads((tiny_run / "processor" / "metrics.json").read_text(encoding="utf-8"))
    for name in ("bits_given_context", "mmd", "mmd_before"):
        assert figures[name] == pytest.approx(written[name])
    for picture in (plot, tiny_run / "tokens.png"):
        assert Image.open(picture).size > (1000, 400)


def test_the_command_wants_a_run_folder(tmp_path, capsys):
    assert main(["evaluate-vqvae", str(tmp_path)]) == 2
    assert "experiment.yaml is missing" in capsys.readouterr().err
