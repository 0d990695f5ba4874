"""Motion features and prototypes against transforms and distances computed one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct

from llm_action.modeling.action_attributes import ATTRIBUTES
from llm_action.modeling.class_prototypes import (
    ClassPrototypes,
    motion_features,
    posture_features,
    prompt_features,
)
from llm_action.modeling.feature_extraction_skeleton import SkeletonFeatureExtractor
from llm_action.modeling.skeleton_sequence import SkeletonSequence


def random_walk(seed: int, frames: int = 50) -> SkeletonSequence:
    steps = np.random.default_rng(seed).normal(0, 0.02, (1, frames, 20, 3))
    return SkeletonSequence(np.cumsum(steps, 1) + np.random.default_rng(0).normal(size=(20, 3)), "kinect20", 30.0)


class TestFeatures:
    def test_are_the_cosine_transform_the_percentiles_and_the_speeds_of_every_path(self):
        extractor, sequence = SkeletonFeatureExtractor(), random_walk(1)
        paths = extractor([sequence])["skeletons"][0]  # (persons, frames, joints, 3)
        found = motion_features(extractor([sequence])["skeletons"])[0].reshape(20, 2, 20, 3)
        path = paths[0, :, 7, 1].astype(float)
        speed = np.abs(np.diff(path)) * 64
        expected = [
            *dct(path, norm="ortho")[:12] / 8,
            *np.percentile(path, (5, 25, 50, 75, 95)),
            speed.mean() / 8,
            speed.max() / 32,
            path[-4:].mean() - path[:4].mean(),
        ]
        assert np.allclose(found[:, 0, 7, 1], expected, atol=1e-5)
        assert not found[:, 1].any()  # nobody there

    def test_views_follow_each_other_and_nothing_comes_of_nothing(self):
        extractor, sequences = SkeletonFeatureExtractor(), [random_walk(1), random_walk(2)]
        rows = motion_features(extractor(sequences, views=2)["skeletons"])
        assert rows.shape == (4, 20 * 2 * 60) and rows.dtype == np.float32
        assert np.array_equal(rows[::2], motion_features(extractor(sequences)["skeletons"]))
        assert motion_features(extractor([])["skeletons"]).shape == (0, 20 * 2 * 60)


class TestPostures:
    def test_are_percentiles_of_places_velocities_speeds_and_distances(self):
        skeletons = SkeletonFeatureExtractor()([random_walk(1)])["skeletons"]
        joints = skeletons[0, 0].astype(float)
        found = posture_features(skeletons, "kinect20").reshape(2, -1)[0]
        place, velocity = joints[:, 7] - joints[:, 0], np.diff(joints[:, 7], axis=0) * 16
        percentiles, velocities = found[:300].reshape(5, 20, 3), found[300:540].reshape(4, 20, 3)
        assert np.allclose(percentiles[:, 7], np.percentile(place, (5, 25, 50, 75, 95), axis=0), atol=1e-4)
        assert np.allclose(velocities[:, 7], np.percentile(velocity, (5, 25, 75, 95), axis=0), atol=1e-4)
        speed = np.linalg.norm(velocity, axis=1)
        assert np.allclose(found[540:620].reshape(4, 20)[:, 7], np.percentile(speed, (25, 50, 75, 95)), atol=1e-4)
        apart = np.linalg.norm(joints[:, 0] - joints[:, 2], axis=1)  # the first two of the eleven
        assert np.allclose(found[620:895].reshape(5, 55)[:, 0], np.percentile(apart, (5, 25, 50, 75, 95)), atol=1e-4)

    def test_do_not_see_when_a_posture_is_taken(self):
        still = np.random.default_rng(0).normal(size=(1, 1, 1, 20, 3)).repeat(64, 2)
        early, late = still.copy(), still.copy()
        early[:, :, 10:30, 7, 1] += 1
        late[:, :, 30:50, 7, 1] += 1
        assert np.allclose(posture_features(early, "kinect20"), posture_features(late, "kinect20"), atol=1e-5)
        assert not np.allclose(posture_features(early, "kinect20"), posture_features(still, "kinect20"), atol=0.1)

    def test_joints_of_no_body_are_taken_as_they_are(self):
        hands = np.random.default_rng(0).normal(size=(2, 1, 64, 21, 3))
        rows = posture_features(hands, "hand21")
        assert np.isfinite(rows).all() and not np.allclose(rows[0], rows[1])

    def test_prompts_come_with_the_attributes_of_the_first_view(self):
        features = SkeletonFeatureExtractor()([random_walk(1), random_walk(2)], views=2)
        rows = prompt_features(features["skeletons"], features["person_mask"], "kinect20", views=2)
        shown = rows[:, -len(ATTRIBUTES) :]
        assert np.array_equal(shown[0], shown[1]) and np.array_equal(shown[2], shown[3])


ATTRIBUTES_AND_VALUES = len(ATTRIBUTES), max(len(one.values) for one in ATTRIBUTES.values())


def fitted(known, given, meant=None, taught=None) -> ClassPrototypes:
    """Of classes (examples, features) of one view each; those not known before are learned from a few examples."""
    known, given = ([np.asarray(rows, float)[:, None] for rows in part] for part in (known, given))
    few = [not len(rows) for rows in known]
    return ClassPrototypes.fitted(known, given, few, taught or [not one for one in few], meant)


def shown_as(rows, value: int = 0) -> torch.Tensor:
    """What prompts come with: features, and the number of a value for each attribute."""
    rows = torch.as_tensor(rows, dtype=torch.float32)
    return torch.cat([rows, torch.full((len(rows), len(ATTRIBUTES)), float(value))], 1)


NONE = np.zeros((0, 2))


class TestPrototypes:
    def test_find_a_class_of_one_example_among_others_that_scatter_one_way(self):
        """Along the scatter the new class's mean is nearer to an old one: only the scatter itself tells them apart."""
        rng = np.random.default_rng(1)
        old = [np.stack([rng.normal(0, 2, 30), height + rng.normal(0, 0.1, 30)], 1) for height in (0, 3)]
        prototypes = fitted([*old, NONE], [NONE, NONE, np.array([[4.0, 6.0]])])
        assert prototypes(shown_as([[-4.0, 7.0], [-4.0, 0.0]])).argmax(1).tolist() == [2, 0]

    def test_count_angles_from_the_middle_of_the_candidates(self):
        square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
        old = [10 * square[:2], 10 * square[2:]]  # something to see the scatter of
        prototypes = fitted([*old, *[NONE] * 4], [NONE, NONE, *square[:, None]])
        near, far = (prototypes(shown_as([[place, 0.0]]), [2, 4])[0] for place in (0.5, 5))
        assert torch.allclose(near, far) and near.tolist() == pytest.approx([8, -8], rel=0.1)

    def test_what_a_name_means_counts_as_one_more_example(self):
        meant = np.zeros((*ATTRIBUTES_AND_VALUES, 3))
        meant[0, 1, 2] = 6.0
        old = np.random.default_rng(0).normal(size=(9, 2))
        for examples, share in ((1, 3), (5, 1)):
            prototypes = fitted([old, NONE, NONE], [NONE, *np.eye(2)[:, None].repeat(examples, 1)], meant)
            gained = prototypes(shown_as(old, 1)) - prototypes(shown_as(old, 0))
            assert torch.allclose(gained, torch.tensor([0.0, 0, share]).expand(9, 3), atol=1e-5)

    def test_examples_given_now_count_half_of_a_known_class(self):
        old = np.array([[0.0, 0], [0, 2], [2, 0], [2, 2]])
        prototypes = fitted([old, old + 9], [np.array([[5.0, 5.0]]), NONE])
        halves = (np.array([3.0, 3.0]) - prototypes.centre.numpy()) @ prototypes.projection.numpy()
        assert np.allclose(prototypes.means[0], halves, atol=1e-4) and prototypes.counts.tolist() == [5, 4]

    def test_a_class_without_examples_is_known_by_its_name(self):
        meant = np.zeros((*ATTRIBUTES_AND_VALUES, 3))
        meant[0, 1, 1] = 2.5
        rows = np.random.default_rng(0).normal(size=(5, 2))
        prototypes = fitted([rows, NONE, rows + 9], [NONE, NONE, NONE], meant)
        assert prototypes(shown_as(rows, 1))[:, 1].tolist() == [2.5] * 5
        assert prototypes(shown_as(rows, 0))[:, 1].tolist() == [0.0] * 5

    def test_names_decide_where_examples_do_not(self):
        meant = np.zeros((*ATTRIBUTES_AND_VALUES, 4))
        meant[1, 1, 3] = 1.0
        old = [np.random.default_rng(seed).normal(size=(9, 2)) for seed in (0, 1)]
        prototypes = fitted([*old, NONE, NONE], [NONE, NONE, np.array([[0.0, 5]]), np.array([[0.0, 5]])], meant)
        assert prototypes(shown_as([[1.0, 4.0]], 1), [2, 3]).argmax(1).tolist() == [1]

    def test_classes_of_one_example_each_are_refused(self):
        with pytest.raises(ValueError, match="two examples or more"):
            fitted([NONE, NONE], [np.zeros((1, 2)), np.ones((1, 2))])

    def test_views_of_an_example_are_seen_and_not_counted(self):
        views = np.random.default_rng(2).normal(size=(2, 3, 5, 4))
        none = [views[0, :0]] * 2
        found = ClassPrototypes.fitted(none, list(views), [True] * 2, [False] * 2)
        each = ClassPrototypes.fitted(none, [rows.reshape(15, 1, 4) for rows in views], [True] * 2, [False] * 2)
        assert found.counts.tolist() == [3, 3] and torch.allclose(found.means, each.means)


