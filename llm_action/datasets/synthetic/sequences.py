"""Makes the synthetic data set: twenty everyday actions, so that everything runs and is tested without a download.

The data set is this project's own. Motion is scripted on a kinematic tree (`actions`, `body`), then seen by a simulated
depth camera with the coordinates of Kinect v2: metres, y up, z away from the camera, and the left side of a person who
faces the camera at smaller x. It takes seconds to build, and the same seed gives the same data set.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from datasets import Dataset
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from llm_action.config.progress import ProgressBar
from llm_action.datasets.synthetic.actions import ACTIONS, TWO_PERSON
from llm_action.datasets.synthetic.body import FPS, Body, Performer, perform, trunk_motion
from llm_action.datasets.table import sequence_to_row, table_features
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_sequence import SkeletonSequence

LABELS: tuple[str, ...] = tuple(ACTIONS)
PROTOCOLS = ("cross_subject", "cross_view")
CAMERA_YAWS = (-45.0, 0.0, 45.0)  # degrees round the person, of camera 1, 2, 3
TEST_CAMERA = 3
LAYOUT = get_layout("ntu25")
NOISE = 0.008  # metres, standard deviation of a joint; hands and feet are seen worse
EXTREMITIES = ("hand", "thumb", "wrist", "foot", "ankle")
FRAGILE = np.array([any(part in joint for part in EXTREMITIES) for joint in LAYOUT.joints])


@dataclass(frozen=True)
class _Subject:
    """What stays the same about one person from sequence to sequence."""

    body: Body
    tempo: float
    amplitude: float


def _random_subject(rng: np.random.Generator) -> _Subject:
    proportions = {part: rng.normal(1.0, 0.03) for part in ("arm", "leg")}
    breadths = {part: rng.normal(1.0, 0.06) for part in ("shoulders", "hips")}
    body = Body(
        height=rng.uniform(1.50, 1.95),
        stoop=rng.uniform(-3.0, 8.0),
        stance=rng.uniform(0.8, 1.4),
        toes_out=rng.uniform(0.0, 14.0),
        arms_out=rng.uniform(4.0, 14.0),
        **proportions,
        **breadths,
    )
    return _Subject(body, rng.uniform(0.7, 1.1), rng.uniform(0.85, 1.15))


def _generator(*coordinates: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(coordinates))


def _performer(subject: _Subject, rng: np.random.Generator) -> Performer:
    pause = rng.uniform(0.1, 0.7)
    tempo, amplitude = subject.tempo * rng.uniform(0.93, 1.07), subject.amplitude * rng.uniform(0.94, 1.06)
    return Performer(subject.body, rng, tempo, amplitude, now=pause)


def _joints(motion: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([motion[joint] for joint in LAYOUT.joints], axis=1)


def _frame_times(*performers: Performer) -> np.ndarray:
    end = max(key[0] for performer in performers for keys in performer.keys.values() for key in keys)
    end = max(end, *(performer.now for performer in performers)) + performers[0].vary(0.1, 0.6)
    return np.arange(math.ceil(end * FPS)) / FPS


def _perform_alone(action: str, subject: _Subject, rng: np.random.Generator) -> np.ndarray:
    performer = _performer(subject, rng)
    ACTIONS[action](performer)
    times = _frame_times(performer)
    return _joints(perform(performer, times, trunk_motion(performer, times)))[None]


def _perform_together(action: str, subject: _Subject, rng: np.random.Generator) -> np.ndarray:
    """Lets two people act face to face along x of the stage; the second is a passer-by of any build."""
    people = [_performer(subject, rng), _performer(_random_subject(rng), rng)]
    ACTIONS[action](*people)
    times = _frame_times(*people)
    motions = [trunk_motion(person, times) for person in people]
    size = (people[0].body.scale + people[1].body.scale) / 2
    apart = TWO_PERSON[action] * size * rng.uniform(0.95, 1.05)
    facing = Rotation.from_euler("Y", [[90], [-90]], degrees=True).as_matrix()
    places = np.array([[-apart / 2, 0, 0], [apart / 2, 0, 0]])
    seen = []
    for me, (person, motion) in enumerate(zip(people, motions, strict=True)):
        you = 1 - me
        turn = facing[me].T @ facing[you]
        shift = facing[me].T @ (places[you] - places[me])
        partner = turn @ motions[you]["chest_rotation"], motions[you]["shoulder_center"] @ turn.T + shift
        # heights of the meeting point are meant for the mean of both statures
        middle = np.broadcast_to(np.eye(3) * size / person.body.scale, partner[0].shape)
        between = middle, np.broadcast_to(shift / 2, partner[1].shape)
        perform(person, times, motion, {"partner": partner, "between": between})
        seen.append(_joints(motion) @ facing[me].T + places[me])
    return np.stack(seen if rng.random() < 0.5 else seen[::-1])


def _mirrored(joints: np.ndarray) -> np.ndarray:
    twins = np.arange(len(LAYOUT.joints))
    for left, right in LAYOUT.left_right:
        twins[[left, right]] = right, left
    return joints[..., twins, :] * [-1, 1, 1]


def _check(action: str, subject: int, camera: int, repetition: int) -> None:
    if action not in ACTIONS:
        raise ValueError(f"unknown action {action!r}; the synthetic actions are: {', '.join(LABELS)}")
    if not 1 <= camera <= len(CAMERA_YAWS):
        raise ValueError(f"expected a camera from 1 to {len(CAMERA_YAWS)}, got {camera}")
    if subject < 1 or repetition < 1:
        raise ValueError(f"subjects and repetitions count from 1, got subject {subject}, repetition {repetition}")


def perform_action(action: str, subject: int, camera: int = 2, repetition: int = 1, seed: int = 0) -> np.ndarray:
    """Makes one performance as it happened, before camera and sensor.

    Args: as of `generate_sequence`.

    Returns:
        (persons, frames, 25, 3) metres, y up and the floor at y = 0; a single person starts facing +z, left is +x.

    Raises:
        ValueError: unknown action, or a number out of range.
    """
    _check(action, subject, camera, repetition)
    person = _random_subject(_generator(seed, 0, subject))
    rng = _generator(seed, 1, LABELS.index(action), subject, camera, repetition)
    joints = (_perform_together if action in TWO_PERSON else _perform_alone)(action, person, rng)
    # one pair of subjects in four is left-handed, so that both halves of cross_subject have some; and now and then
    # the other hand does it
    left_handed = (subject - 1) // 2 % 4 == 1
    return _mirrored(joints) if left_handed != (rng.random() < 0.1) else joints


def _film(joints: np.ndarray, camera: int, rng: np.random.Generator) -> np.ndarray:
    """Turns places on the stage into those seen by a camera some three metres away."""
    middle = joints.mean(axis=(0, 1, 2)) * [1, 0, 1]
    distance = rng.uniform(2.6, 3.6) + 0.4 * (len(joints) - 1)
    yaw = CAMERA_YAWS[camera - 1] + rng.normal(0, 7)
    pitch = rng.normal(0, 4)
    place = np.array([rng.normal(0, 0.2), rng.uniform(0.8, 1.4), -distance])
    placed = (joints - middle) @ Rotation.from_euler("Y", 180 + yaw, degrees=True).as_matrix().T
    return (placed - place) @ Rotation.from_euler("X", pitch, degrees=True).as_matrix().T


def _sense(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds a depth sensor's faults: jitter that lasts a few frames, and joints lost (NaN) for a while."""
    noise = rng.normal(size=joints.shape)
    slow = gaussian_filter1d(noise, 2.0, axis=1, mode="wrap") * math.sqrt(2.0 * math.sqrt(math.pi) * 2.0)
    jitter = 0.85 * slow + 0.5 * rng.normal(size=joints.shape)
    sensed = joints + NOISE * np.where(FRAGILE, 1.3, 0.9)[:, None] * jitter
    chance = np.where(FRAGILE, 3.0, 1.0)
    for _ in range(rng.poisson(2.0 * len(joints))):
        person, first, length = rng.integers(len(joints)), rng.integers(joints.shape[1]), rng.integers(2, 12)
        lost = rng.choice(len(chance), p=chance / chance.sum())
        sensed[person, first : first + length, lost] = np.nan
    return sensed


