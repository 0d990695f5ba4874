"""pyskl / mmaction2 pickles, the interchange format of the field: a dict of `split` and `annotations`.

A pickle runs code when it is loaded. `_ArrayUnpickler` knows the few names by which numpy arrays are pickled and puts
functions of this module in their place; a file that asks for anything else is refused before anything of it runs.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, build_sequence, layout_for, zeros_to_nan


def read_pyskl(
    path: Path, layout: str | None = None
) -> tuple[dict[str, list[str]], list[tuple[SkeletonSequence, int]]]:
    """Read all annotations of a pyskl pickle.

    Args:
        path: pickle of {"split": {name: [frame_dir]}, "annotations": [{"frame_dir", "label", "keypoint", ...}]}.
        layout: layout of the keypoints; may be left out when only one layout has that joint count.

    Returns:
        Splits (name -> sample names) and one (sequence, label) an annotation. Sequences hold `keypoint` (persons,
        frames, joints, 2 or 3) as it is, all-zero joints as NaN (that format's padding), persons never seen left out,
        `keypoint_score` as scores and `frame_dir` as name; fps is not known.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a pickle, a pickle with other things than arrays and containers, or a damaged annotation.
    """
    path = Path(path)
    content = _unpickle(path)
    if not (
        isinstance(content, dict)
        and isinstance(content.get("annotations"), list)
        and isinstance(content.get("split", {}), dict)
    ):
        found = f"keys {list(content)[:5]}" if isinstance(content, dict) else type(content).__name__
        raise bad_file(path, "a dict with 'split' and 'annotations'", found, "export it in pyskl's format")
    splits = {}
    for name, samples in content.get("split", {}).items():
        samples = samples.array if isinstance(samples, _PickledArray) else samples
        splits[str(name)] = [str(sample) for sample in samples]
    annotations = enumerate(content["annotations"])
    return splits, [_read_annotation(path, index, annotation, layout) for index, annotation in annotations]


def read_single_pyskl(path: Path, layout: str | None = None) -> SkeletonSequence:
    """The sequence of a pickle that holds one annotation; ValueError when it holds none or several."""
    _, samples = read_pyskl(path, layout)
    if len(samples) != 1:
        remedy = "read them all with llm_action.skeleton_io.read_pyskl(path)"
        raise bad_file(path, "one annotation", f"{len(samples)}", remedy)
    return samples[0][0]


def _read_annotation(path: Path, index: int, annotation: Any, layout: str | None) -> tuple[SkeletonSequence, int]:
    where = Path(f"{path} (annotation {index})")
    try:
        name = str(annotation["frame_dir"])
        label = int(np.asarray(annotation["label"]))
        keypoint = np.asarray(annotation["keypoint"], dtype=np.float32)
        scores = annotation.get("keypoint_score")
        scores = None if scores is None else np.asarray(scores, dtype=np.float32)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        expected = "'frame_dir', 'label' and 'keypoint' (persons, frames, joints, channels)"
        raise bad_file(where, expected, f"{type(error).__name__}: {error}", "export it in pyskl's format") from None
    if keypoint.ndim != 4:
        expected = "'keypoint' of shape (persons, frames, joints, channels)"
        raise bad_file(where, expected, f"{keypoint.shape}", "export it in pyskl's format")
    joints = zeros_to_nan(keypoint)
    seen = ~np.isnan(joints).all(axis=(1, 2, 3))
    if seen.any() and (scores is None or scores.shape == keypoint.shape[:3]):
        joints, scores = joints[seen], None if scores is None else scores[seen]
    layout = layout_for(where, joints.shape[2], layout)
    return build_sequence(where, joints, layout, scores=scores, name=name), label


def _unpickle(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such pickle; check the path")
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file).load()
    except _ForbiddenError as error:
        remedy = "loading it could run code: save the arrays as .npz, or ask its author for plain arrays"
        raise bad_file(path, "a pickle of arrays and plain containers only", f"a use of {error}", remedy) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        remedy = "the file is likely cut short or no pickle: fetch it again"
        raise bad_file(path, "a pickle", f"{type(error).__name__}: {error}", remedy) from None


class _ForbiddenError(Exception):
    """A pickle asks for something that is not on the short list."""


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


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and scalars, dict, list, tuple, set, str, bytes and numbers; refuses all else."""

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
        for _container in (set, frozenset, bytearray):
            _allowed[_builtins, _container.__name__] = _container

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise _ForbiddenError(f"{module}.{name}")
        return self._allowed[module, name]
