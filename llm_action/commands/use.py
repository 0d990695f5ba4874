"""Commands that use a trained model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from llm_action.commands.options import (
    add_answer_options,
    add_arithmetic,
    add_command,
    add_fast,
    add_lines_option,
    add_model,
    add_reading_options,
    add_signal_option,
    check_model,
    load_pipeline,
    local_folder,
    reading_options,
    signals_of,
    written_lines,
)
from llm_action.commands.watching import add_camera_commands


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    recognize = add_command(commands, "recognize", _recognize, "name the action of recordings")
    add_model(recognize)
    files = recognize.add_argument(
        "files",
        nargs="+",
        default=[],
        metavar="FILE",
        help="recordings, or folders of recordings; not needed with --signal",
    )
    files.required = False  # nargs="*" would take none where options stand between MODEL and FILE
    add_signal_option(recognize)
    written = recognize.add_mutually_exclusive_group()
    written.add_argument(
        "--out", type=Path, metavar="CSV", help="write a row for each file; the same command goes on where it ended"
    )
    recognize.add_argument("--verbose", action="store_true", help="print what was inferred of each recording")
    recognize.add_argument("--each-person", action="store_true", help="one answer for each person of a recording")
    recognize.add_argument("--top-k", type=int, default=5, help="labels to print of each file (default 5)")
    written.add_argument("--json", type=Path, metavar="PATH", help="write a list of all answers here")
    recognize.add_argument(
        "--descriptions",
        metavar="FILE",
        help="JSON file that says what labels mean; the answer is one of its labels, or of --labels",
    )
    _add_model_options(recognize)

    segment = add_command(commands, "segment", _segment, "say what is done when in a long recording")
    add_model(segment)
    segment.add_argument("file", metavar="FILE", help="a recording in any readable format")
    segment.add_argument("--fps", type=float, help="frames a second (default: the file's, else 30)")
    add_answer_options(segment)
    segment.add_argument("--json", type=Path, metavar="PATH", help="write the segments here")
    add_reading_options(segment)

    stream = add_command(commands, "stream", _stream, "play a recording as a stream and print its label track")
    add_model(stream)
    stream.add_argument("file", metavar="FILE", help="a recording in any readable format")
    stream.add_argument("--window", type=int, default=64, help="frames recognised at a time (default 64)")
    stream.add_argument("--hop", type=int, default=8, help="frames between windows (default 8)")
    stream.add_argument("--fps", type=float, help="frames a second (default: the file's, else 30)")
    stream.add_argument("--smoothing", type=float, default=0.5, help="weight the past keeps each hop (default 0.5)")
    stream.add_argument(
        "--hysteresis",
        type=float,
        default=2.0,
        help="how many times likelier a new label must be than the last one (default 2)",
    )
    stream.add_argument(
        "--real-time",
        action="store_true",
        help="give frames at their own pace; windows are skipped if that is too fast",
    )
    add_lines_option(stream)
    _add_model_options(stream)

    add_camera_commands(commands)

    app = add_command(commands, "app", _app, "show a page in the browser that names the action of recordings")
    add_model(app)
    add_arithmetic(app)
    add_fast(app)
    app.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    app.add_argument("--port", type=int, help="port to listen at (default: the first free one from 7860 up)")
    app.add_argument("--open", action="store_true", help="open the page in the browser")

    info = add_command(commands, "info", _info, "say what a model holds")
    add_model(info)


def _add_model_options(command: argparse.ArgumentParser) -> None:
    add_answer_options(command)
    command.add_argument(
        "--labels", nargs="+", metavar="LABEL", help="choose among these names instead of the trained ones"
    )
    add_reading_options(command)


def _recognize(arguments: argparse.Namespace) -> None:
    from llm_action.commands.recognizing import files_of, print_result, recognise_each, write_results
    from llm_action.config.atomic_files import write_json

    signals = signals_of(arguments)
    if not signals and not arguments.files:
        raise ValueError("expected a FILE, or a --signal SENSE=FILE")
    if signals and arguments.each_person:
        raise ValueError("--each-person: expected no --signal, which does not say whose it is; leave one of them out")
    files = files_of(arguments.files) or [", ".join(signals.values())]
    if arguments.out is not None:
        if not arguments.out.parent.is_dir():
            raise FileNotFoundError(f"--out {arguments.out}: expected its folder, found none; make it first")
        files = [file for file in files if Path(file).resolve() != arguments.out.resolve()]  # of an earlier run
    read_skeleton, read_signal, rank = (arguments.fast and _student(arguments)) or _language_model(arguments)

    def read(file: str) -> Any:
        if not signals:
            return read_skeleton(file)
        skeleton = {"skeleton": read_skeleton(file)} if arguments.files else {}
        return {**skeleton, **{sense: read_signal(signal) for sense, signal in signals.items()}}

    each = partial(recognise_each, read=read, rank=rank, each_person=arguments.each_person)
    if arguments.out is not None:
        errors = write_results(arguments.out, files, each)
        for error in errors if len(files) > 1 else ():
            print(f"error: {error}", file=sys.stderr)
        print(f"{arguments.out}: {len(files) - len(errors)} of {len(files)} files recognised")
    else:
        answers = []
        for found in each(files):
            if not (found.error and len(files) == 1):
                print_result(found, arguments.verbose)
            answers.append(found)
        errors = [found.error for found in answers if found.error]
        if arguments.json:
            write_json([found.to_dict() for found in answers], arguments.json)
    if errors:
        raise ValueError(errors[0] if len(files) == 1 else f"{len(errors)} of {len(files)} files were not recognised")


def _segment(arguments: argparse.Namespace) -> None:
    from llm_action import read_skeleton
    from llm_action.commands.answering import load_answering
    from llm_action.config.atomic_files import write_json

    recording = read_skeleton(arguments.file, arguments.layout, arguments.fps, **reading_options(arguments))
    recognize = load_answering(arguments.model, arguments.dtype, arguments.fast)
    rows = recognize.segment(recording, views=arguments.views)
    if arguments.json:
        write_json(rows, arguments.json)
    for row in rows:
        print(
            f"{row['start']:.2f} to {row['end']:.2f} s, person {row['person']}: {row['label']} {row['score']:.3f}, "
            f"most at {row['peak']:.2f} s"
        )
    if not rows:
        print("nothing is done that the model knows")


def _student(arguments: argparse.Namespace) -> tuple[Callable, Callable, Callable] | None:
    """As `_language_model`, without transformers; None for labels that no student knows."""
    from llm_action.modeling.recording_length import of_one_action
    from llm_action.modeling.segmentation import each_person
    from llm_action.modeling.skeleton_sequence import skeleton_of
    from llm_action.modeling.student_recognizer import StudentRecognizer
    from llm_action.skeleton_io import read_skeleton
    from llm_action.skeleton_io.signals import read_signal

    check_model(arguments.model)
    student = StudentRecognizer.from_pretrained(arguments.model)
    if arguments.descriptions:
        return None
    if not student.knows(arguments.labels):
        print("some labels are new to the student: the whole model answers", file=sys.stderr)
        return None

    def rank(recording: Any) -> list[Any]:
        if (skeleton := skeleton_of(recording)) is not None:
            longest = 0.0 if student.familiarity is None else student.familiarity.longest
            beside_signals = recording is not skeleton
            skeleton = of_one_action(skeleton, student.student.config.num_frames, longest, whole=beside_signals)
            recording = recording if beside_signals else skeleton
        people = each_person(recording) if arguments.each_person else [recording]
        answers = student(people, arguments.labels, arguments.top_k, arguments.views)
        return answers if arguments.each_person else answers[0]

    return partial(read_skeleton, layout=arguments.layout, **reading_options(arguments)), read_signal, rank


def _language_model(arguments: argparse.Namespace) -> tuple[Callable, Callable, Callable]:
    """What reads a skeleton and a signal, and what ranks labels."""
    from llm_action.datasets.descriptions import load_descriptions, read_descriptions
    from llm_action.modeling.prompt_states import KeptStates
    from llm_action.skeleton_io.signals import read_signal

    file, labels = arguments.descriptions, arguments.labels
    if file:
        labels = load_descriptions(labels, file=file) if labels else read_descriptions(file)
    recognize = load_pipeline(arguments.model, arguments.dtype, candidate_labels=labels)
    options: dict[str, Any] = {"top_k": arguments.top_k, "views": arguments.views, "states": KeptStates()}
    options["each_person"] = arguments.each_person
    read_skeleton = partial(
        recognize.processor.read,
        layout=arguments.layout,
        whole=bool(signals_of(arguments)),  # a signal may have no clock to be cut by
        **reading_options(arguments),
    )
    return read_skeleton, read_signal, partial(recognize, **options)


def _stream(arguments: argparse.Namespace) -> None:
    from llm_action import read_skeleton
    from llm_action.commands.answering import load_answering

    recording = read_skeleton(arguments.file, arguments.layout, arguments.fps, **reading_options(arguments))
    fps = recording.fps or 30.0
    frames = recording.joints.swapaxes(0, 1)
    recognize = load_answering(arguments.model, arguments.dtype, arguments.fast)
    results = recognize.stream(
        _paced(frames, fps) if arguments.real_time else frames,
        arguments.window,
        arguments.hop,
        live=arguments.real_time,
        views=arguments.views,
        smoothing=arguments.smoothing,
        hysteresis=arguments.hysteresis,
        layout=recording.layout,
        up="y" if recording.joints.shape[-1] == 3 else "-y",
        mirrored=False,
        fps=fps,
        **({"candidate_labels": arguments.labels} if arguments.labels else {}),
    )
    with written_lines(arguments.json) as write:
        for result in results:
            write(asdict(result))
            track = f"{result.track_label} {result.track_score:.3f}, window {result.label} {result.score:.3f}"
            late = f", {result.skipped} frames skipped" if result.skipped else ""
            print(f"{result.time:.2f} s: {track if result.label else 'nobody'}{late}", flush=True)


def _paced(frames: Iterable[Any], fps: float) -> Iterator[Any]:
    """The frames at the times a sensor would give them."""
    start = time.monotonic()
    for index, frame in enumerate(frames):
        time.sleep(max(0.0, start + index / fps - time.monotonic()))
        yield frame


def _app(arguments: argparse.Namespace) -> None:
    from llm_action.commands.answering import load_answering

    check_model(arguments.model)
    try:
        from llm_action.visualization.app.page import launch_app
    except ModuleNotFoundError as error:
        raise ValueError(f"expected {error.name}, which the page needs; pip install 'llm-action[app]'") from None
    launch_app(
        lambda: load_answering(arguments.model, arguments.dtype, arguments.fast),
        arguments.model,
        server_name=arguments.host,
        server_port=arguments.port,
        inbrowser=arguments.open,
    )


def _info(arguments: argparse.Namespace) -> None:
    from llm_action.hub.base_models import default_arithmetic
    from llm_action.hub.model_folder import describe

    folder = local_folder(arguments.model)
    for name, value in {**describe(folder), "arithmetic": default_arithmetic(str(folder))}.items():
        said = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        print(f"{name}: {' / '.join(said.splitlines())}")
