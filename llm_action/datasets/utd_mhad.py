"""UTD-MHAD: 861 sequences, 27 classes, 8 subjects, one Kinect v1 (Chen, Jafari, Kehtarnavaz, ICIP 2015)."""

from __future__ import annotations

import os

from llm_action.skeleton_io.signals import UTD_CHANNELS, UTD_UNIT

from .benchmark import Benchmark, Sample, Scan, Sense, find_files, split_by

LABELS = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "arm cross",
    "basketball shoot",
    "draw x",
    "draw circle clockwise",
    "draw circle counter-clockwise",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pick up and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
PROTOCOLS = ("cross_subject",)
SENSES = {"inertial": Sense(UTD_CHANNELS, UTD_UNIT)}
TRAIN_SUBJECTS = frozenset({1, 3, 5, 7})


def scan_utd_mhad(data_dir: str | os.PathLike[str] | None) -> Scan:
    """All 861 sequences. cross_subject: subjects 1, 3, 5, 7 train (431), 2, 4, 6, 8 test (430). The camera is always 1.

    The sense `inertial` is taken from `inertial/aA_sS_tT_inertial.mat` beside the skeletons' folder, where it is there.

    Raises:
        FileNotFoundError: no folder, or no `aA_sS_tT_skeleton.mat` in it or in its `skeleton/`.
    """
    files: list[Sample] = []
    for path, match in find_files(data_dir, "utd_mhad", "skeleton", r"(a(\d+)_s(\d+)_t\d+)_skeleton\.mat", 861):
        action, subject = int(match[2]), int(match[3])
        worn = path.parent.parent / "inertial" / f"{match[1]}_inertial.mat"
        splits = {"cross_subject": split_by(subject, TRAIN_SUBJECTS)}
        about = {"name": match[1], "label": action - 1, "subject": subject, "camera": 1, "splits": splits}
        if worn.is_file():
            about["signals"] = {"inertial": str(worn)}
        files.append((path, about))
    return Scan(files)


BENCHMARK = Benchmark(
    "utd_mhad",
    LABELS,
    "kinect20_utd",
    PROTOCOLS,
    "cross_subject",
    scan_utd_mhad,
    counts={"cross_subject": (431, 430)},
    senses=SENSES,
)
