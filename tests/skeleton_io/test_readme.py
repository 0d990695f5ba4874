"""The README of skeleton_io: its layout is one, and its options exist."""

import json
import re
from pathlib import Path

from llm_action.modeling.skeleton_layouts import LAYOUTS, SkeletonLayout
from llm_action.skeleton_io import ReadOptions

README = (Path(__file__).parents[2] / "llm_action/skeleton_io/README.md").read_text(encoding="utf-8")


def test_the_layout_of_one_s_own():
    (block,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    layout = SkeletonLayout.from_dict(json.loads(block))
    assert layout.left_right == ((1, 2), (3, 4))
    assert layout.standard[3] == "left_wrist"


def test_options_and_layouts_are_real():
    named = set(re.findall(r"(\w+)=", re.search(r"`read_skeleton\(path, (.*?)\)`", README)[1]))
    assert named == set(ReadOptions.__dataclass_fields__)
    written = set(
        re.findall(
            r"\b(?:coco|openpose|mediapipe|kinect|azure|smpl|halpe|body|human36m|bandai|wholebody)\d+\w*", README
        )
    )
    assert written <= set(LAYOUTS)
