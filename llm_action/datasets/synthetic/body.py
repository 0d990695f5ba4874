"""Moves a human body, a kinematic tree: keyframes in, 25 joints (layout ntu25) out.

The body's own frame is x = its left, y = up, z = forward, in metres, with the floor at y = 0. A `Performer` collects
keyframes; `trunk_motion` and `perform` turn them into joints by forward kinematics. Arms move by shoulder rotation and
elbow flexion. Where a hand shall be is solved at the keyframe alone, so hands travel on arcs. Legs follow the pelvis by
two-bone inverse kinematics; feet stay where they were put. Bone lengths never change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

FPS = 30.0
REFERENCE_HEIGHT = 1.70  # lengths in the action scripts are those of a person this tall, and scale with the body
SIDES = {"left": 1.0, "right": -1.0}
MIRROR_X = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Body:
    """Lengths in metres and resting posture of one person."""

    height: float = 1.70
    arm: float = 1.0  # length relative to the average of that height; likewise leg, shoulders, hips
    leg: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    stoop: float = 2.0  # degrees of forward bend at rest
    stance: float = 1.0  # relative distance of the feet
    toes_out: float = 8.0  # degrees
    arms_out: float = 8.0  # degrees

    @property
    def scale(self) -> float:
        return self.height / REFERENCE_HEIGHT

    def bone(self, name: str) -> float:
        """A bone's length in metres: its share of the height (as Kinect places joints) times a proportion."""
        share, proportion = BONES[name]
        return share * self.height * (getattr(self, proportion) if proportion else 1.0)


BONES = {
    "thigh": (0.240, "leg"),
    "shank": (0.235, "leg"),
    "ankle_height": (0.045, ""),
    "foot_length": (0.075, "leg"),
    "foot_drop": (0.030, ""),
    "half_hips": (0.047, "hips"),
    "lower_spine": (0.155, ""),
    "upper_spine": (0.125, ""),
    "neck": (0.040, ""),
    "head": (0.085, ""),
    "half_shoulders": (0.103, "shoulders"),
    "shoulder_drop": (0.028, ""),
    "upper_arm": (0.165, "arm"),
    "forearm": (0.145, "arm"),
    "palm": (0.042, "arm"),
    "fingers": (0.045, "arm"),
    "thumb": (0.035, "arm"),
}


@dataclass(frozen=True)
class Swing:
    """An arm by its angles in degrees: raised forward, raised sideways, turned inwards about itself, elbow flexion."""

    forward: float = 0.0
    side: float = 0.0
    inward: float = 0.0
    elbow: float = 15.0


@dataclass(frozen=True)
class Reach:
    """An arm by the place of its hand: a point (outwards, up, forward) of a frame, and where the elbow points.

    `frame` is "chest" (origin between the shoulders), "head" (origin at the head joint), "pelvis", "floor" (where the
    performer started), "partner" (the other person's chest; their outwards) or "between" (midway between two persons).
    """

    frame: str
    point: tuple[float, float, float]
    elbow: tuple[float, float, float] = (0.5, -1.0, -0.3)


