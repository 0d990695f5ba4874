"""The pages: as short as they should be, linked to what is there, and every snippet of them works.

Python is executed, page by page, in one namespace and one folder, beside a tiny model and small recordings that have
the names pages use. So is what shell snippets ask of `llm-action`, through the command line; `NOT_RUN` says what goes
through the real parser alone, and why.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from transformers import Dinov2Config, Dinov2Model

from llm_action import read_signal, read_skeleton
from llm_action.cli import _parser, main
from llm_action.config.arguments import add_training_arguments
from llm_action.config.experiment import Experiment, load_experiment
from llm_action.datasets.folder import scan_folder
from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.skeleton_io import write_npz
from llm_action.training.distill import Distillation, distill

sys.path.insert(0, str(Path(__file__).parents[1]))
seeds = importlib.import_module("tests.fuzz.seeds")

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "modeling/README.md",
    "llm_action/experiments/README.md",
    "llm_action/skeleton_io/README.md",
    "llm_action/training/README.md",
    "llm_action/visualization/README.md",
    "hub_cards/README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
]
LONGEST_README = 160  # lines
LARGEST_PICTURE = 300_000  # bytes

# What pages leave to the reader to fill in, and what stands for it here.
STANDS_FOR = {
    "MODEL": "runs/demo/model",
    "HELD_OUT_MODEL": "runs/demo/model",
    "FILE": "wave.skeleton",
    "FOLDER": "recordings",
    "RUN": "runs/demo",
    "UTD_FOLDER": "utd_mhad",
    "UTD_MHAD_FOLDER": "utd_mhad",
    "MY_RECORDINGS": "my_recordings",
    "NEW_CLASSES": "new_classes",
    "NTU_FOLDER": "ntu",
}
# How commands begin that are parsed and not run, and why.
NOT_RUN = {
    "app": "serves until it is stopped (tests/visualization/test_app.py)",
    "watch": "needs a camera and a pose estimator (tests/skeleton_io/test_watching.py)",
    "pose": "needs a pose estimator (tests/skeleton_io/test_video.py)",
    "recognize MODEL wave.mp4": "needs a pose estimator",
    "push": "needs the Hub (tests/hub/test_push_pull.py)",
    "push-data": "needs the Hub (tests/hub/test_hub_tables.py)",
    "pull": "needs the Hub (tests/hub/test_push_pull.py)",
    "train --config utd_mhad --set dataset=user/mine": "needs the Hub (tests/hub/test_hub_tables.py)",
    "train --config utd_mhad --data UTD_MHAD_FOLDER --set extra_datasets=[{dataset:": "two data sets (tests/datasets)",
    "plan": "builds LLaMA-13B (tests/training/test_plan.py)",
    "benchmark": "trains for hours (tests/experiments)",
    "calibrate": "needs a training that left something out (tests/training/test_calibrate.py)",
    "export runs/utd_mhad/model --onnx": "needs the extra onnx (tests/hub/test_onnx_export.py)",
}
# What is added, by how a command begins, where it would take long.
SMALLER = {
    "train": [
        *("--set", "vqvae.steps=2", "vqvae.batch_size=4", "vqvae.probe_steps=0"),
        *("recognizer.steps=2", "recognizer.batch_size=4", "recognizer.sentences=0"),
    ],
    "train --config utd_mhad_inertial": ["senses.inertial.steps=2", "senses.inertial.probe_steps=0"],
    "distill": ["--steps", "2"],
    "adapt": ["--steps", "2"],
    "evaluate-vqvae": ["--probe-steps", "0"],
    "faithfulness": ["--limit", "2"],
    "prepare": ["--workers", "1"],
}


class Snippet(NamedTuple):
    """A fenced block: its language, its text, and the line of the page that it begins in."""

    language: str
    text: str
    line: int


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def snippets(page: str) -> list[Snippet]:
    text = text_of(page)
    return [
        Snippet(found[1], found[2], text[: found.start()].count("\n") + 2)
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def command_lines(shell: str) -> Iterator[list[str]]:
    """The words of each line, without comments."""
    for line in shell.splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def anchors(page: Path) -> set[str]:
    """What a link to a heading of a page is called."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short_and_its_picture_small():
    assert len(text_of("README.md").splitlines()) <= LONGEST_README
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", text_of("README.md"))
    assert (REPOSITORY / picture).stat().st_size <= LARGEST_PICTURE


