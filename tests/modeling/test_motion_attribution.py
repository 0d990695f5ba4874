"""Attribution: what alone decides gets the weight, and deleting changes what is deleted and nothing else."""

import numpy as np
import pytest
import torch

from llm_action.modeling.motion_attribution import (
    METHODS,
    Attribution,
    MotionScorer,
    _embedding_gradient,
    attribute,
    held_frames,
    held_joints,
    log_odds,
)
from llm_action.modeling.open_vocabulary import candidates_for
from llm_action.modeling.skeleton_layouts import get_layout

LAYOUT = get_layout("kinect20")
HAND, FRAMES = LAYOUT.index("right_hand"), 64


def skeletons(persons: int = 1, seed: int = 0) -> np.ndarray:
    """Persons whose every joint wanders on its own."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(persons, FRAMES, LAYOUT.num_joints, 3)).cumsum(1).astype(np.float32) * 0.1


class OneHandDecides:
    """Stands for a scorer whose log-odds are how far the first person's right hand moves in frames 20 to 31."""

    layout = LAYOUT

    def posteriors_of(self, batch: np.ndarray) -> np.ndarray:
        ways = batch[:, 0, 20:32, HAND] - batch[:, 0, 20:32, LAYOUT.root]
        odds = np.exp(np.linalg.norm(np.diff(ways, axis=1), axis=-1).sum(1, dtype=float))
        return np.stack([odds / (1 + odds), 1 / (1 + odds)], 1)


def test_occlusion_finds_the_joint_and_the_frames_that_decide():
    found = attribute(OneHandDecides(), skeletons(persons=2), 0, "motion")
    assert found.frames.shape == (FRAMES,) and found.joints.shape == (2, LAYOUT.num_joints)
    assert found.joints.argmax() == HAND
    assert 20 <= found.frames.argmax() < 32
    assert np.allclose(found.joints[1], 0), "the second person decides nothing"
    assert np.allclose(found.frames[:12], 0) and np.allclose(found.frames[44:], 0)


def test_an_unknown_method_is_refused_by_name():
    with pytest.raises(ValueError, match="motion, tokens, gradients, got 'magic'"):
        attribute(OneHandDecides(), skeletons(), 0, "magic")


def test_held_frames_show_the_pose_before_and_leave_the_others():
    given, deleted = skeletons(), np.zeros(FRAMES, bool)
    deleted[[0, 1, 30, 31, 32]] = True
    held = held_frames(given, deleted)
    assert np.array_equal(held[:, ~deleted], given[:, ~deleted])
    assert np.array_equal(held[:, 30:33], np.repeat(given[:, 29:30], 3, 1))
    assert np.array_equal(held[:, :2], np.repeat(given[:, 2:3], 2, 1)), "nothing is before the first frame"
    with pytest.raises(ValueError, match="a frame that is kept"):
        held_frames(given, np.ones(FRAMES, bool))


def test_held_joints_move_with_the_root_alone():
    given, deleted = skeletons(persons=2), np.zeros((2, LAYOUT.num_joints), bool)
    deleted[1, [HAND, LAYOUT.root]] = True
    held = held_joints(given, deleted, LAYOUT.root)
    assert np.array_equal(held[0], given[0])
    kept = np.flatnonzero(~deleted[1])
    assert np.array_equal(held[1][:, kept], given[1][:, kept])
    seen_from_root = held[1, :, HAND] - given[1, :, LAYOUT.root]
    assert np.allclose(seen_from_root, seen_from_root[0], atol=1e-5)
    assert np.allclose(held[1, :, LAYOUT.root], given[1, 0, LAYOUT.root])


def test_log_odds_keep_their_digits_where_a_label_is_almost_sure():
    assert log_odds(np.array([[1 - 1e-20, 1e-20]]), 0)[0] == pytest.approx(20 * np.log(10), rel=1e-6)
    assert log_odds(np.array([[0.25, 0.75]]), 0)[0] == pytest.approx(np.log(1 / 3))