@dataclass
class Performer:
    """Collects one person's keyframes. `move` starts where the channels are now; what it does not name stays as it is.

    Channels: `pelvis` (left, up, forward) metres from standing; `turn` degrees to the left; `trunk` and `head` degrees
    (bend forward, twist left, lean left), the head relative to the chest; `left_arm`, `right_arm` (Swing or Reach);
    `left_foot`, `right_foot` (left, forward, degrees to the left) on the floor, `*_lift` metres of the toes above the
    floor, `*_toe` degrees toes down.
    """

    body: Body
    rng: np.random.Generator
    tempo: float = 1.0
    amplitude: float = 1.0
    now: float = 0.0
    keys: dict[str, list] = field(default_factory=dict)

    def __post_init__(self):
        rest = self.resting_arm()
        channels: dict[str, Any] = {"pelvis": (0, 0, 0), "turn": (0,), "trunk": (0, 0, 0), "head": (0, 0, 0)}
        channels |= {"left_arm": rest, "right_arm": rest}
        for side in SIDES:
            channels |= {f"{side}_foot": self.stance(side), f"{side}_lift": (0,), f"{side}_toe": (0,)}
        self.keys = {channel: [(0.0, value)] for channel, value in channels.items()}

    def vary(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def resting_arm(self) -> Swing:
        return Swing(self.vary(-2, 8), self.body.arms_out + self.vary(-2, 2), self.vary(0, 25), self.vary(10, 28))

    def stance(self, side: str, forward=0.0, yaw=0.0, width=1.0) -> tuple[float, float, float]:
        """Finds a foot's place (left, forward, yaw) for a pelvis at (0, forward) turned `yaw` degrees left."""
        sign, angle = SIDES[side], np.deg2rad(yaw)
        half = 0.095 * self.body.stance * width
        # the ankle belongs below the hip, so the toes are further forward than the pelvis
        ahead = self.body.bone("foot_length") / self.body.scale - 0.03
        left = sign * half * np.cos(angle) + ahead * np.sin(angle)
        front = forward - sign * half * np.sin(angle) + ahead * np.cos(angle)
        return left, front, yaw + sign * self.body.toes_out

    def start(self, **channels) -> None:
        """Sets the first keyframe."""
        for channel, value in channels.items():
            self.keys[channel][0] = (0.0, value)

    def value(self, channel: str):
        return self.keys[channel][-1][1]

    def move(self, seconds: float, exact: bool = False, /, **channels) -> None:
        """Moves channels to new values in about `seconds` (exactly, for what falls under gravity)."""
        seconds *= 1.0 if exact else self.tempo * self.vary(0.85, 1.18)
        for channel, value in channels.items():
            keys = self.keys[channel]
            if keys[-1][0] < self.now:
                keys.append((self.now, keys[-1][1]))
            keys.append((self.now + seconds, value))
        self.now += seconds

    def hold(self, seconds: float) -> None:
        self.now += seconds * self.tempo * self.vary(0.8, 1.25)

    def step(self, side: str, seconds: float, foot: tuple[float, float, float], height: float = 0.05) -> None:
        """Sets one foot down elsewhere, lifting it on the way."""
        middle = tuple((a + b) / 2 for a, b in zip(self.value(f"{side}_foot"), foot, strict=True))
        self.move(seconds / 2, **{f"{side}_foot": middle, f"{side}_lift": (height,), f"{side}_toe": (12,)})
        self.move(seconds / 2, **{f"{side}_foot": foot, f"{side}_lift": (0,), f"{side}_toe": (0,)})

    def overlap(self, seconds: float) -> None:
        """Steps back in time, so that the next move of other channels runs beside the last one."""
        self.now -= seconds * self.tempo


def smooth_noise(rng: np.random.Generator, times: np.ndarray, dims: int, scale) -> np.ndarray:
    """Makes breathing and sway: slow wandering (frames, dims) of 0.1 to 0.7 Hz and unit variance, times `scale`."""
    frequency = rng.uniform(0.1, 0.7, (4, 1, dims))
    phase = rng.uniform(0, 2 * np.pi, (4, 1, dims))
    waves = np.sin(2 * np.pi * frequency * times[:, None] + phase)
    return waves.sum(0) / np.sqrt(2.0) * scale


def interpolate(keys: list, times: np.ndarray) -> np.ndarray:
    """Smooth monotone curves through keyframes, (frames, dims); flat where two keyframes are equal."""
    moments = np.array([moment for moment, _ in keys])
    values = np.array([value for _, value in keys], float)
    if len(moments) == 1:
        return np.repeat(values, len(times), 0)
    fresh = np.r_[True, np.diff(moments) > 1e-6]
    return PchipInterpolator(moments[fresh], values[fresh])(np.clip(times, moments[0], moments[-1]))


def turned(bend, twist, lean) -> np.ndarray:
    """Makes rotations (frames, 3, 3) of degrees of forward bend, twist to the left and lean to the left."""
    return Rotation.from_euler("YXZ", np.stack([twist, bend, -lean], -1), degrees=True).as_matrix()


def trunk_motion(performer: Performer, times: np.ndarray) -> dict[str, np.ndarray]:
    """Moves all but the arms: joints by name (frames, 3), and "*_rotation" of the parts (frames, 3, 3)."""
    body, rng, scale = performer.body, performer.rng, performer.body.scale
    curve = {name: interpolate(keys, times) for name, keys in performer.keys.items() if not name.endswith("arm")}
    sway = smooth_noise(rng, times, 3, [0.006, 0.002, 0.006])
    trunk = curve["trunk"] + [body.stoop, 0, 0] + smooth_noise(rng, times, 3, [0.9, 1.0, 0.5])
    head = curve["head"] + smooth_noise(rng, times, 3, [1.5, 2.5, 1.2])
    turn = curve["turn"][:, 0]
    facing = turned(0 * turn, turn, 0 * turn)
    # the hips take half of a bend and the spine the rest, bit by bit
    shares = {"pelvis": (0.5, 0.25, 0.2), "belly": (0.75, 0.6, 0.6), "chest": (1.0, 1.0, 1.0)}
    motion = {f"{part}_rotation": facing @ turned(*(trunk * share).T) for part, share in shares.items()}
    motion["head_rotation"] = motion["chest_rotation"] @ turned(*head.T)

    pelvis = curve["pelvis"] * scale + sway
    pelvis[:, 1] += body.bone("ankle_height") + 0.992 * (body.bone("thigh") + body.bone("shank"))
    ankles = {side: place_foot(performer, curve, side, motion) for side in SIDES}
    motion["hip_center"] = lower_to_reach(pelvis, ankles, curve, motion, body)
    for side in SIDES:
        bend_leg(motion, ankles[side], curve[f"{side}_foot"][:, 2], side, body)

    motion["spine"] = motion["hip_center"] + along(motion["belly_rotation"], (0, body.bone("lower_spine"), 0))
    motion["shoulder_center"] = motion["spine"] + along(motion["chest_rotation"], (0, body.bone("upper_spine"), 0))
    motion["neck"] = motion["shoulder_center"] + along(motion["chest_rotation"], (0, body.bone("neck"), 0))
    motion["head"] = motion["neck"] + along(motion["head_rotation"], (0, body.bone("head"), 0.012 * scale))
    for side, sign in SIDES.items():
        offset = (sign * body.bone("half_shoulders"), -body.bone("shoulder_drop"), 0)
        motion[f"{side}_shoulder"] = motion["shoulder_center"] + along(motion["chest_rotation"], offset)
    return motion


def along(rotation: np.ndarray, offset) -> np.ndarray:
    """Turns an offset (3,) with a part that rotates (frames, 3, 3), to (frames, 3)."""
    return rotation @ np.asarray(offset, float)


def place_foot(performer: Performer, curve: dict, side: str, motion: dict) -> np.ndarray:
    """Puts the toes on the floor (or `lift` above it) and returns the ankle wanted for them, (frames, 3)."""
    body = performer.body
    left, front, yaw = curve[f"{side}_foot"].T
    pitch = curve[f"{side}_toe"][:, 0]
    motion[f"{side}_foot_rotation"] = turned(pitch, yaw, 0 * yaw)
    toes_height = body.bone("ankle_height") - body.bone("foot_drop") + curve[f"{side}_lift"][:, 0] * body.scale
    toes = np.stack([left * body.scale, toes_height, front * body.scale], -1)
    return toes - along(motion[f"{side}_foot_rotation"], (0, -body.bone("foot_drop"), body.bone("foot_length")))


def lower_to_reach(pelvis: np.ndarray, ankles: dict, curve: dict, motion: dict, body: Body) -> np.ndarray:
    """Lowers the pelvis (frames, 3) where a standing leg would be too short; a lifted foot does not hold it down."""
    reach = 0.995 * (body.bone("thigh") + body.bone("shank"))
    highest = []
    for side, sign in SIDES.items():
        offset = along(motion["pelvis_rotation"], (sign * body.bone("half_hips"), 0, 0))
        apart = np.linalg.norm((pelvis + offset - ankles[side])[:, [0, 2]], axis=1)
        limit = ankles[side][:, 1] + np.sqrt(np.maximum(reach**2 - apart**2, 0.0)) - offset[:, 1]
        highest.append(limit + 4.0 * curve[f"{side}_lift"][:, 0])
    lowered = pelvis.copy()
    lowered[:, 1] = np.minimum(pelvis[:, 1], np.minimum(*highest))
    return lowered


def bend_leg(motion: dict, ankle: np.ndarray, yaw: np.ndarray, side: str, body: Body) -> None:
    """Bends a leg so that it reaches from hip to ankle; the knee points where the toes point."""
    thigh, shank = body.bone("thigh"), body.bone("shank")
    hip = motion["hip_center"] + along(motion["pelvis_rotation"], (SIDES[side] * body.bone("half_hips"), 0, 0))
    direction = ankle - hip
    distance = np.linalg.norm(direction, axis=1, keepdims=True)
    direction /= distance
    distance = np.clip(distance, abs(thigh - shank) + 0.3 * thigh, 0.999 * (thigh + shank))
    axis = along(turned(0 * yaw, yaw, 0 * yaw), (1, 0, 0))
    forward = np.cross(direction, axis)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    ahead = (thigh**2 - shank**2 + distance**2) / (2 * distance)
    motion[f"{side}_hip"] = hip
    motion[f"{side}_knee"] = hip + direction * ahead + forward * np.sqrt(thigh**2 - ahead**2)
    motion[f"{side}_ankle"] = hip + direction * distance
    toes = along(motion[f"{side}_foot_rotation"], (0, -body.bone("foot_drop"), body.bone("foot_length")))
    motion[f"{side}_foot"] = motion[f"{side}_ankle"] + toes


def perform(performer: Performer, times: np.ndarray, motion: dict, frames: dict | None = None) -> dict[str, np.ndarray]:
    """Adds the arms to `motion`; `frames` has further frames of `Reach`: (rotation, origin) in the performer's."""
    standing = np.broadcast_to(np.eye(3), (len(times), 3, 3)), np.zeros((len(times), 3))
    frames = {
        "chest": (motion["chest_rotation"], motion["shoulder_center"]),
        "head": (motion["head_rotation"], motion["head"]),
        "pelvis": (motion["pelvis_rotation"], motion["hip_center"]),
        "floor": standing,
    } | (frames or {})
    for side in SIDES:
        move_arm(performer, times, motion, frames, side)
    return motion


def move_arm(performer: Performer, times: np.ndarray, motion: dict, frames: dict, side: str) -> None:
    """Solves each arm keyframe where the trunk then is, and interpolates shoulder rotation and elbow flexion."""
    body = performer.body
    keys, previous = [], None
    for moment, pose in performer.keys[f"{side}_arm"]:
        frame = min(round(moment * FPS), len(times) - 1)
        rotation, flexion = arm_angles(pose, frame, motion, frames, side, body)
        quaternion = Rotation.from_matrix(rotation).as_quat()
        if previous is not None and quaternion @ previous < 0:
            quaternion = -quaternion  # the shorter way round
        previous = quaternion
        keys.append((moment, np.r_[quaternion, flexion]))
    curve = interpolate(keys, times)
    curve += smooth_noise(performer.rng, times, 5, [0.01, 0.01, 0.01, 0.01, 0.02])
    rotation = Rotation.from_quat(curve[:, :4]).as_matrix()
    if side == "right":
        rotation = MIRROR_X @ rotation @ MIRROR_X
    rotation = motion["chest_rotation"] @ rotation
    flexion = np.clip(curve[:, 4], np.deg2rad(3), np.deg2rad(152))
    upper = along(rotation, (0, -1, 0))
    bent = np.stack([0 * flexion, -np.cos(flexion), np.sin(flexion)], -1)
    lower = np.einsum("tij,tj->ti", rotation, bent)
    thumb = np.einsum("tij,tj->ti", rotation, np.stack([0 * flexion, np.sin(flexion), np.cos(flexion)], -1))
    elbow = motion[f"{side}_elbow"] = motion[f"{side}_shoulder"] + upper * body.bone("upper_arm")
    wrist = motion[f"{side}_wrist"] = elbow + lower * body.bone("forearm")
    hand = motion[f"{side}_hand"] = wrist + lower * body.bone("palm")
    motion[f"{side}_hand_tip"] = hand + lower * body.bone("fingers")
    motion[f"{side}_thumb"] = wrist + (0.6 * lower + 0.8 * thumb) * body.bone("thumb")


def arm_angles(pose: Swing | Reach, frame: int, motion: dict, frames: dict, side: str, body: Body):
    """Finds shoulder rotation (3, 3) in the chest, mirrored for the right arm, and elbow flexion in radians."""
    if isinstance(pose, Swing):
        angles = (pose.side, -pose.forward, -pose.inward)
        return Rotation.from_euler("ZXY", angles, degrees=True).as_matrix(), np.deg2rad(pose.elbow)
    rotation, origin = (part[frame] for part in frames[pose.frame])
    outward = SIDES[side] * (-1.0 if pose.frame == "partner" else 1.0)
    target = origin + rotation @ (np.array(pose.point) * [outward, 1, 1]) * body.scale
    to_hand = motion["chest_rotation"][frame].T @ (target - motion[f"{side}_shoulder"][frame])
    to_hand *= [SIDES[side], 1, 1]
    return solve_arm(to_hand, np.array(pose.elbow), body)


def solve_arm(to_hand: np.ndarray, elbow_hint: np.ndarray, body: Body) -> tuple[np.ndarray, float]:
    """Finds how a left arm reaches a target in the chest's frame; it points at one that is too far."""
    upper, lower = body.bone("upper_arm"), body.bone("forearm") + body.bone("palm")
    shortest = np.sqrt(upper**2 + lower**2 - 2 * upper * lower * np.cos(np.deg2rad(30)))
    distance = np.clip(np.linalg.norm(to_hand), shortest, 0.998 * (upper + lower))
    direction = to_hand / np.linalg.norm(to_hand)
    across = elbow_hint - (elbow_hint @ direction) * direction
    across /= np.linalg.norm(across)
    ahead = (upper**2 - lower**2 + distance**2) / (2 * distance)
    down = (direction * ahead + across * np.sqrt(max(upper**2 - ahead**2, 0.0))) / upper
    forward = -across + (across @ down) * down  # the forearm folds away from where the elbow points
    forward /= np.linalg.norm(forward)
    flexion = np.pi - np.arccos((upper**2 + lower**2 - distance**2) / (2 * upper * lower))
    return np.stack([np.cross(-down, forward), -down, forward], 1), flexion
