"""What is shared: the same checks at every door, no path of this machine, tokens counted by the config."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from llm_action import ActionVQVAEConfig, LlmArForActionRecognition, LlmArProcessor
from llm_action.hub.cards import write_card
from llm_action.hub.model_folder import describe
from llm_action.hub.training_record import record_evaluation, record_training
from llm_action.hub.uploader import push
from llm_action.modeling.hub_repository import repository_files, upload

# A path in quotes, after a colon or a space: "/", a home folder, a drive; URLs and "a/b" names are none.
ABSOLUTE = re.compile(
    r"""(?:^|[\s"'(=:,\[])(/(?!/)[\w.-]+/[\w./-]+|~/[\w./-]+|[A-Za-z]:[\\/][\w./\\-]+)""", re.MULTILINE
)


def paths_in(folder: Path) -> dict[str, list[str]]:
    texts = [name for name in repository_files(folder) if not name.endswith((".safetensors", ".png", ".model", ".py"))]
    found = {name: ABSOLUTE.findall((folder / name).read_text(encoding="utf-8")) for name in texts}
    return {name: paths for name, paths in found.items() if paths and name != "tokenizer.json"}


@pytest.fixture
def run_with_paths(tiny_run, tmp_path) -> Path:
    """A run whose settings name folders of this machine wherever a setting can."""
    run = shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("model", "checkpoint-*"))
    experiment = yaml.safe_load((run / "experiment.yaml").read_text(encoding="utf-8"))
    experiment["dataset"] = str(tmp_path / "prepared" / "mine")
    experiment["base_model"] = str(tmp_path / "llama")
    experiment["extra_datasets"] = [
        {"dataset": "msr_action3d", "data": str(tmp_path / "msr")},
        {"dataset": str(tmp_path / "prepared" / "other"), "data": "~/skeletons/other"},
    ]
    experiment["recognizer"]["descriptions"] = str(tmp_path / "words" / "mine.json")
    (run / "experiment.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return run


def test_nothing_that_is_published_holds_a_path_of_this_machine(own_folder, run_with_paths, tmp_path, result):
    record_training(own_folder, run_with_paths)
    record_evaluation(own_folder, {**result, "dataset": str(tmp_path / "prepared" / "mine")})
    write_card(own_folder, "alice/model")
    assert paths_in(own_folder) == {}
    recipe = yaml.safe_load((own_folder / "training" / "experiment.yaml").read_text(encoding="utf-8"))
    assert [source["dataset"] for source in recipe["extra_datasets"]] == ["msr_action3d", "other"]
    assert recipe["dataset"] == "mine" and recipe["recognizer"]["descriptions"] == "mine.json"
    card = ModelCard.load(own_folder / "README.md", ignore_metadata_errors=True)
    assert card.data.datasets == ["mine", "msr_action3d", "other"], "whose terms apply"
    assert "Trained on **mine, MSR-Action3D, other**" in card.text


def test_the_search_for_paths_finds_some(own_folder):
    (own_folder / "training" / "experiment.yaml").write_text("data: /home/me/skeletons\nother: ~/a/b\n")
    assert paths_in(own_folder) == {"training/experiment.yaml": ["/home/me/skeletons", "~/a/b"]}


def local_base(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "base_model": "/models/llama"}))
    return "folder of this machine.*--include-base"


def token_inside(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "note": "hf_" + "Secret" * 5}))
    return "config.json: holds an access token"


def index_that_leads_out(folder: Path) -> str:
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (folder / "vqvae" / "model.safetensors.index.json").write_text(json.dumps(index))
    return "expected names of files beside it"


def parts_of_two_models(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vqvae_fingerprint": "0123456789abcdef"}))
    return "belongs to the VQ-VAE 0123456789abcdef"


def pickle_inside(folder: Path) -> str:
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(pickle.dumps({"weight": [1.0, 2.0]}))
    return "adapter_model.safetensors: is a pickle"


@pytest.mark.parametrize("spoil", [local_base, token_inside, index_that_leads_out, parts_of_two_models, pickle_inside])
@pytest.mark.parametrize("door", ["push", "upload"])
def test_every_door_refuses_the_same(own_folder, monkeypatch, spoil, door):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "t" * 30)
    message = spoil(own_folder)
    with pytest.raises(ValueError, match=message):
        if door == "push":
            push(own_folder, "alice/refused")
        else:  # where push_to_hub of the parts and the Trainer end
            upload(own_folder, "alice/refused", "a checkpoint")


def test_a_part_pushed_from_python_meets_the_same_checks(own_folder, tiny_base, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "t" * 30)
    model = LlmArForActionRecognition.from_pretrained(own_folder, base_model=tiny_base)
    model.config.base_model = str(tiny_base)
    with pytest.raises(ValueError, match="folder of this machine.*--include-base"):
        model.push_to_hub("alice/refused")


@pytest.mark.parametrize("part", ["model", "processor", "push"])
def test_nobody_logged_in_is_one_line_and_changes_nothing(own_folder, tiny_base, monkeypatch, tmp_path, part):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    before = {file: file.read_bytes() for file in own_folder.rglob("*") if file.is_file()}
    with pytest.raises(OSError, match=r"alice/new: nobody is logged in; run `hf auth login` or set HF_TOKEN$"):
        if part == "push":
            push(own_folder, "alice/new")
        elif part == "model":
            LlmArForActionRecognition.from_pretrained(own_folder, base_model=tiny_base).push_to_hub("alice/new")
        else:
            LlmArProcessor.from_pretrained(own_folder).push_to_hub("alice/new")
    assert {file: file.read_bytes() for file in own_folder.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("token", [None, "hf_" + "t" * 30], ids=["nobody logged in", "no network"])
def test_a_push_that_fails_is_one_line_and_changes_nothing(own_folder, result, tmp_path, token):
    """Neither the card's title nor the results that were to be added with it."""
    before = {file: file.read_bytes() for file in own_folder.rglob("*") if file.is_file()}
    (tmp_path / "result.json").write_text(json.dumps(result))
    command = ["push", own_folder, "alice/new", "--results", tmp_path / "result.json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-m", "llm_action.cli", *map(str, command)],
        env=environment | ({"HF_TOKEN": token} if token else {}),
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == ""
    expected = "check the connection and run the same command again" if token else "nobody is logged in"
    assert line.startswith("error: alice/new: ") and expected in line
    assert {file: file.read_bytes() for file in own_folder.rglob("*") if file.is_file()} == before


def test_tokens_a_person_are_those_of_the_config(own_folder):
    file = own_folder / "vqvae" / "config.json"
    changed = {"body_parts": True, "num_levels": 2, "num_frames": 64, "downsample": 4}
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    assert ActionVQVAEConfig(**changed).tokens_per_person == 16 * 5 * 2  # steps, body parts, levels
    assert describe(own_folder)["tokens_per_person"] == 160
    write_card(own_folder)
    assert "160 tokens a person" in ModelCard.load(own_folder / "README.md").content
