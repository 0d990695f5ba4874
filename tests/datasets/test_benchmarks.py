import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from datasets import Dataset, load_from_disk

from llm_action.datasets import BENCHMARKS, load_benchmark, row_to_sequence
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.skeleton_io import read_skeleton

ROOT = Path(os.environ.get("LLM_ACTION_DATA", Path(__file__).parents[2] / "../shared/data"))
COLUMNS = {"name", "label", "subject", "camera", "layout", "fps", "shape", "joints"}
CLASSES = {
    "synthetic": 20, "utd_mhad": 27, "nw_ucla": 10, "msr_action3d": 20,
    "ntu60": 60, "ntu120": 120, "smarthome": 31, "uav_human": 155,
}  # fmt: skip


def needs(name: str) -> pytest.MarkDecorator:
    reason = f"no real {name}: set LLM_ACTION_DATA or put it in ../shared/data"
    return pytest.mark.skipif(not (ROOT / name).is_dir(), reason=reason)


def counts(table: Dataset, protocol: str) -> tuple[int, int]:
    split = Counter(table[protocol])
    return split["train"], split["test"]


@pytest.fixture
def utd_folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "skeleton").mkdir()
    for action, subject in ((1, 1), (27, 8), (10, 2)):
        frames = 4 + subject
        array = rng.normal(size=(20, 3, frames))
        scipy.io.savemat(tmp_path / "skeleton" / f"a{action}_s{subject}_t2_skeleton.mat", {"d_skel": array})
    (tmp_path / "skeleton" / "Skeleton_joint_order.txt").write_text("not a sequence")
    return tmp_path


@pytest.mark.parametrize("name", CLASSES)
def test_the_registry_describes_every_benchmark(name):
    benchmark = BENCHMARKS[name]
    assert benchmark.name == name
    assert len(set(benchmark.labels)) == CLASSES[name]
    assert benchmark.default_protocol in benchmark.protocols
    assert get_layout(benchmark.layout)
    assert set(BENCHMARKS) == set(CLASSES)


def test_rows_hold_what_the_files_hold(utd_folder):
    table = load_benchmark("utd_mhad", utd_folder)
    assert set(table.column_names) == COLUMNS | {"cross_subject", "inertial"}
    assert table.features["label"].names == list(BENCHMARKS["utd_mhad"].labels)
    rows = {row["name"]: row for row in table}
    assert set(rows) == {"a1_s1_t2", "a27_s8_t2", "a10_s2_t2"}
    row = rows["a27_s8_t2"]
    assert (row["subject"], row["cross_subject"], row["shape"]) == (8, "test", [1, 12, 20, 3])
    assert table.features["label"].int2str(row["label"]) == "squat"
    assert rows["a1_s1_t2"]["cross_subject"] == "train"
    sequence = row_to_sequence(row)
    read = read_skeleton(utd_folder / "skeleton" / "a27_s8_t2_skeleton.mat")
    np.testing.assert_array_equal(sequence.joints, read.joints)
    assert (sequence.layout, sequence.fps, sequence.name) == ("kinect20_utd", 30.0, "a27_s8_t2")


def test_rows_of_any_format_and_from_disk(utd_folder, tmp_path):
    table = load_benchmark("utd_mhad", utd_folder / "skeleton")
    expected = row_to_sequence(table[0]).joints
    table.save_to_disk(str(tmp_path / "table"))
    for kind in ("numpy", "torch", None):
        row = load_from_disk(str(tmp_path / "table")).with_format(kind)[0]
        sequence = row_to_sequence(row)
        np.testing.assert_array_equal(sequence.joints, expected)
        assert sequence.fps == 30.0


def test_missing_joints_survive_the_table(tmp_path):
    array = np.random.default_rng(0).normal(size=(5, 20, 3))
    array[2, 7] = 0
    (tmp_path / "a12_s03_e00_v03.json").write_text(json.dumps({"skeletons": array.tolist(), "label": 10}))
    (row,) = load_benchmark("nw_ucla", tmp_path)
    assert (row["label"], row["subject"], row["camera"], row["cross_view"]) == (9, 3, 3, "test")
    joints = row_to_sequence(row).joints
    assert np.isnan(joints[0, 2, 7]).all()
    assert np.isnan(joints).sum() == 3


