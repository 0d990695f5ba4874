"""To the Hub and back, over HTTP with the real client."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from safetensors.torch import load_file, save_file

WHOLE = {
    "config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "modeling_llm_ar.py",
    "README.md",
}
WHOLE |= {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "vqvae/config.json"}
WHOLE |= {"vqvae/model.safetensors", "training/experiment.yaml", "training/record.json"}
WHOLE |= {".eval_results/utd_mhad_cross_subject.yaml"}


def test_push_uploads_everything_in_one_commit(shared, hub):
    repo = hub.model("alice/tiny-actions")
    assert list(repo.messages.values()) == ["initial commit", "Upload model"] and not repo.private
    assert set(repo.files()) >= WHOLE
    assert shared.out.strip().endswith(f"/alice/tiny-actions/commit/{repo.refs['main']}")
    (top1, *_) = parse_eval_result_entries(
        yaml.safe_load(hub.text(repo.name, ".eval_results/utd_mhad_cross_subject.yaml"))
    )
    assert (top1.dataset_id, top1.task_id, top1.value) == ("utd_mhad", "cross_subject_top1", 50.0)


def test_the_space_holds_the_app_its_card_and_the_package(shared, hub):
    files = hub.repos["space", "alice/tiny-actions"].files()
    assert {
        "app.py",
        "requirements.txt",
        "README.md",
        "llm_action/cli.py",
        "llm_action/modeling/hyperbolic_codebook.py",
    } <= set(files)
    assert b'MODEL_ID = "alice/tiny-actions"' in files["app.py"].content
    card = hub.text("alice/tiny-actions", "README.md", kind="space")
    assert yaml.safe_load(card.split("---")[1])["models"] == ["alice/tiny-actions"]
    assert not any("__pycache__" in name for name in files)


@pytest.fixture
def space(shared, hub, tmp_path) -> Path:
    """The demo Space as the Hub would start it: its files, and gradio."""
    pytest.importorskip("gradio", reason="the page of the demo Space needs gradio")
    for name, blob in hub.repos["space", "alice/tiny-actions"].files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(blob.content)
    return tmp_path


START = "import json, sys, os\nsys.path.insert(0, os.getcwd())\nimport app\n"


def test_the_space_s_app_names_the_action(space, client, recording):
    code = START + (
        "from llm_action.visualization.app.answering import names_in, recognise\n"
        f"file = {str(recording / 'recording.npz')!r}\n"
        "found = recognise(app.load(), [file], {}, names_in('waving, sitting'), None).rows[0]\n"
        "print(json.dumps([found.ranking, found.sentence]))"
    )
    ranking, sentence = client.run(code, space).json
    assert sum(one["score"] for one in ranking) == pytest.approx(1)
    assert {one["label"] for one in ranking} == {"waving", "sitting"} and sentence.startswith("<a")


@pytest.mark.slow
def test_the_space_s_page_builds(space, client):
    code = "from llm_action.visualization.app.page import build_app\nprint(type(build_app(app.load, app.MODEL_ID)))"
    done = client.run(START + code, space)
    assert "Blocks" in done.out, done.err


def test_pushing_again_changes_nothing_and_pull_knows_revisions(client, hub, own_folder, tmp_path):
    name = "alice/revisions"
    assert client.command("push", own_folder, name, "--private").status == 0
    repo = hub.model(name)
    first = repo.refs["main"]
    assert repo.private
    assert client.command("push", own_folder, name).status == 0
    assert repo.refs["main"] == first and len(repo.commits) == 2
    sent = len(hub.uploads)
    (own_folder / "LICENSE").write_text("mine")
    assert client.command("push", own_folder, name).status == 0
    assert len(repo.commits) == 3 and len(hub.uploads) == sent
    for options, has_license in (((), True), (("--revision", first), False)):
        done = client.command("pull", name, "--out", tmp_path / f"pulled{len(options)}", *options)
        assert done.status == 0, done.err
        pulled = tmp_path / f"pulled{len(options)}"
        assert (pulled / "LICENSE").exists() == has_license
        for part in ("model.safetensors", "adapter/adapter_model.safetensors", "vqvae/model.safetensors"):
            assert (pulled / part).read_bytes() == (own_folder / part).read_bytes()
    assert client.command("pull", name).status == 0
    told = client.command("info", name)
    assert told.status == 0 and "classes: " in told.out
    offline = f"""
