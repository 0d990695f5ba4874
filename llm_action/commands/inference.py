"""Commands that use a trained model."""

from __future__ import annotations

import argparse
import json

from llm_action.commands.shared import add_command, load_pipeline


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    recognize = add_command(commands, "recognize", _recognize, "name the action of recordings")
    recognize.add_argument("files", nargs="+", metavar="FILE", help="recordings in any readable format")
    recognize.add_argument("--model", required=True, help="model folder or Hub id")
    recognize.add_argument("--top-k", type=int, default=3, help="labels to print for each file (default 3)")
    recognize.add_argument(
        "--labels", nargs="+", metavar="LABEL", help="choose among these names instead of the trained ones"
    )
    recognize.add_argument("--layout", help="joint layout of files that do not tell")
    recognize.add_argument("--json", action="store_true", help="print one JSON object a file")

    base = add_command(commands, "base-model", _base_model, "fetch a base model if need be and print its folder")
    base.add_argument("name", nargs="?", help="folder, .gguf file or Hub id; default SmolLM2-135M-Instruct")

    info = add_command(commands, "info", _info, "say what a model folder holds")
    info.add_argument("folder")


def _recognize(arguments: argparse.Namespace) -> None:
    recognize = load_pipeline(arguments.model)
    options = {"top_k": arguments.top_k, "layout": arguments.layout}
    if arguments.labels:
        options["candidate_labels"] = arguments.labels
    for file in arguments.files:
        ranking = recognize(file, **options)
        if arguments.json:
            print(json.dumps({"file": file, "ranking": ranking}))
        else:
            print(f"{file}: " + ", ".join(f"{entry['label']} {entry['score']:.3f}" for entry in ranking), flush=True)


def _info(arguments: argparse.Namespace) -> None:
    from llm_action.hub import describe

    for name, value in describe(arguments.folder).items():
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _base_model(arguments: argparse.Namespace) -> None:
    from llm_action.base_models import resolve_base_model

    print(resolve_base_model(arguments.name))
