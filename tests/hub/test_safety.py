"""No pickles, no parts of another model, no file from elsewhere, no token."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, pipeline

from llm_action.hub.model_folder import check_model
from llm_action.hub.uploader import push
from llm_action.modeling.hub_repository import repository_files

TASK = "skeleton-action-recognition"


def another_vqvae(folder) -> None:
    weights = load_file(folder / "vqvae" / "model.safetensors")
    weights["codebook.codes"] = weights["codebook.codes"] + 0.1
    save_file(weights, folder / "vqvae" / "model.safetensors", {"format": "pt"})


def test_no_pickle_in_a_saved_folder(model_folder, pickles):
    contents = {str(file): file.read_bytes() for file in model_folder.rglob("*") if file.is_file()}
    assert len(contents) > 20 and pickles(contents) == []


def test_the_search_for_pickles_finds_some(pickles, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.safetensors")
    assert pickles({"a": pickle.dumps({1: 2}), "b": (tmp_path / "weights.safetensors").read_bytes(), "c.bin": b""}) == [
        "a",
        "b",
        "c.bin",
    ]


def test_what_does_not_belong_is_not_pushed(client, hub, own_folder, pickles, tokens):
    torch.save(torch.zeros(2), own_folder / "optimizer.pt")
    torch.save(torch.zeros(2), own_folder / "adapter" / "adapter_model.bin")
    (own_folder / "training_args.bin").write_bytes(pickle.dumps({"token": tokens[0]}))
    (own_folder / "notes" / "private").mkdir(parents=True)
    (own_folder / "notes" / "private" / "subjects.csv").write_text("names")
    done = client.command("push", own_folder, "alice/clean")
    assert done.status == 0, done.err
    files = hub.model("alice/clean").files()
    assert set(files) - {".gitattributes"} == set(repository_files(own_folder))
    assert not any("subjects" in name for name in files)
    assert pickles({name: blob.content for name, blob in files.items()}) == []


@pytest.mark.parametrize("part", ["vqvae", "processor", "model"])
def test_parts_of_different_models_are_refused(own_folder, tiny_base, monkeypatch, part):
    monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(tiny_base))
    if part == "vqvae":
        another_vqvae(own_folder)
    else:
        file = own_folder / {"processor": "processor_config.json", "model": "config.json"}[part]
        file.write_text(json.dumps({**json.loads(file.read_text()), "vqvae_fingerprint": "0123456789abcdef"}))
    with pytest.raises(ValueError, match="VQ-VAE"):
        pipeline(TASK, model=str(own_folder))
    with pytest.raises(ValueError, match="VQ-VAE"):
        check_model(own_folder)


@pytest.mark.parametrize("entry", ["../secret.safetensors", "/etc/secret.safetensors", "..\\secret.safetensors", "a/b"])
@pytest.mark.parametrize("place", ["base", "vqvae", "adapter", ""])
def test_an_index_cannot_lead_out_of_its_folder(own_folder, tiny_base, place, entry):
    (own_folder / "base").mkdir()
    for file in tiny_base.iterdir():
        (own_folder / "base" / file.name).write_bytes(file.read_bytes())
    save_file({"secret": torch.zeros(1)}, own_folder.parent / "secret.safetensors")
    index = own_folder / place / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"model.norm.weight": entry}}))
    with pytest.raises(ValueError, match="index.json: expected names of files beside it"):
        AutoModel.from_pretrained(own_folder)
    with pytest.raises(ValueError, match="beside it"):
        check_model(own_folder)
    if place == "vqvae":
        with pytest.raises(ValueError, match="beside it"):
            AutoProcessor.from_pretrained(own_folder)


def test_weights_that_are_pickles_are_not_read(own_folder, tiny_base, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in tiny_base.iterdir():
        if file.suffix != ".safetensors":
            (bare / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(tiny_base / "model.safetensors"), bare / "pytorch_model.bin")
    with pytest.raises((OSError, ValueError), match="safetensors"):
        AutoModel.from_pretrained(own_folder, base_model=str(bare))
    torch.save(load_file(own_folder / "vqvae" / "model.safetensors"), own_folder / "vqvae" / "pytorch_model.bin")
    (own_folder / "vqvae" / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        AutoProcessor.from_pretrained(own_folder)


@pytest.mark.parametrize("file", ["README.md", "training/experiment.yaml", "config.json"])
def test_a_folder_with_a_token_is_not_pushed(own_folder, file, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    text = (own_folder / file).read_text()
    token = "hf_" + "Secret" * 5
    (own_folder / file).write_text(
        json.dumps({**json.loads(text), "note": token}) if file.endswith("json") else f"{text}\n# {token}\n"
    )
    if file == "README.md":  # ours would be written anew
        path = own_folder / file
        path.write_text(path.read_text().replace("<!-- written by llm-action", "<!-- mine"))
    with pytest.raises(ValueError, match="access token") as error:
        push(own_folder, "alice/leak")
    assert token not in str(error.value)


def test_no_log_and_no_file_has_the_token(client, hub, own_folder, tokens, shared):
    chatty = {"HF_HUB_VERBOSITY": "debug", "TRANSFORMERS_VERBOSITY": "debug", "HF_DEBUG": "1"}
    done = client.command("push", own_folder, "alice/chatty", "--space", **chatty)
    assert done.status == 0, done.err
    hub.fail_next(r"POST /api/models/alice/chatty/preupload", 403)
    refused = client.command("push", own_folder, "alice/chatty", **chatty)
    assert refused.status == 2
    for text in (done.out, done.err, refused.out, refused.err):
        assert tokens[0] not in text
    for kind in ("model", "space"):
        for name, blob in hub.repos[kind, "alice/chatty"].files().items():
            assert tokens[0].encode() not in blob.content, name


def test_a_base_of_this_machine_is_not_pushed(own_folder, tiny_base, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    config = json.loads((own_folder / "config.json").read_text())
    (own_folder / "config.json").write_text(json.dumps({**config, "base_model": str(tiny_base)}))
    with pytest.raises(ValueError, match="folder of this machine.*--base-model USER/NAME.*--include-base"):
        push(own_folder, "alice/unfindable")