def test_every_page_is_looked_at():
    written = {file.relative_to(REPOSITORY).as_posix() for file in REPOSITORY.rglob("README.md")}
    ours = {name for name in written if name.split("/")[0] in ("README.md", "llm_action", "modeling", "hub_cards")}
    assert ours <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES)
def test_what_a_sentence_names_is_there(page):
    """Commands, their options, and settings in the middle of the text."""
    fields = {field.name for field in dataclasses.fields(Experiment)}
    for code in re.findall(r"`([^`]+)`", prose(page)):
        words = code.split()
        if words[:1] == ["llm-action"] and len(words) > 1 and words[1].islower():
            command = subcommand(_parser(), words[1])
            if words[1] == "benchmark" and len(words) > 2:
                command = subcommand(command, words[2])
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            assert options <= set(command._option_string_actions), code
        elif "=" in code and re.split(r"[.=]", code)[0] in fields and "..." not in code:
            load_experiment("utd_mhad", words)


def subcommand(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    (choices,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    assert name in choices, name
    return choices[name]


@pytest.fixture
def home(tmp_path, tiny_run, tiny_base, recordings, monkeypatch) -> Path:
    """A folder with all that pages take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(tiny_base))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    for run in ("demo", "mine", "utd_mhad"):
        shutil.copytree(tiny_run, tmp_path / "runs" / run)
    shutil.copytree(tiny_run / "model", tmp_path / "alice" / "smol-actions")
    shutil.copytree(recordings, tmp_path / "utd_mhad")
    write_recordings(tmp_path)
    write_data_sets(tmp_path)
    write_image_encoder(tmp_path / "facebook" / "dinov2-small")
    return tmp_path


def write_recordings(home: Path) -> None:
    """Single recordings under the names that pages use."""
    of_every_format = {file.name: file for file in seeds.write_recordings(home / "formats")}
    ntu = of_every_format["ntu.skeleton"]
    for name in ("wave", "handshake", "S001C001P001R001A001", "S001C001P001R001A023"):
        shutil.copy(ntu, home / f"{name}.skeleton")
    (home / "recordings").mkdir()
    shutil.copy(ntu, home / "recordings")
    shutil.copy(of_every_format["clip.bvh"], home / "wave.bvh")
    shutil.copy(of_every_format["pyskl.pkl"], home / "ntu60.pkl")
    shutil.copytree(of_every_format["openpose"], home / "openpose_output")
    np.save(home / "mine.npy", seeds.pixels(seeds.motion("coco17", 40)))
    np.save(home / "recording.npy", seeds.motion("kinect20", 40))
    made_up("waving a hand", 3, home / "new.npz")
    made_up("waving a hand", 3, home / "runs" / "demo" / "sequences" / "waving_a_hand_A004S016C003R001.npz")
    shutil.copy(of_every_format["msrc.csv"], home / "half_an_hour.csv")
    (home / "mine.json").write_text(json.dumps({"labels": {"bowing": {"phrasings": ["bending forward"]}, "wave": {}}}))


def write_data_sets(home: Path) -> None:
    """Folders of classes, a list of recordings of two senses, and NTU RGB+D in small."""
    known = {"wave": "waving a hand", "clap": "clapping hands", "squat": "squatting"}
    (home / "worn").mkdir()
    (home / "video").mkdir()
    lines = ["path,label,subject,inertial"]
    for label, action in known.items():
        for subject in range(1, 6):
            made_up(action, subject, home / "my_recordings" / label / f"{subject}.npz")
            signal = home / "worn" / f"{label}{subject}.csv"
            np.savetxt(signal, samples(), delimiter=",", header="a,b,c,d,e,f", comments="")
            lines.append(f"{label}/{subject}.npz,{label},{subject},../worn/{signal.name}")
    (home / "list.csv").write_text("\n".join(lines) + "\n")
    shutil.copy(home / "worn" / "wave1.csv", home / "new.csv")
    for action in ("bowing", "kicking"):
        for subject in (1, 2):
            made_up(action, subject, home / "new_classes" / action / f"{subject}.npz")
    (home / "ntu").mkdir()
    for performer in (1, 2, 3, 4):
        for action in (1, 23):
            shutil.copy(home / "wave.skeleton", home / "ntu" / f"S001C001P{performer:03}R001A{action:03}.skeleton")


def write_image_encoder(folder: Path) -> None:
    """A tiny one, where a page takes one from the Hub."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(folder)
    size = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "BitImageProcessor", **size}))