from llm_action.cli import main
assert main(["pull", {name!r}]) == 0
assert main(["pull", {name!r}, "--revision", {first!r}]) == 2  # went to a folder, not into the cache
"""
    done = client.fresh(offline, HF_HUB_OFFLINE="1")
    assert done.status == 0, done.err


def test_an_interrupted_push_leaves_no_commit_and_goes_on_where_it_stopped(
    client, hub, own_folder, tokens, command_code
):
    for part in ("model.safetensors", "adapter/adapter_model.safetensors"):
        weights = load_file(own_folder / part)
        save_file({name: weight + 1 for name, weight in weights.items()}, own_folder / part)
    code = command_code("push", own_folder, "alice/interrupted")
    before = len(hub.uploads)
    hub.stall_upload(after=1)
    pid = client.start(code, HF_TOKEN=tokens[0])
    assert hub.stalled.wait(120)
    while len(hub.uploads) == before:  # the other upload, at the same time
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    hub.released.set()
    assert client.finish().status == -signal.SIGKILL
    repo = hub.model("alice/interrupted")
    assert list(repo.messages.values()) == ["initial commit"]
    done = client.run(code, HF_TOKEN=tokens[0])
    assert done.status == 0, done.err
    assert list(repo.messages.values()) == ["initial commit", "Upload model"]
    assert len(hub.uploads) == before + 2, "what had arrived was not sent again"
    assert repo.files()["model.safetensors"].content == (own_folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "token", "told"),
    [
        ("alice/mine", "", "hf auth login"),
        ("alice/mine", "hf_wrong" + "0" * 26, "hf auth login"),
        ("alice/mine", "reader", "write access"),
        ("mallory/hers", "writer", "write access"),
        ("not-an-id", "writer", "user/name"),
    ],
)
def test_a_refused_push_says_why_in_one_line(client, own_folder, tokens, name, token, told):
    token = {"reader": tokens[1], "writer": tokens[0]}.get(token, token)
    done = client.command("push", own_folder, name, HF_TOKEN=token)
    assert done.status == 2 and done.err.strip().splitlines()[-1].startswith("error: ")
    assert told in done.err.strip().splitlines()[-1]
    assert not token or token not in done.err + done.out


def test_a_pull_of_what_is_not_there_or_hidden_says_so(client, shared, hub, own_folder, tokens):
    assert client.command("push", own_folder, "alice/hidden", "--private").status == 0
    for name, options, token in (
        ("alice/nothing", (), tokens[0]),
        ("alice/hidden", (), tokens[2]),
        ("alice/tiny-actions", ("--revision", "v9"), tokens[0]),
    ):
        done = client.command("pull", name, *options, HF_TOKEN=token)
        assert done.status == 2 and name in done.err and "check the name" in done.err
    assert client.command("pull", "alice/hidden", HF_TOKEN=tokens[1]).status == 0


def test_the_methods_of_model_and_processor_push_their_parts(client, hub, model_folder, recording):
    code = f"""
import json
from transformers import AutoModel, AutoProcessor, pipeline
folder = {str(model_folder)!r}
model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
model.push_to_hub("alice/parts")
processor.push_to_hub("alice/parts", commit_message="the processor")
model.push_to_hub("alice/parts", revision="try")
processor.vqvae.push_to_hub("alice/tokenizer")
recognize = pipeline("skeleton-action-recognition", model="alice/parts")
fingerprint = AutoModel.from_pretrained("alice/tokenizer").fingerprint()
pipeline("skeleton-action-recognition", model=folder).push_to_hub("alice/whole")
whole = pipeline("skeleton-action-recognition", model="alice/whole")
assert whole("recording.npz") == recognize("recording.npz")
print(json.dumps([recognize("recording.npz")[0]["label"], fingerprint == processor.vqvae_fingerprint]))
"""
    label, same = client.run(code, recording, HF_TOKEN="hf_alicewrites" + "x" * 28).json
    assert same and label in json.loads((model_folder / "config.json").read_text())["label_names"]
    repo = hub.model("alice/parts")
    assert list(repo.messages.values())[1:3] == ["Upload LlmArForActionRecognition", "the processor"]
    assert "Qu, Cai and Liu" in hub.text("alice/parts", "README.md"), "our card, not a generated one"
    assert "automatically" not in hub.text("alice/tokenizer", "README.md")
    assert set(repo.refs) == {"main", "try"}
