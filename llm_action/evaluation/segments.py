"""How well action points are found in long recordings."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, str]
"""Seconds and label of an action point."""


def action_point_counts(
    found: Sequence[Point], true: Sequence[Point], tolerance: float = 1 / 3
) -> tuple[int, int, int]:
    """Right, wrong and missed action points of one recording (Fothergill et al., CHI 2012).

    A point is right if a true one of its label lies within the tolerance (seconds); each true one counts once, for the
    nearest point found.
    """
    pairs = sorted(
        (abs(moment - point), number, other)
        for number, (moment, label) in enumerate(found)
        for other, (point, name) in enumerate(true)
        if name == label and abs(moment - point) <= tolerance
    )
    used_found, used_true = set[int](), set[int]()
    for _, number, other in pairs:
        if number not in used_found and other not in used_true:
            used_found.add(number)
            used_true.add(other)
    return len(used_found), len(found) - len(used_found), len(true) - len(used_true)


def f1(right: int, wrong: int, missed: int) -> float:
    """Harmonic mean of precision and recall; 0 where nothing is right."""
    return 2 * right / (2 * right + wrong + missed) if right else 0.0
