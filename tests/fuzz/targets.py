"""What reads hostile inputs: recordings, model folders, experiments, prepared tables and the smaller files.

A target has sound inputs (files or folders) and a function that reads one and says what a right answer is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .judge import WrongAnswerError
from .seeds import OWN_LAYOUT, TESTS, motion, write_recordings, write_signals

MODEL = TESTS / "hub" / "format_1_model"


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        read: takes the path of an input, raises what the package raises, or `WrongAnswerError`.
        inputs: sound ones.
        share: of all inputs tried.
    """

    name: str
    read: Callable[[Path], Any]
    inputs: list[Path]
    share: float


def all_targets(
    folder: Path, real: Path | None = None, model: Path | None = None, only: list[str] | None = None
) -> list[Target]:
    """Writes sound inputs below a folder; recordings below the folder `real` are inputs as well."""
    recordings = write_recordings(folder / "recordings") + (real_recordings(real) if real is not None else [])
    kinds: dict[str, tuple[float, Callable[[Path], Any], Callable[[], list[Path]]]] = {
        "recording": (0.6, read_recording, lambda: recordings),
        "clips": (0.1, read_all_clips, lambda: [path for path in recordings if path.is_file()]),
        "signal": (0.04, read_one_signal, lambda: write_signals(folder / "signals")),
        "experiment": (0.08, read_experiment, lambda: _experiments(folder / "experiments")),
        "table": (0.04, read_table, lambda: [_table(folder / "table")]),
        "small file": (0.1, read_small_file, lambda: _small_files(folder / "small")),
        "model": (0.04, read_model, lambda: [_copied(model or MODEL, folder / "model")]),
    }
    return [Target(name, read, make(), share) for name, (share, read, make) in kinds.items() if name in (only or kinds)]


