"""A user's own recordings: class folders, a CSV, and training on them."""

import numpy as np
import pytest

from llm_action.cli import main
from llm_action.config.experiment import Experiment, load_experiment
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
    said = capsys.readouterr().out
    assert "12 sequences of 2 classes" in said and "joint layout coco17" in said and "split: 10 train / 2 test" in said
    benchmark, table = open_dataset(out)
    assert (benchmark.name, benchmark.labels, benchmark.layout) == ("folder", ("sit down", "stand up"), "coco17")
    assert table["name"][0] == "sit_down/0.npz"
    experiment = load_experiment(out)
    assert experiment == Experiment(dataset=str(out)), "the defaults on that data"
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


def test_columns_of_a_csv_that_name_no_files_are_said_to_be_left_out(tmp_path):
    for number in range(2):
        record(tmp_path / f"{number}.npz", number)
    listing = "path,label,view,who did it\n0.npz,wave,0,Ms. Smith\n1.npz,clap,0,\n"
    (tmp_path / "list.csv").write_text(listing)
    with pytest.warns(UserWarning, match="does not read the columns view, who did it"):
        benchmark, scan = scan_folder(tmp_path, tmp_path / "list.csv")
    assert benchmark.labels == ("clap", "wave") and not benchmark.senses and len(scan.samples) == 2


