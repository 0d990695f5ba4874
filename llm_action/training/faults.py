"""Faults of a long training, said clearly; the last good checkpoint is left alone."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import TrainerCallback

_FULL_DISK = ("No space left", "PytorchStreamWriter failed")  # as the system, safetensors and torch.save say it


class StopOnNonFinite(TrainerCallback):
    """Ends a training whose gradients are no numbers, before they reach the weights or a checkpoint."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        if all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            return
        raise ValueError(
            f"step {state.global_step + 1}: the loss or its gradients are not finite numbers; "
            f"{_what_is_kept(Path(args.output_dir))}. Lower the learning rate, or set recognizer.base_dtype=float32"
        )


@contextmanager
def explained_faults(folder: Path) -> Iterator[None]:
    """Turns a full disk, which every library reports in its own way, into one OSError that says what is kept."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if getattr(error, "errno", None) != errno.ENOSPC and not any(text in str(error) for text in _FULL_DISK):
            raise
        raise OSError(
            errno.ENOSPC,
            f"{folder}: the disk is full; {_what_is_kept(folder)}. Free some space and run the command again",
        ) from None


def complete_checkpoints(folder: Path) -> list[Path]:
    """Finds the checkpoints written to their end, oldest first; the Trainer writes trainer_state.json last."""
    complete = [path for path in folder.glob("checkpoint-*") if _has_state(path / "trainer_state.json")]
    return sorted(complete, key=lambda path: int(path.name.partition("-")[2]))


def _has_state(record: Path) -> bool:
    try:
        json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _what_is_kept(folder: Path) -> str:
    complete = complete_checkpoints(folder)
    return f"the last good checkpoint is {complete[-1]}" if complete else "there is no checkpoint yet"
