"""A user of the package: no trust_remote_code, bases, formats, parts."""

from __future__ import annotations

import json
import re
import shutil
import warnings

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoProcessor, pipeline

from llm_action import ActionVQVAE, LlmArConfig, LlmArForActionRecognition, LlmArProcessor
from llm_action.hub.base_models import tiny_llama
from llm_action.hub.model_folder import copy_model
from llm_action.modeling.hub_repository import FORMAT_VERSION

TASK = "skeleton-action-recognition"


def change_json(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_no_code_of_the_repository_runs(own_folder, tiny_base, recording, monkeypatch):
    monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(tiny_base))
    for module in own_folder.glob("*.py"):
        module.write_text("raise RuntimeError('code of the repository ran')")
    assert type(AutoConfig.from_pretrained(own_folder)) is LlmArConfig
    assert type(AutoProcessor.from_pretrained(own_folder)) is LlmArProcessor
    assert type(AutoModel.from_pretrained(own_folder)) is LlmArForActionRecognition
    assert type(AutoModel.from_pretrained(own_folder, subfolder="vqvae")) is ActionVQVAE
    ranking = pipeline(TASK, model=str(own_folder))(str(recording / "recording.npz"), top_k=3)
    assert len(ranking) == 3 and ranking[0]["score"] >= ranking[1]["score"]


def test_the_package_s_example_of_the_card_runs_with_a_hub_id(client, shared, hub, recording):
    card = hub.text("alice/tiny-actions", "README.md")
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "llm_action" in code]
    done = client.run(example, recording)
    assert done.status == 0, done.err
    assert done.out.count("'label'") == 5 and "falling down" in done.out


@pytest.mark.parametrize(
    ("file", "loads"),
    [
        ("config.json", LlmArConfig.from_pretrained),
        ("config.json", AutoModel.from_pretrained),
        ("processor_config.json", AutoProcessor.from_pretrained),
        ("vqvae/config.json", lambda folder: AutoModel.from_pretrained(folder / "vqvae")),
        ("vqvae/config.json", AutoProcessor.from_pretrained),
    ],
)
def test_a_newer_format_is_refused_with_both_versions(own_folder, file, loads):
    change_json(own_folder / file, format_version=FORMAT_VERSION + 6)
    with pytest.raises(ValueError, match=rf"format {FORMAT_VERSION + 6}.*up to {FORMAT_VERSION}.*update"):
        loads(own_folder)


def test_another_base_gives_a_warning_that_says_what_differs(model_folder, tiny_base, tmp_path):
    other = tiny_llama(tmp_path / "other", seed=1)
    with pytest.warns(UserWarning, match=r"other differ.*base-org/tiny-llama, fingerprint [0-9a-f]{16}, here [0-9a-f]"):
        LlmArForActionRecognition.from_pretrained(model_folder, base_model=other)


def test_the_base_swapped_for_another_copy_of_itself(model_folder, tiny_base, recording, tmp_path):
    copy = tmp_path / "elsewhere"
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    model.save_pretrained(copy, max_shard_size="100KB")  # other files, the same weights
    for file in tiny_base.glob("*token*"):
        shutil.copy(file, copy)
    assert len(list(copy.glob("*.safetensors"))) > 1
    processor = AutoProcessor.from_pretrained(model_folder)
    prompt = processor(recording / "recording.npz", return_tensors="pt")
    scores = []
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error", UserWarning)
        for base in (tiny_base, copy):
            scores.append(AutoModel.from_pretrained(model_folder, base_model=str(base))(**prompt).logits)
    assert torch.allclose(*scores, atol=1e-5)


def test_the_adapter_is_a_plain_one_of_the_bare_base(model_folder, tiny_base):
    noted = json.loads((model_folder / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert noted == "base-org/tiny-llama"
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), model_folder / "adapter")
        whole = LlmArForActionRecognition.from_pretrained(model_folder, base_model=tiny_base)
        assert torch.allclose(tuned(ids).logits, whole.causal_lm(ids).logits, atol=1e-5)
        assert not torch.allclose(tuned(ids).logits, AutoModelForCausalLM.from_pretrained(tiny_base)(ids).logits)


def test_the_vqvae_and_the_processor_load_alone(model_folder, recording, tmp_path):
    vqvae = AutoModel.from_pretrained(model_folder, subfolder="vqvae")
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(model_folder / name, tmp_path)
    shutil.copytree(model_folder / "vqvae", tmp_path / "vqvae")
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert (
        processor.vqvae_fingerprint
        == vqvae.fingerprint()
        == LlmArConfig.from_pretrained(model_folder).vqvae_fingerprint
    )
    again = processor.decode(processor.encode(recording / "recording.npz"))
    assert np.isfinite(again.joints).all() and again.num_frames == vqvae.config.num_frames


def test_an_included_base_needs_nothing_else(tiny_export, tiny_base, recording, tmp_path, monkeypatch):
    monkeypatch.delenv("LLM_ACTION_BASE_MODEL", raising=False)
    folder = copy_model(tiny_export, tmp_path / "whole", include_base=True)
    texts = [file.read_text() for file in folder.rglob("*") if file.suffix in (".json", ".md", ".yaml")]
    assert not any(str(tiny_base) in text for text in texts), "paths of this machine do not belong into a repository"
    ranking = pipeline(TASK, model=str(folder))(str(recording / "recording.npz"), top_k=None)
    wanted = pipeline(TASK, model=str(tiny_export))(str(recording / "recording.npz"), top_k=None)
    assert [e["label"] for e in ranking] == [e["label"] for e in wanted]
    assert (folder / "base" / "model.safetensors").is_file() and "included in `base/`" in (
        folder / "README.md"
    ).read_text()


def test_another_base_is_not_included(tiny_export, tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(tiny_llama(tmp_path / "other", seed=1)))
    with pytest.raises(ValueError, match="not those this model was trained on"):
        copy_model(tiny_export, tmp_path / "whole", include_base=True)
    assert not (tmp_path / "whole").exists()
