"""How familiar motions are: distances, their calibration on people held out, and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_action.modeling.familiarity import FAMILIARITY_FILE, Familiarity, familiarity_features

CLASSES, SUBJECTS, EACH, FEATURES = 8, 6, 5, 30
CENTRES = 12 * np.random.default_rng(1).normal(size=(CLASSES, FEATURES))


def people(seed: int, subjects: int = SUBJECTS, each: int = EACH, centres: np.ndarray = CENTRES):
    """features (recordings, 2 views, FEATURES), classes, subjects; every subject has an offset of its own."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(size=(subjects, FEATURES))
    rows = [(label, subject) for label in range(len(centres)) for subject in range(subjects) for _ in range(each)]
    features = np.stack([centres[label] + offsets[subject] + rng.normal(size=(2, FEATURES)) for label, subject in rows])
    return features.astype(np.float32), *map(np.array, zip(*rows, strict=True))


@pytest.fixture(scope="module")
def fitted() -> Familiarity:
    return Familiarity.fitted(*people(0))


def test_new_people_are_familiar_and_new_classes_are_strange(fitted):
    features, _, _ = people(2, subjects=40, each=2)
    shares = fitted.familiarity(features[:, 0])
    assert np.mean(shares) > 0.8 and (shares < 0.03).mean() < 0.01
    others = 12 * np.random.default_rng(7).normal(size=(CLASSES, FEATURES))
    strange = fitted.familiarity(people(3, centres=others)[0][:, 0])
    assert (strange < 0.03).mean() > 0.9


def test_units_and_turns_of_the_features_make_no_difference(fitted):
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(FEATURES, FEATURES)))[0]
    features, classes, subjects = people(0)
    turned = Familiarity.fitted(5 * features @ turn - 3, classes, subjects)
    new = people(5)[0][:, 0]
    np.testing.assert_allclose(turned.familiarity(5 * new @ turn - 3), fitted.familiarity(new), atol=0.02)


def test_a_class_that_is_added_is_familiar(fitted):
    new = 12 * np.random.default_rng(9).normal(size=(1, FEATURES))
    examples, others = people(10, subjects=1, each=5, centres=new)[0], people(11, centres=new)[0][:, 0]
    assert (fitted.familiarity(others) < 0.03).mean() > 0.9
    more = fitted.with_classes([examples])
    assert (more.familiarity(others) < 0.03).mean() < 0.2
    assert (more.familiarity(people(12)[0][:, 0]) < 0.03).mean() < 0.1


def test_what_lies_far_off_is_strange(fitted):
    features, _, _ = people(6, subjects=1, each=1)
    away = [fitted.familiarity(features[:1, 0] + 1000.0 * step)[0] for step in (0, 1)]
    assert away[0] > 0.03 and away[1] == 0


def test_what_does_not_move_is_strange():
    body = np.random.default_rng(0).normal(size=(20, 3))
    waving = np.repeat(body[None], 16, axis=0)
    waving[:, 7] += np.sin(np.arange(16))[:, None]
    moving, frozen = (
        familiarity_features(np.stack([one])[:, None], "kinect20") for one in (waving, waving[:1].repeat(16, 0))
    )
    assert np.abs(moving).max() > 0.05 and np.abs(frozen).max() < 1e-5
    features, classes, subjects = people(0)
    assert Familiarity.fitted(features, classes, subjects).familiarity(np.zeros((1, FEATURES)))[0] == 0


def test_a_file_from_before_stillness_counted_says_nothing(fitted, tmp_path):
    fitted.save(tmp_path)
    file = tmp_path / FAMILIARITY_FILE
    save_file({**load_file(file), "usual": torch.ones(2)}, file)
    assert Familiarity.load(file) is None


def test_what_is_saved_says_the_same(fitted, tmp_path):
    fitted.save(tmp_path)
    features = people(8)[0][:, 0]
    again = Familiarity.load(tmp_path / FAMILIARITY_FILE)
    np.testing.assert_array_equal(again.familiarity(features), fitted.familiarity(features))
    assert again.longest == 0, "not known"
    again.longest = 3.5
    again.save(tmp_path)
    longer = [Familiarity.load(tmp_path / FAMILIARITY_FILE).with_classes([people(9)[0]], one).longest for one in (0, 5)]
    assert longer == [3.5, 5]
    (tmp_path / FAMILIARITY_FILE).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="export it again"):
        Familiarity.load(tmp_path / FAMILIARITY_FILE)


def test_too_little_to_fit_is_refused():
    features, classes, subjects = people(0, subjects=1, each=1)
    with pytest.raises(ValueError, match="two recordings or more of a class"):
        Familiarity.fitted(features, classes, subjects)
    features, classes, subjects = people(0)
    with pytest.raises(ValueError, match="two classes or more"):
        Familiarity.fitted(features[classes == 0], classes[classes == 0], subjects[classes == 0])