@pytest.fixture(scope="module")
def recognize(tiny_export):
    from llm_action import LlmArForActionRecognition, LlmArProcessor, SkeletonActionRecognitionPipeline

    model = LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32")
    return SkeletonActionRecognitionPipeline(model=model, processor=LlmArProcessor.from_pretrained(tiny_export))


@pytest.fixture(scope="module")
def scorer(recognize):
    return MotionScorer(
        recognize.model, recognize.processor, candidates_for(recognize.model, recognize.processor, None, None)
    )


@pytest.fixture(scope="module")
def seen(recognize, recordings):
    """A recording as the model sees it."""
    sequence = recognize.processor.read(sorted(recordings.glob("*.mat"))[0])
    normalized = recognize.processor.feature_extractor.normalize(sequence)
    return recognize.processor.feature_extractor.views_of(normalized, 1)[0, :1]


def test_posteriors_are_those_of_the_pipeline(recognize, scorer, recordings):
    for file in sorted(recordings.glob("*.mat"))[:3]:
        normalized = recognize.processor.feature_extractor.normalize(recognize.processor.read(file))
        seen = recognize.processor.feature_extractor.views_of(normalized, 1)[0, :1]
        shares = scorer.posteriors(scorer.encoded(np.stack([seen, seen * 0.9])))
        ranking = {one["label"]: one["score"] for one in recognize(file, top_k=None)}
        expected = [ranking[label] for label in scorer.candidates.labels]
        np.testing.assert_allclose(shares[0], expected, atol=1e-5)
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)


def test_sentences_are_cut_and_changed_token_by_token(scorer, seen):
    recording = scorer.encoded(np.concatenate([seen, seen * 0.8])[None])[0]  # two persons
    tokens = scorer.tokens(recording)
    assert tokens.shape == (2, scorer.steps, scorer.slots)
    assert scorer.with_tokens(recording, tokens).sentences == recording.sentences
    assert scorer.until(recording, scorer.steps).sentences == recording.sentences
    first = scorer.until(recording, 2).sentences[0]
    actions = [token for token in first if token >= scorer.processor.first_action_id]
    assert actions == [*tokens[0, :2].ravel(), *tokens[1, :2].ravel()]
    assert len(first) > len(actions), "the word between the persons stays"


def test_the_gradient_of_an_embedding_is_what_a_small_change_of_it_does(scorer, seen):
    recording = scorer.encoded(seen[None])[0]
    gradient = _embedding_gradient(scorer, recording, 0).flatten(0, 2)
    tokens = torch.from_numpy(scorer.tokens(recording).ravel() - scorer.processor.first_action_id)
    token = int(tokens[0])
    table = scorer.model.action_embeddings.weight
    slope_of_all = gradient[tokens == token].sum(0)
    direction = 0.01 * slope_of_all / slope_of_all.norm()  # any other may change less than rounding does

    def changed(sign: int) -> float:
        with torch.no_grad():
            table[token] += sign * direction
        found = log_odds_fresh(scorer, recording)
        with torch.no_grad():
            table[token] -= sign * direction
        return found

    slope = (changed(1) - changed(-1)) / 2
    assert slope == pytest.approx(float(slope_of_all @ direction), rel=0.05)


def log_odds_fresh(scorer: MotionScorer, recording) -> float:
    from llm_action.modeling.prompt_states import KeptStates

    fresh = MotionScorer(scorer.model, scorer.processor, scorer.candidates, KeptStates())
    return float(fresh.log_odds([recording], 0)[0])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_weighs_every_frame_and_joint(scorer, seen, method):
    found = attribute(scorer, seen, 0, method)
    assert isinstance(found, Attribution) and found.method == method
    assert found.frames.shape == (seen.shape[1],) and found.joints.shape == (1, seen.shape[2])
    assert np.isfinite(found.frames).all() and np.isfinite(found.joints).all()
    assert np.array_equal(attribute(scorer, seen, 0, method).joints, found.joints), "twice the same"