class TestBesideTheLanguageModel:
    """Two trained classes and two learned from an example each, all in corners of their own."""

    KNOWN = (np.array([[9.0, 1], [9, -1], [8, 0]]), np.array([[-9.0, 1], [-9, -1], [-8, 0]]), NONE, NONE)
    GIVEN = (NONE, NONE, np.array([[0.0, 9.0]]), np.array([[0.0, -9.0]]))
    WORDS = torch.tensor([[-1.0, -2.0, -90.0, -90.0]])

    def test_it_decides_among_trained_classes_alone(self):
        prototypes = fitted(self.KNOWN, self.GIVEN)
        assert torch.equal(prototypes.joined(self.WORDS[:, :2], shown_as([[-9.0, 0]]), [0, 1]), self.WORDS[:, :2])
        assert prototypes.joined(self.WORDS, shown_as([[-9.0, 0]]), range(4)).argmax(1).tolist() == [0]

    def test_it_has_no_say_about_classes_that_it_was_not_taught(self):
        prototypes = fitted(self.KNOWN, self.GIVEN)
        shown = shown_as([[0.0, 9.0], [0.0, -9.0]])
        assert prototypes.joined(self.WORDS.repeat(2, 1), shown, range(4)).argmax(1).tolist() == [2, 3]
        assert torch.equal(prototypes.joined(self.WORDS[:, 2:], shown, [2, 3]), prototypes(shown, [2, 3]))

    def test_what_it_was_taught_is_added(self):
        prototypes = fitted(self.KNOWN, self.GIVEN, taught=[True] * 4)
        shown = shown_as([[0.0, 9.0]])
        joined = prototypes.joined(self.WORDS[:, 2:], shown, [2, 3])
        assert torch.allclose(joined, self.WORDS[:, 2:] + 2 * prototypes(shown, [2, 3]))
