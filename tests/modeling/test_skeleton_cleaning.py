import numpy as np
import pytest

from llm_action.modeling.skeleton_cleaning import drop_noise_bodies, fill_missing, primary_persons
from llm_action.modeling.skeleton_layouts import get_layout


def body(frames: int = 40, height: float = 1.7, width: float = 0.5, motion: float = 0.0, seed: int = 0) -> np.ndarray:
    """(frames, 25, 3) metres: joints in a box of that size, all swaying by `motion` metres."""
    rng = np.random.default_rng(seed)
    rest = rng.uniform(size=(25, 3)) * [width, height, 0.3]
    rest[:2] = [[0, 0, 0], [width, height, 0]]
    return rest + motion * np.sin(np.arange(frames) / 5)[:, None, None]


def seen_in(joints: np.ndarray, frames: slice) -> np.ndarray:
    track = np.full_like(joints, np.nan)
    track[frames] = joints[frames]
    return track


def test_wide_bodies_and_short_tracks_are_noise():
    actor, partner = body(), body(seed=1)
    table = body(width=2.0, height=0.8, seed=2)
    flicker = seen_in(body(seed=3), slice(10, 18))
    kept = drop_noise_bodies(np.stack([table, actor, flicker, partner]))
    np.testing.assert_array_equal(kept, np.stack([actor, partner]))


def test_the_last_body_is_never_dropped():
    lying, lying_flatter = body(width=1.8, height=0.4), body(width=1.8, height=0.3, seed=1)
    np.testing.assert_array_equal(drop_noise_bodies(lying[None]), lying[None])
    assert len(drop_noise_bodies(np.stack([lying_flatter, lying]))) == 1
    short = body(frames=3)
    np.testing.assert_array_equal(drop_noise_bodies(short[None]), short[None])
    nobody = np.full((2, 5, 25, 3), np.nan)
    assert drop_noise_bodies(nobody).shape == (1, 5, 25, 3)


def test_a_falling_person_among_others_is_kept():
    falling = body()
    falling[30:] = falling[30:] * [3, 0.2, 1]
    kept = drop_noise_bodies(np.stack([falling, body(seed=1)]))
    assert len(kept) == 2
    np.testing.assert_array_equal(kept[0], falling)


def test_two_people_in_a_short_clip_both_stay():
    assert len(drop_noise_bodies(np.stack([body(frames=6), body(frames=6, seed=1)]))) == 2


def test_missing_joints_do_not_make_a_body_wide():
    person = body()
    person[:, 5:9] = np.nan
    assert len(drop_noise_bodies(np.stack([person, body(seed=1)]))) == 2


def test_the_most_active_persons_come_first():
    still, calm, lively = body(), body(motion=0.1, seed=1), body(motion=0.4, seed=2)
    unseen = np.full_like(still, np.nan)
    bodies = np.stack([unseen, still, calm, lively])
    np.testing.assert_array_equal(primary_persons(bodies), np.stack([lively, calm]))
    np.testing.assert_array_equal(primary_persons(bodies, 1), lively[None])
    assert len(primary_persons(bodies, 5)) == 3
    assert primary_persons(unseen[None]).shape == (1, 40, 25, 3)


def test_motion_is_the_summed_variance_over_seen_frames():
    rng = np.random.default_rng(0)
    bodies = rng.normal(size=(6, 30, 25, 3)) * rng.uniform(0.1, 1, size=(6, 1, 1, 1))
    bodies[rng.random((6, 30, 25)) < 0.2] = np.nan
    order = np.argsort(-np.nanvar(bodies, axis=1).sum(axis=(1, 2)))
    np.testing.assert_array_equal(primary_persons(bodies, 6), bodies[order])


def test_gaps_are_interpolated_and_ends_held():
    joints = np.zeros((1, 6, 25, 3), dtype=np.float32)
    joints[0, :, 3] = np.arange(6)[:, None] * [1.0, 10.0, -1.0]
    joints[0, [0, 2, 3, 5], 3] = np.nan
    filled = fill_missing(joints)
    np.testing.assert_allclose(filled[0, :, 3, 1], [10, 10, 20, 30, 40, 40])
    assert filled.dtype == np.float32
    assert np.isnan(joints[0, 0, 3]).all(), "the given array is left as it is"


def test_one_missing_coordinate_makes_the_joint_missing():
    joints = np.zeros((1, 3, 25, 3))
    joints[0, 1, 3] = [np.nan, 99.0, 99.0]
    np.testing.assert_array_equal(fill_missing(joints)[0, 1, 3], [0, 0, 0])


def test_a_joint_never_seen_takes_its_ancestors_place():
    layout = get_layout("ntu25")
    joints = body(frames=5, motion=0.3)[None]
    for name in ("left_hand", "left_hand_tip"):
        joints[0, :, layout.index(name)] = np.nan
    filled = fill_missing(joints, layout.parents)
    for name in ("left_hand", "left_hand_tip"):
        np.testing.assert_array_equal(filled[0, :, layout.index(name)], joints[0, :, layout.index("left_wrist")])


def test_a_root_never_seen_takes_the_centre():
    joints = body(frames=5)[None]
    joints[0, :, 0] = np.nan
    expected = np.nanmean(joints[0], axis=1)
    np.testing.assert_allclose(fill_missing(joints, get_layout("ntu25").parents)[0, :, 0], expected)
    np.testing.assert_allclose(fill_missing(joints)[0, :, 0], expected)


def test_a_person_never_seen_becomes_zeros_and_nothing_stays_missing():
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(3, 20, 25, 3))
    joints[rng.random((3, 20, 25)) < 0.5] = np.nan
    joints[1] = np.nan
    filled = fill_missing(joints, get_layout("ntu25").parents)
    assert np.isfinite(filled).all()
    assert (filled[1] == 0).all()
    seen = np.isfinite(joints)
    np.testing.assert_array_equal(filled[seen], joints[seen])


def test_errors():
    with pytest.raises(ValueError, match=r"persons, frames, joints.*\(4, 25, 3\)"):
        fill_missing(np.zeros((4, 25, 3)))
    with pytest.raises(ValueError, match="one parent a joint"):
        fill_missing(np.zeros((1, 4, 25, 3)), parents=[-1])
    with pytest.raises(ValueError, match="max_persons"):
        primary_persons(np.zeros((1, 4, 25, 3)), 0)
