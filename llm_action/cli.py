"""The command line: `llm-action COMMAND --help` tells each command's arguments."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from importlib import import_module

from llm_action.commands import (
    benchmarks,
    explaining,
    inference,
    measuring,
    open_vocabulary,
    sharing,
    tables,
    training,
    watching,
)
from llm_action.version import __version__

_EXIT_BAD_INPUT = 2


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Bad input ends in one line on stderr and exit code 2."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        if not getattr(arguments, "fast", False):
            import_module("llm_action.registration")
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llm-action", description="Skeletons in, action names out.")
    parser.add_argument("--version", action="version", version=f"llm-action {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (inference, watching, explaining, training, measuring, benchmarks, tables, open_vocabulary, sharing):
        group.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
