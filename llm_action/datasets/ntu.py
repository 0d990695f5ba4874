"""NTU RGB+D and NTU RGB+D 120: 60 and 120 classes, 40 and 106 subjects, 3 cameras, 17 and 32 setups, Kinect v2.

Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2019. Class names, subjects, cameras and setups as the authors give them.
"""

from __future__ import annotations

import os
import re
from typing import Any

from .benchmark import Benchmark, Scan, files_below, split_by

LABELS = (
    "drink water",
    "eat meal/snack",
    "brushing teeth",
    "brushing hair",
    "drop",
    "pickup",
    "throw",
    "sitting down",
    "standing up (from sitting position)",
    "clapping",
    "reading",
    "writing",
    "tear up paper",
    "wear jacket",
    "take off jacket",
    "wear a shoe",
    "take off a shoe",
    "wear on glasses",
    "take off glasses",
    "put on a hat/cap",
    "take off a hat/cap",
    "cheer up",
    "hand waving",
    "kicking something",
    "reach into pocket",
    "hopping (one foot jumping)",
    "jump up",
    "make a phone call/answer phone",
    "playing with phone/tablet",
    "typing on a keyboard",
    "pointing to something with finger",
    "taking a selfie",
    "check time (from watch)",
    "rub two hands together",
    "nod head/bow",
    "shake head",
    "wipe face",
    "salute",
    "put the palms together",
    "cross hands in front (say stop)",
    "sneeze/cough",
    "staggering",
    "falling",
    "touch head (headache)",
    "touch chest (stomachache/heart pain)",
    "touch back (backache)",
    "touch neck (neckache)",
    "nausea or vomiting condition",
    "use a fan (with hand or paper)/feeling warm",
    "punching/slapping other person",
    "kicking other person",
    "pushing other person",
    "pat on back of other person",
    "point finger at the other person",
    "hugging other person",
    "giving something to other person",
    "touch other person's pocket",
    "handshaking",
    "walking towards each other",
    "walking apart from each other",
    "put on headphone",
    "take off headphone",
    "shoot at the basket",
    "bounce ball",
    "tennis bat swing",
    "juggling table tennis balls",
    "hush (quite)",
    "flick hair",
    "thumb up",
    "thumb down",
    "make ok sign",
    "make victory sign",
    "staple book",
    "counting money",
    "cutting nails",
    "cutting paper (using scissors)",
    "snapping fingers",
    "open bottle",
    "sniff (smell)",
    "squat down",
    "toss a coin",
    "fold paper",
    "ball up paper",
    "play magic cube",
    "apply cream on face",
    "apply cream on hand back",
    "put on bag",
    "take off bag",
    "put something into a bag",
    "take something out of a bag",
    "open a box",
    "move heavy objects",
    "shake fist",
    "throw up cap/hat",
    "hands up (both hands)",
    "cross arms",
    "arm circles",
    "arm swings",
    "running on the spot",
    "butt kicks (kick backward)",
    "cross toe touch",
    "side kick",
    "yawn",
    "stretch oneself",
    "blow nose",
    "hit other person with something",
    "wield knife towards other person",
    "knock over other person (hit with body)",
    "grab other person's stuff",
    "shoot at other person with a gun",
    "step on foot",
    "high-five",
    "cheers and drink",
    "carry something with other person",
    "take a photo of other person",
    "follow other person",
    "whisper in other person's ear",
    "exchange things with other person",
    "support somebody with hand",
    "finger-guessing game (playing rock-paper-scissors)",
)
TWO_PERSONS = frozenset({*range(49, 60), *range(105, 120)})  # labels (from 0) of the mutual actions
TRAIN_SUBJECTS_60 = frozenset({1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38})
TRAIN_SUBJECTS_120 = TRAIN_SUBJECTS_60 | frozenset(
    {
        45,
        46,
        47,
        49,
        50,
        52,
        53,
        54,
        55,
        56,
        57,
        58,
        59,
        70,
        74,
        78,
        80,
        81,
        82,
        83,
        84,
        85,
        86,
        89,
        91,
        92,
        93,
        94,
        95,
        97,
        98,
        100,
        103,
    }
)
TRAIN_CAMERAS = frozenset({2, 3})
SETUPS_60 = 17
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")


def describe_ntu60(name: str) -> dict[str, Any] | None:
    """Reads a sample's row but its skeleton off its name "S001C002P003R001A060"; None where NTU RGB+D 60 has none such.

    cross_subject: 20 of 40 subjects train (40091 sequences of the complete release), 20 test (16487). cross_view:
    cameras 2 and 3 train (37646), camera 1 test (18932).
    """
    numbers = _numbers(name)
    if numbers is None or numbers[0] > SETUPS_60 or numbers[3] > 60:
        return None
    _, camera, subject, action = numbers
    splits = {
        "cross_subject": split_by(subject, TRAIN_SUBJECTS_60),
        "cross_view": split_by(camera, TRAIN_CAMERAS),
    }
    return {"name": name, "label": action - 1, "subject": subject, "camera": camera, "splits": splits}


def describe_ntu120(name: str) -> dict[str, Any] | None:
    """The same of NTU RGB+D 120.

    cross_subject: 53 of 106 subjects train (63026), 53 test (50919). cross_setup: even setups train (54468), odd ones
    test (59477).
    """
    numbers = _numbers(name)
    if numbers is None:
        return None
    setup, camera, subject, action = numbers
    splits = {
        "cross_subject": split_by(subject, TRAIN_SUBJECTS_120),
        "cross_setup": "train" if setup % 2 == 0 else "test",
    }
    return {"name": name, "label": action - 1, "subject": subject, "camera": camera, "splits": splits}


def scan_ntu60(data_dir: str | os.PathLike[str] | None) -> Scan:
    """Finds the `.skeleton` files of NTU RGB+D 60 anywhere below a folder, which may hold the other 60 classes too."""
    return files_below(data_dir, "ntu60", ".skeleton", describe_ntu60, 56880)


def scan_ntu120(data_dir: str | os.PathLike[str] | None) -> Scan:
    """Finds the `.skeleton` files of both releases, S001-S017 and S018-S032, anywhere below a folder."""
    return files_below(data_dir, "ntu120", ".skeleton", describe_ntu120, 114480)


def _numbers(name: str) -> tuple[int, int, int, int] | None:
    """Setup, camera, subject and action of a sample's name."""
    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match[5]) <= len(LABELS):
        return None
    return int(match[1]), int(match[2]), int(match[3]), int(match[5])


NTU60 = Benchmark(
    "ntu60",
    LABELS[:60],
    "ntu25",
    ("cross_subject", "cross_view"),
    "cross_subject",
    scan_ntu60,
    prepared_only=True,
    counts={"cross_subject": (40091, 16487), "cross_view": (37646, 18932)},
)
NTU120 = Benchmark(
    "ntu120",
    LABELS,
    "ntu25",
    ("cross_subject", "cross_setup"),
    "cross_subject",
    scan_ntu120,
    prepared_only=True,
    counts={"cross_subject": (63026, 50919), "cross_setup": (54468, 59477)},
)
