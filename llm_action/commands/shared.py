"""What commands share. A command imports what it needs when it runs: `llm-action --help` should not wait for torch."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path


def add_command(commands, name: str, run, help_text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def load_pipeline(model: str):
    from transformers.utils.logging import disable_progress_bar

    from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline

    check_model(model)
    disable_progress_bar()  # one bar a part, gone in a second
    # what pipeline(TASK, model=model) makes, but that hides a part's own message in a traceback
    parts = {
        "model": LlmArForActionRecognition.from_pretrained(model),
        "processor": LlmArProcessor.from_pretrained(model),
    }
    recognize = SkeletonActionRecognitionPipeline(**parts)
    print(f"base model {recognize.model.arithmetic}", file=sys.stderr)
    return recognize


def check_model(model: str) -> None:
    """A path that is no folder would be taken for a Hub id; say so before anything is downloaded."""
    if not Path(model).is_dir() and (model.count("/") != 1 or model.startswith((".", "/"))):
        raise FileNotFoundError(f"{model}: no such model folder, and no Hub id (user/name)")


def with_descriptions(experiment, file: str | None):
    """An experiment whose labels a file describes, beside those shipped."""
    if file is None:
        return experiment
    return replace(experiment, recognizer=replace(experiment.recognizer, descriptions=file))
