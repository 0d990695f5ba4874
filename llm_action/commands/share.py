"""Commands that write and share model folders."""

from __future__ import annotations

import argparse
from pathlib import Path

from llm_action.commands.options import add_command, add_model


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    export = add_command(commands, "export", _export, "write a model folder anew, with its base model if wanted")
    add_model(export, "model folder, run folder or Hub id")
    export.add_argument("--out", help="folder to write; default: in place")
    export.add_argument("--include-base", action="store_true", help="copy the base model into base/, for offline use")
    export.add_argument("--base-model", metavar="USER/NAME", help="Hub id of a base that was a local copy in training")
    export.add_argument(
        "--onnx", action="store_true", help="also write the action tokenizer and the student as ONNX, checked"
    )

    push = add_command(commands, "push", _push, "share a model folder on the Hub")
    add_model(push, "model folder")
    push.add_argument("repository", metavar="USER/NAME")
    push.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    push.add_argument("--space", action="store_true", help="make a demo Space of the same name, too")
    push.add_argument(
        "--results", nargs="+", type=Path, default=[], metavar="JSON", help="files of llm-action evaluate --json"
    )

    data = add_command(commands, "push-data", _push_data, "share prepared data on the Hub, to train on from anywhere")
    data.add_argument("folder", metavar="FOLDER", help="folder that llm-action prepare wrote")
    data.add_argument("repository", metavar="USER/NAME")
    data.add_argument("--private", action="store_true", default=None, help="make a new repository private")

    pull = add_command(commands, "pull", _pull, "fetch a model from the Hub and print its folder")
    pull.add_argument("repository", metavar="USER/NAME")
    pull.add_argument("--revision", help="branch, tag or commit (default main)")
    pull.add_argument("--out", help="folder to write; default: the Hugging Face cache")


def _export(arguments: argparse.Namespace) -> None:
    from llm_action.hub.model_folder import copy_model

    folder = copy_model(arguments.model, arguments.out, arguments.include_base, arguments.base_model)
    if arguments.onnx:
        from llm_action.hub.onnx_export import export_onnx

        export_onnx(folder)
    print(folder)


def _push(arguments: argparse.Namespace) -> None:
    from llm_action.config.reading import read_json
    from llm_action.hub.uploader import push

    results = [read_json(file) for file in arguments.results]
    print(push(arguments.model, arguments.repository, arguments.private, arguments.space, results=results))


def _push_data(arguments: argparse.Namespace) -> None:
    from llm_action.hub.uploader import push_data

    print(push_data(arguments.folder, arguments.repository, arguments.private))


def _pull(arguments: argparse.Namespace) -> None:
    from llm_action.hub.model_folder import pull

    print(pull(arguments.repository, arguments.revision, arguments.out))
