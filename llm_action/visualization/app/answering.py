"""From what somebody put into the page to what the model says of it."""

from __future__ import annotations

import shutil
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.segmentation import each_person
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.skeleton_io import is_recording_folder

MOST_PERSONS = 4  # rows
_TOP = 5
_CATCHING = threading.Lock()  # Python catches warnings for all threads at once


@dataclass
class Row:
    """What one person does, or all of them together.

    Attributes:
        title: whom the row is about.
        sequence: their skeletons.
        ranking: `[{"label", "score"}]`, best first.
        sentence: the action sentence.
    """

    title: str
    sequence: SkeletonSequence
    ranking: list[dict[str, Any]]
    sentence: str

    @property
    def unfamiliar(self) -> bool:
        """Whether the model finds the motion unlike all it was trained on."""
        return any(entry.get("unfamiliar") for entry in self.ranking)


@dataclass
class Answer:
    """What the page shows of one recording.

    Attributes:
        name: of the recording.
        sequence: as it was read.
        rows: a row a person, after one of all together if there are several.
        names: that were to be chosen among; None: those trained on.
        doubts: why the recording may be another thing than it is taken for.
        notes: what was inferred of it.
    """

    name: str
    sequence: SkeletonSequence
    rows: list[Row]
    names: Any
    doubts: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.sequence.num_frames / (self.sequence.fps or 30.0)


def recognise(
    recognize: Any, files: Sequence[str], said: Mapping[str, Any], names: Any, states: KeptStates | None
) -> Answer:
    """Names the action of one recording, of all persons together and of each.

    Args:
        recognize: the pipeline.
        files: path of the recording, or of all files of one that is a folder.
        said: options of the reader: layout, up, unit ...
        names: candidate labels, as the pipeline takes them; None for those trained on.
        states: kept for candidates that were asked for before.

    Raises:
        ValueError, OSError: a recording that cannot be read, or names that cannot be chosen among.
    """
    with tempfile.TemporaryDirectory() as folder, _CATCHING, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordingWarning)
        sequence = recognize.processor.read(str(_recording(files, Path(folder))), **said)
        persons = _persons(sequence)
        options = {"top_k": _TOP, "states": states, **({} if names is None else {"candidate_labels": names})}
        rankings = recognize([person for _, person in persons], **options)
    doubts = tuple(dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, RecordingWarning)))
    rows = [
        Row(title, person, ranking, " ".join(recognize.processor.tokenize(person)))
        for (title, person), ranking in zip(persons, rankings, strict=True)
    ]
    notes = tuple(note for note in sequence.notes if not any(note in doubt for doubt in doubts))
    return Answer(Path(files[0]).name, sequence, rows, names, doubts, notes)


def _recording(files: Sequence[str], folder: Path) -> Path:
    """The path of one recording: the file, or a folder of all the files."""
    if len(files) == 1:
        return Path(files[0])
    for file in files:
        shutil.copy(file, folder)
    if not is_recording_folder(folder):
        raise ValueError(
            f"expected one recording, found {len(files)} files; give one at a time, or all files of one recording "
            "that has a file a frame (OpenPose, Ultralytics)"
        )
    return folder


def _persons(sequence: SkeletonSequence) -> list[tuple[str, SkeletonSequence]]:
    """All persons together, and each alone; of one person the sequence as it is."""
    each = each_person(sequence)
    if len(each) == 1:
        return [("Person 1", sequence)]
    titled = [(f"Person {number}", one) for number, one in enumerate(each[:MOST_PERSONS], 1)]
    together = "Both together" if len(each) == 2 else f"All {len(each)} together"
    return [(together, sequence), *titled]


def names_in(text: str) -> list[str] | dict[str, list[str]] | None:
    """Names to choose among, one a line, and what they mean: "bowing: bending forward; leaning down".

    Returns:
        None for an empty text, a list where no name has a description, else a mapping of names to descriptions.

    Raises:
        ValueError: a description without a name; the same name twice; one name alone.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and ":" not in lines[0]:
        lines = [name.strip() for name in lines[0].split(",") if name.strip()]  # as people type a list
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, meaning = (part.strip() for part in line.partition(":"))
        if not name or name in found:
            problem = f"{name!r} twice" if name else f"no name before the colon of {line!r}"
            raise ValueError(f"expected each name once, one a line, found {problem}; change that line")
        found[name] = [part.strip() for part in meaning.split(";") if part.strip()]
    if not found:
        return None
    if len(found) == 1:
        raise ValueError(f"expected names to choose among, found {next(iter(found))!r} alone; write a second one")
    if not any(found.values()):
        return list(found)
    return {name: meanings or [name] for name, meanings in found.items()}
