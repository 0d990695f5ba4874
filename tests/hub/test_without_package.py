"""A user who has transformers, peft and torch, and nothing of ours."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from llm_action import LlmArForActionRecognition, LlmArProcessor

TASK = "skeleton-action-recognition"
LOADS = """
import json, sys
import numpy as np, torch
from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline
name, options = {name!r}, dict(trust_remote_code=True, **{options!r})
joints = np.load("recording.npy")
config = AutoConfig.from_pretrained(name, **options)
processor = AutoProcessor.from_pretrained(name, **options)
model = AutoModel.from_pretrained(name, **options)
with torch.no_grad():
    logits = model(**processor(joints, layout="kinect20", return_tensors="pt")).logits[0]
recognize = pipeline("skeleton-action-recognition", model=name, **options)
vqvae = AutoModel.from_pretrained(name, subfolder="vqvae", **options)
print(json.dumps({{
    "classes": config.label_names,
    "logits": logits.tolist(),
    "ranking": recognize(joints, layout="kinect20", top_k=None),
    "tokens": processor.tokenize(joints, layout="kinect20"),
    "fingerprints": [config.vqvae_fingerprint, vqvae.fingerprint()],
    "homes": sorted({{type(part).__module__.split(".")[0] for part in (config, processor, model, recognize, vqvae)}}),
    "task": pipeline(model=name, **options).task,
}}))
"""


@pytest.fixture(scope="module")
def expected(model_folder, tiny_base, recording):
    """What the installed package says of the recording."""
    import torch
    from transformers import pipeline

    processor = LlmArProcessor.from_pretrained(model_folder)
    model = LlmArForActionRecognition.from_pretrained(model_folder, base_model=tiny_base)
    joints = np.load(recording / "recording.npy")
    with torch.no_grad():
        logits = model(**processor(joints, layout="kinect20", return_tensors="pt")).logits[0]
    recognize = pipeline(TASK, model=model, processor=processor)
    return {
        "logits": logits.tolist(),
        "ranking": recognize(joints, layout="kinect20", top_k=None),
        "tokens": processor.tokenize(joints, layout="kinect20"),
    }


def check(seen, expected):
    assert seen["homes"] == ["transformers_modules"] and seen["task"] == TASK
    assert np.abs(np.array(seen["logits"]) - expected["logits"]).max() < 1e-5
    assert seen["tokens"] == expected["tokens"]
    scores, wanted = ({e["label"]: e["score"] for e in r["ranking"]} for r in (seen, expected))
    assert list(scores) == list(wanted) and max(abs(scores[k] - wanted[k]) for k in wanted) < 1e-5
    assert seen["fingerprints"][0] == seen["fingerprints"][1]


def test_the_package_is_not_there(clean_client):
    done = clean_client.run("import llm_action")
    assert done.status == 1 and "No module named 'llm_action'" in done.err


def test_a_folder_gives_the_same_scores(clean_client, model_folder, recording, expected):
    check(clean_client.run(LOADS.format(name=str(model_folder), options={}), recording).json, expected)


def test_a_hub_id_gives_the_same_scores_then_and_offline(clean_client, shared, hub, recording, expected):
    code = LOADS.format(name="alice/tiny-actions", options={})
    check(clean_client.run(code, recording).json, expected)
    before = len(hub.requests)
    check(clean_client.fresh(f"import os; os.chdir({str(recording)!r})\n{code}", HF_HUB_OFFLINE="1").json, expected)
    assert len(hub.requests) == before


def test_the_examples_of_the_card_run(clean_client, shared, hub, recording):
    card = hub.text("alice/tiny-actions", "README.md")
    examples = [code for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "llm_action" not in code]
    assert len(examples) == 3 and "snapshot_download" in examples[2]
    done = clean_client.run("\n".join(examples), recording)
    assert done.status == 0, done.err
    assert len(re.findall(r"^[a-z -]+: [01]\.\d{3}$", done.out, re.MULTILINE)) == 3 and "['<a" in done.out


@pytest.mark.parametrize("way", ["argument", "model_kwargs", "environment", "included"])
def test_the_base_is_found_without_the_hub(clean_client, own_folder, tiny_base, recording, expected, way):
    config = json.loads((own_folder / "config.json").read_text())
    config["base_model"] = "nobody/nothing"
    (own_folder / "config.json").write_text(json.dumps(config))
    if way == "included":
        (own_folder / "base").mkdir()
        for file in tiny_base.iterdir():
            (own_folder / "base" / file.name).write_bytes(file.read_bytes())
    argument = f"base_model={str(tiny_base)!r}" if way == "argument" else ""
    options = f"model_kwargs={{'base_model': {str(tiny_base)!r}}}" if way == "model_kwargs" else ""
    code = f"""
import json
import numpy as np
from transformers import AutoModel, AutoProcessor, pipeline
name, joints = {str(own_folder)!r}, np.load("recording.npy")
if {way == "argument"}:
    prompt = AutoProcessor.from_pretrained(name, trust_remote_code=True)(joints, layout="kinect20", return_tensors="pt")
    model = AutoModel.from_pretrained(name, trust_remote_code=True, {argument})
    ranking = [model.config.label_names[index] for index in model(**prompt).logits[0].argsort(descending=True)]
else:
    recognize = pipeline({TASK!r}, model=name, trust_remote_code=True, {options})
    ranking = [entry["label"] for entry in recognize(joints, layout="kinect20", top_k=None)]
    model = recognize.model
print(json.dumps([ranking, model.config.base_model]))
"""
    environment = {"LLM_ACTION_BASE_MODEL": str(tiny_base)} if way == "environment" else {}
    ranking, noted = clean_client.run(code, recording, **environment).json
    assert ranking == [entry["label"] for entry in expected["ranking"]]
    assert noted == "nobody/nothing", "the base used must not become the base trained on"
