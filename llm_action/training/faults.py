"""Faults of a long training, said clearly; the last good checkpoint is left alone."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import TrainerCallback

from llm_action.training.checkpoints import last_checkpoint

_FULL_DISK = ("No space left", "PytorchStreamWriter failed")  # as the system, safetensors and torch.save say it
_EXPLAINED = "the disk is full"


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
def explained_faults(folder: Path, *stages: Path) -> Iterator[None]:
    """Turns a full disk, which every library reports in its own way, into one OSError that says what is kept.

    Args:
        folder: what is written.
        stages: folders with its checkpoints, the latest stage first; default `folder` itself.
    """
    try:
        yield
    except Exception as error:  # tokenizers raises a bare one
        if getattr(error, "errno", None) != errno.ENOSPC and not any(text in str(error) for text in _FULL_DISK):
            raise
        if _EXPLAINED in str(error):
            raise
        kept = _what_is_kept(*(stages or (folder,)))
        raise OSError(
            errno.ENOSPC, f"{folder}: {_EXPLAINED}; {kept}. Free some space and run the command again"
        ) from None


def _what_is_kept(*stages: Path) -> str:
    for folder in stages:
        checkpoint, _ = last_checkpoint(folder)
        if checkpoint is not None:
            return f"the last good checkpoint is {checkpoint}"
    return "there is no checkpoint yet"
