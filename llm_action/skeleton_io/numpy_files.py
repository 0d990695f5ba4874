"""`.npy` and `.npz` arrays: the way in for any other skeleton source, and the way out of this package.

An array alone says nothing of its layout, unit and axes: what is not said with options is left open in the recording.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.recording_conventions import MOST_PERSONS
from llm_action.modeling.skeleton_layouts import get_layout, own_layout
from llm_action.modeling.skeleton_recording import CONVENTIONS, SkeletonRecording, recording_from_array
from llm_action.modeling.skeleton_sequence import SkeletonSequence

from .files import bad_file, check_unpacked
from .named_skeletons import NAMES, RATES, joint_by_joint, named_array
from .ntu_arrays import is_ntu_archive, is_ntu_array, ntu_clip
from .options import ReadOptions


def read_array(array: np.ndarray, options: ReadOptions, **known: Any) -> SkeletonRecording:
    """An array of joints, see `recording_from_array`; a whole set of clips is refused (`read_clips` reads those).

    Raises:
        ValueError: no numbers, or a shape that fits no layout.
    """
    if is_ntu_array(array) and options.axes is None:
        if len(array) == 1:
            return ntu_clip(array[0])
        raise ValueError(f"expected one recording, found {len(array)} clips; read them with read_clips(path)")
    layout, axes = known.pop("layout", None), known.pop("axes", None)
    return recording_from_array(array, options.layout or layout, options.axes or axes, **known)


def read_archive(arrays: dict[str, np.ndarray], options: ReadOptions) -> SkeletonRecording:
    """The arrays of an `.npz`: `joints` (as in `read_array`), and whatever else a mapping may say (`CONVENTIONS` ...).

    Other names of joints that are usual count, too, and a list of names beside them says which joints they are.

    Raises:
        ValueError: no joints, another format's archive, or contents that do not fit each other.
    """
    if is_ntu_archive(arrays):
        raise ValueError("expected one recording, found a whole data set (x_train ...); read it with read_clips(path)")
    joints = next((arrays[name] for name in _JOINTS if _is_joints(name, arrays)), None)
    if joints is None and (each := joint_by_joint(arrays)) is not None:
        arrays = {**arrays, "joint_names": np.array(each[0])}
        joints = each[1]
    if joints is None:
        found = ", ".join(arrays) or "nothing"
        remedy = next((remedy for keys, remedy in _OTHER_ARCHIVES if keys & arrays.keys()), None)
        remedy = remedy or "save with np.savez(path, joints=...)"
        raise ValueError(f"expected an array named 'joints', found {found}; {remedy}")
    layout = str(arrays["layout"]) if "layout" in arrays else None
    if layout is not None:  # a layout of one's own is kept whole
        layout = get_layout(json.loads(layout) if layout.startswith("{") else layout).name
    if options.layout is not None and layout not in (None, options.layout):
        raise ValueError(f"expected layout {options.layout!r}, found layout {layout!r} in the file; leave layout out")
    rate = next((arrays[name] for name in RATES if name in arrays), None)
    if rate is not None and (rate.size != 1 or not np.issubdtype(rate.dtype, np.number)):
        found = f"{rate.dtype} {rate.shape}"
        raise ValueError(f"expected one number as 'fps', found {found}; save a number or leave it out")
    fps = None if rate is None else float(rate.reshape(()))
    said = {name: arrays[name].tolist() for name in CONVENTIONS if name in arrays and arrays[name].size <= 2}
    names = next((list(map(str, arrays[name])) for name in NAMES if _are_names(name, arrays, joints)), None)
    if names is not None and layout is None and options.layout is None:
        recording = named_array(names, joints, options, arrays.get("scores"))
        for name, value in {**said, "fps": fps}.items():
            if name != "axes" and value is not None:
                setattr(recording, name, value)
        return recording
    axes = said.pop("axes", None)
    if axes is None and layout is not None and _is_our_own(joints, get_layout(layout).num_joints):
        axes = "MTVC"[-joints.ndim :]
    return read_array(joints, options, layout=layout, axes=axes, fps=fps, scores=arrays.get("scores"), **said)


_JOINTS = (
    "joints", "keypoints_3d", "joints_3d", "joints3d", "keypoints3d", "keypoints", "skeleton", "skeletons", "positions",
    "poses", "pose", "xyz", "kpts", "data", "arr_0",
)  # fmt: skip


def _is_joints(name: str, arrays: dict[str, np.ndarray]) -> bool:
    """`joints` whatever they are; of other names arrays of numbers, a few for each joint."""
    array = arrays.get(name)
    if array is None or name == "joints":
        return array is not None
    return array.ndim >= 3 and np.issubdtype(array.dtype, np.number)


def _are_names(name: str, arrays: dict[str, np.ndarray], joints: np.ndarray) -> bool:
    """Whether an array holds a text for each joint."""
    array = arrays.get(name)
    return array is not None and array.dtype.kind in "US" and array.shape == joints.shape[-2:-1]


def _is_our_own(joints: np.ndarray, num_joints: int) -> bool:
    """Whether axes are those of the package's own files; so many persons as no scene has are recordings."""
    if joints.shape[-2:-1] != (num_joints,):
        return False
    return joints.ndim == 3 or (joints.ndim == 4 and len(joints) <= MOST_PERSONS)