def test_a_list_in_the_place_of_the_folder_is_pointed_to_its_option(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("path,label\n")
    assert main(["prepare", "folder", "--source", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "passed as --csv" in said and '"path,label"' in said


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
        ("file,label\n", 'a line "path,label".*found the columns file, label'),
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


def body(shift: float = 0.0) -> np.ndarray:
    """(frames, 25, 3) of somebody waving."""
    from llm_action.datasets.synthetic.sequences import perform_action

    return perform_action("waving a hand", 2)[0].astype(np.float32) + shift


def test_a_stray_json_that_sorts_first_stops_nothing(class_folders, tmp_path):
    (class_folders / "sit_down" / "0.json").write_text('{"settings": 1}')
    out = tmp_path / "prepared"
    assert main(["prepare", "folder", "--source", str(class_folders), "--out", str(out), "--workers", "1"]) == 0
    assert len(open_dataset(out)[1]) == 12
    assert "0.json" in (out / "dropped.csv").read_text()


def test_channels_first_arrays_are_understood_or_refused(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        padded = np.zeros((3, 300, 25, 2), np.float32)
        joints = body()
        padded[:, : len(joints), :, 0] = joints.transpose(2, 0, 1)
        np.save(tmp_path / "mine" / label / "wave.npy", padded)
        np.save(tmp_path / "mine" / label / "noise.npy", np.random.default_rng(0).normal(size=(3, 40, 25, 2)))
    out = tmp_path / "prepared"
    assert main(["prepare", "folder", "--source", str(tmp_path / "mine"), "--out", str(out), "--workers", "1"]) == 0
    table = open_dataset(out)[1].with_format("numpy")
    assert [list(shape) for shape in table["shape"]] == [[1, len(body()), 25, 3]] * 2
    np.testing.assert_allclose(np.reshape(table[0]["joints"], (-1, 25, 3)), body(), atol=1e-5)
    assert (out / "dropped.csv").read_text().count("noise.npy") == 2


def test_a_pickle_of_many_clips_is_prepared_whole_with_its_splits(tmp_path):
    import pickle

    clips = [
        {"frame_dir": f"clip{number}", "label": number % 2 * 3, "keypoint": body(number)[None]} for number in range(6)
    ]
    names = [clip["frame_dir"] for clip in clips]
    split = {"xsub_train": names[:4], "xsub_val": names[4:], "xview_train": names[2:], "xview_val": names[:2]}
    (tmp_path / "set.pkl").write_bytes(pickle.dumps({"split": split, "annotations": clips}))
    (tmp_path / "label_map.txt").write_text("wave\nsit\nstand\nkick\n")
    out = tmp_path / "prepared"
    assert main(["prepare", "folder", "--source", str(tmp_path / "set.pkl"), "--out", str(out), "--workers", "1"]) == 0
    benchmark, table = open_dataset(out)
    assert (benchmark.labels, benchmark.protocols, benchmark.layout) == (("wave", "kick"), ("xsub", "xview"), "ntu25")
    assert list(table["name"]) == names and list(table["label"]) == [0, 1] * 3
    assert list(table["xsub"]) == ["train"] * 4 + ["test"] * 2
    assert list(table["xview"]) == ["test"] * 2 + ["train"] * 4


def long_recording(path, marks, fps=25.0, seconds=20, empty=50):
    """Frames that say their number in y of the first joint; nobody is seen in the first ones."""
    joints = np.random.default_rng(0).normal(size=(1, 1, 20, 3)).repeat(int(seconds * fps), 1) * 0.3 + [0, 1, 3]
    joints[0, :, 0, 1] = 1 + np.arange(joints.shape[1]) / 1000
    joints[:, :empty] = np.nan
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, joints=joints, layout="kinect20", fps=fps, up="y", unit="m")
    return [f"{path.name},{label},{start},{end}" for label, start, end in marks]


def frames_of(row):
    """The frames of a long recording that a row of the table shows."""
    joints = np.asarray(row["joints"]).reshape(row["shape"])
    numbers = np.round((joints[0, :, 0, 1] - 1) * 1000).astype(int)
    assert (np.diff(numbers) == 1).all()
    return int(numbers[0]), int(numbers[-1]) + 1


def test_long_recordings_are_cut_by_their_annotations(tmp_path):
    marks = [("wave", 4, 6), ("kick", 6, 8.2), ("wave", 14.5, 16.5)]
    lines = long_recording(tmp_path / "a.npz", marks) + long_recording(tmp_path / "b.npz", [("kick", 5, 7)])
    record(tmp_path / "c.npz", layout="kinect20", joints=20, channels=3)
    listing = tmp_path / "list.csv"
    listing.write_text("path,label,start,end,split\n" + "".join(f"{line},train\n" for line in [*lines, "c.npz,kick,,"]))
    out = tmp_path / "out"
    arguments = ["prepare", "folder", "--source", str(tmp_path), "--csv", str(listing), "--out", str(out)]
    assert main([*arguments, "--workers", "1"]) == 0
    benchmark, table = open_dataset(out)
    assert benchmark.labels == ("kick", "nothing", "wave")
    shown = [(row["name"].split()[0], table.features["label"].int2str(row["label"]), row) for row in table]
    actions = [(file, label, frames_of(row)) for file, label, row in shown if label != "nothing" and file != "c.npz"]
    assert actions == [
        ("a.npz", "wave", (100, 150)),
        ("a.npz", "kick", (150, 205)),
        ("a.npz", "wave", (362, 412)),
        ("b.npz", "kick", (125, 175)),
    ]
    assert [label for file, label, _ in shown if file == "c.npz"] == ["kick"]
    background = [frames_of(row) for file, label, row in shown if file == "a.npz" and label == "nothing"]
    assert any(start >= 250 and end <= 362 for start, end in background), "what lies between"
    assert any(100 < start < 150 < end < 205 for start, end in background), (
        "the end of one and the next one's beginning"
    )
    for start, end in background:
        for _, first, last in marks:
            inside = max(0, min(end, last * 25) - max(start, first * 25))
            assert inside < 0.36 * (max(end, last * 25) - min(start, first * 25)) + 1, "no action, or only its edge"


@pytest.mark.parametrize(
    ("span", "message"),
    [("6,4", "an end after the start"), ("4,", "end in seconds"), ("x,4", "start in seconds"), ("-1,4", "0 to|-1 to")],
)
def test_spans_that_are_none_are_refused(tmp_path, span, message):
    long_recording(tmp_path / "a.npz", [])
    (tmp_path / "list.csv").write_text(f"path,label,start,end\na.npz,wave,{span}\n")
    with pytest.raises(ValueError, match=message):
        scan_folder(tmp_path, tmp_path / "list.csv")


def test_action_points_are_seen_through_windows_about_them(tmp_path):
    marks = [("wave", 4.0), ("kick", 6.5), ("wave", 19.8)]
    long_recording(tmp_path / "a.npz", [])
    lines = "".join(f"a.npz,{label},{point},train\n" for label, point in marks)
    (tmp_path / "list.csv").write_text("path,label,point,split\n" + lines)
    out = tmp_path / "out"
    arguments = ["prepare", "folder", "--source", str(tmp_path), "--csv", str(tmp_path / "list.csv"), "--out", str(out)]
    assert main([*arguments, "--workers", "1"]) == 0
    benchmark, table = open_dataset(out)
    assert benchmark.labels == ("kick", "nothing", "wave") and benchmark.point_window == 1.5
    shown = [(table.features["label"].int2str(row["label"]), frames_of(row)) for row in table]
    actions = [one for one in shown if one[0] != "nothing"]
    assert actions == [("wave", (81, 119)), ("kick", (144, 181)), ("wave", (476, 500))]
    middles = [sum(frames) / 2 / 25 for label, frames in shown if label == "nothing" and 3 < frames[0] / 25 < 17]
    distances = [min(abs(middle - point) for _, point in marks) for middle in middles]
    assert min(distances) >= 0.28
    assert sum(distance < 0.75 for distance in distances) >= 3, "the same action, off its point"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a.npz,wave,4,6,5\n", "start and end or a point"),
        ("a.npz,wave,,,5\na.npz,kick,7,9,\n", "line 3: expected a point.*make two CSVs"),
        ("a.npz,wave,,,soon\n", "point in seconds"),
        ("a.npz,wave,,,-1\n", "0 seconds or more"),
    ],
)
def test_points_that_are_none_are_refused(tmp_path, lines, message):
    long_recording(tmp_path / "a.npz", [])
    (tmp_path / "list.csv").write_text(f"path,label,start,end,point\n{lines}")
    with pytest.raises(ValueError, match=message):
        scan_folder(tmp_path, tmp_path / "list.csv")


def test_long_recordings_are_held_out_whole(tmp_path):
    lines = [
        line
        for number in range(5)
        for line in long_recording(tmp_path / f"{number}.npz", [("wave", 4, 6), ("kick", 9, 11)])
    ]
    (tmp_path / "list.csv").write_text("path,label,start,end\n" + "\n".join(lines))
    _, scan = scan_folder(tmp_path, tmp_path / "list.csv")
    parts = {}
    for path, about in scan.samples:
        parts.setdefault(path.name, set()).add(about["splits"]["split"])
    assert sorted(map(sorted, parts.values())) == [["test"], *[["train"]] * 4]