def generate_sequence(action: str, subject: int, camera: int, repetition: int, seed: int = 0) -> SkeletonSequence:
    """Makes one recorded sequence; the same arguments give the same bytes, whatever was generated before.

    No motion is seen by two cameras: each sees a performance of its own. So a cross-view test part shares no
    performance with the training part.

    Args:
        action: one of `LABELS`.
        subject: 1, 2, ...; build, handedness, tempo and style are the person's.
        camera: 1, 2 or 3, for a camera at -45, 0 or +45 degrees round the person.
        repetition: 1, 2, ...
        seed: of the whole data set.

    Returns:
        joints (1 or 2 persons, about 50 to 300 frames, 25, 3) in metres in camera coordinates, 30 fps, with about
        8 mm of sensor noise and NaN where the sensor lost a joint.

    Raises:
        ValueError: unknown action, or a number out of range.
    """
    joints = perform_action(action, subject, camera, repetition, seed)
    rng = _generator(seed, 2, LABELS.index(action), subject, camera, repetition)
    name = f"A{LABELS.index(action) + 1:03d}S{subject:03d}C{camera:03d}R{repetition:03d}"
    return SkeletonSequence(_sense(_film(joints, camera, rng), rng), LAYOUT.name, FPS, name=name)


def build_synthetic(
    data_dir: str | os.PathLike | None = None,
    *,
    subjects: int = 16,
    cameras: int = 3,
    repetitions: int = 1,
    seed: int = 0,
) -> Dataset:
    """Makes the whole data set as a table, one row a sequence.

    Args:
        data_dir: not read; every data set is built by the same call.
        subjects: number of people; at least 2.
        cameras: number of cameras, 1 to 3.
        repetitions: how often each person does each action before each camera.
        seed: other seeds give other people and other performances.

    Returns:
        The columns name, label, subject, camera, layout, fps, shape, joints, cross_subject and cross_view.
        cross_subject trains on odd subjects and tests on even ones (480 / 480 sequences by default); cross_view trains
        on cameras 1 and 2 and tests on camera 3 (640 / 320).

    Raises:
        ValueError: fewer than two subjects, or cameras or repetitions out of range.
    """
    if subjects < 2 or not 1 <= cameras <= len(CAMERA_YAWS) or repetitions < 1:
        raise ValueError(
            f"expected subjects >= 2, cameras from 1 to {len(CAMERA_YAWS)} and repetitions >= 1, "
            f"got subjects={subjects}, cameras={cameras}, repetitions={repetitions}"
        )
    wanted = [
        (label, subject, camera, repetition)
        for label in range(len(LABELS))
        for subject in range(1, subjects + 1)
        for camera in range(1, cameras + 1)
        for repetition in range(1, repetitions + 1)
    ]
    rows = []
    for label, subject, camera, repetition in ProgressBar(wanted, desc="synthetic actions", unit="seq", disable=None):
        sequence = generate_sequence(LABELS[label], subject, camera, repetition, seed)
        splits = {
            "cross_subject": "train" if subject % 2 else "test",
            "cross_view": "test" if camera == TEST_CAMERA else "train",
        }
        rows.append(sequence_to_row(sequence, sequence.name, label, subject, camera, splits))
    features = table_features(LABELS, PROTOCOLS)
    columns = {column: [row[column] for row in rows] for column in features}
    columns["joints"] = pa.array(columns["joints"], pa.list_(pa.float32()))  # much faster than value by value
    return Dataset.from_dict(columns, features=features)
