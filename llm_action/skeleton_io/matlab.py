"""MATLAB files of versions 5 to 7: the arrays of numbers in them, each element checked before it is read.

scipy.io reads more of the format; but a wrong kind of numbers, in a file that is damaged or meant badly, ends the
process that asks it.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import bad_file

_HEADER = 128  # bytes
_MATRIX, _PACKED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {
    **{1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "opaque"},
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"},
}
_COMPLEX = 0x800
_UNPACKED = 1 << 25  # bytes that a small file may unpack to
_REMEDY = "the file is likely cut short, damaged or of another format: fetch it again"


class _Damage(Exception):
    """What is found in the place of a MATLAB file."""


class _Element(NamedTuple):
    kind: int
    data: bytes


def load_mat(path: Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Reads variables of a MATLAB file.

    Args:
        names: those wanted, which have to be numbers; default all that are.

    Raises:
        ValueError: not a MATLAB file, a damaged one, or one that would unpack to far more than its size.
    """
    content = path.read_bytes()
    if content.startswith(b"MATLAB 7.3"):
        raise bad_file(path, "a MATLAB file of version 5 to 7", "one of version 7.3", "save it with save(..., '-v7')")
    found = {}
    try:
        if len(content) < _HEADER:
            raise _Damage("a file that ends too early")
        if content[126:128] not in (b"IM", b"MI"):
            raise _Damage("another beginning")
        order = "<" if content[126:128] == b"IM" else ">"
        room = max(_UNPACKED, 100 * len(content))
        for element in _elements(content[_HEADER:], order):
            if element.kind == _PACKED:
                element = _only(_elements(_unpacked(element.data, room), order))
            if element.kind == _MATRIX and element.data:
                name, value = _variable(element.data, order, names)
                if value is not None:
                    found[name] = value
    except _Damage as damage:
        raise bad_file(path, "a MATLAB file of numbers", str(damage), _REMEDY) from None
    return found


def _elements(data: bytes, order: str) -> Iterator[_Element]:
    """The elements that lie behind one another, of known kinds or not."""
    place = 0
    while place < len(data):
        if place + 8 > len(data):
            raise _Damage("a file that ends too early")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        small = kind >> 16  # bytes, of an element of four bytes or fewer, which stand in the place of its size
        start, size = (place + 4, small) if small else (place + 8, size)
        if start + size > len(data) or small > 4:
            raise _Damage("a file that ends too early")
        yield _Element(kind & 0xFFFF, data[start : start + size])
        place = place + 8 if small else start + size
        if kind != _PACKED and not small:
            place += -size % 8


def _only(elements: Iterator[_Element]) -> _Element:
    found = next(elements, None)
    if found is None:
        raise _Damage("packed data of nothing")
    return found


def _unpacked(data: bytes, room: int) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, room)
    except zlib.error:
        raise _Damage("packed data that cannot be unpacked") from None
    if unpacking.unconsumed_tail:
        raise _Damage(f"packed data of more than {room / 1e6:.0f} MB")
    return found


def _variable(data: bytes, order: str, names: Sequence[str] | None) -> tuple[str, np.ndarray | None]:
    """Name and numbers of a matrix; None of one that is not wanted, or not of numbers where none is named."""
    parts = _elements(data, order)
    flags, sizes, title = (_only(parts) for _ in range(3))
    name = title.data.decode("latin-1")
    if names is not None and name not in names:
        return name, None
    shape = tuple(_numbers(sizes, order).tolist())
    given = _numbers(flags, order)
    kind = _CLASSES.get(int(given[0]) & 0xFF) if len(given) else None
    if kind is None or len(shape) < 2 or min(shape) < 0:
        raise _Damage(f"{name!r} of no known kind")
    if kind not in _NUMBERS.values() or int(given[0]) & _COMPLEX:
        if names is not None:
            raise _Damage(f"{name!r} as {kind if kind not in _NUMBERS.values() else 'complex numbers'} {shape}")
        return name, None
    values = _numbers(_only(parts), order)
    if len(values) != math.prod(shape):
        raise _Damage(f"{len(values)} numbers in {name!r} of shape {shape}")
    return name, values.astype(kind).reshape(shape, order="F")


def _numbers(element: _Element, order: str) -> np.ndarray:
    if element.kind not in _NUMBERS:
        raise _Damage("numbers of no known kind")
    kind = np.dtype(order + _NUMBERS[element.kind])
    if len(element.data) % kind.itemsize:
        raise _Damage("half a number")
    return np.frombuffer(element.data, kind)
