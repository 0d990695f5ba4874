"""The command line: `llm-action COMMAND --help` tells each command's arguments."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from difflib import get_close_matches
from importlib import import_module
from typing import TextIO

from llm_action.commands import look, measure, share, train, use
from llm_action.config.progress import quiet_libraries
from llm_action.version import __version__

_EXIT_BAD_INPUT = 2
_GROUPS = {"use": use, "look": look, "train": train, "measure": measure, "share": share}


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Bad input ends in one line on stderr and exit code 2."""
    parser, given = _parser(), sys.argv[1:] if argv is None else argv
    if not given:
        parser.print_help(sys.stderr)
        return _EXIT_BAD_INPUT
    _check_command(parser, given[0])
    arguments = parser.parse_args(given)
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


def _check_command(parser: argparse.ArgumentParser, name: str) -> None:
    """Points out the command that an unknown one is spelt like; argparse would list them all."""
    known = parser.get_default("commands")
    if name not in known and not name.startswith("-"):
        near = "".join(f"; did you mean {one}?" for one in get_close_matches(name, known, 1))
        parser.error(f"there is no command {name!r}{near or '; see llm-action --help'}")


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
    parser.set_defaults(commands=tuple(commands.choices))
    parser.epilog = "\n".join([*lines, "llm-action COMMAND --help tells a command's arguments."])
    return parser


if __name__ == "__main__":
    sys.exit(main())
