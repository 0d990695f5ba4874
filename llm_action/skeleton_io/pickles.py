"""Pickles of arrays and plain containers, read without running what is in them.

A pickle runs code when it is loaded. `_ArrayUnpickler` knows the few names by which numpy arrays are pickled and puts
functions of this module in their place; a file that asks for anything else is refused before anything of it runs.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from .files import bad_file, check_unpacked


def load_pickle(path: Path) -> Any:
    """The content of a pickle, or of the only pickle in a zip, with arrays as numpy arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a pickle, or one with other things than arrays and containers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such pickle; check the path")
    try:
        with _opened(path) as file:
            content = _ArrayUnpickler(file).load()
            return _Plain(file.seek(0, io.SEEK_END)).of(content)
    except _ForbiddenError as error:
        remedy = "loading it could run code: save the arrays as .npz, or ask its author for plain arrays"
        raise bad_file(path, "a pickle of arrays and plain containers only", f"a use of {error}", remedy) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        remedy = "the file is likely cut short or no pickle: fetch it again"
        raise bad_file(path, "a pickle", f"{type(error).__name__}: {error}", remedy) from None


def _opened(path: Path) -> BinaryIO:
    if not zipfile.is_zipfile(path):
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]
        if len(names) != 1:
            raise ValueError(f"a zip with {len(names)} pickles")
        check_unpacked(archive, names)
        return io.BytesIO(archive.read(names[0]))


class _Plain:
    """Puts numpy arrays in place of those that stood for them.

    A pickle of a few hundred bytes can refer to its own lists so often that there are more of them than atoms: no more
    are followed than a pickle of that many bytes holds.
    """

    def __init__(self, size: int) -> None:
        self.left = 10 * size + 1000

    def of(self, content: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError("lists that hold each other over and over")
        if isinstance(content, _PickledArray):
            return content.array
        if isinstance(content, dict):
            return {key: self.of(value) for key, value in content.items()}
        if isinstance(content, (list, tuple)):
            return type(content)(self.of(value) for value in content)
        return content


class _ForbiddenError(Exception):
    """A pickle asks for something that is not on the short list."""


def _check_keys(keys: Iterable[Any]) -> None:
    """Refuses keys and members of sets that hold others, whose hash may take for ever."""
    for key in keys:
        if not isinstance(key, (str, bytes, int, float, np.generic, type(None))):
            raise _ForbiddenError(f"a {type(key).__name__} as a key")


def _set(members: Iterable[Any] = ()) -> set[Any]:
    """Stands for `set` and `frozenset`."""
    _check_keys(members := list(members))
    return set(members)


def _bytearray(content: Any = b"", encoding: str = "latin1") -> bytes:
    """Stands for `bytearray`, which of a number would make that many bytes."""
    return _latin1_bytes(content, encoding) if isinstance(content, str) else bytes(memoryview(content))


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, which old pickles call to hold bytes; no other encoding is needed."""
    if encoding not in ("latin1", "latin-1"):
        raise _ForbiddenError(f"the encoding {encoding!r}")
    return text.encode("latin1")


class _PickledDtype:
    """Stands for `numpy.dtype`: numbers and text only, and of its state only the byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or np.dtype(code).kind not in "biufSU":
            raise _ForbiddenError(f"an array of {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _PickledArray:
    """Stands for the empty array that a pickle makes and then fills."""

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, pickled, fortran, data = state
        self.array = np.frombuffer(data, pickled.dtype).reshape(shape, order="F" if fortran else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype)


def _scalar(pickled: _PickledDtype, data: bytes) -> np.generic:
    """Stands for numpy's `scalar`."""
    return np.frombuffer(data, pickled.dtype)[0]


def _array_from_buffer(
    data: bytes, pickled: _PickledDtype, shape: tuple[int, ...], order: Any, axis_order: tuple | None = None
) -> np.ndarray:
    """Stands for numpy's `_frombuffer`, by which protocol 5 holds arrays; order K adds a permutation of the axes."""
    array = np.frombuffer(data, pickled.dtype)
    if order == "K" and axis_order is not None:
        return array.reshape(shape).transpose(axis_order)
    return array.reshape(shape, order=order)


class _ArrayUnpickler(pickle._Unpickler):
    """Unpickles numpy arrays and scalars, dict, list, tuple, set, str, bytes and numbers; refuses all else.

    The unpickler written in Python: the other one reserves as much memory as ten bytes ask for.
    """

    _allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): None,  # only named as an argument, never called
        ("numpy", "dtype"): _PickledDtype,
        ("_codecs", "encode"): _latin1_bytes,
        ("collections", "OrderedDict"): dict,
    }
    for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
        _allowed[f"{_core}.multiarray", "_reconstruct"] = _PickledArray
        _allowed[f"{_core}.multiarray", "scalar"] = _scalar
        _allowed[f"{_core}.numeric", "_frombuffer"] = _array_from_buffer
    for _builtins in ("__builtin__", "builtins"):  # protocols 0 to 2, later ones
        _allowed |= {
            (_builtins, "set"): _set,
            (_builtins, "frozenset"): _set,
            (_builtins, "bytearray"): _bytearray,
        }

    stack: list[Any]
    load_setitem: Any
    load_setitems: Any
    load_dict: Any
    load_additems: Any
    load_frozenset: Any

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise _ForbiddenError(f"{module}.{name}")
        return self._allowed[module, name]

    def _one_item(self) -> None:
        _check_keys(self.stack[-2:-1])
        self.load_setitem()

    def _items(self) -> None:
        _check_keys(self.stack[::2])
        self.load_setitems()

    def _dict(self) -> None:
        _check_keys(self.stack[::2])
        self.load_dict()

    def _members(self) -> None:
        _check_keys(self.stack)
        self.load_additems()

    def _frozen(self) -> None:
        _check_keys(self.stack)
        self.load_frozenset()

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.SETITEM[0]: _one_item,
        pickle.SETITEMS[0]: _items,
        pickle.DICT[0]: _dict,
        pickle.ADDITEMS[0]: _members,
        pickle.FROZENSET[0]: _frozen,
    }
