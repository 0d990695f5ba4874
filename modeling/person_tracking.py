"""Follows persons through a recording whose rows are not persons: a new row in each frame, rows that swap bodies."""

from __future__ import annotations

import numpy as np

from .plausibility import column_quantile


def track_persons(
    joints: np.ndarray, unit: float, scores: np.ndarray | None = None, gate: float = 2.0, loyalty: float = 0.5
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Rows that follow persons by position, where the recording's rows do not.

    Frame after frame the bodies seen are given to the nearest tracks, nearest pair first. A body stays in its row
    unless another track is nearer by `loyalty`.

    Args:
        joints: (persons, frames, joints, 2 or 3), NaN where missing.
        unit: torso length in the joints' unit.
        scores: (persons, frames, joints), which follow the joints.
        gate: torso lengths that a body may lie from where its track was last seen; grows with the frames between.
        loyalty: torso lengths.

    Returns:
        Joints (tracks, frames, joints, channels), the longest track first if rows changed; the scores, 0 where nobody
        is seen; and in how many frames bodies changed row.
    """
    joints = np.asarray(joints, np.float64)
    persons, frames = joints.shape[:2]
    present = ~np.isnan(joints[..., 0]).all(axis=2)
    if persons == 1 or not present.any() or _rows_are_persons(joints, present, loyalty * unit):
        return joints, scores, 0
    last: list[np.ndarray] = []  # of each track: its joints where last seen, frame of that, row of that
    when: list[int] = []
    rows: list[int] = []
    given = np.full((persons, frames), -1)
    changed = 0
    for frame in np.flatnonzero(present.any(axis=0)):
        here = np.flatnonzero(present[:, frame])
        costs = {
            (person, track): _apart(joints[person, frame], last[track]) / unit + loyalty * (rows[track] != person)
            for person in here
            for track in range(len(last))
        }
        free_persons, free_tracks = set(here.tolist()), set(range(len(last)))
        for (person, track), cost in sorted(costs.items(), key=lambda item: item[1]):
            allowed = gate * (1 + 0.1 * min(frame - when[track] - 1, 10)) + loyalty
            if person in free_persons and track in free_tracks and cost <= allowed:
                given[person, frame] = track
                changed += rows[track] != person
                free_persons.remove(person)
                free_tracks.remove(track)
        for person in sorted(free_persons):
            # a body far from where its row was: the row's own track goes on if nobody else took it
            own = [track for track in free_tracks if rows[track] == person]
            if own:
                free_tracks.remove(own[-1])
                given[person, frame] = own[-1]
            else:
                given[person, frame] = len(last)
                last.append(joints[person, frame])
                when.append(frame)
                rows.append(person)
        for person in here:
            track = given[person, frame]
            seen = ~np.isnan(joints[person, frame, :, 0])
            last[track] = np.where(seen[:, None], joints[person, frame], last[track])
            when[track], rows[track] = frame, person
    if not changed:
        return joints, scores, 0
    tracks = np.full((len(last), *joints.shape[1:]), np.nan)
    followed = np.zeros(tracks.shape[:3])
    for person, frame in zip(*np.nonzero(given >= 0)):
        tracks[given[person, frame], frame] = joints[person, frame]
        if scores is not None:
            followed[given[person, frame], frame] = scores[person, frame]
    order = np.argsort(-(~np.isnan(tracks[..., 0]).all(axis=2)).sum(axis=1), kind="stable")
    return tracks[order], None if scores is None else followed[order], int(changed)


def _rows_are_persons(joints: np.ndarray, present: np.ndarray, near: float) -> bool:
    """Whether all rows overlap in time, have no gaps, and hold bodies that go no further than `near` a frame."""
    rows = [np.flatnonzero(row) for row in present if row.any()]
    if any(len(row) != row[-1] - row[0] + 1 for row in rows) or max(r[0] for r in rows) > min(r[-1] for r in rows):
        return False
    for body, row in zip(joints[present.any(axis=1)], rows):
        steps = np.linalg.norm(np.diff(body[row], axis=0), axis=-1)
        if len(steps) and not (column_quantile(steps.T, 0.5) < near).all():
            return False
    return True


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Median distance of the joints that both have; far where they share none."""
    apart = np.linalg.norm(one - other, axis=-1)
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if len(apart) else np.inf
