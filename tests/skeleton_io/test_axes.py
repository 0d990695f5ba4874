"""Every real data set leaves its reader in one frame: metres, y up, z away, right-handed, the person's own left."""

import os
from pathlib import Path

import numpy as np
import pytest

from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.skeleton_io import read_skeleton

ROOT = Path(os.environ.get("LLM_ACTION_DATA", Path(__file__).parents[2] / "../shared/data"))
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not ROOT.is_dir(), reason="no real data: set LLM_ACTION_DATA or put it in ../shared/data"),
]
FILES = {
    "ntu": "ntu_samples/*.skeleton",
    "utd_mhad": "utd_mhad/skeleton/a1_*.mat",
    "nw_ucla": "nw_ucla/all_sqe/a01_*.json",
    "msr_action3d": "msr_action3d/real_world_coordinates/a01_*skeleton3D.txt",
}


@pytest.mark.parametrize("data_set", FILES)
def test_one_convention(data_set):
    paths = sorted(ROOT.glob(FILES[data_set]))[:40]
    if not paths:
        pytest.skip(f"{data_set} is not in the data folder")
    seen = {"height": [], "across": [], "forward": [], "depth": []}
    for path in paths:
        sequence = read_skeleton(path)
        place = get_layout(sequence.layout).index
        joints = {name: sequence.joints[0, :, place(name)] for name in get_layout(sequence.layout).joints}
        ankles, toes = (joints[f"left_{part}"] + joints[f"right_{part}"] for part in ("ankle", "foot"))
        up = np.nanmedian(joints["head"] - ankles / 2, axis=0)
        across = np.nanmedian(joints["right_shoulder"] - joints["left_shoulder"], axis=0)
        seen["height"].append(up[1])
        seen["across"].append(across[0])
        seen["forward"].append(np.dot(np.cross(up, across), np.nanmedian(toes - ankles, axis=0)))
        seen["depth"].append(np.nanmedian(joints["hip_center"][:, 2]))
    assert 1.0 < np.median(seen["height"]) < 1.9, "metres, y up"
    assert np.median(seen["across"]) > 0, "facing the camera, the right side is at larger x"
    assert np.mean(np.array(seen["forward"]) > 0) > 0.9, "up x right is where the toes point: right-handed axes"
    assert 1.0 < np.median(seen["depth"]) < 5.0, "z away from the camera"


@pytest.mark.parametrize(
    ("data_set", "pattern"),
    [
        ("utd_mhad", "utd_mhad/skeleton/a8_*.mat"),  # draw x with the right hand
        ("msr_action3d", "msr_action3d/real_world_coordinates/a06_*skeleton3D.txt"),  # high throw
    ],
)
def test_right_is_the_hand_people_use(data_set, pattern):
    paths = sorted(ROOT.glob(pattern))
    if not paths:
        pytest.skip(f"{data_set} is not in the data folder")
    right = []
    for path in paths:
        sequence = read_skeleton(path)
        spread = np.nanstd(sequence.joints[0], axis=0).sum(axis=-1)
        place = get_layout(sequence.layout).index
        right.append(spread[place("right_wrist")] > spread[place("left_wrist")])
    assert np.mean(right) > 0.9
