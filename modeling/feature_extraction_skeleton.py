"""The feature extractor: what makes a model's arrays of skeleton sequences, as Hugging Face knows it."""

from __future__ import annotations

from typing import ClassVar

from transformers import BatchFeature, FeatureExtractionMixin

from .hub_repository import FEATURE_EXTRACTOR_AUTO_MAP
from .skeleton_geometry import GEOMETRY_VERSION
from .skeleton_normalization import SkeletonNormalizer
from .skeleton_sequence import SkeletonSequence


class SkeletonFeatureExtractor(FeatureExtractionMixin, SkeletonNormalizer):
    """`SkeletonNormalizer` with the methods of a feature extractor; arguments and errors are the normaliser's."""

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
        dimensions: int = 3,
        **kwargs,
    ):
        SkeletonNormalizer.__init__(
            self, layout, num_frames, max_persons, align_facing, normalize_bones, own_layout, geometry, dimensions
        )
        kwargs["auto_map"] = FEATURE_EXTRACTOR_AUTO_MAP
        FeatureExtractionMixin.__init__(self, **kwargs)

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict, **kwargs):
        """As any extractor's; one saved before geometry had a version reads with version 1."""
        return super().from_dict({"geometry": 1, **feature_extractor_dict}, **kwargs)

    def __call__(
        self, sequences: list[SkeletonSequence], return_tensors: str | None = None, views: int = 1
    ) -> BatchFeature:
        """skeletons and person_mask of a batch, see `SkeletonNormalizer.arrays`.

        Args:
            return_tensors: "np" or None for numpy arrays, "pt" for torch tensors.

        Raises:
            ValueError: views out of range.
        """
        skeletons, person_mask = self.arrays(sequences, views)
        return BatchFeature({"skeletons": skeletons, "person_mask": person_mask}, tensor_type=return_tensors)
