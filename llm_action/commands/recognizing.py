"""Recognises many recordings, one after the other: a file that cannot be read stops nothing."""

from __future__ import annotations

import csv
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLUMNS = ("file", "person", "label", "score", "unfamiliar", "ranking", "warning", "error")


@dataclass
class Recognised:
    """What came of one recording.

    Attributes:
        file: as it was given, or found in a folder.
        ranking: `[{"label", "score"}]`, best first; empty if it could not be recognised.
        notes: what was inferred on the way.
        doubts: what may be wrong with the recording.
        error: why it could not be recognised.
        person: number of the person, where each is recognised alone.
    """

    file: str
    ranking: list[dict[str, Any]] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    error: str = ""
    person: int | None = None

    @property
    def name(self) -> str:
        return self.file if self.person is None else f"{self.file}, person {self.person}"

    @property
    def unfamiliar(self) -> bool:
        """Whether the motion is strange to the model."""
        return any(one.get("unfamiliar", False) for one in self.ranking)

    def to_dict(self) -> dict[str, Any]:
        """What is known, for a JSON file."""
        person = {} if self.person is None else {"person": self.person}
        if self.error:
            return {"file": self.file, **person, "error": self.error}
        return {"file": self.file, **person, "ranking": self.ranking, "notes": self.notes, "warnings": self.doubts}

    def row(self) -> dict[str, Any]:
        best = self.ranking[0] if self.ranking else {"label": "", "score": ""}
        return {
            "file": self.file,
            "person": "" if self.person is None else self.person,
            "label": best["label"],
            "score": best["score"],
            "unfamiliar": "yes" if self.unfamiliar else "",
            "ranking": json.dumps(self.ranking) if self.ranking else "",
            "warning": " ".join(self.doubts),
            "error": self.error,
        }


def files_of(paths: Iterable[str]) -> list[str]:
    """The recordings that paths name; for a folder that is not one recording itself, all that lie below it."""
    from llm_action.skeleton_io import is_recording_folder, recordings_in

    files: list[str] = []
    for path in paths:
        if Path(path).is_dir() and not is_recording_folder(Path(path)):
            found = recordings_in(path)
            if not found:
                raise FileNotFoundError(f"{path}: expected recordings in this folder, found none")
            files += map(str, found)
        else:
            files.append(path)
    return files


def recognise_each(
    files: Iterable[str], read: Callable[[str], Any], rank: Callable[[Any], list[Any]], each_person: bool = False
) -> Iterator[Recognised]:
    """Recognises files one by one; `read` makes a sequence of a file, `rank` a ranking of it, or one per person."""
    from llm_action.modeling.skeleton_recording import RecordingWarning
    from llm_action.modeling.skeleton_sequence import skeleton_of

    for file in files:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RecordingWarning)
            try:
                sequence = read(file)
                skeleton = skeleton_of(sequence)
                rankings, notes = rank(sequence), tuple(skeleton.notes if skeleton else ())
                if each_person:
                    found = [Recognised(file, one, notes, person=number) for number, one in enumerate(rankings)]
                else:
                    found = [Recognised(file, rankings, notes)]
            except (ValueError, OSError) as error:
                found = [Recognised(file, error=" ".join(str(error).split()))]
        doubts = [warning for warning in caught if issubclass(warning.category, RecordingWarning)]
        found[0].doubts = tuple(str(doubt.message) for doubt in doubts)
        yield from found


def print_result(found: Recognised, verbose: bool) -> None:
    """Prints a line on stdout, and doubts and errors on stderr."""
    for doubt in found.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    if found.error:
        print(f"error: {found.error}", file=sys.stderr, flush=True)
    else:
        strange = " (unfamiliar: none of these may be right)" if found.unfamiliar else ""
        names = ", ".join(f"{one['label']} {one['score']:.3f}" for one in found.ranking)
        print(f"{found.name}: {names}{strange}", flush=True)
        for note in found.notes if verbose else ():
            print(f"  {note}", flush=True)


def write_results(out: Path, files: list[str], recognise: Callable[[list[str]], Iterator[Recognised]]) -> list[str]:
    """Writes a row for each file into a CSV, as they come, with a progress bar.

    Files that an earlier run recognised are not recognised again; those that failed are tried again.

    Returns:
        The errors of all files that could not be recognised.
    """
    from llm_action.config.progress import ProgressBar

    done = [row for row in _rows(out) if row["file"] in set(files) and not row["error"]]
    unfinished = out.with_name(out.name + ".tmp")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(done)
    os.replace(unfinished, out)
    finished = {row["file"] for row in done}
    errors = []
    with out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        todo = [name for name in files if name not in finished]
        for found in ProgressBar(recognise(todo), total=len(files), initial=len(done), unit="file", disable=None):
            writer.writerow(found.row())
            file.flush()
            if found.error:
                errors.append(found.error)
    return errors


def _rows(out: Path) -> list[dict[str, str]]:
    if not out.is_file():
        return []
    from llm_action.config.reading import damaged

    with damaged(out, "change --out"), out.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{out}: expected results of llm-action recognize, found another file; change --out")
        # the last line of an interrupted run may be cut
        return [row for row in reader if row["error"] is not None]
