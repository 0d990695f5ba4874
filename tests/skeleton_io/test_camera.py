"""Cameras: persons keep their places, and what comes too fast is left out."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from motion import landmarks, motion, pixels

from llm_action.skeleton_io import camera
from llm_action.skeleton_io.camera import Watcher, branches, newest_pictures
from llm_action.skeleton_io.pose_estimation import Pose

SIZE = (1920, 1080)


class FilmOf:
    """A capture of so many pictures; their first pixel is their number."""

    def __init__(self, count: int):
        self.count, self.number, self.all_read, self.may_end = count, 0, threading.Event(), threading.Event()

    def read(self):
        if self.number == self.count:
            self.all_read.set()
            self.may_end.wait(10)
            return False, None
        picture = np.full((2, 2, 3), self.number, np.uint8)
        self.number += 1
        return True, picture

    def release(self):
        pass


def test_a_slow_reader_gets_the_newest_picture_and_skips_the_rest(monkeypatch):
    film = FilmOf(9)
    monkeypatch.setattr(camera, "open_capture", lambda source: film)
    stream = newest_pictures(0)
    first, _ = next(stream)
    assert film.all_read.wait(10)
    film.may_end.set()
    rest = [(number, int(picture[0, 0, 0])) for number, picture in stream]
    assert (first < 8 and rest == [(8, 8)]) or (first == 8 and rest == [])


@pytest.fixture
def two_persons(monkeypatch):
    """A source of 30 pictures with two persons, whom the estimator lists in another order every time."""
    people = [motion("mediapipe33", 30, shift) for shift in (-0.7, 0.7)]
    poses = [
        [Pose(landmarks(places)[frame], pixels(places)[frame], np.ones(33)) for places in people] for frame in range(30)
    ]
    monkeypatch.setattr(camera, "video_facts", lambda source: (30.0, SIZE, 30))
    monkeypatch.setattr(camera, "pictures", lambda source: iter(np.zeros((30, 4, 4, 3), np.uint8)))
    return people, poses


def test_persons_keep_their_places(two_persons):
    _, poses = two_persons
    frame = iter(range(30))

    def estimator(picture, seconds):
        number = next(frame)
        found = poses[number][:: 1 if number % 2 else -1]
        return found[:1] if number == 12 else found  # one is not seen for a moment

    seen = list(Watcher("film.mp4", estimator, 2, live=False))
    for place in range(2):
        across = np.array([one.joints[place][:, 0].mean() for one in seen if one.joints[place] is not None])
        assert len(across) >= 29 and np.ptp(np.sign(across)) == 0
    assert {one.number for one in seen} == set(range(30))


def test_pictures_left_out_hold_nobody(two_persons, monkeypatch):
    _, poses = two_persons
    monkeypatch.setattr(camera, "newest_pictures", lambda *_: ((number, np.zeros((4, 4, 3))) for number in (0, 3)))
    seen = list(Watcher(0, lambda picture, seconds: poses[round(30 * seconds)], 2, live=True))
    assert [one.number for one in seen] == [0, 1, 2, 3]
    assert [one.joints[0] is None for one in seen] == [False, True, True, False]


def test_every_branch_gets_every_item():
    first, second = branches(iter(range(5)), 2)
    assert [next(first), next(first)] == [0, 1]
    assert list(second) == [0, 1, 2, 3, 4]
    assert list(first) == [2, 3, 4]
