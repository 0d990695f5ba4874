"""Motion features and prototypes against transforms and distances computed one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct

from llm_action.modeling.class_prototypes import ClassPrototypes, motion_features
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


class TestPrototypes:
    def test_measure_distances_in_units_of_the_scatter_within_classes(self):
        """0.15 of the log-likelihood -d / 2."""
        rng = np.random.default_rng(0)
        mixing = rng.normal(size=(6, 6))
        classes = [rng.normal(size=(count, 6)) @ mixing + 3 * rng.normal(size=6) for count in (9, 5, 1)]
        scatter = sum((rows - rows.mean(0)).T @ (rows - rows.mean(0)) for rows in classes) / (15 - 3)
        within = 0.9 * scatter + 0.1 * np.trace(scatter) / 6 * np.eye(6)
        shown = rng.normal(size=(4, 6))
        away = [[row - rows.mean(0) for rows in classes] for row in shown]
        units = [1 + 1 / len(rows) for rows in classes]
        expected = [[-0.075 * d @ np.linalg.solve(within, d) / unit for d, unit in zip(of, units)] for of in away]
        found = ClassPrototypes.fitted([rows[:, None].astype(np.float32) for rows in classes])(torch.from_numpy(shown))
        assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)

    def test_find_a_class_of_one_example_among_others_that_scatter_one_way(self):
        """Along the scatter the new class's mean is nearer to an old one: only the scatter itself tells them apart."""
        rng = np.random.default_rng(1)
        old = [np.stack([rng.normal(0, 2, 30), height + rng.normal(0, 0.1, 30)], 1) for height in (0, 3)]
        prototypes = ClassPrototypes.fitted([rows[:, None] for rows in (*old, np.array([[4.0, 6.0]]))])
        shown = torch.tensor([[-4.0, 6.0], [4.0, 3.0], [-4.0, 0.0]])
        assert prototypes(shown).argmax(1).tolist() == [2, 1, 0]

    def test_a_class_without_examples_is_never_recognised(self):
        rows = np.random.default_rng(0).normal(size=(5, 3))
        classes = [rows, rows[:0], rows + 9]
        scores = ClassPrototypes.fitted([of_class[:, None] for of_class in classes])(torch.from_numpy(rows))
        assert scores[:, 1].tolist() == [-torch.inf] * 5 and torch.isfinite(scores[:, [0, 2]]).all()

    def test_classes_of_one_example_each_are_refused(self):
        with pytest.raises(ValueError, match="two examples or more"):
            ClassPrototypes.fitted([np.zeros((1, 1, 3)), np.ones((1, 1, 3))])

    def test_views_of_an_example_are_seen_and_not_counted(self):
        """The mean and the scatter of all views, but the uncertainty of as many examples as there are."""
        views = np.random.default_rng(2).normal(size=(2, 3, 5, 4))
        shown = torch.from_numpy(views[:, 0, 0])
        found = ClassPrototypes.fitted(list(views))
        each = ClassPrototypes.fitted([of_class.reshape(15, 1, 4) for of_class in views])
        assert found.counts.tolist() == [3, 3] and torch.allclose(found.means, each.means)
        assert torch.allclose(found(shown) * (1 + 1 / 3), each(shown) * (1 + 1 / 15), rtol=1e-5)
