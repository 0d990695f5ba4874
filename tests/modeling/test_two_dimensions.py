"""Recordings without depth, and models that see none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE, ActionVQVAEConfig
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SkeletonSequence


@pytest.fixture(scope="module")
def upright() -> SkeletonSequence:
    """Somebody in torso lengths who stands upright, faces the camera and is in the middle, as models see everybody."""
    sequence = generate_sequence("waving a hand", subject=1, camera=2, repetition=1)
    return SkeletonSequence(SkeletonFeatureExtractor().normalize(sequence), "kinect20")


@pytest.fixture(scope="module")
def pixels(upright) -> np.ndarray:
    """(frames, joints, 2): the same from far away; x of recordings grows to the camera's left, rows downwards."""
    return upright.joints[0, ..., :2] * [-150, -150] + [960, 540]


def processor_of(tiny_base, dimensions: int) -> LlmArProcessor:
    torch.manual_seed(0)
    small = {"num_frames": 16, "codebook_size": 32, "code_dim": 6, "embedding_dim": 64, "hidden_size": 16}
    config = ActionVQVAEConfig(**small, num_layers=1, num_heads=2, dimensions=dimensions)
    extractor = SkeletonFeatureExtractor(num_frames=16, dimensions=dimensions)
    return LlmArProcessor(extractor, AutoTokenizer.from_pretrained(tiny_base), ActionVQVAE(config))


def test_a_recording_with_depth_is_seen_as_its_picture_from_the_front(upright, pixels):
    extractor = SkeletonFeatureExtractor(dimensions=2)
    seen = extractor([upright, SkeletonSequence(pixels, "kinect20")])["skeletons"][:, 0]
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-4)
    assert not seen[..., 2].any()


def test_from_behind_left_and_right_are_the_person_s_own(pixels):
    extractor = SkeletonFeatureExtractor(dimensions=2)
    behind = pixels * [-1, 1] + [1920, 0]
    seen = [extractor([SkeletonSequence(one, "kinect20")])["skeletons"] for one in (pixels, behind)]
    np.testing.assert_allclose(*seen, atol=1e-4)


def test_views_are_not_turned(pixels):
    views = SkeletonFeatureExtractor(dimensions=2)([SkeletonSequence(pixels, "kinect20")], views=8)["skeletons"]
    assert not views[..., 2].any()
    assert np.ptp(views[:, 0, :, 5, 0], axis=1).max() > 0


def test_depths_that_are_zero_or_missing_are_none(tiny_base, pixels):
    processor = processor_of(tiny_base, 2)
    ids = processor.encode(pixels, "kinect20")
    for depth in (0.0, np.nan):
        assert processor.encode(np.insert(pixels, 2, depth, axis=-1), "kinect20") == ids


def test_who_is_asked_about_pixels_says_if_depth_is_missed(tiny_base, upright, pixels):
    solid, flat = (processor_of(tiny_base, dimensions) for dimensions in (3, 2))
    for given in (pixels, SkeletonSequence(pixels, "kinect20"), {"joints": pixels, "layout": "kinect20"}):
        with pytest.warns(RecordingWarning, match="no depth.*dimensions=2"):
            solid.encode(given, "kinect20")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecordingWarning)
        solid.encode(upright)
        flat.encode(upright)
        flat.encode(pixels, "kinect20")


def test_dimensions_are_kept_with_the_model(tiny_base, pixels, tmp_path):
    processor = processor_of(tiny_base, 2)
    processor.save_pretrained(tmp_path)
    loaded = LlmArProcessor.from_pretrained(tmp_path)
    assert (loaded.feature_extractor.dimensions, loaded.vqvae.config.dimensions) == (2, 2)
    assert loaded.encode(pixels, "kinect20") == processor.encode(pixels, "kinect20")
    with pytest.raises(ValueError, match="dimensions"):
        LlmArProcessor(SkeletonFeatureExtractor(num_frames=16), processor.tokenizer, processor.vqvae)


@pytest.mark.parametrize("make", (SkeletonFeatureExtractor, ActionVQVAEConfig))
def test_other_dimensions_are_refused(make):
    with pytest.raises(ValueError, match="dimensions 2 or 3, got 4"):
        make(dimensions=4)