def test_action_sets_leave_other_classes_out(tmp_path):
    rows = np.random.default_rng(0).random((40, 4))
    for action, subject in ((1, 1), (2, 2), (6, 3), (14, 4)):
        np.savetxt(tmp_path / f"a{action:02d}_s{subject:02d}_e01_skeleton3D.txt", rows)
    (tmp_path / "a13_s09_e02_skeleton3D.txt").write_text("unreadable, and officially left out")
    table = load_benchmark("msr_action3d", tmp_path)
    assert table["cross_subject"][:] == ["train", "test", "train", "test"]
    assert table["as1"][:] == ["", "test", "train", ""]
    assert table["as2"][:] == ["train", "", "", "test"]
    assert table["as3"][:] == ["", "", "train", "test"]


def test_an_incomplete_release_is_said(utd_folder, caplog):
    load_benchmark("utd_mhad", utd_folder)
    assert "found 3 files of utd_mhad, the release has 861" in caplog.text


@pytest.mark.parametrize("name", ["utd_mhad", "nw_ucla", "msr_action3d"])
def test_no_folder_or_no_files(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"absent.*{name}"):
        load_benchmark(name, tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=f"expected files of {name}"):
        load_benchmark(name, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"pass --data \(data_dir\)"):
        load_benchmark(name)


def test_unknown_names_and_unreadable_files(utd_folder):
    with pytest.raises(ValueError, match=r"unknown benchmark 'ntu'.*utd_mhad"):
        load_benchmark("ntu", utd_folder)
    (utd_folder / "skeleton" / "a3_s3_t1_skeleton.mat").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"a3_s3_t1_skeleton\.mat"):
        load_benchmark("utd_mhad", utd_folder)


def test_a_row_without_its_columns():
    with pytest.raises(ValueError, match="keep column shape, layout"):
        row_to_sequence({"joints": [1.0]})
    with pytest.raises(ValueError, match="clip: expected 75 numbers"):
        row_to_sequence({"joints": [1.0], "shape": [1, 1, 25, 3], "layout": "ntu25", "name": "clip"})


@pytest.mark.real_data
@needs("utd_mhad")
def test_real_utd_mhad():
    table = load_benchmark("utd_mhad", ROOT / "utd_mhad")
    assert counts(table, "cross_subject") == (431, 430)
    assert {row["subject"] for row in table.filter(lambda split: split == "train", input_columns="cross_subject")} == {
        1, 3, 5, 7,
    }  # fmt: skip
    frames = [shape[1] for shape in table["shape"]]
    assert (min(frames), max(frames)) == (41, 125)


@pytest.mark.real_data
@needs("nw_ucla")
def test_real_nw_ucla():
    table = load_benchmark("nw_ucla", ROOT / "nw_ucla")
    assert counts(table, "cross_view") == (1020, 464)
    official = json.loads((ROOT / "nw_ucla" / "split.json").read_text())
    split = {
        entry["file_name"]: ("train" if part == "train" else "test") for part in official for entry in official[part]
    }
    label = {entry["file_name"]: entry["label"] - 1 for part in official.values() for entry in part}
    assert dict(zip(table["name"], table["cross_view"], strict=True)) == split
    assert dict(zip(table["name"], table["label"], strict=True)) == label


@pytest.mark.real_data
@needs("msr_action3d")
def test_real_msr_action3d():
    table = load_benchmark("msr_action3d", ROOT / "msr_action3d")
    assert counts(table, "cross_subject") == (284, 273)
    used = (ROOT / "msr_action3d" / "real_world_coordinates" / "files_used_in_cvpr12_paper.txt").read_text().split()
    assert set(table["name"]) == set(used)
    assert len(table) == len(used) == 557
    for action_set in ("as1", "as2", "as3"):
        classes = {row["label"] for row in table.select_columns(["label", action_set]) if row[action_set]}
        assert len(classes) == 8
