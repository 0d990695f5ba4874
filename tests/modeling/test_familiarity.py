"""How familiar motions are: distances, their calibration on people held out, and files."""

from __future__ import annotations

import numpy as np
import pytest

from llm_action.modeling.familiarity import FAMILIARITY_FILE, Familiarity

CLASSES, SUBJECTS, EACH, FEATURES = 4, 6, 8, 30
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


def test_familiarity_of_new_people_is_calibrated_and_new_classes_are_strange(fitted):
    features, _, _ = people(2, subjects=40, each=2)
    shares = fitted.familiarity(features[:, 0])
    assert abs(np.mean(shares) - 0.5) < 0.12 and (shares < 0.03).mean() < 0.08
    others = 12 * np.random.default_rng(7).normal(size=(CLASSES, FEATURES))
    strange = fitted.familiarity(people(3, centres=others)[0][:, 0])
    assert (strange < 0.03).mean() > 0.9
    assert fitted.distances(strange[:0, None].repeat(FEATURES, 1)).shape == (0,)


def test_units_and_turns_of_the_features_make_no_difference(fitted):
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(FEATURES, FEATURES)))[0]
    features, classes, subjects = people(0)
    turned = Familiarity.fitted(5 * features @ turn - 3, classes, subjects)
    new = people(5)[0][:, 0]
    np.testing.assert_allclose(turned.familiarity(5 * new @ turn - 3), fitted.familiarity(new), atol=0.02)


def test_the_further_off_the_less_familiar(fitted):
    features, _, _ = people(6, subjects=1, each=1)
    away = [fitted.familiarity(features[:1, 0] + step)[0] for step in (0, 1, 3, 100)]
    assert away == sorted(away, reverse=True) and away[-1] == 0


def test_what_is_saved_says_the_same(fitted, tmp_path):
    fitted.save(tmp_path)
    features = people(8)[0][:, 0]
    again = Familiarity.load(tmp_path / FAMILIARITY_FILE)
    np.testing.assert_array_equal(again.familiarity(features), fitted.familiarity(features))
    (tmp_path / FAMILIARITY_FILE).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="export it again"):
        Familiarity.load(tmp_path / FAMILIARITY_FILE)


def test_one_recording_of_each_class_is_too_little():
    features, classes, subjects = people(0, subjects=1, each=1)
    with pytest.raises(ValueError, match="two recordings or more of a class"):
        Familiarity.fitted(features, classes, subjects)
