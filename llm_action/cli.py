"""The command line: `llm-action COMMAND --help` tells each command's arguments."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from importlib import import_module
from typing import TextIO

from llm_action.commands import look, measure, share, train, use
from llm_action.config.progress import quiet_libraries
from llm_action.version import __version__

_EXIT_BAD_INPUT = 2
_GROUPS = {"use": use, "look": look, "train": train, "measure": measure, "share": share}


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Bad input ends in one line on stderr and exit code 2."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.showwarning = _show_warning
            if not getattr(arguments, "fast", False):
                import_module("llm_action.registration")
                quiet_libraries()
            arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """The package's own warnings are for the user, in a line; others as Python shows them."""
    if category.__module__.startswith("llm_action."):
        print(f"warning: {message}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-action",
        usage="llm-action COMMAND ...",
        description="Skeletons in, action names out.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"llm-action {__version__}")
    commands = parser.add_subparsers(prog="llm-action", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    lines = []
    for title, group in _GROUPS.items():
        before = set(commands.choices)
        group.add_commands(commands)
        added = [name for name in commands.choices if name not in before]
        lines += [f"{title}:", *(f"  {name:<17}{commands.choices[name].description}" for name in added), ""]
    parser.epilog = "\n".join([*lines, "llm-action COMMAND --help tells a command's arguments."])
    return parser


if __name__ == "__main__":
    sys.exit(main())
