"""The text of a table as header and rows of cells, whatever a program wrote above them.

Motion-capture programs begin with lines about the take (OptiTrack, Qualisys, Vicon, OpenSim's TRC) and name joints,
axes and units in rows of their own: one header is made of them, `Hips_x`. Numbers stand at the end of a table, so it is
read from there: the commonest number of cells is the table's width, and its rows begin where the first one is numbers.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .files import bad_file, plain_rows
from .joint_names import standard_joint

_CUT_SHORT = "the file is likely cut short or damaged: fetch it again"
_UNITS = {
    "mm": "mm", "millimeters": "mm", "millimetres": "mm", "millimeter": "mm", "cm": "cm", "centimeters": "cm",
    "centimetres": "cm", "m": "m", "meters": "m", "metres": "m", "meter": "m", "in": "in", "inches": "in",
}  # fmt: skip
_UNIT = re.compile(rf"[\s_]*[\[(]({'|'.join(_UNITS)}|s|ms|sec|seconds)[\])]$", re.IGNORECASE)
_RATE = re.compile(r"(?:rate|frequency|fps)\W{1,4}(\d+(?:\.\d+)?)", re.IGNORECASE)
_AXIS_CELL = re.compile(r"([XYZxyz])\d*")
_VECTOR = re.compile(r"[(\[]\s*[-+.\d]")
_VECTOR_NAME, _TURN = re.compile(r"[ _.]?pos(?:ition)?$", re.IGNORECASE), re.compile(r"rot|quat", re.IGNORECASE)
_MISSING = {"", "nan", "null", "none", "na", "n/a", "#n/a", "-", "--"}
_NO_PLACE = re.compile(r"rot(?:ation)?|quat\w*|mean marker error", re.IGNORECASE)


@dataclass
class TableText:
    """A table as written.

    Attributes:
        header: names of the columns; None where there are none.
        rows: (rows, columns) numbers where there is nothing else, else cells.
        unit: of lengths, where a header or a line above it says so: "mm", "cm", "m" or "in".
        fps: frames a second, where a line above the header says so.
    """

    header: list[str] | None
    rows: np.ndarray | list[list[str]]
    unit: str | None = None
    fps: float | None = None

    @property
    def cells(self) -> list[list[str]]:
        """The rows as cells."""
        return [list(map(str, row)) for row in self.rows] if isinstance(self.rows, np.ndarray) else self.rows


def table_text(path: Path, text: str, plain: bool = True) -> TableText:
    """Parts a text.

    Args:
        plain: whether rows of nothing but numbers are given as such.

    Raises:
        ValueError: no lines, or rows of different lengths.
    """
    table = (_plain(text) if plain else None) or _split(path, text)
    if table.header is not None:
        units = {_UNITS.get(match[1].lower()) for name in table.header if (match := _UNIT.search(name))} - {None}
        table.unit = units.pop() if len(units) == 1 else table.unit
        table.header = [_UNIT.sub("", name) for name in table.header]
    return table


def numbers_of(path: Path, cells: Sequence[Sequence[str]]) -> np.ndarray:
    """(rows, columns) float64, NaN for empty cells and those that say so (null, None, n/a, - ...).

    Raises:
        ValueError: no rows, or cells that are no numbers.
    """
    if not cells:
        raise bad_file(path, "rows of numbers", "none", _CUT_SHORT)
    try:
        return np.array([[np.nan if cell.lower() in _MISSING else float(cell) for cell in row] for row in cells])
    except ValueError as error:
        remedy = f"{_CUT_SHORT}, or say what its columns are with columns="
        raise bad_file(path, "a table of numbers", str(error), remedy) from None


def is_number(cell: str) -> bool:
    """Whether a cell is a number, or says that there is none."""
    try:
        float(cell)
    except ValueError:
        return cell.lower() in _MISSING
    return True


def _plain(text: str) -> TableText | None:
    """A text of nothing but numbers below one header or none; None of any other."""
    first, _, below = text.lstrip().partition("\n")
    if not first:
        return None
    cells = _cells(first, _mark(first))
    header = None if _is_data(cells) else cells
    rows = plain_rows(text if header is None else below, _mark(first) or " ")
    if rows is not None and header is not None and len(header) != rows.shape[1]:
        return None
    if rows is not None or header is not None:
        return None if rows is None else TableText(header, rows)
    lines = [line for line in text.splitlines() if line.strip()]
    mark = next((mark for mark in (",", "\t") if mark in first), None)
    try:  # which knows several spaces in a row
        return TableText(None, np.loadtxt(lines, delimiter=mark, comments=None, ndmin=2))
    except ValueError:
        return None


def _split(path: Path, text: str) -> TableText:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise bad_file(path, "a table of numbers", "no lines", _CUT_SHORT)
    mark = _mark(lines[len(lines) // 2])
    rows = [_cells(line, mark) for line in lines]
    if mark != "," and "," in text:  # decimal commas
        rows = [[cell.replace(",", ".") if is_number(cell.replace(",", ".")) else cell for cell in row] for row in rows]
    if any(map(_VECTOR.match, rows[len(rows) // 2])):
        rows = _without_vectors(rows)
    width = Counter(map(len, rows)).most_common(1)[0][0]
    first = next((number for number, row in enumerate(rows) if len(row) == width and _is_data(row)), 1)
    above, rows = rows[:first], [row for row in rows[first:] if _has_numbers(row)]
    if width > 1 and {row[-1] for row in rows if len(row) == width} == {""}:  # a mark at the end of each line
        width -= 1
        rows = [row[:-1] if len(row) > width and row[-1] == "" else row for row in rows]
    header = _header(above, width)
    if header is None and any(_is_data(row) for row in above):  # rows, of which one is cut short
        above, rows = [], above + rows
    uneven = next((number for number, row in enumerate(rows) if len(row) != width), None)
    if uneven is not None:
        found = f"{len(rows[uneven])} in row {len(above) + uneven + 1}"
        raise bad_file(path, f"{width} columns in every row", found, _CUT_SHORT)
    said = " \n".join(" ".join(row) for row in above)
    rate = _RATE.search(said)
    return TableText(header, rows, _unit_above(above), float(rate[1]) if rate else None)


def _without_vectors(rows: list[list[str]]) -> list[list[str]]:
    """Cells like "(0.1, 0.2, 0.3)", parted by commas or not, as three; their columns' names get axes."""
    parted = [_parted(row) for row in rows]
    counts = [len(group) for group in parted[len(rows) // 2]]
    header = next((row for row in rows if len(row) == len(counts) and not any(map(_VECTOR.match, row))), None)
    named = [_axes_of(name, count) for name, count in zip(header or (), counts, strict=False)]
    grouped = (named if row is header else groups for row, groups in zip(rows, parted, strict=True))
    return [list(itertools.chain(*groups)) for groups in grouped]


def _axes_of(name: str, count: int) -> list[str]:
    """Names of the columns of a cell with so many numbers; "_" of those of a turn."""
    if count == 1:
        return [name]
    if count > 3 or _TURN.search(name):
        return ["_"] * count
    return [f"{_VECTOR_NAME.sub('', name)}_{axis}" for axis in "xyz"[:count]]


def _parted(row: list[str]) -> list[list[str]]:
    """The cells of a row in groups: those of a vector together, without brackets."""
    groups: list[list[str]] = []
    inside = False
    for cell in row:
        numbers = [part for part in re.split(r"[,;\s]+", cell.strip("()[] ")) if part]
        if inside:
            groups[-1] += numbers
        else:
            groups.append(numbers if _VECTOR.match(cell) else [cell])
        inside = (inside or bool(_VECTOR.match(cell))) and not cell.endswith((")", "]"))
    return groups


def _mark(line: str) -> str | None:
    """What parts the cells of a line; None: spaces."""
    return next((mark for mark in (";", "\t", ",", "|") if mark in line), None)


def _cells(line: str, mark: str | None) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=mark))] if mark else line.split()


