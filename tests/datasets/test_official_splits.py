"""Splits of the paper's benchmarks: by hand-picked names, and against the official lists where these are."""

import gzip
import json
from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from llm_action.datasets import BENCHMARKS
from llm_action.datasets.job import read_missing_list
from llm_action.datasets.ntu import TWO_PERSONS, describe_ntu60, describe_ntu120
from llm_action.datasets.protocols import protocol_name, protocol_parts
from llm_action.datasets.smarthome import CROSS_VIEW_LABELS, describe_smarthome
from llm_action.datasets.uav_human import describe_uav_human
from llm_action.datasets.unseen_splits import (
    NEW_SINGLE_PERSON_CLASSES,
    UNSEEN_CLASSES,
    among_tested,
    unseen_classes,
    unseen_parts,
)


def test_ntu_by_hand():
    about = describe_ntu60("S001C001P001R001A001")
    assert about == {
        "name": "S001C001P001R001A001", "label": 0, "subject": 1, "camera": 1,
        "splits": {"cross_subject": "train", "cross_view": "test"},
    }  # fmt: skip
    assert describe_ntu60("S017C003P020R002A060")["splits"] == {"cross_subject": "test", "cross_view": "train"}
    assert describe_ntu60("S018C001P001R001A061") is None
    assert describe_ntu120("S018C001P106R001A061")["splits"] == {"cross_subject": "test", "cross_setup": "train"}
    assert describe_ntu120("S031C001P103R001A120")["splits"] == {"cross_subject": "train", "cross_setup": "test"}
    assert describe_ntu120("S031C001P103R001A121") is None
    assert describe_ntu120("notes") is None


def test_smarthome_by_hand():
    about = describe_smarthome("Cook.Cut_p03_r00_v12_c02")
    assert BENCHMARKS["smarthome"].labels[about["label"]] == "Cook.Cut"
    assert (about["subject"], about["camera"]) == (3, 2)
    assert about["splits"] == {"cross_subject": "train", "cross_view1": "", "cross_view2": ""}
    walk = {c: describe_smarthome(f"Walk_p02_r00_v12_c{c:02}_pose3d")["splits"] for c in range(1, 8)}
    assert [walk[c]["cross_view1"] for c in range(1, 8)] == ["train", "test", "", "", "validation", "", ""]
    assert [walk[c]["cross_view2"] for c in range(1, 8)] == [
        "train", "test", "train", "train", "validation", "train", "train",
    ]  # fmt: skip
    assert {splits["cross_subject"] for splits in walk.values()} == {"test"}
    assert describe_smarthome("Juggle_p02_r00_v12_c03") is None
    assert BENCHMARKS["smarthome"].metric == "mean_class_accuracy"


def test_uav_human_by_hand():
    about = describe_uav_human("P001S00G10B10H10UC022000LC021000A154R0_08241716")
    assert (about["label"], about["subject"]) == (154, 1)
    assert about["splits"] == {"cross_subject_v1": "test", "cross_subject_v2": "test"}
    assert describe_uav_human("P000S00G10B10H10UC022000LC021000A000R0")["splits"]["cross_subject_v1"] == "train"
    assert describe_uav_human("P001S00G10B10H10UC022000LC021000A155R0") is None


def test_unseen_classes():
    sizes = {
        (name, split): len(classes) for name, splits in UNSEEN_CLASSES.items() for split, classes in splits.items()
    }
    assert sizes == {("ntu60", "55/5"): 5, ("ntu60", "48/12"): 12, ("ntu120", "110/10"): 10, ("ntu120", "96/24"): 24}
    for name, splits in UNSEEN_CLASSES.items():
        for classes in splits.values():
            assert len(set(classes)) == len(classes)
            assert max(classes) < len(BENCHMARKS[name].labels)
    labels = BENCHMARKS["ntu60"].labels
    assert [labels[index] for index in unseen_classes("ntu60", "55/5")] == [
        "reading", "writing", "put on a hat/cap", "jump up", "touch other person's pocket",
    ]  # fmt: skip
    assert len(NEW_SINGLE_PERSON_CLASSES) == 34 + 11
    assert not TWO_PERSONS & set(NEW_SINGLE_PERSON_CLASSES)
    with pytest.raises(ValueError, match=r"ntu120: 110/10, 96/24"):
        unseen_classes("ntu60", "50/10")


def test_unseen_parts():
    table = {"split": ["train", "train", "test", "test", "", "test"], "label": [0, 1, 0, 1, 1, 2]}
    assert unseen_parts(table, "split", (1, 2)).tolist() == ["train", "", "", "test", "", "test"]
    assert unseen_parts(table, "split", (1, 2), tested=(1,)).tolist() == ["train", "", "", "test", "", ""]


