"""The command line as a user meets it: results on stdout, one readable line on stderr for bad input."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llm_action.cli import _parser, main
from llm_action.version import __version__

GROUPS = {
    "use": ("recognize", "segment", "stream", "watch", "pose", "app", "info"),
    "look": ("explain", "vocabulary", "render"),
    "train": ("prepare", "train", "distill", "calibrate", "adapt", "plan", "demo", "base-model"),
    "measure": ("evaluate", "evaluate-vqvae", "faithfulness", "learning-curves", "ledger", "benchmark"),
    "share": ("export", "push", "push-data", "pull"),
}
BENCHMARKS = ("compare", "ablate", "transfer", "unseen", "senses", "familiarity", "points", "speed")
COMMANDS = [(name,) for names in GROUPS.values() for name in names] + [("benchmark", name) for name in BENCHMARKS]
OF_A_MODEL = (
    *("recognize", "segment", "stream", "watch", "app", "info", "explain", "vocabulary", "distill", "calibrate"),
    *("adapt", "evaluate", "faithfulness", "export", "push"),
)
ANSWERING = [(name,) for name in ("recognize", "segment", "stream", "watch", "explain", "render", "evaluate")]
ANSWERING.append(("benchmark", "points"))


@pytest.fixture(scope="module")
def file(recordings) -> str:
    return str(sorted(recordings.glob("a3_*"))[0])


@pytest.fixture
def run(capsys):
    """Runs a command and returns (exit code, stdout, stderr without progress bars and data-set notes)."""

    def command(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, "".join(line for line in err.splitlines(keepends=True) if "it/s]" not in line)

    return command


def options_of(command: tuple[str, ...]) -> dict[str, argparse.Action]:
    """The options of a command by their names."""
    parser = _parser()
    for name in command:
        (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
        parser = commands.choices[name]
    return parser._option_string_actions


def assert_bad_input(result: tuple[int, str, str], *expected: str) -> None:
    code, out, err = result
    assert code == 2
    assert out == ""
    assert "Traceback" not in err and 'File "' not in err
    line = err.strip().splitlines()[-1]
    assert line.startswith("error: ") and line.count("\n") == 0
    for part in expected:
        assert part in line


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_every_command_explains_itself(self, run, command):
        code, out, err = run(*command, "--help")
        assert code == 0 and err == ""
        assert out.startswith(f"usage: llm-action {' '.join(command)}")
        if command[0] in OF_A_MODEL or command in (("benchmark", "transfer"), ("benchmark", "points")):
            (first, *_) = out.partition("positional arguments:\n")[2].split()
            assert first == "MODEL"
        if command in ANSWERING:
            assert all(f" {option}" in out for option in ("--dtype", "--views", "--fast"))

    def test_commands_are_listed_in_groups(self, run):
        paragraphs = [part.splitlines() for part in run("--help")[1].split("\n\n")]
        groups = {title: [line.split()[0] for line in lines] for title, *lines in paragraphs if title[:-1] in GROUPS}
        assert groups == {f"{title}:": list(names) for title, names in GROUPS.items()}

    @pytest.mark.parametrize(
        "command", [["--help"], ["recognize", "--help"], [], ["recognise"], ["train", "--config"], ["benchmark"]]
    )
    def test_neither_help_nor_a_wrong_argument_waits_for_a_library(self, command):
        code = (
            "import sys; sys.argv = ['llm-action', *sys.argv[1:]]; import llm_action.cli as cli\n"
            "try: cli.main()\n"
            "except SystemExit: pass\n"
            "slow = {'torch', 'transformers', 'datasets', 'matplotlib', 'peft', 'scipy'} & set(sys.modules)\n"
            "assert not slow, slow"
        )
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def test_json_is_a_path_wherever_there_is_one(self):
        found = [options["--json"] for options in map(options_of, COMMANDS) if "--json" in options]
        assert len(found) > 10 and all(option.type is Path and option.nargs is None for option in found)

    def test_version(self, run):
        assert run("--version") == (0, f"llm-action {__version__}\n", "")

    def test_no_or_an_unknown_command(self, run):
        code, out, err = run()
        assert code == 2 and out == "" and "use:\n  recognize" in err
        for asked, told in (("recognise", "did you mean recognize?"), ("xyzzy", "see llm-action --help")):
            code, out, err = run(asked)
            assert code == 2 and out == "" and err.splitlines()[-1].endswith(f"there is no command {asked!r}; {told}")


class TestSegment:
    @pytest.fixture
    def long_recording(self, recordings, tmp_path):
        from llm_action import read_skeleton
        from llm_action.skeleton_io import write_npz

        clips = [read_skeleton(sorted(recordings.glob(f"a{number}_*"))[0]) for number in (3, 4, 27)]
        joints = np.concatenate([clip.joints for clip in clips], axis=1)
        write_npz(replace(clips[0], joints=joints, fps=30.0), tmp_path / "long.npz")
        return tmp_path / "long.npz", joints.shape[1] / 30

    def test_segments_are_printed_and_written(self, run, tiny_export, long_recording, tmp_path):
        file, seconds = long_recording
        sure = Path(shutil.copytree(tiny_export, tmp_path / "sure"))  # the tiny model is sure of nothing
        config = json.loads((sure / "config.json").read_text())
        (sure / "config.json").write_text(json.dumps({**config, "temperature": 0.1}))
        code, out, _ = run("segment", sure, file, "--json", tmp_path / "found.json")
        rows = json.loads((tmp_path / "found.json").read_text())
        assert code == 0 and rows and len(out.splitlines()) == len(rows)
        for row, line in zip(rows, out.splitlines(), strict=True):
            assert 0 <= row["start"] <= row["peak"] <= row["end"] <= seconds
            assert row["label"] in ("wave", "clap", "squat") and row["person"] == 0 and row["label"] in line

    def test_a_student_answers_if_asked_to(self, run, tiny_export, long_recording, tmp_path):
        import torch

        from llm_action.modeling.student import ActionStudent, StudentConfig

        model = tmp_path / "model"
        shutil.copytree(tiny_export, model)
        student = ActionStudent(StudentConfig(["nothing", "swim"], num_frames=16))
        with torch.no_grad():
            student.outputs.bias.copy_(torch.tensor([-50.0, 50.0]))
        student.save_pretrained(model)
        code, out, err = run("segment", model, long_recording[0], "--fast")
        assert code == 0 and len(out.splitlines()) == 1 and "swim 1.000" in out and "base model" not in err
        with torch.no_grad():
            student.outputs.bias.copy_(torch.tensor([50.0, -50.0]))
        student.save_pretrained(model)
        assert run("segment", model, long_recording[0], "--fast")[1] == "nothing is done that the model knows\n"
        code, _, err = run("render", long_recording[0], "--model", model, "--fast", "--out", tmp_path / "drawn.png")
        assert code == 0 and (tmp_path / "drawn.png").is_file() and "base model" not in err

    def test_no_model(self, run, long_recording):
        assert_bad_input(run("segment", "nowhere/at/all", long_recording[0]), "nowhere/at/all")


class TestRecognize:
    def test_a_line_a_file(self, run, tiny_export, recordings):
        files = sorted(recordings.glob("*_s1_*"))
        code, out, log = run("recognize", tiny_export, "--top-k", "2", *files)
        assert code == 0 and "in float32 on cpu, adapter merged" in log
        assert [line.split(": ")[0] for line in out.splitlines()] == [str(file) for file in files]
        assert all(line.count(", ") == 1 for line in out.splitlines())

    def test_json(self, run, tiny_export, file, tmp_path):
        answers = tmp_path / "answers.json"
        code, out, _ = run("recognize", tiny_export, file, "--json", answers, "--labels", "swim", "wave a hand")
        (given,) = json.loads(answers.read_text())
        assert code == 0 and given["file"] == file and len(out.splitlines()) == 1
        assert {entry["label"] for entry in given["ranking"]} == {"swim", "wave a hand"}
        assert sum(entry["score"] for entry in given["ranking"]) == pytest.approx(1)

    def test_arithmetic_and_views_are_those_asked_for(self, run, tiny_export, file, tmp_path):
        from transformers import pipeline

        answers = tmp_path / "answers.json"
        code, _, log = run("recognize", tiny_export, file, "--dtype", "bfloat16", "--views", 4, "--json", answers)
        recognize = pipeline("skeleton-action-recognition", model=str(tiny_export), dtype="bfloat16")
        assert code == 0 and "in bfloat16 on cpu" in log
        assert json.loads(answers.read_text())[0]["ranking"] == recognize(file, views=4)
        assert_bad_input(run("recognize", tiny_export, file, "--dtype", "float7"), "float7", "bfloat16")
        assert_bad_input(run("recognize", tiny_export, file, "--views", "0"), "views")

    def test_as_many_labels_as_in_python(self, run, tmp_path, tiny_export, file):
        from transformers import pipeline

        names = [f"{verb} {thing}" for verb in ("wave", "lift") for thing in ("a hat", "a box", "a cup", "a bag")]
        answers = tmp_path / "answers.json"
        run("recognize", tiny_export, file, "--json", answers, "--labels", *names)
        given = pipeline("skeleton-action-recognition", model=str(tiny_export))(file, candidate_labels=names)
        assert len(json.loads(answers.read_text())[0]["ranking"]) == len(given) == 5

    def test_descriptions(self, run, tiny_export, file, tmp_path):
        described = {"greeting": {"phrasings": ["wave"]}, "swim": {}}
        (tmp_path / "mine.json").write_text(json.dumps({"labels": described}))
        answers = tmp_path / "answers.json"
        asked = ["recognize", tiny_export, file, "--json", answers, "--descriptions", tmp_path / "mine.json"]
        for more, labels in (([], {"greeting", "swim"}), (["--labels", "greeting", "fly"], {"greeting", "fly"})):
            assert run(*asked, *more)[0] == 0
            assert {entry["label"] for entry in json.loads(answers.read_text())[0]["ranking"]} == labels
        assert run(*asked[:-1], tmp_path / "none.json")[0] == 2

    def test_arrays_with_a_layout(self, run, tiny_export, file, tmp_path):
        from llm_action import read_skeleton

        np.save(tmp_path / "wave.npy", read_skeleton(file).joints)
        expected = run("recognize", tiny_export, file)[1].partition(": ")[2]
        given = run("recognize", tiny_export, tmp_path / "wave.npy", "--layout", "kinect20_utd")
        assert given[1].partition(": ")[2] == expected

    def test_a_table_whose_columns_are_said(self, run, tiny_export, file, tmp_path):
        from llm_action import read_skeleton

        rows = read_skeleton(file).joints[0].reshape(-1, 60)
        header = ",".join(f"c{number}" for number in range(60))
        np.savetxt(tmp_path / "wave.csv", rows, delimiter=",", header=header, comments="")
        asked = ["recognize", tiny_export, tmp_path / "wave.csv", "--layout", "kinect20_utd"]
        assert_bad_input(run(*asked), "wave.csv", "say what the columns are with columns=")
        expected = run("recognize", tiny_export, file)[1].partition(": ")[2]
        assert run(*asked, "--columns", "20*(x, y, z)")[1].partition(": ")[2] == expected

    def test_one_frame(self, run, tiny_export, file, tmp_path):
        from llm_action import read_skeleton

        np.save(tmp_path / "one.npy", read_skeleton(file).to_layout("kinect20").joints[:, :1])
        assert run("recognize", tiny_export, tmp_path / "one.npy", "--layout", "kinect20")[0] == 0

    def test_each_person_and_a_strange_motion(self, run, tiny_export, file, tmp_path, monkeypatch):
        from llm_action import read_skeleton
        from llm_action.modeling import familiarity
        from llm_action.skeleton_io import write_npz

        one = read_skeleton(file)
        strange = one.joints + np.random.default_rng(0).normal(0, 0.6, one.joints.shape) + [1, 0, 0]
        monkeypatch.setattr(familiarity, "THRESHOLD", 0.2)  # a dozen training recordings tell no 3 % apart
        both = replace(one, joints=np.concatenate([one.joints, strange]).astype(np.float32))
        write_npz(both, tmp_path / "two.npz")
        command = ["recognize", tiny_export, tmp_path / "two.npz", "--each-person"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = run(*command)[1].splitlines()
            alone = run("recognize", tiny_export, file)[1].partition(": ")[2].strip()
            run(*command, "--json", tmp_path / "answers.json")
            rows = json.loads((tmp_path / "answers.json").read_text())
        assert [line.partition(": ")[0] for line in out] == [f"{tmp_path / 'two.npz'}, person {one}" for one in (0, 1)]
        assert out[0].partition(": ")[2] == alone and "unfamiliar" not in alone
        assert out[1].endswith("(unfamiliar: none of these may be right)")
        assert [row["person"] for row in rows] == [0, 1]
        assert [row["ranking"][0].get("unfamiliar", False) for row in rows] == [False, True]
        assert all(0 <= entry["familiarity"] <= 1 for row in rows for entry in row["ranking"])

    def test_a_bad_file_stops_nothing(self, run, tiny_export, recordings, tmp_path):
        good = sorted(recordings.glob("*_s1_*"))[:2]
        (tmp_path / "bad.json").write_text("[1, 2]")
        code, out, err = run("recognize", tiny_export, good[0], tmp_path / "bad.json", good[1])
        assert code == 2
        assert [line.split(": ")[0] for line in out.splitlines()] == [str(file) for file in good]
        assert str(tmp_path / "bad.json") in err and "1 of 3 files" in err.splitlines()[-1]

    def test_a_folder_into_a_csv_that_goes_on(self, run, tiny_export, recordings, tmp_path):
        import csv
        import shutil

        folder = tmp_path / "mine" / "deep"
        folder.mkdir(parents=True)
        for file in sorted(recordings.glob("*_s1_*"))[:2]:
            shutil.copy(file, folder)
        (folder / "0.json").write_text("{}")
        results = tmp_path / "mine" / "results.csv"  # no recording, though it lies among them
        command = ["recognize", tiny_export, tmp_path / "mine", "--out", results]
        code, _, err = run(*command)
        with results.open() as file:
            rows = list(csv.DictReader(file))
        assert code == 2 and "0.json" in err and "1 of 3 files" in err.splitlines()[-1]
        assert [bool(row["label"]) for row in rows] == [False, True, True] and rows[0]["error"]
        (folder / "0.json").unlink()
        rows[1]["label"] = "kept from before"
        with results.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows[:2])
        assert run(*command)[0] == 0
        with results.open() as file:
            again = list(csv.DictReader(file))
        assert [row["label"] for row in again] == ["kept from before", rows[2]["label"]]
        code, _, err = run("recognize", tiny_export, tmp_path / "mine", "--out", tmp_path / "none" / "results.csv")
        assert code == 2 and "expected its folder, found none" in err

    def test_what_was_inferred_is_printed_and_doubts_go_to_stderr(self, run, tiny_export, file, tmp_path):
        from llm_action import read_skeleton

        joints = read_skeleton(file).joints[0]
        np.save(tmp_path / "turned.npy", (joints * 1000).transpose(2, 0, 1))
        asked = ["recognize", tiny_export, tmp_path / "turned.npy"]
        out = run(*asked, "--verbose")[1]
        assert "axes are read as CTV" in out and "kinect20_utd" in out and "mm" in out
        assert run(*asked, "--axes", "CTV", "--layout", "kinect20_utd")[0] == 0
        np.save(tmp_path / "z_up.npy", np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1))
        err = run("recognize", tiny_export, tmp_path / "z_up.npy")[2]
        assert "warning: z_up" in err and "up=" in err
        assert "warning" not in run("recognize", tiny_export, tmp_path / "z_up.npy", "--up", "z")[2]

    def test_names_that_the_lexicon_does_not_have_are_pointed_out(self, run, tiny_export, file):
        asked = ["recognize", tiny_export, file, "--labels", "wave", "jumping jacks"]
        assert "warning" not in run(*asked)[2]
        (line,) = [line for line in run(*asked, "asdfgh", "sits")[2].splitlines() if line.startswith("warning: ")]
        assert "'asdfgh' is not in the lexicon;" in line and "'sits' is not in the lexicon; near ones: " in line

    @pytest.mark.slow
    def test_in_a_process_of_its_own_only_results_are_printed(self, tiny_export, file, tmp_path):
        (tmp_path / "binary.skeleton").write_bytes(bytes(range(256)) * 9)
        (tmp_path / "bad.npy").write_bytes(b"no array")
        command = [sys.executable, "-m", "llm_action.cli", "recognize", tiny_export, file, tmp_path / "binary.skeleton"]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == 2
        (line,) = done.stdout.splitlines()
        assert line.startswith(f"{file}: ")
        for noise in ("Traceback", "Warning", "Exception ignored", "Loading weights", "%|"):
            assert noise not in done.stderr
        *_, fault, summary = done.stderr.strip().splitlines()
        assert fault.startswith(f"error: {tmp_path}/binary.skeleton") and summary.startswith("error: 1 of 2 files")

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("empty.skeleton", b"", "empty"),
            ("binary.skeleton", bytes(range(256)) * 9, "expected"),
            ("cut.skeleton", b"2\n1\n7 0 1 1 0 0 0 0.1 0.2 2\n25\n0.1 0.2 3.1 0 0 0 0\n", "expected"),
            ("cut.mat", b"MATLAB 5.0 MAT-file", "expected"),
            ("other.json", b"[1, 2]", "expected"),
            ("cut.json", b'{"skeletons": [', "expected"),
            ("cut.npz", b"PK\x03\x04", "expected"),
            ("words.txt", b"this is no skeleton", "expected"),
            ("evil.pkl", b"cos\nsystem\n(S'true'\ntR.", "expected"),
            ("what.xyz", b"1 2 3", "expected columns that are known"),
        ],
    )
    def test_bad_files(self, run, tiny_export, tmp_path, name, content, expected):
        (tmp_path / name).write_bytes(content)
        assert_bad_input(run("recognize", tiny_export, tmp_path / name), str(tmp_path / name), expected)

    @pytest.mark.parametrize(
        ("array", "layout", "expected"),
        [
            (np.zeros((4, 17, 3)), "kinect20", "coco17"),
            (np.full((4, 20, 3), np.nan), "kinect20", "NaN"),
            (np.zeros((0, 20, 3)), "kinect20", "frame"),
            (np.zeros((4, 20, 3)), "octopus8", "kinect20"),
            (np.random.default_rng(0).normal(size=(4, 20, 3)), None, "layout"),
            (np.zeros(3), "kinect20", "expected"),
            (np.array([{}]), "kinect20", "expected"),
        ],
        ids=str,
    )
    def test_bad_arrays(self, run, tiny_export, tmp_path, array, layout, expected):
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        layout = ("--layout", layout) if layout else ()
        assert_bad_input(run("recognize", tiny_export, tmp_path / "a.npy", *layout), expected)

    @pytest.mark.parametrize("labels", (["wave", "wave"], [""], ["wave", " wave"]))
    def test_bad_labels(self, run, tiny_export, file, labels):
        assert_bad_input(run("recognize", tiny_export, file, "--labels", *labels), "label")

    def test_bad_top_k(self, run, tiny_export, file):
        assert_bad_input(run("recognize", tiny_export, file, "--top-k", "0"), "top_k", "0")

    def test_no_such_file(self, run, tiny_export):
        result = run("recognize", tiny_export, "nowhere.skeleton")
        assert_bad_input(result, "nowhere.skeleton", "no such")

    def test_no_such_model(self, run, file, tmp_path):
        assert_bad_input(run("recognize", tmp_path / "nowhere", file), "nowhere", "no such model folder")
        assert_bad_input(run("recognize", file, file), file, "no such model folder")
        (tmp_path / "empty").mkdir()
        assert_bad_input(run("recognize", tmp_path / "empty", file), "config.json is missing")

    @pytest.mark.parametrize(
        "part",
        [
            "config.json",
            "model.safetensors",
            "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors",
            "vqvae/config.json",
            "vqvae/model.safetensors",
            "processor_config.json",
            "tokenizer.json",
        ],
    )
    def test_a_missing_or_damaged_part(self, run, tiny_export, file, tmp_path, part):
        broken = Path(shutil.copytree(tiny_export, tmp_path / "broken"))
        (broken / part).write_bytes((tiny_export / part).read_bytes()[:150])
        assert_bad_input(run("recognize", broken, file), str(broken))
        (broken / part).unlink()
        assert_bad_input(run("recognize", broken, file), str(broken))

    def test_a_missing_base_model(self, run, tiny_export, file, tmp_path):
        moved = Path(shutil.copytree(tiny_export, tmp_path / "moved"))
        config = json.loads((moved / "config.json").read_text())
        (moved / "config.json").write_text(json.dumps({**config, "base_model": "/nowhere/base"}))
        assert_bad_input(run("recognize", moved, file), str(moved), "/nowhere/base", "LLM_ACTION_BASE_MODEL")


class TestEvaluate:
    def test_metrics_are_written(self, run, tiny_export, recordings, tmp_path):
        model = tiny_export
        metrics, picture = tmp_path / "out" / "metrics.json", tmp_path / "confusion.png"
        arguments = [model, "--dataset", "utd_mhad", "--data", recordings, "--protocol", "cross_subject"]
        code, out, _ = run("evaluate", *arguments, "--json", metrics, "--confusion", picture)
        assert code == 0
        given = json.loads(metrics.read_text())
        assert {"top1", "top5", "mean_class_accuracy", "confusion", "n", "seconds"} <= set(given)
        assert {"negative_log_likelihood", "calibration_error", "calibration_error_by_chance"} <= set(given)
        assert given["n"] == 12 and given["protocol"] == "cross_subject"
        assert np.sum(given["confusion"]) == 12 and np.trace(given["confusion"]) == round(12 * given["top1"])
        assert given["top1"] >= 0.6  # of 27 classes, unseen subjects
        assert picture.read_bytes().startswith(b"\x89PNG")
        (line,) = out.splitlines()
        assert f"top-1 {given['top1']:.1%}, top-5 {given['top5']:.1%}" in line and "12 sequences" in line

    def test_among_five_classes_or_fewer_no_top_5_is_said(self, run, tiny_export, recordings, tmp_path):
        names = {"a3": "wave", "a4": "clap", "a27": "squat"}
        lines = [f"{file.name},{names[file.name.split('_')[0]]}" for file in sorted(recordings.glob("*_t1_*"))]
        (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
        prepared = ("--source", recordings, "--csv", tmp_path / "list.csv", "--out", tmp_path / "mine", "--workers", 1)
        assert run("prepare", "folder", *prepared)[0] == 0
        code, out, _ = run("evaluate", tiny_export, "--dataset", tmp_path / "mine")
        assert code == 0 and "top-1 " in out and "top-5" not in out

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--dataset", "octopus"], "unknown data set 'octopus'"),
            (["--dataset", "utd_mhad", "--protocol", "cross_planet"], "cross_planet"),
            (["--dataset", "utd_mhad"], "folder of the data set"),
            (["--dataset", "utd_mhad", "--data", "nowhere"], "nowhere"),
            (["--dataset", "utd_mhad", "--batch-size", "0", "--data", "RECORDINGS"], "batch_size of at least 1"),
        ],
    )
    def test_bad_input(self, run, tiny_export, recordings, arguments, expected):
        arguments = [str(recordings) if argument == "RECORDINGS" else argument for argument in arguments]
        assert_bad_input(run("evaluate", tiny_export, *arguments), expected)


class TestOthers:
    def test_info(self, run, tiny_export, tiny_base):
        code, out, _ = run("info", tiny_export)
        assert code == 0
        facts = dict(line.split(": ", 1) for line in out.splitlines())
        assert facts["base_model"] == str(tiny_base) and "wave" in facts["classes"]
        assert facts["geometry"] == "hyperbolic"
        assert facts["arithmetic"] == f"{tiny_base} in float32 (stored in float32), adapter merged"

    def test_info_of_what_is_no_model(self, run, tmp_path):
        assert_bad_input(run("info", tmp_path), str(tmp_path), "config.json is missing")
        assert_bad_input(run("info", tmp_path / "nowhere"), "no such model folder")
        assert_bad_input(run("info", "alice/nothing"), "alice/nothing: ", "check the connection")  # tests ask no Hub

    def test_info_of_a_damaged_model(self, run, tiny_export, tmp_path):
        broken = Path(shutil.copytree(tiny_export, tmp_path / "broken"))
        (broken / "config.json").write_bytes((tiny_export / "config.json").read_bytes()[:100])
        assert_bad_input(run("info", broken), f"{broken}/config.json", "fetch or write the file again")

    def test_base_model(self, run, tiny_base, tmp_path):
        assert run("base-model", tiny_base)[:2] == (0, f"{tiny_base}\n")
        assert_bad_input(run("base-model", tmp_path / "nowhere"), "nowhere", "no such folder")

    @pytest.mark.parametrize(
        "command",
        [
            ("train", "--config", "utd_mhad"),
            ("plan", "--config", "utd_mhad", "--memory", "80"),
            ("benchmark", "ablate", "--config", "utd_mhad"),
            ("benchmark", "compare", "--dataset", "synthetic"),
            ("benchmark", "unseen", "--dataset", "synthetic", "--unseen", "5"),
        ],
    )
    def test_overrides_add_up(self, run, command, tmp_path, monkeypatch):
        """--set twice is both, wherever there is one."""
        monkeypatch.chdir(tmp_path)
        assert_bad_input(run(*command, "--set", "colour=red", "--set", "seed=1"), "unknown colour")

    @pytest.mark.parametrize("stage", ([], ["--stage", "vqvae"], ["--stage", "recognizer"]))
    def test_training_with_bad_settings(self, run, stage, tmp_path, tiny_config, recordings):
        command, out = ["train", *stage], ["--out", tmp_path / "run"]
        assert_bad_input(run(*command, "--config", "nothing", *out), "nothing", "utd_mhad")
        assert_bad_input(run(*command, "--config", tiny_config, *out, "--set", "colour=red"), "unknown colour")
        if "recognizer" not in stage:
            assert_bad_input(run(*command, "--config", tiny_config, *out), "folder of the data set")
        else:
            result = run(*command, "--config", tiny_config, *out, "--data", recordings)
            assert_bad_input(result, "run llm-action train --stage vqvae first")
