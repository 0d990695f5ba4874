"""Turns a recorded skeleton sequence into the array the VQ-VAE encodes: clean, centred, scaled, facing, resampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin

from .hub_repository import FEATURE_EXTRACTOR_AUTO_MAP
from .plausibility import HIPS, torso_unit
from .skeleton_geometry import (
    GEOMETRY_VERSION,
    about_vertical,
    body_scale,
    normalize_bones,
    normalize_geometry,
    normalize_geometry_1,
)
from .skeleton_layouts import SkeletonLayout, get_layout, map_joints
from .skeleton_layouts import own_layout as _own_layout
from .skeleton_recording import is_several, recording_of
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
_MOSTLY = 0.5  # share of frames without a torso from which only those with one are measured


class SkeletonFeatureExtractor(FeatureExtractionMixin):
    """Normalises skeleton sequences (all steps are this project's choice).

    In order: 2-D sequences become 3-D with depth 0 and y up; joints are mapped to `layout` by name; noise bodies are
    dropped and the `max_persons` who move most are kept; missing joints are filled over time; everybody is turned
    upright, moved so that the first person's hips are on average the origin, divided by the first person's torso length
    and, if `align_facing`, turned about the vertical so that the first person faces along -z on average, right along x
    (`skeleton_geometry.normalize_geometry`); if `normalize_bones`, every bone keeps its direction and gets the length
    it has in the reference body (`skeleton_geometry.normalize_bones`); frames are resampled linearly to `num_frames`.

    The torso is measured in the frames in which it was seen. Of somebody whose hips are never seen it follows from
    shoulders and arms by people's proportions, and the hips are put one torso length below the shoulders. Joints that
    are no body's (a hand, loose points) are centred on their middle and divided by their mean distance from it.

    Args:
        layout: name of the layout the model sees, default "kinect20"; or one of one's own as `get_layout` takes it.
        num_frames: default 64.
        max_persons: default 2.
        align_facing: default True.
        own_layout: the whole layout where it is none of the built-in ones, see `SkeletonLayout.to_dict`.
        normalize_bones: default False. Makes subjects of other proportions alike. Not for flat recordings: there a
            bone's length is the only cue of depth.
        geometry: version of the steps from upright to facing, default the newest; what was saved before there were
            versions is version 1. A model is read with the one that it was trained with.

    Raises:
        ValueError: a geometry newer than this package.
    """

    model_input_names: ClassVar[list[str]] = ["skeletons", "person_mask"]

    def __init__(
        self,
        layout: str = "kinect20",
        num_frames: int = 64,
        max_persons: int = 2,
        align_facing: bool = True,
        normalize_bones: bool = False,
        own_layout: dict | None = None,
        geometry: int = GEOMETRY_VERSION,
        **kwargs,
    ):
        if not 1 <= geometry <= GEOMETRY_VERSION:
            raise ValueError(
                f"Expected geometry 1 to {GEOMETRY_VERSION}, got {geometry}: the model was trained with a geometry "
                "that this version of the package does not know; update the package."
            )
        kwargs["auto_map"] = FEATURE_EXTRACTOR_AUTO_MAP
        super().__init__(**kwargs)
        if own_layout is not None:
            get_layout(own_layout)
        self.layout = get_layout(layout).name
        self.own_layout = _own_layout(self.layout)
        self.num_frames = num_frames
        self.max_persons = max_persons
        self.align_facing = align_facing
        self.normalize_bones = normalize_bones
        self.geometry = geometry

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict, **kwargs):
        """As any extractor's; one saved before geometry had a version reads with version 1."""
        return super().from_dict({"geometry": 1, **feature_extractor_dict}, **kwargs)

    def __call__(
        self, sequences: Any, return_tensors: str | None = None, views: int = 1, **conventions: Any
    ) -> BatchFeature:
        """Normalises and resamples a batch.

        Args:
            sequences: a list of `SkeletonSequence`s, arrays (frames, joints, 2|3) or (persons, frames, joints, 2|3),
                mappings with the key joints; or one of those. Each is cleaned and normalised once, however many views
                there are.
            views: test-time views of each sequence, 1..`len(VIEWS)`, default 1: as it is.
            conventions: layout, fps, axes, up ... of arrays and mappings, as `SkeletonRecording` has them; what is not
                said is inferred.

        Returns:
            skeletons (batch * views, max_persons, num_frames, joints, 3) float32 in torso lengths, a sequence's views
            one after the other, zeros for absent persons, and person_mask (batch * views, max_persons) bool.

        Raises:
            ValueError: views out of range; what is no recording.
        """
        given = list(sequences) if is_several(sequences) else [sequences]
        sequences = [recording_of(one, **conventions) for one in given]
        if not 1 <= views <= len(VIEWS):
            raise ValueError(f"Expected 1 to {len(VIEWS)} views, got {views}.")
        joints = len(get_layout(self.layout).joints)
        skeletons = np.zeros((len(sequences) * views, self.max_persons, self.num_frames, joints, 3), np.float32)
        person_mask = np.zeros((len(sequences) * views, self.max_persons), bool)
        for number, sequence in enumerate(sequences):
            normalized = self.normalize(sequence)
            person_mask[number * views : (number + 1) * views, : len(normalized)] = True
            skeletons[number * views : (number + 1) * views] = self.views_of(normalized, views)
        return BatchFeature({"skeletons": skeletons, "person_mask": person_mask}, tensor_type=return_tensors)

    def normalize(self, sequence: SkeletonSequence) -> np.ndarray:
        """One sequence, all steps but the resampling: (1..max_persons, frames, joints, 3) float32 in torso lengths."""
        persons, landmarks, unit = self._cleaned(sequence)
        geometry = normalize_geometry_1 if self.geometry == 1 else normalize_geometry
        persons = geometry(persons, landmarks, unit, self.align_facing)
        if self.normalize_bones:
            persons = normalize_bones(persons, self.layout)
        return persons.astype(np.float32)

    def views_of(self, normalized: np.ndarray, views: int) -> np.ndarray:
        """Resamples a normalised sequence, as `normalize` gives it, seen in the first of `VIEWS`.

        Returns:
            (views, max_persons, num_frames, joints, 3) float32, zeros for absent persons.
        """
        seen = np.zeros((views, self.max_persons, self.num_frames, *normalized.shape[2:]), np.float32)
        for view, (yaw, start, end) in zip(seen, VIEWS[:views], strict=True):
            view[: len(normalized)] = resample(normalized, self.num_frames, start, end) @ about_vertical(-yaw).T
        return seen

    def torso_length(self, sequence: SkeletonSequence) -> float:
        """What one torso length is in the sequence's own unit, as the geometry measures it on the first person."""
        _, landmarks, unit = self._cleaned(sequence)
        return unit if self.geometry == 1 else body_scale(landmarks[0], unit)

    def _cleaned(self, sequence: SkeletonSequence) -> tuple[np.ndarray, np.ndarray, float]:
        """The persons kept, without gaps, in the model's layout and that of the landmarks; the first one's torso."""
        layout = get_layout(self.layout)
        joints = _in_three_dimensions(map_joints(sequence.joints, sequence.layout, self.layout))
        persons = primary_persons(drop_noise_bodies(joints), self.max_persons)
        unfilled = persons[:1]
        seen = map_joints(persons, self.layout, _LANDMARKS.name)[:, :, _TORSO_ENDS]
        persons = np.stack([_with_hips(person, layout) for person in persons])
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
    """A torso length of (1, frames, joints, 3), NaN where missing, from what is seen of it."""
    unit, _ = torso_unit(person, layout)
    if not np.isnan(unit):
        return unit
    seen = person[0][~np.isnan(person[0]).any(axis=-1).all(axis=-1)]
    if not len(seen):
        return 0.0
    away = np.linalg.norm(seen - np.nanmean(seen, axis=1, keepdims=True), axis=-1)
    return float(np.median(np.nanmean(away, axis=1)))


_HIPS_BY_SHOULDERS = 0.45  # width


def _with_hips(person: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """Hips below the shoulders of somebody, (frames, joints, 3), whose hips are never seen."""
    hips = [layout.standard.index(joint) for joint in HIPS if joint in layout.standard]
    if not hips or not np.isnan(person[:, hips]).any(axis=-1).all():
        return person
    landmarks, unit = map_joints(person, layout.name, _LANDMARKS.name), _unit_without_torso(person[None], layout)
    left, right = (landmarks[:, _LANDMARKS.index(f"{side}_shoulder")] for side in ("left", "right"))
    below = (left + right) / 2 - np.array([0, unit, 0], person.dtype)
    aside = {"left": _HIPS_BY_SHOULDERS * (left - right) / 2, "right": _HIPS_BY_SHOULDERS * (right - left) / 2}
    person = person.copy()
    for joint in hips:
        person[:, joint] = below + aside.get(str(layout.standard[joint]).partition("_")[0], 0)
    return person


MAX_NOISE_FRAMES = 11
MAX_SPREAD_RATIO = 0.8
MAX_WIDE_SHARE = 0.7


def drop_noise_bodies(joints: np.ndarray) -> np.ndarray:
    """Leave out bodies that are furniture or flicker; at least one body always remains.

    Only where several bodies were tracked: a track is dropped when it lasts at most 11 frames and at most half as long
    as the longest one, then when in 70 % or more of its frames it is wider than 0.8 times its height (x against y). One
    body alone is never dropped: people fall and lie down.

    Args:
        joints: (persons, frames, joints, 2 or 3), metres or pixels, NaN where missing.

    Returns:
        (1..persons, frames, joints, channels), order kept; bodies never seen are left out too.
    """
    joints = _checked(joints)
    lengths = _seen(joints).any(axis=2).sum(axis=1)
    long_enough = (lengths > 0) & (lengths > min(MAX_NOISE_FRAMES, lengths.max() / 2))
    joints = joints[long_enough] if long_enough.any() else joints[:1]
    if len(joints) == 1:
        return joints.copy()
    wide = np.array([_wide_share(body) for body in joints])
    keep = wide < MAX_WIDE_SHARE
    keep[np.argmin(wide)] = True
    return joints[keep]


def primary_persons(joints: np.ndarray, max_persons: int = 2) -> np.ndarray:
    """The persons who move most, the most active one first.

    Motion is the variance of each joint's coordinates over time, summed over joints and channels, as is common for NTU
    RGB+D. Persons never seen are left out, except that one person always remains.

    Args:
        joints: (persons, frames, joints, 2 or 3), NaN where missing.
        max_persons: how many to keep, default 2.

    Returns:
        (1..max_persons, frames, joints, channels).

    Raises:
        ValueError: max_persons below 1.
    """
    if max_persons < 1:
        raise ValueError(f"expected max_persons of at least 1, got {max_persons}")
    joints = _checked(joints)
    ever_seen = _seen(joints).any(axis=(1, 2))
    joints = joints[ever_seen] if ever_seen.any() else joints[:1]
    order = np.argsort([-_motion(body) for body in joints], kind="stable")
    return joints[order[:max_persons]]


def fill_missing(joints: np.ndarray, parents: Sequence[int] | None = None) -> np.ndarray:
    """Give every joint a place in every frame.

    A joint missing in some frames is interpolated linearly over time; before its first and after its last sighting it
    stays where it was seen. A joint never seen takes the place of its nearest seen ancestor, or the centre of the
    person's seen joints when it has none. A person never seen becomes zeros. This project's choice.

    Args:
        joints: (persons, frames, joints, 2 or 3), NaN where missing.
        parents: index of each joint's parent, -1 for the root (`SkeletonLayout.parents`); None: no ancestors.

    Returns:
        The same shape without NaN.

    Raises:
        ValueError: joints of another shape, or parents of another length.
    """
    joints = _checked(joints).copy()
    parents = [-1] * joints.shape[2] if parents is None else list(parents)
    if len(parents) != joints.shape[2]:
        raise ValueError(f"expected one parent a joint ({joints.shape[2]}), got {len(parents)}; pass layout.parents")
    for body, seen in zip(joints, _seen(joints), strict=True):
        ever_seen = seen.any(axis=0)
        if not ever_seen.any():
            body[:] = 0
            continue
        for joint in np.flatnonzero(ever_seen & ~seen.all(axis=0)):
            _interpolate(body[:, joint], seen[:, joint])
        centre = body[:, ever_seen].mean(axis=1)
        for joint in np.flatnonzero(~ever_seen):
            ancestor = parents[joint]
            while ancestor >= 0 and not ever_seen[ancestor]:
                ancestor = parents[ancestor]
            body[:, joint] = body[:, ancestor] if ancestor >= 0 else centre
    return joints


def _checked(joints: np.ndarray) -> np.ndarray:
    joints = np.asarray(joints)
    if joints.ndim != 4 or 0 in joints.shape or not np.issubdtype(joints.dtype, np.floating):
        raise ValueError(
            f"expected floating joints of shape (persons, frames, joints, channels), got {joints.dtype} {joints.shape}"
        )
    return joints


def _seen(joints: np.ndarray) -> np.ndarray:
    """(persons, frames, joints) bool: the joint has all its coordinates."""
    return ~np.isnan(joints).any(axis=-1)


def _wide_share(body: np.ndarray) -> float:
    """Share of the frames with this body, (frames, joints, channels), in which it is too wide to be a person."""
    seen = ~np.isnan(body).any(axis=-1)
    body, seen = body[seen.any(axis=1), :, :2], seen[seen.any(axis=1), :, None]
    spread = np.where(seen, body, -np.inf).max(axis=1) - np.where(seen, body, np.inf).min(axis=1)
    return float(np.mean(spread[:, 0] > MAX_SPREAD_RATIO * spread[:, 1]))


def _motion(body: np.ndarray) -> float:
    """Summed variance over time of one body (frames, joints, channels); joints never seen count nothing."""
    seen = ~np.isnan(body).any(axis=-1, keepdims=True)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, body, 0).sum(axis=0) / count
    return float((np.where(seen, body - mean, 0) ** 2).sum(axis=0).sum(axis=-1) @ (1 / count[:, 0]))


def _interpolate(track: np.ndarray, seen: np.ndarray) -> None:
    """Fill the unseen frames of one joint's track (frames, channels) in place."""
    frames = np.arange(len(track))
    for channel in range(track.shape[1]):
        track[~seen, channel] = np.interp(frames[~seen], frames[seen], track[seen, channel])
