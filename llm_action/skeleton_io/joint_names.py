"""Joint names as tools write them, and which standard joint each is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
# Names without side, punctuation and case. Some mean another joint where a tool has both: see `standard_joints`.
_CENTRE = {
    "hip_center": "hips pelvis hip midhip waist hipcenter hipcentre spinebase hipscenter root bottomtorso",
    "spine": "spine spinenavel spinemid torso belly abdomen spine01",
    "spine1": "spine1",
    "spine2": "spine2",
    "spine3": "spine3",
    "chest": "chest spinechest upperchest thorax chest1",
    "shoulder_center": "shouldercenter centershoulder shouldercentre spineshoulder midshoulder",
    "neck": "neck neck1 neck01 neckbase uppertorso",
    "head": "head head1 centerhead",
    "head_top": "headtop headend topofhead tophead",
    "nose": "nose",
}
_SIDED = {
    "shoulder": "shoulder shoulder1 upperarm uparm arm sjc",
    "clavicle": "clavicle",
    "collar": "collar collarbone",
    "elbow": "elbow ejc forearm lowerarm lowarm",
    "wrist": "wrist wjc",
    "hand": "hand palm",
    "hand_tip": "handtip fingertip handend",
    "thumb": "thumb thumb1 handthumb1",
    "index": "index indexfinger index1 handindex1",
    "pinky": "pinky pinkyfinger",
    "hip": "hip hjc upleg upperleg thigh",
    "knee": "knee kjc leg lowerleg lowleg shin calf",
    "ankle": "ankle ajc",
    "foot": "foot toebase toe toes ball toe0",
    "foot_index": "footindex",
    "heel": "heel",
    "big_toe": "bigtoe",
    "small_toe": "smalltoe littletoe",
    "eye": "eye",
    "eye_inner": "eyeinner innereye",
    "eye_outer": "eyeouter outereye",
    "ear": "ear",
    "mouth": "mouth mouthcorner",
}
_CENTRE_OF = {name: joint for joint, names in _CENTRE.items() for name in names.split()}
_SIDED_OF = {name: joint for joint, names in _SIDED.items() for name in names.split()}


@lru_cache(maxsize=1024)
def split_name(name: str) -> tuple[str, str]:
    """("left", "right" or "", the rest in small letters without punctuation) of a joint's name.

    A rig's prefix ("mixamorig:", "Bip01 ", "Character1_", "joint_") is left out.
    """
    name = re.sub(r"^.*[:|]", "", name)
    name = re.sub(r"^(mixamorig\d*|Bip\d+|Character\d*|joint|jt|DEF|ValveBiped)[_ .-]+", "", name, flags=re.IGNORECASE)
    name = re.sub(r"^(mixamorig|Bip\d+)(?=[A-Z ])", "", name)
    name = re.sub(r"[_ ](joint|jnt|position)$", "", name, flags=re.IGNORECASE)
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    words = [word.lower() for word in words]
    side = ""
    if len(words) > 1 or (words and words[0] in ("left", "right")):
        for place in (0, -1, *range(1, len(words) - 1)):
            if words[place] in _SIDES:
                side = _SIDES[words.pop(place)]
                break
    rest = "".join(words)
    if not side:
        match = re.fullmatch(
            r"(left|right)([a-z0-9]+)|([lr])(shoulder|elbow|wrist|hand|hip|knee|ankle|foot|eye|ear|[sewhka]jc)", rest
        )
        if match:
            side, rest = _SIDES[match[1] or match[3]], match[2] or match[4]
    return side, rest


def standard_joint(name: str) -> str | None:
    """The standard joint that a name most often means; None when it is not known."""
    side, rest = split_name(name)
    if side:
        return f"{side}_{_SIDED_OF[rest]}" if rest in _SIDED_OF else None
    return _CENTRE_OF.get(rest)


def standard_joints(names: Sequence[str]) -> list[str | None]:
    """The standard joint of each name of one skeleton; each joint at most once.

    Animation rigs name bones after what they move: LeftArm begins at the shoulder joint and LeftShoulder is the
    collar bone, LeftHand begins at the wrist, LeftLeg at the knee, LeftFoot at the ankle and LeftToeBase at the foot.
    """
    names = _without_owner(names)
    split = [split_name(name) for name in names]
    found: list[str | None] = [standard_joint(name) for name in names]
    for side in ("left", "right"):
        rests = {rest: place for place, (where, rest) in enumerate(split) if where == side}
        for shoulder in ("shoulder", "shoulder1"):
            if shoulder in rests and rests.keys() & {"upperarm", "uparm", "arm"}:
                found[rests[shoulder]] = f"{side}_clavicle"
        if "hand" in rests and not rests.keys() & {"wrist"}:
            found[rests["hand"]] = f"{side}_wrist"
        if "foot" in rests and not rests.keys() & {"ankle"}:
            found[rests["foot"]] = f"{side}_ankle"
    centre = {rest: place for place, (where, rest) in enumerate(split) if not where}
    if "root" in centre and centre.keys() & {"hips", "pelvis", "hip"}:
        found[centre["root"]] = "root"
    taken: set[str] = set()
    for place, joint in enumerate(found):
        if joint in taken:
            found[place] = None
        elif joint is not None:
            taken.add(joint)
    return found


def _without_owner(names: Sequence[str]) -> Sequence[str]:
    """Without what all names begin with up to a mark: "Robot_", "Player 1 - "."""
    if len(names) < 3:
        return names
    first, last = min(names), max(names)  # what these share all share
    alike = next((place for place, (one, other) in enumerate(zip(first, last)) if one != other), len(first))
    owner = re.sub(r"[^_:|. -]*$", "", first[:alike])
    is_side = _SIDES.keys() & {word.lower() for word in re.findall("[A-Za-z]+", owner)}
    return names if is_side or standard_joint(owner) is not None else [name[len(owner) :] for name in names]
