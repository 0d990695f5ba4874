"""Northwestern-UCLA Multiview Action 3D: 1484 sequences, 10 classes, 10 subjects, 3 cameras (Wang et al., 2014)."""

from __future__ import annotations

import os

from .benchmark import Benchmark, Sample, Scan, find_files, split_by

LABELS = (
    "pick up with one hand",
    "pick up with two hands",
    "drop trash",
    "walk around",
    "sit down",
    "stand up",
    "donning",
    "doffing",
    "throw",
    "carry",
)
ACTION_NUMBERS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)  # the file names skip 7 and 10
PROTOCOLS = ("cross_view",)
TRAIN_CAMERAS = frozenset({1, 2})


def scan_nw_ucla(data_dir: str | os.PathLike[str] | None) -> Scan:
    """Finds all 1484 sequences. cross_view: cameras 1 and 2 train (1020), camera 3 tests (464).

    Raises:
        FileNotFoundError: no folder, or no `aAA_sSS_eEE_vVV.json` in it or in its `all_sqe/`.
    """
    files: list[Sample] = []
    for path, match in find_files(data_dir, "nw_ucla", "all_sqe", r"a(\d+)_s(\d+)_e\d+_v(\d+)\.json", 1484):
        action, subject, camera = (int(number) for number in match.groups())
        splits = {"cross_view": split_by(camera, TRAIN_CAMERAS)}
        about = {"name": path.stem, "label": ACTION_NUMBERS.index(action), "subject": subject, "camera": camera}
        files.append((path, {**about, "splits": splits}))
    return Scan(files)


BENCHMARK = Benchmark(
    "nw_ucla", LABELS, "kinect20", PROTOCOLS, "cross_view", scan_nw_ucla, counts={"cross_view": (1020, 464)}
)
