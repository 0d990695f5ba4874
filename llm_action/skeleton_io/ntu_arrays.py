"""NTU RGB+D converted for training (CTR-GCN and kin): a whole data set in one `.npz` or `.npy`.

- `.npz`: `x_train`, `x_test` (clips, frames, 150 = 2 bodies x 25 joints x 3) or (clips, 3, frames, 25, 2), and
  `y_train`, `y_test` one-hot or numbers.
- `.npy` (clips, 3, frames, 25, 2) with a pickle beside it, `(names, labels)`: `train_data_joint.npy` and
  `train_label.pkl`.

Metres, y up, 30 fps, zeros for absent bodies and padding frames; no scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .pickles import load_pickle

FPS = 30.0
NUM_JOINTS = 25


def is_ntu_array(array: np.ndarray) -> bool:
    """(clips, 3, frames, 25, persons)."""
    return array.ndim == 5 and array.shape[1] == 3 and array.shape[3] == NUM_JOINTS and array.shape[4] <= 2


def is_ntu_archive(arrays: Mapping[str, np.ndarray]) -> bool:
    parts = [array for name, array in arrays.items() if name.startswith("x_")]
    return bool(parts) and all(is_ntu_array(one) or (one.ndim == 3 and one.shape[2] in (75, 150)) for one in parts)


def ntu_clip(clip: np.ndarray, name: str = "") -> SkeletonRecording:
    """Layout ntu25, from (3, frames, 25, persons) or (frames, 75 a person)."""
    if clip.ndim == 2:
        joints = clip.reshape(len(clip), -1, NUM_JOINTS, 3).transpose(1, 0, 2, 3)
    else:
        joints = clip.transpose(3, 1, 2, 0)
    return SkeletonRecording(joints, "ntu25", up="y", unit="m", mirrored=False, fps=FPS, name=name)


def ntu_archive_clips(
    arrays: Mapping[str, np.ndarray],
) -> Iterator[tuple[SkeletonRecording, int | None, tuple[str, ...]]]:
    """Each clip of an archive with label and split."""
    for key in sorted(arrays, key=list(arrays).index):
        if key.startswith("x_"):
            split = key.removeprefix("x_")
            labels = arrays.get(f"y_{split}")
            for number, clip in enumerate(arrays[key]):
                label = None if labels is None else _label(labels[number])
                yield ntu_clip(clip, f"{split}_{number}"), label, (split,)


def ntu_array_clips(path: Path, array: np.ndarray) -> Iterator[tuple[SkeletonRecording, int | None, tuple[str, ...]]]:
    """Each clip of an array, with names and labels of the pickle beside it; the split is the file name's first word.

    Raises:
        ValueError: a pickle that is no names and labels, or of another number of clips.
    """
    split = path.stem.split("_")[0]
    beside = [path.with_name(f"{split}_label.pkl"), path.with_name(path.stem.replace("data", "label") + ".pkl")]
    found = next((label for label in beside if label.is_file()), None)
    names: list[Any] = [f"{path.stem}_{number}" for number in range(len(array))]
    labels: list[Any] | None = None
    if found is not None:
        content = load_pickle(found)
        if not (isinstance(content, (list, tuple)) and len(content) >= 2 and len(content[1]) == len(array)):
            raise ValueError(f"expected names and labels of {len(array)} clips in {found.name}, found something else")
        names, labels = [Path(str(name)).stem for name in content[0]], list(content[1])
    for number, clip in enumerate(array):
        label = None if labels is None else _label(labels[number])
        yield ntu_clip(np.array(clip), str(names[number])), label, (split,)


def _label(label: Any) -> int:
    label = np.asarray(label)
    return int(label) if label.ndim == 0 else int(label.argmax())