def ntu_table(name: str) -> Dataset:
    """Two sequences of every class, a training and a test one."""
    labels = BENCHMARKS[name].labels
    rows = {"label": [*range(len(labels))] * 2, "cross_subject": ["train"] * len(labels) + ["test"] * len(labels)}
    return Dataset.from_dict(rows).cast_column("label", ClassLabel(names=list(labels)))


@pytest.mark.parametrize(
    ("dataset", "split", "trained", "tested"),
    [("ntu60", "55/5", 55, 5), ("ntu60", "48/12", 48, 12), ("ntu120", "110/10", 110, 10), ("ntu120", "96/24", 96, 24)],
)
def test_unseen_splits_are_protocols(dataset, split, trained, tested):
    table, benchmark = ntu_table(dataset), BENCHMARKS[dataset]
    parts = protocol_parts(table, protocol_name(benchmark, f"unseen_{split}"))
    classes = {part: set(np.array(table["label"])[parts == part]) for part in ("train", "test")}
    assert (len(classes["train"]), classes["test"]) == (trained, set(unseen_classes(dataset, split)))
    assert len(classes["test"]) == tested and not classes["train"] & classes["test"]
    with pytest.raises(ValueError, match="known: .*unseen_"):
        protocol_name(benchmark, "unseen_50/10")


def test_from_ntu60_to_ten_classes_of_ntu120():
    table = ntu_table("ntu120")
    protocol = protocol_name(BENCHMARKS["ntu120"], "unseen_60/10")
    parts, labels = protocol_parts(table, protocol), np.array(table["label"])
    assert set(labels[parts == "train"]) == set(range(60))
    tested = labels[parts == "test"]
    assert len(set(tested)) == len(tested) == 10 and tested.min() >= 60
    assert not set(tested) & TWO_PERSONS
    test = among_tested(table.select(np.flatnonzero(parts == "test")), protocol)
    assert test.features["label"].names == [BENCHMARKS["ntu120"].labels[label] for label in tested]
    assert test["label"][:] == list(range(10))
    assert len(among_tested(table.select(np.flatnonzero(parts == "train")), protocol)) == 0
    assert among_tested(table, "cross_subject") is table
    with pytest.raises(ValueError, match="unknown protocol"):
        protocol_name(BENCHMARKS["ntu60"], "unseen_60/10")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "describe"), [("ntu60", describe_ntu60), ("ntu120", describe_ntu120)])
def test_official_ntu_counts(data_root, name, describe):
    folder = data_root / "benchmarks" / "ntu"
    if not folder.is_dir():
        pytest.skip("no benchmarks/ntu in the data folder")
    available = gzip.decompress((folder / f"{name}_available.txt.gz").read_bytes()).decode().split()
    number = {"ntu60": "", "ntu120": "120"}[name]
    missing = read_missing_list(folder / f"NTU_RGBD{number}_samples_with_missing_skeletons.txt")
    release = {*available, *missing}  # every file the release has
    rows = [describe(sample) for sample in sorted(release - set(missing))]
    assert None not in rows
    expected = {
        "ntu60": {"cross_subject": (40091, 16487), "cross_view": (37646, 18932)},
        "ntu120": {"cross_subject": (63026, 50919), "cross_setup": (54468, 59477)},
    }[name]
    for protocol, counts in expected.items():
        found = Counter(row["splits"][protocol] for row in rows)
        assert (found["train"], found["test"]) == counts
    assert BENCHMARKS[name].counts == expected


@pytest.mark.real_data
def test_official_names_and_ids(data_root):
    file = data_root / "benchmarks" / "splits_and_classes.json"
    if not file.is_file():
        pytest.skip("no benchmarks in the data folder")
    official = json.loads(file.read_text())

    def names(entries):
        return [entries[key].replace("’", "'") for key in sorted(entries, key=int)]

    assert list(BENCHMARKS["ntu120"].labels) == names(official["ntu"]["class_names"])
    assert list(BENCHMARKS["uav_human"].labels) == names(official["uav_human"]["class_names"])
    assert list(BENCHMARKS["smarthome"].labels) == official["smarthome"]["class_names"]
    assert set(official["smarthome"]["cv_class_names"]) == CROSS_VIEW_LABELS

    uav = official["uav_human"]
    for subject in range(uav["n_subjects"]):
        splits = describe_uav_human(f"P{subject:03}S00G10B10H10UC022000LC021000A001R0")["splits"]
        for version in (1, 2):
            expected = "train" if subject in uav[f"csv{version}_train"] else "test"
            assert splits[f"cross_subject_v{version}"] == expected
    home = official["smarthome"]
    for subject in home["all_subjects"]:
        expected = "train" if subject in home["cs_train_subjects"] else "test"
        assert describe_smarthome(f"Walk_p{subject:02}_r00_v01_c01")["splits"]["cross_subject"] == expected
