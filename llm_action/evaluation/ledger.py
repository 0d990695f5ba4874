"""The ledger: every evaluation on a test part, one line of JSON each.

Settings are to be chosen on held-out training data. The ledger shows how often a test part was consulted. It is the
file that LLM_ACTION_LEDGER names, else `runs/ledger.jsonl` in the working directory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm_action.config.experiment import Experiment
from llm_action.config.reading import read_text
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor

LEDGER_VARIABLE = "LLM_ACTION_LEDGER"
_DEFAULT = Path("runs") / "ledger.jsonl"
_DIGITS = 12
_OF_NO_RESULT = ("seed", "hub_model_id", "report_to")  # fields of an experiment


@dataclass(frozen=True)
class Origin:
    """Where an evaluation comes from.

    Attributes:
        command: the command and what distinguishes its evaluations, without paths.
        config: hash of the settings, see `config_hash`.
        model: fingerprint of the trained weights; "" where there are none.
    """

    command: str
    config: str
    model: str = ""


def config_hash(settings: Experiment | Mapping[str, Any]) -> str:
    """12 hexadecimal digits of an experiment's settings, the same for all its seeds, or of any settings as JSON."""
    if isinstance(settings, Experiment):
        settings = {name: value for name, value in asdict(settings).items() if name not in _OF_NO_RESULT}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:_DIGITS]


def weights_fingerprint(weights: Iterable[tuple[str, Tensor]], *more: str) -> str:
    """12 hexadecimal digits of named weights and further texts.

    Weights are rounded to bfloat16 before, so a model keeps its fingerprint when it is stored in half precision.
    """
    digest = hashlib.sha256("\n".join(more).encode())
    for name, weight in sorted(weights):
        rounded = weight.detach().to(torch.bfloat16) if weight.is_floating_point() else weight.detach()
        digest.update(name.encode())
        digest.update(rounded.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]


def recognizer_fingerprint(model: LlmArForActionRecognition, processor: LlmArProcessor) -> str:
    """The fingerprint of what was trained of a recognizer: its action tokenizer, adapter and action embeddings."""
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    base = f"{model.base_model_prefix}."

    def counts(name: str) -> bool:
        return "lora_" in name or not name.startswith(base) or name in trained

    weights = ((name, weight) for name, weight in model.state_dict().items() if counts(name))
    return weights_fingerprint(weights, str(model.config.base_fingerprint), processor.vqvae.fingerprint())


def ledger_file() -> Path:
    """The ledger's file, made if need be.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(os.environ.get(LEDGER_VARIABLE) or _DEFAULT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise OSError(
            f"{path}: the ledger of evaluations on test parts cannot be written ({error.strerror}); set "
            f"{LEDGER_VARIABLE} to a file that can"
        ) from error
    return path


def enter(origin: Origin, dataset: str, protocol: str, sequences: int, figures: Mapping[str, float]) -> None:
    """Appends an evaluation to the ledger in one write, so several processes may share it.

    Of a distributed training only the first process writes.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    entry = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": origin.command,
        "config": origin.config,
        "dataset": dataset,
        "protocol": protocol,
        "sequences": sequences,
        "figures": {name: round(float(value), 6) for name, value in figures.items()},
        "model": origin.model,
    }
    line = (json.dumps(entry) + "\n").encode()
    path = ledger_file()
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        if os.write(file, line) != len(line):
            raise OSError(f"{path}: the disk is full, the evaluation was not entered")
    finally:
        os.close(file)


def read_ledger(path: Path | None = None) -> list[dict[str, Any]]:
    """The entries of a ledger, the oldest first; none where there is no file yet.

    Args:
        path: default the file that evaluations are entered in.

    Raises:
        ValueError: a line that is no entry.
    """
    path = path or Path(os.environ.get(LEDGER_VARIABLE) or _DEFAULT)
    entries = []
    for number, line in enumerate(read_text(path).splitlines() if path.is_file() else (), 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: line {number}: expected an entry as JSON, got {line!r:.80}") from error
        entries.append(entry)
    return entries
