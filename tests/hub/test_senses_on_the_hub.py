"""Several senses on the Hub: a model that reads them, with and without the package, and a table that has them."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from transformers import pipeline

from llm_action.datasets import job, prepare, row_to_signal
from llm_action.datasets.prepared import open_prepared
from llm_action.datasets.utd_mhad import BENCHMARK
from llm_action.hub.model_folder import copy_model
from llm_action.modeling.student import ActionStudent
from llm_action.training.distill import Distillation, distill

MODEL, TABLE = "alice/worn-actions", "alice/worn-table"
ASKS = """
import json
import numpy as np
from transformers import pipeline
recognize = pipeline("skeleton-action-recognition", model=NAME, trust_remote_code=True, fast=FAST)
joints, signal = np.load("recording.npy"), np.load("inertial.npy")
given = [{"skeleton": joints, "inertial": signal}, {"inertial": signal}, joints]
print(json.dumps([recognize(one, layout="kinect20", top_k=None) for one in given]))
"""


@pytest.fixture(scope="module")
def folder(sense_run, both_senses, tmp_path_factory):
    place = tmp_path_factory.mktemp("worn")
    taught = shutil.copytree(sense_run / "model", place / "taught")
    distill(taught, str(both_senses), Distillation(steps=20, versions=0))
    return copy_model(taught, place / "model", base_model="base-org/tiny-llama")


@pytest.fixture(scope="module")
def pushed(client, hub, folder):
    done = client.command("push", folder, MODEL)
    assert done.status == 0, done.err
    return hub.model(MODEL)


@pytest.fixture(scope="module")
def worn(recording, tmp_path_factory):
    """A folder with recording.npy and inertial.npy."""
    place = tmp_path_factory.mktemp("recorded")
    shutil.copy(recording / "recording.npy", place)
    np.save(place / "inertial.npy", np.sin(np.linspace(0, 9, 120)[:, None] + np.arange(6)))
    return place


@pytest.mark.parametrize("fast", [False, True])
def test_a_hub_id_answers_as_the_folder_does_without_the_package(
    clean_client, folder, pushed, worn, fast, tiny_base, monkeypatch
):
    code = ASKS.replace("NAME", repr(MODEL)).replace("FAST", repr(fast))
    monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(tiny_base))
    recognize = pipeline("skeleton-action-recognition", model=str(folder), fast=fast)
    joints, signal = np.load(worn / "recording.npy"), np.load(worn / "inertial.npy")
    given = [{"skeleton": joints, "inertial": signal}, {"inertial": signal}, joints]
    for said, one in zip(clean_client.run(code, worn).json, given, strict=True):
        expected = {entry["label"]: entry["score"] for entry in recognize(one, layout="kinect20", top_k=None)}
        assert {entry["label"]: entry["score"] for entry in said} == pytest.approx(expected, abs=1e-5)


def test_what_is_pulled_is_what_was_pushed(client, folder, pushed, tmp_path):
    senses = {"senses/inertial/config.json", "senses/inertial/model.safetensors"}
    assert senses | {"student/config.json", "student/model.safetensors"} <= set(pushed.files())
    done = client.command("pull", MODEL, "--out", tmp_path / "pulled")
    assert done.status == 0, done.err
    for name in sorted(senses):
        assert (tmp_path / "pulled" / name).read_bytes() == (folder / name).read_bytes()
    assert list(ActionStudent.from_pretrained(tmp_path / "pulled").config.senses) == ["inertial"]
    assert "sense inertial: 6 channels" in client.command("info", tmp_path / "pulled").out


def test_the_card_says_what_it_reads_and_its_examples_run(clean_client, hub, pushed, worn, check_card):
    card = hub.text(MODEL, "README.md")
    assert check_card(card, "model") == ([], [])
    examples = [code for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "llm_action" not in code]
    assert 'recognize({"skeleton": joints, "inertial": np.load("inertial.npy")})' in examples[1]
    done = clean_client.run("\n".join(examples[:2]), worn)
    assert done.status == 0, done.err


def test_a_table_with_a_column_a_sense_is_trained_on_from_the_hub(
    client, hub, both_senses, sense_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(job, "FILES_PER_PART", 6)
    prepare.prepare(BENCHMARK, BENCHMARK.scan(str(both_senses)), tmp_path / "utd_mhad", workers=1)
    done = client.command("push-data", tmp_path / "utd_mhad", TABLE)
    assert done.status == 0, done.err
    code = f"""
import json
from datasets import load_dataset
table = load_dataset({TABLE!r}, split="train")
print(json.dumps([[row["name"], row["inertial"]["shape"], sum(row["inertial"]["values"])] for row in table]))
"""
    seen = client.run(code, tmp_path).json
    for (name, shape, total), row in zip(seen, open_prepared(tmp_path / "utd_mhad"), strict=True):
        signal = row_to_signal(row, "inertial")
        assert name == row["name"] and shape == ([] if signal is None else list(signal.shape))
        assert total == pytest.approx(0 if signal is None else signal.sum(), abs=1e-2)
    steps = ["vqvae.steps=4", "senses.inertial.steps=4", "recognizer.steps=4"]
    command = ["train", "--config", sense_config, "--out", tmp_path / "run", "--set", f"dataset={TABLE}", *steps]
    done = client.command(*command, TQDM_DISABLE="1")
    assert done.status == 0, done.err[-2000:]
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert list(config["sense_fingerprints"]) == ["inertial"]