def real_recordings(root: Path, of_a_kind: int = 6, largest: int = 1 << 20) -> list[Path]:
    """Some files of every suffix in every folder below `root`, none larger than a megabyte."""
    from llm_action.skeleton_io import SKELETON_SUFFIXES

    found: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if (
            path.is_file()
            and path.suffix.lower() in (*SKELETON_SUFFIXES, ".avi", ".mp4")
            and path.stat().st_size <= largest
        ):
            found.setdefault((path.parent, path.suffix.lower()), []).append(path)
    return [path for paths in found.values() for path in paths[:: max(1, len(paths) // of_a_kind)][:of_a_kind]]


# Recordings


def read_recording(path: Path) -> None:
    """Reads it as `recognize` does, and normalises it as every model does."""
    from llm_action.skeleton_io import read_skeleton

    with _built_in_layouts():
        check_sequence(read_skeleton(path))


@contextmanager
def _built_in_layouts() -> Iterator[None]:
    """Forgets the layouts that an input brings."""
    from llm_action.modeling.skeleton_layouts import LAYOUTS

    before = dict(LAYOUTS)
    try:
        yield
    finally:
        LAYOUTS.clear()
        LAYOUTS.update(before)


def read_all_clips(path: Path) -> None:
    """Reads every clip, as `prepare` does."""
    from llm_action.skeleton_io import clip_list, read_clips

    dropped: list[tuple[str, str]] = []
    read = 0
    for clip in read_clips(path, dropped=dropped):
        read += 1
        check_sequence(clip.sequence)
        if clip.label is not None and not isinstance(clip.label, (int, str)):
            raise WrongAnswerError(f"a label that is no number or name: {clip.label!r}")
    listed = clip_list(path)
    if listed and len(listed) != read + len(dropped):
        raise WrongAnswerError(f"another number of clips listed: {len(listed)}, read {read} and dropped {len(dropped)}")


def check_sequence(sequence: Any) -> None:
    """What holds of every sequence, whatever it was read from."""
    from llm_action.modeling.skeleton_layouts import get_layout
    from llm_action.modeling.skeleton_normalization import SkeletonNormalizer

    joints = sequence.joints
    if joints.dtype != np.float32 or joints.ndim != 4 or joints.shape[3] not in (2, 3) or 0 in joints.shape:
        raise WrongAnswerError(f"joints of another kind: {joints.dtype} {joints.shape}")
    if joints.shape[2] != get_layout(sequence.layout).num_joints:
        raise WrongAnswerError(f"joints of another layout: {joints.shape} {sequence.layout}")
    if np.isinf(joints).any() or np.isnan(joints).all():
        raise WrongAnswerError("joints that are no places: infinite, or all missing")
    if sequence.scores is not None and sequence.scores.shape != joints.shape[:3]:
        raise WrongAnswerError(f"scores of another shape: {sequence.scores.shape}")
    if sequence.fps is not None and not 0 < sequence.fps < np.inf:
        raise WrongAnswerError(f"a frame rate that is none: {sequence.fps}")
    skeletons, _ = SkeletonNormalizer(sequence.layout).arrays([sequence])
    if not np.isfinite(skeletons).all():
        raise WrongAnswerError("features that are no numbers: NaN or infinite")


def read_one_signal(path: Path) -> None:
    from llm_action.skeleton_io.signals import read_signal

    signal = read_signal(path)
    if signal.values.ndim != 2 or 0 in signal.values.shape or np.isinf(signal.values).any():
        raise WrongAnswerError(f"values that are no signal: {signal.values.shape}")


# Experiments


def read_experiment(path: Path) -> None:
    from llm_action.config.experiment import load_experiment, save_experiment

    experiment = load_experiment(path)
    save_experiment(experiment, path.with_name("again.yaml"))
    if load_experiment(path.with_name("again.yaml")) != experiment:
        raise WrongAnswerError("another experiment after saving: not the same")


def _experiments(folder: Path) -> list[Path]:
    from llm_action.config.experiment import Experiment, load_experiment, preset_names, save_experiment

    folder.mkdir(parents=True, exist_ok=True)
    for name in preset_names():
        save_experiment(load_experiment(name), folder / f"{name}.yaml")
    save_experiment(
        Experiment(extra_datasets=[{"dataset": "msr_action3d", "data": "x"}], unseen=["wave"]), folder / "more.yaml"
    )
    (folder / "hostile.yaml").write_text(_HOSTILE_YAML, encoding="utf-8")
    (folder / "short.yaml").write_text(
        "dataset: utd_mhad\nvqvae: {steps: 10, model: {num_frames: 16}}\nseed: 1\n", encoding="utf-8"
    )
    return sorted(folder.iterdir())


_HOSTILE_YAML = """
dataset: !!python/object/apply:os.system ["touch canary"]
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]
g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]
unseen: [*g, *g]
seed: 0o17
report_to: 2026-01-01
"""


# Tables that `prepare` wrote


def read_table(folder: Path) -> None:
    from llm_action.datasets import row_to_sequence
    from llm_action.datasets.prepared import open_prepared, prepared_benchmark, prepared_summary, read_manifest
    from llm_action.datasets.protocols import protocol_name, protocol_parts

    benchmark = prepared_benchmark(folder)
    table = open_prepared(folder)
    protocol_parts(table, protocol_name(benchmark))
    prepared_summary(read_manifest(folder), benchmark, folder)
    for row in table.with_format("numpy"):
        check_sequence(row_to_sequence(row))


def _table(folder: Path) -> Path:
    from llm_action.cli import main
    from llm_action.datasets.synthetic.sequences import generate_sequence
    from llm_action.skeleton_io import write_npz

    source = folder.with_name("table_source")
    for number in range(6):
        file = source / ("wave" if number % 2 else "clap") / f"{number}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_npz(generate_sequence("waving a hand" if number % 2 else "clapping hands", number + 1, 2, 1), file)
    if main(["prepare", "folder", "--source", str(source), "--out", str(folder), "--workers", "1"]):
        raise RuntimeError("the sound table could not be prepared")
    return folder


# Smaller files, by their names


def read_small_file(path: Path) -> None:
    from llm_action.commands.recognizing import _rows
    from llm_action.datasets.descriptions import load_descriptions
    from llm_action.evaluation.ledger import read_ledger
    from llm_action.modeling.skeleton_layouts import get_layout
    from llm_action.skeleton_io import read_action_points

    readers: dict[str, Callable[[], Any]] = {
        "layout": lambda: get_layout(path),
        "descriptions": lambda: load_descriptions(["wave", "clap"], (), path),
        "ledger": lambda: read_ledger(path),
        "results": lambda: _rows(path),
        "actions": lambda: read_action_points(path.with_suffix(".csv")),
        "folder": lambda: _read_labels(path),
    }
    with _built_in_layouts():
        readers[path.name.partition(".")[0]]()


def _read_labels(path: Path) -> None:
    """The `labels.csv` of a folder of recordings."""
    from llm_action.datasets.folder import scan_folder

    source = path.parent / "source"
    source.mkdir(exist_ok=True)
    np.save(source / "a.npy", motion("ntu25"))
    np.save(source / "b.npy", motion("ntu25"))
    shutil.copyfile(path, source / "labels.csv")
    scan_folder(source, layout="ntu25")


def _small_files(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    shipped = TESTS.parent / "llm_action" / "datasets" / "label_descriptions" / "template.json"
    entry = {"date": "2026-01-01T00:00:00Z", "command": "evaluate", "config": "0", "dataset": "a", "protocol": "b",
             "sequences": 3, "figures": {"top1": 0.5}, "model": ""}  # fmt: skip
    (folder / "layout.json").write_text(json.dumps(OWN_LAYOUT), encoding="utf-8")
    (folder / "descriptions.json").write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "ledger.jsonl").write_text(json.dumps(entry) + "\n" + json.dumps(entry) + "\n", encoding="utf-8")
    (folder / "results.csv").write_text(
        "file,label,score,ranking,warning,error\na.npy,wave,0.9,[],,\n", encoding="utf-8"
    )
    (folder / "actions.tagstream").write_text("XQPCTick;Tag\n49875;G1 lift\n99750;G1 lift\n", encoding="utf-8")
    (folder / "folder.csv").write_text(
        "file,label,subject,split\na.npy,wave,1,train\nb.npy,clap,2,test\n", encoding="utf-8"
    )
    return sorted(folder.iterdir())


# Model folders


def read_model(folder: Path) -> None:
    """Checks it as `pull` does, loads its parts and recognises a motion."""
    from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline
    from llm_action.hub.model_folder import check_model, describe
    from llm_action.modeling.skeleton_sequence import SkeletonSequence

    describe(folder)
    check_model(folder, to_share=False)
    parts = {
        "model": LlmArForActionRecognition.from_pretrained(folder),
        "processor": LlmArProcessor.from_pretrained(folder),
    }
    ranking = SkeletonActionRecognitionPipeline(**parts)(
        SkeletonSequence(motion("ntu25").astype(np.float32), "ntu25", 30.0)
    )
    scores = [one["score"] for one in ranking]
    if not scores or not all(0 <= score <= 1 for score in scores) or not np.isfinite(scores).all():
        raise WrongAnswerError(f"scores that are none: {scores}")


def _copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target
