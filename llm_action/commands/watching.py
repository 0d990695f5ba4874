"""Commands that look at videos and cameras."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm_action.commands.options import (
    add_answer_options,
    add_command,
    add_lines_option,
    add_model,
    written_lines,
)


def add_camera_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    watch = add_command(commands, "watch", _watch, "name what persons do in front of a camera")
    add_model(watch)
    watch.add_argument("--camera", required=True, metavar="SOURCE", help="a camera (0), a URL, or a video file")
    watch.add_argument("--out", metavar="PATH", help="write annotated pictures: an .mp4, or a folder")
    watch.add_argument("--labels", nargs="+", metavar="LABEL", help="choose among these names instead of the trained")
    add_answer_options(watch)
    watch.add_argument("--window", type=int, default=64, help="pictures recognised at a time (default 64)")
    watch.add_argument("--hop", type=int, default=8, help="pictures between windows (default 8)")
    watch.add_argument("--smoothing", type=float, default=0.5, help="weight the past keeps each hop (default 0.5)")
    watch.add_argument(
        "--hysteresis",
        type=float,
        default=2.0,
        help="how many times likelier a new label must be than the last one (default 2)",
    )
    watch.add_argument("--real-time", action="store_true", help="play a file at its own pace, like a camera")
    watch.add_argument("--mirror", action="store_true", help="the pictures are mirrored: flip them back")
    add_lines_option(watch)
    _add_estimator_options(watch)

    pose = add_command(commands, "pose", _pose, "take the skeletons out of a video")
    pose.add_argument("video", metavar="VIDEO", help="a file that OpenCV reads")
    pose.add_argument("--out", required=True, metavar="NPZ", help="file to write")
    pose.add_argument("--mirror", action="store_true", help="the video is mirrored: flip it back")
    pose.add_argument("--pixels", action="store_true", help="write pixels of the picture instead of metres")
    _add_estimator_options(pose)


def _add_estimator_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--persons", type=int, default=2, help="how many persons are looked for (default 2)")
    command.add_argument("--pose-model", metavar="TASK", help="a .task file of MediaPipe (default: its own)")


def _pose(arguments: argparse.Namespace) -> None:
    from llm_action.skeleton_io import read_skeleton, write_npz
    from llm_action.skeleton_io.formats import is_video_file

    if not is_video_file(Path(arguments.video)):
        raise ValueError(f"{arguments.video}: expected a video, found another file")
    options: dict[str, Any] = {"unit": "px"} if arguments.pixels else {}
    if arguments.mirror:
        options["mirrored"] = True
    sequence = read_skeleton(arguments.video, persons=arguments.persons, pose_model=arguments.pose_model, **options)
    write_npz(sequence, arguments.out)
    print(f"{arguments.out}: {sequence.num_persons} persons, {sequence.num_frames} frames, {sequence.fps:g} a second")
    for note in sequence.notes:
        print(f"  {note}")


def _watch(arguments: argparse.Namespace) -> None:
    from contextlib import ExitStack

    from llm_action.commands.answering import load_answering
    from llm_action.skeleton_io.camera import Watcher, branches
    from llm_action.skeleton_io.pose_estimation import LAYOUT, PoseEstimator
    from llm_action.visualization.overlay import PictureWriter

    source, number = arguments.camera, arguments.persons
    is_file = not source.isdigit() and Path(source).is_file()
    live = arguments.real_time or not is_file
    with ExitStack() as stack:
        write = stack.enter_context(written_lines(arguments.json))
        estimator = stack.enter_context(PoseEstimator(arguments.pose_model, number))
        watcher = Watcher(int(source) if source.isdigit() else source, estimator, number, live, arguments.mirror)
        recognize = load_answering(arguments.model, arguments.dtype, arguments.fast)
        labels: dict[str, str] = {}
        seen: Iterator[Any] = iter(watcher)
        if arguments.out is not None:
            writer = PictureWriter(arguments.out, watcher.fps, watcher.size)
            stack.callback(writer.close)
            seen = _annotated(seen, writer, labels)
        streams = {
            f"person {person + 1}": _joints_of(branch, person) for person, branch in enumerate(branches(seen, number))
        }
        results = recognize.stream(
            streams,
            arguments.window,
            arguments.hop,
            live=live,
            views=arguments.views,
            smoothing=arguments.smoothing,
            hysteresis=arguments.hysteresis,
            layout=LAYOUT.name,
            up="-y",
            unit="m",
            mirrored=False,
            fps=watcher.fps,
            **({"candidate_labels": arguments.labels} if arguments.labels else {}),
        )
        for result in _until_interrupted(results):
            labels[result.stream or ""] = f"{result.track_label} {result.track_score:.2f}" if result.label else ""
            write(asdict(result))
            if result.label:
                late = f", {result.skipped} frames skipped" if result.skipped else ""
                print(
                    f"{result.time:.2f} s, {result.stream}: {result.track_label} {result.track_score:.3f}, "
                    f"window {result.label} {result.score:.3f}{late}",
                    flush=True,
                )


def _until_interrupted(results: Iterator[Any]) -> Iterator[Any]:
    """Ends when the user presses Ctrl-C, so that files are closed."""
    with suppress(KeyboardInterrupt):
        yield from results


def _joints_of(seen: Iterator[Any], person: int) -> Iterator[Any]:
    for one in seen:
        yield one.joints[person]


def _annotated(seen: Iterator[Any], writer: Any, labels: dict[str, str]) -> Iterator[Any]:
    """The same, each picture written with the skeletons and the labels of the moment."""
    import numpy as np

    from llm_action.skeleton_io.pose_estimation import LAYOUT
    from llm_action.visualization.overlay import draw_persons

    last = -1
    for one in seen:
        if one.picture is not None:
            shown = [
                None if pose is None else np.where(pose.visibility[:, None] < 0.3, np.nan, pose.image)
                for pose in one.persons
            ]
            texts = [labels.get(f"person {number + 1}", "") for number in range(len(shown))]
            writer.write(draw_persons(one.picture, shown, LAYOUT, texts), one.number - last)
            last = one.number
        yield one
