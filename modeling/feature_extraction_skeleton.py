"""The feature extractor: what makes a model's arrays of skeleton sequences, as Hugging Face knows it."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import BatchFeature, FeatureExtractionMixin

from .hub_repository import FEATURE_EXTRACTOR_AUTO_MAP
from .removed_options import without_removed
from .skeleton_geometry import GEOMETRY_VERSION
from .skeleton_normalization import SkeletonNormalizer
from .skeleton_recording import is_several, recording_of


class SkeletonFeatureExtractor(FeatureExtractionMixin, SkeletonNormalizer):
    """`SkeletonNormalizer` with the methods of a feature extractor; arguments and errors are the normaliser's."""

    model_input_names: ClassVar[list[str]] = ["skeletons", "person_mask"]

    def __init__(
        self,
        layout: str = "kinect20",
        num_frames: int = 64,
        max_persons: int = 2,
        align_facing: bool = True,
        own_layout: dict | None = None,
        geometry: int = GEOMETRY_VERSION,
        dimensions: int = 3,
        **kwargs,
    ):
        SkeletonNormalizer.__init__(
            self, layout, num_frames, max_persons, align_facing, own_layout, geometry, dimensions
        )
        known = without_removed(kwargs)
        FeatureExtractionMixin.__init__(self, **{**known, "auto_map": FEATURE_EXTRACTOR_AUTO_MAP})

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict, **kwargs):
        """As any extractor's; one saved before geometry had a version reads with version 1."""
        return super().from_dict({"geometry": 1, **feature_extractor_dict}, **kwargs)

    def __call__(
        self, sequences: Any, return_tensors: str | None = None, views: int = 1, **conventions: Any
    ) -> BatchFeature:
        """skeletons and person_mask of a batch, see `SkeletonNormalizer.arrays`.

        Args:
            sequences: a list of `SkeletonSequence`s, arrays (frames, joints, 2|3) or (persons, frames, joints, 2|3),
                mappings with the key joints; or one of those.
            return_tensors: "np" or None for numpy arrays, "pt" for torch tensors.
            conventions: layout, fps, axes, up ... of arrays and mappings, as `SkeletonRecording` has them; what is not
                said is inferred.

        Raises:
            ValueError: views out of range; what is no recording.
        """
        given = list(sequences) if is_several(sequences) else [sequences]
        skeletons, person_mask = self.arrays([recording_of(one, **conventions) for one in given], views)
        return BatchFeature({"skeletons": skeletons, "person_mask": person_mask}, tensor_type=return_tensors)
