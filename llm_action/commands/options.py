"""What commands share. A command imports what it needs when it runs, so that `llm-action --help` loads no torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_action import SkeletonActionRecognitionPipeline


def add_command(commands, name: str, run: Callable | None, help_text: str) -> argparse.ArgumentParser:
    """Adds a command to a parser's subcommands; one without `run` has subcommands of its own."""
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def add_model(command: argparse.ArgumentParser, help_text: str = "model folder or Hub id") -> None:
    """Adds MODEL, the first argument of every command that takes one."""
    command.add_argument("model", metavar="MODEL", help=help_text)


def add_answer_options(command: argparse.ArgumentParser) -> None:
    """Adds --dtype, --views and --fast: how a model answers."""
    add_arithmetic(command)
    command.add_argument(
        "--views", type=int, default=1, metavar="N", help="views of a recording to average over (default 1)"
    )
    add_fast(command)


def add_arithmetic(command: argparse.ArgumentParser) -> None:
    """Adds --dtype, see `load_pipeline`."""
    command.add_argument(
        "--dtype", help="arithmetic of the language model: float32, bfloat16, float16, int8; default: what is fast here"
    )


def add_fast(command: argparse.ArgumentParser) -> None:
    """Adds --fast, see `load_answering`."""
    command.add_argument("--fast", action="store_true", help="let the model's student answer, in milliseconds")


def add_signal_option(command: argparse.ArgumentParser) -> None:
    """Adds --signal, see `signals_of`."""
    command.add_argument(
        "--signal",
        action="append",
        default=[],
        metavar="SENSE=FILE",
        help="what another sense recorded at the same time as the one FILE: inertial=worn.csv",
    )


def signals_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The files of further senses by their senses' names.

    Raises:
        ValueError: not SENSE=FILE, or several recordings that they could belong to.
    """
    signals = {}
    for given in arguments.signal:
        sense, found, file = given.partition("=")
        if not found or not sense or not file:
            raise ValueError(f"--signal: expected SENSE=FILE, like inertial=worn.csv, got {given!r}")
        signals[sense] = file
    if signals and (len(arguments.files) > 1 or any(Path(file).is_dir() for file in arguments.files)):
        raise ValueError("--signal: expected one FILE that it belongs to; call the command once a recording")
    return signals


def add_lines_option(command: argparse.ArgumentParser) -> None:
    """Adds the --json of commands whose answers may go on for ever, see `written_lines`."""
    command.add_argument(
        "--json", type=Path, metavar="PATH", help="write a JSON object for each window here, one a line, as they come"
    )


@contextmanager
def written_lines(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives a function that writes a JSON object as a line of a file at once; without a path it writes nothing."""
    if path is None:
        yield lambda _: None
        return
    with path.open("w", encoding="utf-8") as file:

        def write(one: dict[str, Any]) -> None:
            file.write(json.dumps(one, ensure_ascii=False) + "\n")
            file.flush()

        yield write


def add_reading_options(command: argparse.ArgumentParser) -> None:
    """Adds what a user may say about recordings; what neither user nor recording says is inferred."""
    group = command.add_argument_group("what recordings do not say")
    group.add_argument("--layout", help="joint layout: a name, or the path of a JSON of your own")
    group.add_argument("--axes", help="order of an array's axes: M persons, T frames, V joints, C channels; e.g. CTVM")
    group.add_argument("--columns", help='what a table has in its columns, e.g. "time, 25*(x, y, z)"')
    group.add_argument("--up", metavar="AXIS", help="which axis points up, e.g. z; with a minus: --up=-y")
    group.add_argument("--unit", help="m, cm, mm, in; of 2-D joints px, or image (shares of its width and height)")
    group.add_argument("--image-size", metavar="WxH", help="width and height of the video, e.g. 1920x1080")
    group.add_argument("--missing", type=float, metavar="NUMBER", help="a number that marks missing joints, beside 0")
    group.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the axes are left-handed (Unity); of a video: it is mirrored",
    )
    group.add_argument("--persons", type=int, help="of a video: how many persons are looked for (default 2)")
    group.add_argument("--pose-model", metavar="TASK", help="of a video: a .task file of MediaPipe's")


def reading_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said with `add_reading_options`, but for the layout."""
    names = ("axes", "columns", "up", "unit", "image_size", "missing", "mirrored", "persons", "pose_model")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def load_pipeline(model: str, dtype: str | None = None, **given: Any) -> SkeletonActionRecognitionPipeline:
    """Makes what pipeline(TASK, model=model) does; that one hides the message of a missing part in a traceback.

    Args:
        dtype: of the language model, see `LlmArForActionRecognition.from_pretrained`.
        given: more for the pipeline.
    """
    from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline
    from llm_action import registration as registration  # the classes work as the package's

    check_model(model)
    print(f"loading {model}", file=sys.stderr)
    parts = {
        "model": LlmArForActionRecognition.from_pretrained(model, dtype=dtype),
        "processor": LlmArProcessor.from_pretrained(model),
    }
    recognize = SkeletonActionRecognitionPipeline(**parts, **given)
    print(f"base model {recognize.model.arithmetic}", file=sys.stderr)
    return recognize


def check_model(model: str) -> None:
    """Refuses a path that is no folder, before it is taken for a Hub id and looked for there."""
    if not Path(model).is_dir() and (model.count("/") != 1 or model.startswith((".", "/"))):
        raise FileNotFoundError(f"{model}: no such model folder, and no Hub id (user/name)")


def local_folder(model: str) -> Path:
    """The folder of a model, which is fetched if it is on the Hub."""
    from llm_action.hub.model_folder import pull

    check_model(model)
    return Path(model) if Path(model).is_dir() else pull(model)


def with_descriptions(experiment, file: str | None):
    """An experiment whose labels a file describes; the descriptions that ship with the package stay."""
    if file is None:
        return experiment
    return replace(experiment, recognizer=replace(experiment.recognizer, descriptions=file))
