"""Checkpoints whose content is on record: a damaged one is recognised, and the one before it is used.

Their order is that of their steps. File times are not looked at: a clock may jump.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import TrainerCallback

from llm_action.config.atomic_files import file_hash, write_json
from llm_action.config.reading import recorded
from llm_action.training.launching import launched_processes

RECORD = "checksums.json"
_KEPT = 2


class KeepCheckpoints(TrainerCallback):
    """Writes into every checkpoint, last, the hash of each of its files; then removes all but the two latest."""

    def on_save(self, args, state, control, **kwargs):
        launched_processes().wait_for_everyone()  # each process has written its part
        if state.is_world_process_zero:
            folder = Path(args.output_dir)
            record_checkpoint(folder / f"checkpoint-{state.global_step}")
            written = [path for path in _checkpoints(folder) if _step(path) <= state.global_step]
            for outdated in written[:-_KEPT]:
                shutil.rmtree(outdated)


def record_checkpoint(checkpoint: Path) -> None:
    """Writes the SHA-256 of every file of a checkpoint into it."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != RECORD)
    write_json({path.relative_to(checkpoint).as_posix(): file_hash(path) for path in files}, checkpoint / RECORD)


def checkpoint_fault(checkpoint: Path) -> str | None:
    """Says what is wrong with a checkpoint, by its content; None of one that is whole."""
    record = recorded(checkpoint / RECORD)
    if not isinstance(record, dict):
        return "was not written to its end"
    for name, digest in record.items():
        file = checkpoint / name
        if not file.is_file():
            return f"has lost {name}"
        if file_hash(file) != digest:
            return f"has a damaged {name}"
    return None


def last_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Finds the latest whole checkpoint in a folder, None without one, and says what is wrong with later ones."""
    faults: list[str] = []
    for checkpoint in reversed(_checkpoints(folder)):
        fault = checkpoint_fault(checkpoint)
        if fault is None:
            return checkpoint, faults
        faults.append(f"{checkpoint} {fault}")
    return None, faults


def has_checkpoints(folder: Path) -> bool:
    """Whether a checkpoint was written to its end; it may be damaged since."""
    return any((checkpoint / RECORD).is_file() for checkpoint in _checkpoints(folder))


def remove_checkpoints(folder: Path) -> None:
    """Removes all checkpoints in a folder."""
    for checkpoint in _checkpoints(folder):
        shutil.rmtree(checkpoint)


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whole or not, by step."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.partition("-")[2].isdigit()]
    return sorted(found, key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])
