"""Turns a recorded skeleton sequence into the array that models read: clean, centred, scaled, facing, resampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .missing_parts import on_the_floor, with_hips, with_legs
from .plausibility import torso_unit
from .skeleton_cleaning import drop_noise_bodies, fill_missing, primary_persons
from .skeleton_geometry import (
    GEOMETRY_VERSION,
    about_vertical,
    body_scale,
    normalize_geometry,
    normalize_geometry_1,
)
from .skeleton_layouts import SkeletonLayout, get_layout, map_joints
from .skeleton_layouts import own_layout as _own_layout
from .skeleton_recording import warn
from .skeleton_sequence import SkeletonSequence

# Test-time views: yaw (radians), begin and end (shares of the whole). Where somebody faces and when a recording begins
# are chance. This project's choice, made on held-out training cameras of NW-UCLA.
VIEWS = (
    (0.0, 0.0, 1.0),
    (0.6, 0.0, 0.8),
    (-0.6, 0.2, 1.0),
    (0.0, 0.1, 0.9),
    (0.9, 0.35, 1.0),
    (-0.9, 0.0, 0.65),
    (0.6, 0.15, 0.85),
    (-0.6, 0.15, 0.85),
)
_LANDMARKS = get_layout("kinect20")  # has the joints that place, size and turn a person
_TORSO_ENDS = [_LANDMARKS.index(joint) for joint in ("hip_center", "shoulder_center")]
_NO_DEPTH = (
    "it has no depth (pixels of a picture), and the model was trained on recordings in three dimensions: what moves "
    "towards the camera or away is not seen. A model trained with dimensions=2 reads pixels as well as they allow."
)
_NOT_COMPLETED = 2  # the last geometry that puts neither legs that are never seen nor feet on the floor
_MOSTLY = 0.5  # share of frames without a torso from which only those with one are measured


class SkeletonNormalizer:
    """Normalises skeleton sequences (all steps are this project's choice).

    In order: 2-D sequences become 3-D with depth 0 and y up; joints are mapped to `layout` by name; noise bodies are
    dropped and the `max_persons` who move most are kept; missing joints are filled over time; everybody is turned
    upright, moved so that the first person's hips are on average the origin, divided by the first person's torso length
    and, if `align_facing`, turned about the vertical so that the first person faces along -z on average, right along x
    (`skeleton_geometry.normalize_geometry`); frames are resampled linearly to `num_frames`.
    With `dimensions=2` what has depths is looked at from the front, without them, and placed and sized once more.

    The torso is measured in the frames in which it was seen. Of somebody whose hips are never seen it follows from
    shoulders and arms by people's proportions, and the hips are put one torso length below the shoulders; legs that are
    never seen stand. Of somebody whose hips never move, for the recording moves with them, the feet stay on the floor
    (`missing_parts`). Joints that are no body's (a hand, loose points) are centred on their middle and divided by their
    mean distance from it.

    Args:
        layout: name of the layout the model sees, default "kinect20"; or one of one's own as `get_layout` takes it.
        num_frames: default 64.
        max_persons: default 2.
        align_facing: default True.
        own_layout: the whole layout where it is none of the built-in ones, see `SkeletonLayout.to_dict`.
        geometry: version of the steps from upright to facing, default the newest; what was saved before there were
            versions is version 1. A model is read with the one that it was trained with.
        dimensions: 3 (default), or 2 of a model that sees pictures: all depths are 0.

    Raises:
        ValueError: a geometry newer than this package, other dimensions.
    """

    def __init__(
        self,
        layout: str = "kinect20",
        num_frames: int = 64,
        max_persons: int = 2,
        align_facing: bool = True,
        own_layout: dict | None = None,
        geometry: int = GEOMETRY_VERSION,
        dimensions: int = 3,
    ):
        if not 1 <= geometry <= GEOMETRY_VERSION:
            raise ValueError(
                f"Expected geometry 1 to {GEOMETRY_VERSION}, got {geometry}: the model was trained with a geometry "
                "that this version of the package does not know; update the package."
            )
        if own_layout is not None:
            get_layout(own_layout)
        self.layout = get_layout(layout).name
        self.own_layout = _own_layout(self.layout)
        self.num_frames = num_frames
        self.max_persons = max_persons
        self.align_facing = align_facing
        self.geometry = geometry
        if dimensions not in (2, 3):
            raise ValueError(f"Expected dimensions 2 or 3, got {dimensions}.")
        self.dimensions = dimensions

    def arrays(self, sequences: Sequence[SkeletonSequence | None], views: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Normalises and resamples a batch.

        Args:
            sequences: are cleaned and normalised once each, however many views there are; None has no person.
            views: test-time views of each sequence, 1..`len(VIEWS)`, default 1: as it is.

        Returns:
            skeletons (batch * views, max_persons, num_frames, joints, 3) float32 in torso lengths, a sequence's views
            one after the other, zeros for absent persons, and person_mask (batch * views, max_persons) bool.

        Raises:
            ValueError: views out of range.
        """
        if not 1 <= views <= len(VIEWS):
            raise ValueError(f"Expected 1 to {len(VIEWS)} views, got {views}.")
        joints = len(get_layout(self.layout).joints)
        skeletons = np.zeros((len(sequences) * views, self.max_persons, self.num_frames, joints, 3), np.float32)
        person_mask = np.zeros((len(sequences) * views, self.max_persons), bool)
        for number, sequence in enumerate(sequences):
            if sequence is None:
                continue
            normalized = self.normalize(sequence)
            person_mask[number * views : (number + 1) * views, : len(normalized)] = True
            skeletons[number * views : (number + 1) * views] = self.views_of(normalized, views)
        return skeletons, person_mask

    def normalize(self, sequence: SkeletonSequence) -> np.ndarray:
        """One sequence, all steps but the resampling: (1..max_persons, frames, joints, 3) float32 in torso lengths.

        Warns with a `RecordingWarning` of a recording without depth, if the model knows such with depth.
        """
        if sequence.joints.shape[-1] < self.dimensions:
            warn(sequence.name, (_NO_DEPTH,))
        return self.as_seen(self.normalize_in_space(sequence))

    def as_seen(self, normalized: np.ndarray) -> np.ndarray:
        """What the model sees of a sequence from `normalize_in_space`: of two dimensions without depth, else all."""
        if self.dimensions == 3:
            return normalized
        flat = normalized * np.array([1, 1, 0], np.float32)
        landmarks = map_joints(flat, self.layout, _LANDMARKS.name)
        return normalize_geometry(flat, landmarks, 1.0, self.align_facing).astype(np.float32)

    def normalize_in_space(self, sequence: SkeletonSequence) -> np.ndarray:
        """As `normalize`, but with depth if the sequence has one, whatever the model's dimensions."""
        persons, landmarks, unit = self._cleaned(sequence)
        geometry = normalize_geometry_1 if self.geometry == 1 else normalize_geometry
        return geometry(persons, landmarks, unit, self.align_facing).astype(np.float32)

    def views_of(self, normalized: np.ndarray, views: int) -> np.ndarray:
        """Resamples a normalised sequence, as `normalize` gives it, seen in the first of `VIEWS`.

        Returns:
            (views, max_persons, num_frames, joints, 3) float32, zeros for absent persons.
        """
        seen = np.zeros((views, self.max_persons, self.num_frames, *normalized.shape[2:]), np.float32)
        for view, (yaw, start, end) in zip(seen, VIEWS[:views], strict=True):
            turn = about_vertical(-yaw if self.dimensions == 3 else 0.0)
            view[: len(normalized)] = resample(normalized, self.num_frames, start, end) @ turn.T
        return seen

    def torso_length(self, sequence: SkeletonSequence) -> float:
        """What one torso length is in the sequence's own unit, as the geometry measures it on the first person."""
        _, landmarks, unit = self._cleaned(sequence)
        return unit if self.geometry == 1 else body_scale(landmarks[0], unit)

    def _cleaned(self, sequence: SkeletonSequence) -> tuple[np.ndarray, np.ndarray, float]:
        """The persons kept, without gaps, in the model's layout and that of the landmarks; the first one's torso."""
        layout = get_layout(self.layout)
        joints = _in_three_dimensions(map_joints(sequence.joints, sequence.layout, self.layout))
        people, completed = drop_noise_bodies(joints), self.geometry > _NOT_COMPLETED
        people = on_the_floor(people, layout) if completed else people
        persons = primary_persons(people, self.max_persons)
        unfilled = persons[:1]
        seen = map_joints(persons, self.layout, _LANDMARKS.name)[:, :, _TORSO_ENDS]
        persons = np.stack([_completed(person, layout, completed) for person in persons])
        persons = fill_missing(persons, layout.parents)
        # some layouts have no joint at the hips' centre
        landmarks = map_joints(persons, self.layout, _LANDMARKS.name)
        unseen = np.isnan(seen[0]).any(axis=(1, 2))
        if unseen.all():
            return persons, landmarks, _unit_without_torso(unfilled, layout)
        ends = landmarks[0][:, _TORSO_ENDS] if unseen.mean() < _MOSTLY else seen[0, ~unseen]
        return persons, landmarks, float(np.median(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1)))


