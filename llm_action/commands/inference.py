"""Commands that use a trained model."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from llm_action.commands.shared import add_command, load_pipeline


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    recognize = add_command(commands, "recognize", _recognize, "name the action of recordings")
    recognize.add_argument("files", nargs="+", metavar="FILE", help="recordings in any readable format")
    recognize.add_argument("--top-k", type=int, default=3, help="labels to print for each file (default 3)")
    recognize.add_argument("--json", action="store_true", help="print one JSON object a file")
    recognize.add_argument(
        "--descriptions",
        metavar="FILE",
        help="JSON file of what labels mean, to choose among its labels, or among --labels with its help",
    )
    _add_model_options(recognize)

    stream = add_command(commands, "stream", _stream, "play a recording as a stream and print its label track")
    stream.add_argument("file", metavar="FILE", help="a recording in any readable format")
    stream.add_argument("--window", type=int, default=64, help="frames recognised at a time (default 64)")
    stream.add_argument("--hop", type=int, default=8, help="frames between windows (default 8)")
    stream.add_argument("--fps", type=float, help="frames a second (default: the file's, else 30)")
    stream.add_argument("--smoothing", type=float, default=0.5, help="weight the past keeps each hop (default 0.5)")
    stream.add_argument(
        "--hysteresis", type=float, default=2.0, help="how many times likelier another label must be (default 2)"
    )
    stream.add_argument(
        "--real-time",
        action="store_true",
        help="frames come at their own pace; windows are skipped if that is too fast",
    )
    stream.add_argument("--json", action="store_true", help="print one JSON object a window")
    _add_model_options(stream)

    base = add_command(commands, "base-model", _base_model, "fetch a base model if need be and print its folder")
    base.add_argument("name", nargs="?", help="folder, .gguf file or Hub id; default SmolLM2-135M-Instruct")

    info = add_command(commands, "info", _info, "say what a model folder holds")
    info.add_argument("folder")


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", required=True, help="model folder or Hub id")
    command.add_argument(
        "--labels", nargs="+", metavar="LABEL", help="choose among these names instead of the trained ones"
    )
    command.add_argument("--layout", help="joint layout of files that do not name theirs")


def _recognize(arguments: argparse.Namespace) -> None:
    from llm_action.datasets.descriptions import load_descriptions, read_descriptions
    from llm_action.modeling.prompt_states import KeptStates

    recognize = load_pipeline(arguments.model)
    options = {"top_k": arguments.top_k, "layout": arguments.layout, "states": KeptStates()}
    if arguments.descriptions:
        file, labels = arguments.descriptions, arguments.labels
        options["candidate_labels"] = load_descriptions(labels, file=file) if labels else read_descriptions(file)
    elif arguments.labels:
        options["candidate_labels"] = arguments.labels
    for file in arguments.files:
        ranking = recognize(file, **options)
        if arguments.json:
            print(json.dumps({"file": file, "ranking": ranking}))
        else:
            print(f"{file}: " + ", ".join(f"{entry['label']} {entry['score']:.3f}" for entry in ranking), flush=True)


def _stream(arguments: argparse.Namespace) -> None:
    from llm_action import read_skeleton

    recording = read_skeleton(arguments.file, arguments.layout, arguments.fps)
    fps = recording.fps or 30.0
    frames = recording.joints.swapaxes(0, 1)
    results = load_pipeline(arguments.model).stream(
        _paced(frames, fps) if arguments.real_time else frames,
        arguments.window,
        arguments.hop,
        live=arguments.real_time,
        smoothing=arguments.smoothing,
        hysteresis=arguments.hysteresis,
        layout=recording.layout,
        fps=fps,
        **({"candidate_labels": arguments.labels} if arguments.labels else {}),
    )
    for result in results:
        if arguments.json:
            print(json.dumps(asdict(result)), flush=True)
            continue
        track = f"{result.track_label} {result.track_score:.3f}, window {result.label} {result.score:.3f}"
        late = f", {result.skipped} frames skipped" if result.skipped else ""
        print(f"{result.time:.2f} s: {track if result.label else 'nobody'}{late}", flush=True)


def _paced(frames: Iterable[Any], fps: float) -> Iterator[Any]:
    """The frames at the times a sensor would give them."""
    start = time.monotonic()
    for index, frame in enumerate(frames):
        time.sleep(max(0.0, start + index / fps - time.monotonic()))
        yield frame


def _info(arguments: argparse.Namespace) -> None:
    from llm_action.hub.base_models import default_arithmetic
    from llm_action.hub.model_folder import describe

    known = describe(arguments.folder)
    for name, value in {**known, "arithmetic": default_arithmetic(arguments.folder)}.items():
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _base_model(arguments: argparse.Namespace) -> None:
    from llm_action.hub.base_models import resolve_base_model

    print(resolve_base_model(arguments.name))
