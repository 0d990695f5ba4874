"""A user's own recordings: class folders, a CSV, and training on them."""

import numpy as np
import pytest

from llm_action.cli import main
from llm_action.config.experiment import Experiment
from llm_action.datasets import open_dataset
from llm_action.datasets.folder import scan_folder
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.datasets.split import load_split, model_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import write_npz


def record(path, seed=0, layout="coco17", joints=17, channels=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).normal(size=(1, 8, joints, channels))
    write_npz(SkeletonSequence(values, layout, 30.0), path)


@pytest.fixture
def class_folders(tmp_path):
    root = tmp_path / "mine"
    for label in ("sit_down", "stand up"):
        for index in range(6):
            record(root / label / f"{index}.npz", index)
    (root / "sit_down" / "notes.md").write_text("not a recording")
    return root


def test_class_folders_to_training(class_folders, tmp_path, capsys):
    out = tmp_path / "prepared"
    assert main(["prepare", "folder", "--source", str(class_folders), "--out", str(out), "--workers", "1"]) == 0
    assert "split: 10 train / 2 test" in capsys.readouterr().out
    benchmark, table = open_dataset(out)
    assert (benchmark.name, benchmark.labels, benchmark.layout) == ("folder", ("sit down", "stand up"), "coco17")
    assert table["name"][0] == "sit_down/0.npz"
    experiment = Experiment(dataset=str(out))
    split = load_split(experiment, None)
    assert (len(split.train), len(split.test), split.labels) == (10, 2, ["sit down", "stand up"])
    assert sorted(split.test["label"]) == [0, 1], "every class is tested"
    assert model_layout(experiment) == "coco17"


def test_train_and_test_folders(tmp_path):
    for part, label in (("train", "a"), ("train", "b"), ("Test", "a"), ("val", "b")):
        record(tmp_path / part / label / "x.npz")
    benchmark, scan = scan_folder(tmp_path)
    assert benchmark.labels == ("a", "b")
    splits = {about["name"]: about["splits"]["split"] for _, about in scan.samples}
    assert splits == {
        "train/a/x.npz": "train", "train/b/x.npz": "train", "Test/a/x.npz": "test", "val/b/x.npz": "validation",
    }  # fmt: skip


def test_csv(tmp_path):
    for index in range(6):
        record(tmp_path / f"{index}.npz", index)
    listing = tmp_path / "list.csv"
    rows = [
        f"{index}.npz,{'wave' if index % 2 else 'clap'},{index // 2 + 1},1,{'test' if index > 3 else 'train'}"
        for index in range(6)
    ]
    listing.write_text("path,label,subject,camera,split\n" + "\n".join(rows))
    out = tmp_path / "out"
    arguments = ["prepare", "folder", "--source", str(tmp_path), "--csv", str(listing), "--out", str(out)]
    assert main([*arguments, "--workers", "1"]) == 0
    benchmark, table = open_dataset(out)
    assert table["subject"][:] == [1, 1, 2, 2, 3, 3]
    assert protocol_parts(table, "split").tolist() == ["train"] * 4 + ["test"] * 2
    assert protocol_parts(table, protocol_name(benchmark, "leave_out_subject_2")).tolist() == [
        "train", "train", "test", "test", "train", "train",
    ]  # fmt: skip
    split = load_split(Experiment(dataset=str(out), protocol="leave_out_subject_3"), None)
    assert split.test["name"][:] == ["4.npz", "5.npz"]
    with pytest.raises(ValueError, match="has subject 1, 2, 3"):
        protocol_parts(table, "leave_out_subject_9")
    with pytest.raises(ValueError, match="known: split, leave_out_subject_N"):
        protocol_name(benchmark, "cross_view")


def test_a_list_in_the_place_of_the_folder_is_pointed_to_its_option(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("path,label\n")
    assert main(["prepare", "folder", "--source", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "pass a list of them as --csv" in capsys.readouterr().err


def test_subjects_without_a_split_stay_whole(tmp_path):
    for index in range(20):
        record(tmp_path / f"{index}.npz", index)
    listing = tmp_path / "list.csv"
    rows = [f"{index}.npz,{'ab'[index % 2]},{index // 2}" for index in range(20)]
    listing.write_text("path,label,subject\n" + "\n".join(rows))
    _, scan = scan_folder(tmp_path, listing)
    parts = {}
    for _, about in scan.samples:
        parts.setdefault(about["subject"], set()).add(about["splits"]["split"])
    assert all(len(part) == 1 for part in parts.values())
    assert sum(part == {"test"} for part in parts.values()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n", "columns path and label"),
        ("path,label\nabsent.npz,a\n", "line 2: expected a file"),
        ("path,label\n0.npz,\n", "line 2: expected a label"),
        ("path,label,subject\n0.npz,a,x\n", "subject as a whole number"),
        ("path,label,split\n0.npz,a,maybe\n", "expected split train"),
        ("path,label\n0.npz,a\n", "two classes"),
        ("path,label\n", "a line for every recording, found none"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    record(tmp_path / "0.npz")
    listing = tmp_path / "list.csv"
    listing.write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        scan_folder(tmp_path, listing)