_OTHER_ARCHIVES = (
    (
        {"poses", "pose_body", "trans", "betas"},
        "these are pose parameters of a body model (AMASS, SMPL): turn them into joints with the smplx package "
        "(z points up, 60 to 120 fps) and save those with layout='smpl22'",
    ),
    (
        {"positions_3d", "positions_2d"},
        "this is VideoPose3D's archive of pickled data sets: save each recording's array of 17 joints with np.save and "
        "read it with layout='human36m17'",
    ),
)


def write_npz(sequence: SkeletonSequence, path: str | os.PathLike[str]) -> None:
    """Write a sequence as a compressed `.npz` that `read_skeleton` reads back; it appears whole or not at all.

    A layout of one's own is kept whole, so that another process can read it.

    Raises:
        ValueError: the path does not end in `.npz`.
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: expected a path ending in .npz, found {path.suffix!r}; change the suffix")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: folder {path.parent} does not exist; create it first")
    own = own_layout(sequence.layout)
    layout = sequence.layout if own is None else json.dumps(own)
    up = "y" if sequence.joints.shape[-1] == 3 else "-y"
    said = {"layout": layout, "axes": "MTVC", "up": up}
    arrays: dict[str, Any] = {"joints": sequence.joints, **{name: np.array(text) for name, text in said.items()}}
    if sequence.fps is not None:
        arrays["fps"] = np.array(sequence.fps)
    if sequence.scores is not None:
        arrays["scores"] = sequence.scores
    handle, unfinished = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def load_numpy(path: Path, lazily: bool = False) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a `.npy`, or the arrays of a `.npz` by name; never unpickles.

    Args:
        lazily: leave a `.npy` on disk until parts of it are asked for.
    """
    try:
        content = np.load(path, allow_pickle=False, mmap_mode="r")  # which finds a header that the data do not fill
        if isinstance(content, np.ndarray):
            if content.dtype.kind not in "biufc":
                raise ValueError(f"{content.dtype} of shape {content.shape}")
            return content if lazily else np.array(content)
        with content:
            names = content.files
            if _OTHER_ARCHIVES[1][0] & set(names):
                raise ValueError(f"{', '.join(names)}; {_OTHER_ARCHIVES[1][1]}")
            check_unpacked(content.zip, content.zip.namelist())
            return {name: content[name] for name in names}
    except Exception as error:  # numpy, zipfile and zlib each have their own
        remedy = "save plain numbers with np.save or np.savez; pickled objects are not read"
        found = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise bad_file(path, "arrays saved by numpy", found, remedy) from None
