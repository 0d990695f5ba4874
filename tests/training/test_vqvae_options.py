"""Stage 1 from a configuration alone: where its figures go, and its options from the table to the processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from llm_action.config.experiment import load_experiment
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.train_vqvae import train_vqvae

SHORT = ["vqvae.steps=3", "vqvae.save_steps=100"]


def trained(tiny_config: Path, recordings: Path, out: Path, *overrides: str) -> dict:
    train_vqvae(load_experiment(tiny_config, [*SHORT, *overrides]), str(recordings), out)
    return json.loads((out / "processor" / "metrics.json").read_text(encoding="utf-8"))


def test_figures_are_reported_before_the_reporter_is_closed(tiny_config, recordings, tmp_path, monkeypatch):
    class Recorder(TrainerCallback):
        logged, closed = {}, False

        def on_log(self, args, state, control, logs=None, **kwargs):
            assert not self.closed
            self.logged.update(logs)

        def on_train_end(self, args, state, control, **kwargs):
            Recorder.closed = True

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "recorder", Recorder)
    overrides = ["report_to=recorder", "vqvae.zipf_weight=0.1"]
    written = trained(tiny_config, recordings, tmp_path, *overrides)
    assert Recorder.closed
    names = ("bits", "bits_given_context", "mmd", "mmd_before", "zipf_divergence", "reconstruction_error_mm")
    for name in (*names, "training_perplexity", "training_zipf_divergence"):
        assert Recorder.logged[f"tokens/{name}"] == written[name]
    assert not any(name.startswith("tokens/") for entry in written["loss"] for name in entry)
    assert (tmp_path / "tokens.png").is_file()


def test_unknown_reporters_are_refused(tiny_config, recordings, tmp_path):
    with pytest.raises(ValueError, match="carrier_pigeon"):
        trained(tiny_config, recordings, tmp_path, "report_to=carrier_pigeon")


def test_continuous_features_by_configuration(tiny_config, recordings, tmp_path):
    overrides = ["vqvae.model.geometry=continuous", "augmentation.speed=0.3"]
    written = trained(tiny_config, recordings, tmp_path, *overrides)
    assert written["reconstruction_error"] > 0 and not {"perplexity", "bits", "mmd", "mmd_before"} & written.keys()
    processor = LlmArProcessor.from_pretrained(tmp_path / "processor")
    assert processor.vqvae.config.geometry == "continuous"


def test_probes_and_body_parts_by_configuration(tiny_config, recordings, tmp_path):
    parts = ["vqvae.model.body_parts=true", "vqvae.model.downsample=4"]
    written = trained(tiny_config, recordings, tmp_path, *parts, "vqvae.context_weight=0.1", "vqvae.probe_steps=3")
    assert 0 <= written["probe_tokens"] <= 1 and 0 <= written["probe_joints"] <= 1
    processor = LlmArProcessor.from_pretrained(tmp_path / "processor")
    sentence = processor.encode(str(next(recordings.glob("*.mat"))))
    assert len(sentence) == 4 * 5  # 16 frames
    assert processor.decode(sentence).joints.shape == (1, 16, 20, 3)


def test_a_training_shorter_than_a_probe_is_not_probed_and_says_so(tiny_config, recordings, tmp_path, capsys):
    written = trained(tiny_config, recordings, tmp_path, "vqvae.probe_steps=400")
    assert "probe_tokens" not in written and written["reconstruction_error"] > 0
    assert "tokens are not probed: that takes 400 steps (vqvae.probe_steps)" in capsys.readouterr().err
