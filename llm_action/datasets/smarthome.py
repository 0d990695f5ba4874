"""Toyota Smarthome (trimmed): 31 classes, 18 subjects, 7 cameras, 13 joints (Das et al., ICCV 2019)."""

from __future__ import annotations

import os
import re
from typing import Any

from .benchmark import Benchmark, Scan, files_below, split_by

LABELS = (
    "Cook.Cleandishes",
    "Cook.Cleanup",
    "Cook.Cut",
    "Cook.Stir",
    "Cook.Usestove",
    "Cutbread",
    "Drink.Frombottle",
    "Drink.Fromcan",
    "Drink.Fromcup",
    "Drink.Fromglass",
    "Eat.Attable",
    "Eat.Snack",
    "Enter",
    "Getup",
    "Laydown",
    "Leave",
    "Makecoffee.Pourgrains",
    "Makecoffee.Pourwater",
    "Maketea.Boilwater",
    "Maketea.Insertteabag",
    "Pour.Frombottle",
    "Pour.Fromcan",
    "Pour.Fromkettle",
    "Readbook",
    "Sitdown",
    "Takepills",
    "Uselaptop",
    "Usetelephone",
    "Usetablet",
    "Walk",
    "WatchTV",
)
# The cross-view protocols leave out the classes that too few cameras see.
CROSS_VIEW_LABELS = frozenset(
    {
        "Cutbread",
        "Drink.Frombottle",
        "Drink.Fromcan",
        "Drink.Fromcup",
        "Drink.Fromglass",
        "Eat.Attable",
        "Eat.Snack",
        "Enter",
        "Getup",
        "Leave",
        "Pour.Frombottle",
        "Pour.Fromcan",
        "Readbook",
        "Sitdown",
        "Takepills",
        "Uselaptop",
        "Usetablet",
        "Usetelephone",
        "Walk",
    }
)
TRAIN_SUBJECTS = frozenset({3, 4, 6, 7, 9, 12, 13, 15, 17, 19, 25})
CROSS_VIEW_TRAIN_CAMERAS = {"cross_view1": frozenset({1}), "cross_view2": frozenset({1, 3, 4, 6, 7})}
VALIDATION_CAMERA, TEST_CAMERA = 5, 2
PROTOCOLS = ("cross_subject", *CROSS_VIEW_TRAIN_CAMERAS)
_NAME = re.compile(r"(?P<label>[A-Za-z.]+)_p(?P<subject>\d+)_r\d+_v\d+_c(?P<camera>\d+)(?:_\w+)?")


def describe_smarthome(name: str) -> dict[str, Any] | None:
    """Reads a sample's row but its skeleton off its name "Cook.Cut_p02_r00_v12_c03"; None where its class is unknown.

    cross_subject: 11 of 18 subjects train, 7 test. cross_view1 and cross_view2, on 19 classes: camera 1, or cameras 1,
    3, 4, 6 and 7, train, camera 2 tests, camera 5 is "validation". The metric is `mean_class_accuracy`.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["label"] not in LABELS:
        return None
    subject, camera = int(match["subject"]), int(match["camera"])
    splits = {"cross_subject": split_by(subject, TRAIN_SUBJECTS)}
    held_out = {VALIDATION_CAMERA: "validation", TEST_CAMERA: "test"}
    for protocol, train_cameras in CROSS_VIEW_TRAIN_CAMERAS.items():
        part = "train" if camera in train_cameras else held_out.get(camera, "")
        splits[protocol] = part if match["label"] in CROSS_VIEW_LABELS else ""
    label = LABELS.index(match["label"])
    return {"name": name, "label": label, "subject": subject, "camera": camera, "splits": splits}


def scan_smarthome(data_dir: str | os.PathLike[str] | None) -> Scan:
    """Finds the skeleton `.json` files anywhere below a folder."""
    return files_below(data_dir, "smarthome", ".json", describe_smarthome, 16115)


SMARTHOME = Benchmark(
    "smarthome",
    LABELS,
    "smarthome13",
    PROTOCOLS,
    "cross_subject",
    scan_smarthome,
    metric="mean_class_accuracy",
    prepared_only=True,
)