def _is_data(row: Sequence[str]) -> bool:
    """Whether a row is no header: half of its cells or more are numbers, and one has something in it."""
    return any(row) and sum(map(is_number, row)) >= max(1, 0.5 * len(row)) and any(map(_is_filled_number, row))


def _has_numbers(row: Sequence[str]) -> bool:
    """Whether a row is no remark below the rows, nor a header once more; an empty one shows nobody."""
    return not any(row) or any(map(_is_filled_number, row))


def _is_filled_number(cell: str) -> bool:
    return bool(cell) and is_number(cell)


def _header(above: Sequence[list[str]], width: int) -> list[str] | None:
    """One name a column from the lines above the rows; None where there are none."""
    for row in above:
        if row[0].upper() == "MARKER_NAMES":
            return _of_markers([name for name in row[1:] if name], width)
    tall = [(row + [""] * width)[:width] for row in above if width - 2 <= len(row) <= width + 2 and not _is_data(row)]
    if len(tall) < 2:
        return tall[0] if tall else None
    axes = next((row for row in reversed(tall) if 2 * sum(map(_is_axis, row)) >= width), None)
    if axes is None:
        return tall[-1]
    named = max((_carried_on(row) for row in tall if row is not axes), key=_joints_named)
    return [_column_name(*column) for column in zip(named, axes, *tall, strict=True)]


def _column_name(joint: str, axis: str, *column: str) -> str:
    if any(map(_NO_PLACE.fullmatch, column)):
        return "_"
    if match := _AXIS_CELL.fullmatch(axis):
        return f"{joint}_{match[1]}"
    return next((cell for cell in reversed(column) if cell), "_")


def _is_axis(cell: str) -> bool:
    return bool(_AXIS_CELL.fullmatch(cell))


def _carried_on(row: Sequence[str]) -> list[str]:
    """A name above the first of its columns stands for the empty ones behind it."""
    return list(_names_so_far(row))


def _names_so_far(row: Sequence[str]) -> Iterator[str]:
    last = ""
    for cell in row:
        last = cell or last
        yield last


def _joints_named(row: Sequence[str]) -> tuple[int, int]:
    names = {cell for cell in row if cell and not _is_axis(cell)}
    return sum(standard_joint(name) is not None for name in names), len(names)


def _of_markers(names: Sequence[str], width: int) -> list[str] | None:
    """Qualisys: names of markers alone, behind a frame and a time column or not."""
    lead = width - 3 * len(names)
    if lead not in (0, 1, 2):
        return None
    return [*["frame", "time"][:lead], *(f"{name}_{axis}" for name in names for axis in "xyz")]


def _unit_above(above: Sequence[Sequence[str]]) -> str | None:
    """The unit that a row of units, or a line with the word, says."""
    found = set()
    for number, row in enumerate(above):
        filled = [cell.lower() for cell in row if cell]
        said = [_UNITS[cell] for cell in filled if cell in _UNITS]
        of_units = bool(said) and len(said) == len(filled)
        words = " ".join(" ".join(line) for line in above[max(0, number - 1) : number + 1]).lower()
        if said and (of_units or "unit" in words):
            found |= set(said)
    return found.pop() if len(found) == 1 else None
