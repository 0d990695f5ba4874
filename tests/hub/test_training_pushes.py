"""A training that pushes to the Hub: both stages, our card, nothing that is a pickle."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import ModelCard
from transformers import AutoProcessor

STEPS = ["vqvae.steps=4", "vqvae.save_steps=2", "recognizer.steps=4", "recognizer.save_steps=2"]


@pytest.fixture(scope="module")
def run(client, hub, tiny_config, recordings, tmp_path_factory):
    """The run folder of a training whose every checkpoint went to alice/trained."""
    out = tmp_path_factory.mktemp("trained")
    settings = [f"base_model={'base-org/tiny-llama'}", "hub_model_id=alice/trained", *STEPS]
    arguments = ["--config", tiny_config, "--data", recordings, "--out", out, "--set", *settings]
    done = client.command("train", *arguments, HF_HUB_VERBOSITY="debug", TRANSFORMERS_VERBOSITY="debug")
    assert done.status == 0, done.err[-3000:]
    (out / "log.txt").write_text(done.out + done.err)
    return out


def test_both_stages_push_their_checkpoints_and_the_result(run, hub):
    messages = list(hub.model("alice/trained").messages.values())
    assert messages[0] == "initial commit" and messages[-1] == "End of training"
    assert "Training in progress, step 2" in messages and "Action tokenizer" in messages
    assert messages.index("Action tokenizer") < len(messages) - 2, "stage 2 pushed checkpoints as well"


def test_every_commit_is_a_repository_that_loads_and_has_our_card(run, hub, check_card, tmp_path):
    repo, seen = hub.model("alice/trained"), set()
    for sha, files in list(repo.commits.items())[1:]:
        card = files["README.md"].content.decode()
        assert check_card(card, "model") == ([], [])
        assert "Qu, Cai and Liu" in card and "generated from Trainer" not in card and "PEFT" not in card.split("---")[1]
        assert {"processor_config.json", "vqvae/model.safetensors", "modeling_llm_ar.py"} <= set(files)
        seen.add("config.json" in files)
        for name, blob in files.items():
            (tmp_path / sha / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / sha / name).write_bytes(blob.content)
        processor = AutoProcessor.from_pretrained(tmp_path / sha)
        if "config.json" in files:
            assert {"model.safetensors", "adapter/adapter_model.safetensors"} <= set(files)
            assert json.loads(files["config.json"].content)["vqvae_fingerprint"] == processor.vqvae_fingerprint
        else:
            assert "model.safetensors" not in files and "action tokenizer" in card
    assert seen == {False, True}


def test_the_result_has_the_whole_card(run, hub):
    card = ModelCard(hub.text("alice/trained", "README.md"))
    assert card.data.base_model == "base-org/tiny-llama"
    for part in ("## Training", "## Action sentences", "rank_frequency.png", "learning_curve.png", "alice/trained"):
        assert part in card.content


def test_checkpoints_on_disk_load_as_the_export_does(run, tiny_base):
    from llm_action import LlmArForActionRecognition

    assert not list(run.rglob("training_args.bin"))
    for checkpoint in (run / "recognizer").glob("checkpoint-*"):
        model = LlmArForActionRecognition.from_pretrained(checkpoint, base_model=tiny_base)
        assert model.config.vqvae_fingerprint == AutoProcessor.from_pretrained(checkpoint).vqvae_fingerprint
    assert len(list((run / "vqvae").glob("checkpoint-*/vqvae/model.safetensors"))) == 2


def test_nothing_that_was_pushed_is_a_pickle_and_no_log_has_the_token(run, hub, pickles, tokens):
    for sha, files in hub.model("alice/trained").commits.items():
        assert pickles({name: blob.content for name, blob in files.items()}) == [], sha
        assert not any("rehearsal" in name for name in files), "rough skeletons can be made of them"
        for name, blob in files.items():
            assert tokens[0].encode() not in blob.content, name
    assert tokens[0] not in (run / "log.txt").read_text()


def test_a_base_nobody_can_find_stops_the_training_at_its_start(client, hub, tiny_config, recordings, tmp_path):
    arguments = ["--config", tiny_config, "--data", recordings, "--out", tmp_path / "run"]
    done = client.command("train", *arguments, "--set", "hub_model_id=alice/private-base")
    assert done.status == 2 and "base model on the Hub" in done.err.splitlines()[-1]
    assert ("model", "alice/private-base") not in hub.repos


def test_optimizer_state_is_never_pushed(tmp_path):
    import torch
    from transformers import TrainingArguments

    from llm_action.training.trainer import HubTrainer

    push = {"push_to_hub": True, "hub_model_id": "alice/state", "hub_strategy": "checkpoint"}
    settings = TrainingArguments(tmp_path, report_to="none", use_cpu=True, **push)
    with pytest.raises(ValueError, match="pickle"):
        HubTrainer(torch.nn.Linear(1, 1), settings)