def resample(persons: np.ndarray, num_frames: int, start: float = 0.0, end: float = 1.0) -> np.ndarray:
    """Linear resampling over time of (persons, frames, joints, 3) between two moments, shares of the whole, 0..1."""
    last = persons.shape[1] - 1
    return interpolated(persons, np.linspace(start * last, end * last, num_frames))


def interpolated(persons: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """(persons, moments, joints, 3) of (persons, frames, joints, 3) at moments in frames, linear between them."""
    last = persons.shape[1] - 1
    before = np.clip(np.floor(moments).astype(int), 0, max(last - 1, 0))
    weight = (moments - before)[None, :, None, None].astype(persons.dtype)
    return persons[:, before] * (1 - weight) + persons[:, np.minimum(before + 1, last)] * weight


def _in_three_dimensions(joints: np.ndarray) -> np.ndarray:
    if joints.shape[-1] == 3:
        return joints
    flipped = joints * np.array([1, -1], joints.dtype)  # image rows grow downwards
    return np.concatenate([flipped, np.zeros_like(joints[..., :1]) + flipped[..., :1] * 0], axis=-1)


def _unit_without_torso(person: np.ndarray, layout: SkeletonLayout) -> float:
    """A torso length of (1, frames, joints, 3), NaN where missing, from what is seen of somebody."""
    unit, _ = torso_unit(person, layout)
    if not np.isnan(unit):
        return unit
    seen = person[0][~np.isnan(person[0]).any(axis=-1).all(axis=-1)]
    if not len(seen):
        return 0.0
    away = np.linalg.norm(seen - np.nanmean(seen, axis=1, keepdims=True), axis=-1)
    return float(np.median(np.nanmean(away, axis=1)))


def _completed(person: np.ndarray, layout: SkeletonLayout, legs: bool) -> np.ndarray:
    """One person, (frames, joints, 3), with hips where these are never seen, and with legs if those are wanted."""
    if not np.isnan(person).any(axis=-1).all(axis=0).any():
        return person
    unit = _unit_without_torso(person[None], layout)
    person = with_hips(person, layout, unit)
    return with_legs(person, layout, unit) if legs else person
