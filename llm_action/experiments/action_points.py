"""How well a model finds the action points of long recordings that a CSV lists, see `datasets.folder`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from llm_action.config.progress import ProgressBar
from llm_action.datasets.folder import listed
from llm_action.evaluation.ledger import Origin, enter
from llm_action.evaluation.segments import Point, action_point_counts, f1
from llm_action.skeleton_io import read_skeleton

TOLERANCE = 1 / 3  # seconds (Fothergill et al., CHI 2012)


class Segmenting(Protocol):
    """What finds segments: the pipeline or a student."""

    def segment(self, recording: Any, *, views: int = 1) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Found:
    """Action points of one recording, or of all: right, wrong and missed."""

    recording: str
    right: int
    wrong: int
    missed: int

    @property
    def f1(self) -> float:
        return f1(self.right, self.wrong, self.missed)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "f1": round(self.f1, 4)}


def annotated_points(listing: str | Path, source: str | Path) -> dict[Path, list[Point]]:
    """The points of each recording of a CSV; where it has a column split, of those for testing alone.

    Args:
        listing: with the columns path, label and point.
        source: folder that paths are relative to.

    Raises:
        FileNotFoundError: no such CSV.
        ValueError: lines without points, or none for testing.
    """
    rows = listed(Path(source), Path(listing))
    if "point" not in rows[0]:
        raise ValueError(f"{listing}: expected a column point, the moment of each action in seconds, found none")
    if any(row["split"] for row in rows):
        rows = [row for row in rows if row["split"] == "test"]
    if not rows:
        raise ValueError(f"{listing}: expected lines whose split is test, found none")
    points: dict[Path, list[Point]] = {}
    for row in rows:
        points.setdefault(row["path"], []).append((row["point"], row["label"]))
    return points


def measure_action_points(
    recognize: Segmenting, points: dict[Path, list[Point]], tolerance: float = TOLERANCE, views: int = 1
) -> Iterator[Found]:
    """Counts of each recording; a point is right within so many seconds of one of its label."""
    for path, true in ProgressBar(points.items(), desc="segmenting", total=len(points)):
        found = [(row["peak"], row["label"]) for row in recognize.segment(read_skeleton(path), views=views)]
        yield Found(path.name, *action_point_counts(found, true, tolerance))


def in_all(counts: Sequence[Found]) -> Found:
    """The sums."""
    sums = (sum(getattr(one, name) for one in counts) for name in ("right", "wrong", "missed"))
    return Found(f"{len(counts)} recordings", *sums)


def enter_action_points(listing: str | Path, origin: Origin, total: Found, recordings: int) -> None:
    """A line in the ledger."""
    figures = {name: float(value) for name, value in total.to_dict().items() if name != "recording"}
    enter(origin, Path(listing).stem, "action points", recordings, figures)
