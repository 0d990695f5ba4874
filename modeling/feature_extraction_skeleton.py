"""From a recorded skeleton sequence to the array the VQ-VAE reads: clean, centred, scaled, facing, resampled."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin

from .bone_normalization import normalize_bones
from .repo_code import FEATURE_EXTRACTOR_AUTO_MAP
from .skeleton_cleaning import drop_noise_bodies, fill_missing, primary_persons
from .skeleton_layouts import get_layout, map_joints
from .skeleton_sequence import SkeletonSequence

_FACING_FRAMES = 8
_SMALLEST_TORSO = 1e-4
# Yaw (radians), begin and end (shares of the whole) of the ways in which a sequence can be seen: where somebody faces
# and when a recording begins are chance (this project's choice, made on held-out training views of NW-UCLA).
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


class SkeletonFeatureExtractor(FeatureExtractionMixin):
    """Normalises skeleton sequences (all steps are this project's choice).

    In order: 2-D sequences become 3-D with depth 0 and y up; joints are mapped to `layout` by name; noise bodies are
    dropped and the `max_persons` who move most are kept; missing joints are filled over time; everybody is moved so
    that the first person's hips of the first frame are the origin, divided by the first person's median torso length
    and, if `align_facing`, turned about the vertical so that the first person's shoulders and hips lie along the x axis
    at the start; if `normalize_bones`, every bone keeps its direction and gets the length it has in the reference body
    (`bone_normalization`); frames are resampled linearly to `num_frames`.

    Args:
        layout: name of the layout the model sees, default "kinect20".
        num_frames: default 64.
        max_persons: default 2.
        align_facing: default True.
        normalize_bones: default False. Makes subjects of other proportions alike. Not for flat recordings: there a
            bone's length is the only cue of depth.
    """

    model_input_names: ClassVar[list[str]] = ["skeletons", "person_mask"]

    def __init__(
        self,
        layout: str = "kinect20",
        num_frames: int = 64,
        max_persons: int = 2,
        align_facing: bool = True,
        normalize_bones: bool = False,
        **kwargs,
    ):
        kwargs["auto_map"] = FEATURE_EXTRACTOR_AUTO_MAP
        super().__init__(**kwargs)
        self.layout = get_layout(layout).name
        self.num_frames = num_frames
        self.max_persons = max_persons
        self.align_facing = align_facing
        self.normalize_bones = normalize_bones

    def __call__(
        self, sequences: list[SkeletonSequence], return_tensors: str | None = None, views: int = 1
    ) -> BatchFeature:
        """Normalises and resamples a batch.

        Args:
            views: ways in which each sequence is seen, 1..`len(VIEWS)`, default 1: as it is.

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
            normalized = self.normalize(sequence)
            person_mask[number * views : (number + 1) * views, : len(normalized)] = True
            for view, (yaw, start, end) in enumerate(VIEWS[:views]):
                seen = resample(normalized, self.num_frames, start, end) @ _about_vertical(-yaw).T
                skeletons[number * views + view, : len(normalized)] = seen
        return BatchFeature({"skeletons": skeletons, "person_mask": person_mask}, tensor_type=return_tensors)

    def normalize(self, sequence: SkeletonSequence) -> np.ndarray:
        """One sequence, all steps but the resampling: (1..max_persons, frames, joints, 3) float32 in torso lengths."""
        persons, landmarks = self._cleaned(sequence)
        hips = landmarks[0, 0, _LANDMARKS.index("hip_center")]
        persons = (persons - hips) / max(_torso_length(landmarks[0]), _SMALLEST_TORSO)
        if self.align_facing:
            persons = persons @ _facing_rotation(landmarks[0]).T
        if self.normalize_bones:
            persons = normalize_bones(persons, self.layout)
        return persons.astype(np.float32)

    def torso_length(self, sequence: SkeletonSequence) -> float:
        """What one torso length is in the sequence's own unit: the first person's median distance of hips and neck."""
        return _torso_length(self._cleaned(sequence)[1][0])

    def _cleaned(self, sequence: SkeletonSequence) -> tuple[np.ndarray, np.ndarray]:
        """The persons kept, without gaps, in the model's layout and in that of the landmarks."""
        layout = get_layout(self.layout)
        joints = _in_three_dimensions(map_joints(sequence.joints, sequence.layout, self.layout))
        persons = primary_persons(drop_noise_bodies(joints), self.max_persons)
        persons = fill_missing(persons, layout.parents)
        # some layouts have no joint at the hips' centre
        return persons, map_joints(persons, self.layout, _LANDMARKS.name)


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


def _torso_length(landmarks: np.ndarray) -> float:
    hips, neck = (landmarks[:, _LANDMARKS.index(joint)] for joint in ("hip_center", "shoulder_center"))
    return float(np.median(np.linalg.norm(neck - hips, axis=-1)))


def _facing_rotation(landmarks: np.ndarray) -> np.ndarray:
    """Rotation about the vertical that lays shoulders and hips, right minus left, along x in the first frames."""
    across = np.zeros(3)
    for part in ("shoulder", "hip"):
        right, left = (landmarks[:, _LANDMARKS.index(f"{side}_{part}")] for side in ("right", "left"))
        across = across + np.median((right - left)[:_FACING_FRAMES], axis=0)
    return _about_vertical(np.arctan2(across[2], across[0]))


def _about_vertical(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