def made_up(action: str, subject: int, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_npz(generate_sequence(action, subject, camera=2, repetition=1), file)


def samples() -> np.ndarray:
    """What a sensor with six channels recorded."""
    return np.random.default_rng(0).normal(size=(60, 6))


def given_names(home: Path) -> dict[str, object]:
    """What Python snippets take for granted."""
    files = [str(file) for file in sorted((home / "utd_mhad").glob("*.mat"))]
    return {
        "array": seeds.motion("kinect20", 40),
        "frames": list(seeds.motion("kinect20", 80)),
        "samples": samples(),
        "pictures": list(np.random.default_rng(0).integers(0, 255, (12, 40, 50, 3), np.uint8)),
        "files": files[:2],
        "file": files[0],
        "folder": home / "runs" / "demo" / "model",
        "out": home / "out",
        "examples": [(file, "wave" if "a3_" in file else "clap") for file in files[:4]],
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_works(page, home, capsys):
    names = given_names(home)
    for run in re.findall(r"--out (runs/\w+)", text_of(page)):
        shutil.rmtree(home / run, ignore_errors=True)  # the page makes it
    if "fast=True" in text_of(page):
        distill(home / "runs" / "demo" / "model", "utd_mhad", Distillation(steps=2, versions=0))
    for snippet in snippets(page):
        where = f"{page}, line {snippet.line}"
        match snippet.language:
            case "python":
                exec(compile(snippet.text, where, "exec"), names)
            case "bash":
                for words in command_lines(snippet.text):
                    try_command(words, where, capsys)
            case "yaml":
                (home / "some.yaml").write_text(snippet.text, encoding="utf-8")
                load_experiment("utd_mhad", ["some.yaml"])
            case "json":
                json.loads(snippet.text)
            case "text" if snippet.text.startswith("path,label"):
                try_list(snippet.text, home)
            case "text" | "bibtex":
                pass
            case other:
                pytest.fail(f"{where}: nobody knows how to try {other!r}")
    if "trainer" in names:
        assert names["trainer"].state.global_step > 0
    if "video/001.npz" in text_of(page):
        assert read_signal(home / "video" / "001.npz").values.shape == (12, 16)


def try_command(words: list[str], where: str, capsys) -> None:
    """Runs a line of a shell snippet, or parses it."""
    match words:
        case ["llm-action", *_]:
            asked, written = [filled_in(word) for word in words[1:]], " ".join(words[1:]) + " "
            if any(written.startswith(f"{start} ") for start in NOT_RUN):
                _parser().parse_args(asked)
            else:
                added = [word for start, more in SMALLER.items() if written.startswith(f"{start} ") for word in more]
                code = main([*asked, *added])
                assert code == 0, f"{where}: {shlex.join(words)}\n{capsys.readouterr().err[-2000:]}"
        case ["accelerate", "launch", *_, "-m", "llm_action.training.train", "--config", _, "--data", _]:
            parser = argparse.ArgumentParser()
            add_training_arguments(parser)
            experiment = parser.parse_args(words[words.index("--config") :])
            load_experiment(experiment.config)
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        case ["pip", "install", package]:
            known = set(re.findall(r"^(\w+) = \[", text_of("pyproject.toml"), re.MULTILINE))
            extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", package)
            assert extras and set((extras[1] or "test").split(",")) <= known, f"{where}: {package}"
        case _:
            pytest.fail(f"{where}: nobody knows how to try {shlex.join(words)}")


def filled_in(word: str) -> str:
    """A word with what stands for the reader's own folders and files."""
    first, *rest = word.replace("$SLURM_ARRAY_TASK_ID", "1").split("/")
    return "/".join([STANDS_FOR.get(first, first), *rest])


def try_list(text: str, home: Path) -> None:
    """Reads a CSV of recordings as `prepare folder --csv` does, with files made for its lines."""
    folder = home / "listed"
    shutil.rmtree(folder, ignore_errors=True)
    long = read_skeleton("recording.npy", layout="kinect20").joints.repeat(15, axis=1)  # 20 s
    for line in text.splitlines()[1:]:
        for file in (folder / name for name in line.split(",") if "/" in name):
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".npz":
                shutil.copy(home / "new.npz", file)
            elif file.parent.name == "worn":
                shutil.copy(home / "new.csv", file)
            else:
                np.savetxt(file, long[0].reshape(len(long[0]), -1), delimiter=",")
    (home / "listed.csv").write_text(text, encoding="utf-8")
    benchmark, scan = scan_folder(folder, home / "listed.csv", "kinect20")
    assert {line.split(",")[1] for line in text.splitlines()[1:]} <= set(benchmark.labels)
    assert scan.samples
