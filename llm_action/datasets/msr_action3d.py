"""MSR-Action3D: 567 sequences, 20 classes, 10 subjects, one depth camera (Li, Zhang, Liu, CVPR workshops 2010)."""

from __future__ import annotations

import os

from .benchmark import Benchmark, Scan, find_files, split_by

LABELS = (
    "high arm wave",
    "horizontal arm wave",
    "hammer",
    "hand catch",
    "forward punch",
    "high throw",
    "draw x",
    "draw tick",
    "draw circle",
    "hand clap",
    "two hand wave",
    "side boxing",
    "bend",
    "forward kick",
    "side kick",
    "jogging",
    "tennis swing",
    "tennis serve",
    "golf swing",
    "pickup and throw",
)
PROTOCOLS = ("cross_subject", "as1", "as2", "as3")
TRAIN_SUBJECTS = frozenset({1, 3, 5, 7, 9})
ACTION_SETS = {
    "as1": frozenset({2, 3, 5, 6, 10, 13, 18, 20}),
    "as2": frozenset({1, 4, 7, 8, 9, 11, 12, 14}),
    "as3": frozenset({6, 14, 15, 16, 17, 18, 19, 20}),
}
# Skeletons that are missing or wrong; the release's own list of 557 files leaves them out, and so does everyone.
LEFT_OUT = frozenset(
    {
        "a02_s03_e02",
        "a04_s03_e01",
        "a07_s04_e01",
        "a13_s09_e01",
        "a13_s09_e02",
        "a13_s09_e03",
        "a14_s03_e01",
        "a20_s07_e01",
        "a20_s07_e03",
        "a20_s10_e03",
    }
)


def scan_msr_action3d(data_dir: str | os.PathLike[str] | None) -> Scan:
    """Finds the 557 sequences with a sound skeleton. The camera is always 1.

    cross_subject: all 20 classes, odd subjects train (284), even ones test (273). as1, as2, as3: the same among the
    eight classes of an action set, "" for other classes.

    Raises:
        FileNotFoundError: no folder, or no `aAA_sSS_eEE_skeleton3D.txt` in it or in its `real_world_coordinates/`.
    """
    pattern = r"(a(\d+)_s(\d+)_e\d+)_skeleton3D\.txt"
    scan = Scan([])
    for path, match in find_files(data_dir, "msr_action3d", "real_world_coordinates", pattern, 567):
        if match[1] in LEFT_OUT:
            scan.dropped.append((path.name, "on the release's own list of bad skeletons"))
            continue
        action, subject = int(match[2]), int(match[3])
        split = split_by(subject, TRAIN_SUBJECTS)
        splits = {"cross_subject": split}
        splits |= {name: split if action in actions else "" for name, actions in ACTION_SETS.items()}
        about = {"name": match[1], "label": action - 1, "subject": subject, "camera": 1, "splits": splits}
        scan.samples.append((path, about))
    return scan


BENCHMARK = Benchmark(
    "msr_action3d",
    LABELS,
    "kinect20_msr",
    PROTOCOLS,
    "cross_subject",
    scan_msr_action3d,
    counts={"cross_subject": (284, 273)},
)
