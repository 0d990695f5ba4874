"""Which format a file is of: told by what is in it; its suffix helps only where the content says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llm_action.config.reading import UTF16_MARKS
from llm_action.modeling.skeleton_recording import SkeletonRecording

from .azure_kinect import is_azure_kinect, read_azure_kinect
from .bvh import is_bvh, read_bvh
from .coco_results import is_coco_results, is_mmpose, read_coco_results, read_mmpose
from .files import bad_file, naming, parse_json, read_text
from .kinetics_skeleton import is_kinetics_skeleton, kinetics_label, read_kinetics_skeleton
from .matlab import load_mat
from .mediapipe_files import is_mediapipe, read_mediapipe
from .named_json import is_named_json, read_named_json
from .ntu import read_ntu
from .ntu_arrays import is_ntu_archive, is_ntu_array, ntu_archive_clips, ntu_array_clips
from .numpy_files import load_numpy, read_archive, read_array
from .nw_ucla import read_nw_ucla
from .openpose import is_openpose, is_openpose_folder, read_openpose, read_openpose_folder
from .options import ReadOptions
from .pickles import load_pickle
from .pyskl import is_pyskl, pyskl_clips
from .smarthome import read_smarthome
from .tables import read_table
from .ultralytics import is_ultralytics, is_ultralytics_folder, read_ultralytics, read_ultralytics_folder
from .utd_mhad import read_utd_mhad
from .video import VIDEO_SUFFIXES, is_video, read_video

SKELETON_SUFFIXES = (
    ".skeleton", ".txt", ".csv", ".tsv", ".trc", ".mat", ".json", ".jsonl", ".npy", ".npz", ".pkl", ".pickle", ".bvh",
    *VIDEO_SUFFIXES,
)  # fmt: skip
Found = tuple[SkeletonRecording | ValueError, int | str | None, tuple[str, ...]]

# JSON families, the first whose content it is reads it.
_JSON: tuple[tuple[Callable[[Any], bool], Callable[[Any, ReadOptions], SkeletonRecording]], ...] = (
    (
        lambda content: isinstance(content, dict) and "skeletons" in content,
        lambda content, options: read_nw_ucla(content),
    ),
    (is_azure_kinect, read_azure_kinect),
    (is_kinetics_skeleton, read_kinetics_skeleton),
    (is_openpose, read_openpose),
    (is_coco_results, read_coco_results),
    (is_mmpose, read_mmpose),
    (is_ultralytics, read_ultralytics),
    (is_mediapipe, read_mediapipe),
    (is_named_json, read_named_json),
    (
        lambda content: isinstance(content, dict) and "frames" in content,
        lambda content, options: read_smarthome(content),
    ),
)
_JSON_NAMES = (
    "'skeletons' (NW-UCLA), 'frames' (Toyota Smarthome, Azure Kinect), 'people' (OpenPose), 'data' "
    "(Kinetics-Skeleton), COCO results (MMPose, AlphaPose, Detectron2), MMPose instances, Ultralytics results, "
    "MediaPipe landmarks, or joints by name frame by frame"
)
# First bytes of files that are not read, and the way on.
_FOREIGN = (
    (b"Kaydara FBX", "an FBX animation", "export it as BVH (in Blender: File, Export, Motion Capture)"),
    (
        b"\x89HDF",
        "an HDF5 file",
        "open it with h5py (MATLAB 7.3 files, too) and save the joints as .npz (np.savez(path, joints=...))",
    ),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"version https://git-lfs", "a pointer of Git LFS in the file's place", "fetch the file itself with git lfs pull"),
    (b"<!DOCTYPE html", "a page of the web", "the download went wrong: fetch the file itself"),
    (b"<html", "a page of the web", "the download went wrong: fetch the file itself"),
    (b"<?xml", "an XML file", "save the joints as csv with columns like left_wrist_x, or export them as BVH"),
)
_FOREIGN_SUFFIXES = {
    ".c3d": ("C3D markers", "markers on the skin are no joints: read them with ezc3d or c3d, take the joints' places "
             "from them (most motion-capture programs export BVH) and save those as .npz (np.savez(path, joints=...))"),
    ".fbx": ("an FBX animation", "export it as BVH (in Blender: File, Export, Motion Capture)"),
    ".pt": ("a file of torch's, which is a pickle", "save the joints with np.save(path, joints.numpy())"),
    ".pth": ("a file of torch's, which is a pickle", "save the joints with np.save(path, joints.numpy())"),
    ".safetensors": ("tensors by name", "save the joints with np.save(path, joints)"),
    ".xlsx": ("an Excel workbook", "save the sheet as csv"),
    ".parquet": ("a Parquet table", "save it as csv (pandas.read_parquet(path).to_csv(...))"),
}  # fmt: skip
_BINARY_SUFFIXES = {".npy": "arrays saved by numpy", ".npz": "arrays saved by numpy", ".mat": "a MATLAB file",
                    ".pkl": "a pickle", ".pickle": "a pickle"}  # fmt: skip


def is_recording_folder(folder: Path) -> bool:
    """Whether a folder is one recording: a file a frame."""
    return is_openpose_folder(folder) or is_ultralytics_folder(folder)


def recording(path: Path, options: ReadOptions) -> SkeletonRecording:
    """The one recording of a file or folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file of no known format, a damaged one, or several recordings in it.
    """
    kind = _kind(path)
    read = _READERS[kind](path, options)
    for name, counts in {"axes": read.axes == options.axes, "columns": kind == "text"}.items():
        if (said := getattr(options, name)) is not None and not counts:
            read.doubts.append(f"{name}={said} counts for nothing: the format of this file says what is what.")
    return read


def is_video_file(path: Path) -> bool:
    """Whether a file is a video.

    Raises:
        FileNotFoundError, ValueError: as `recording`.
    """
    return _kind(path) == "video"


def holds_clips(path: Path) -> bool:
    """Whether a file may hold many recordings: a pickle, which is long to read, or an NTU conversion."""
    kind = _kind(path)
    if kind != "numpy":
        return kind == "pickle"
    content = load_numpy(path, lazily=True)
    return is_ntu_archive(content) if isinstance(content, dict) else is_ntu_array(content)


def clips(path: Path, options: ReadOptions) -> Iterator[Found]:
    """All recordings of a file with label and splits, or what is wrong with them."""
    with naming(path):
        kind = _kind(path)
        if kind == "pickle" and is_pyskl(content := load_pickle(path)):
            yield from pyskl_clips(content, options)
            return
        if kind == "numpy":
            content = load_numpy(path, lazily=True)
            if isinstance(content, dict) and is_ntu_archive(content):
                yield from ntu_archive_clips(content)
                return
            if isinstance(content, np.ndarray) and is_ntu_array(content) and options.axes is None:
                yield from ntu_array_clips(path, content)
                return
        label = None
        if kind == "json" and is_kinetics_skeleton(parsed := parse_json(path, read_text(path))):
            label = kinetics_label(parsed)
        yield recording(path, options), label, ()


def _kind(path: Path) -> str:
    """folder, video, numpy, pickle, matlab, json or text."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such skeleton file; check the path")
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        head = file.read(4096)
    suffix = path.suffix.lower()
    if not head:
        raise bad_file(path, "a skeleton file", "an empty file", "fetch it again or leave it out")
    if is_video(head, suffix):
        return "video"
    if suffix in _FOREIGN_SUFFIXES:
        raise bad_file(path, "a skeleton file", *_FOREIGN_SUFFIXES[suffix])
    for first, found, remedy in _FOREIGN:
        if head.lstrip().startswith(first):
            raise bad_file(path, "a skeleton file", found, remedy)
    if head.startswith(b"\x93NUMPY"):
        return "numpy"
    if head.startswith(b"PK"):
        return "pickle" if suffix in (".pkl", ".pickle", ".zip") else "numpy"
    if head.startswith(b"MATLAB"):
        return "matlab"
    if head[0] == 0x80 or suffix in (".pkl", ".pickle"):
        return "pickle"
    if suffix in _BINARY_SUFFIXES:
        found = "something else"
        raise bad_file(path, _BINARY_SUFFIXES[suffix], found, "the file is likely cut short: fetch it again")
    if suffix == ".skeleton":
        return "ntu"
    if head.startswith(UTF16_MARKS):
        return "json" if suffix in (".json", ".jsonl") else "text"
    if b"\x00" in head:
        remedy = "save the joints as .npz (np.savez(path, joints=...))"
        raise bad_file(path, f"one of {', '.join(SKELETON_SUFFIXES)}", "binary data of no known format", remedy)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return "json" if start[:1] in (b"{", b"[") or suffix in (".json", ".jsonl") else "text"


def _read_folder(path: Path, options: ReadOptions) -> SkeletonRecording:
    if is_openpose_folder(path):
        return read_openpose_folder(path, options)
    if is_ultralytics_folder(path):
        return read_ultralytics_folder(path, options)
    expected = "a skeleton file, or a folder with one OpenPose or Ultralytics file a frame"
    raise bad_file(path, expected, "a folder of other files", "pass the path of one file")


def _read_numpy(path: Path, options: ReadOptions) -> SkeletonRecording:
    content = load_numpy(path)
    return read_archive(content, options) if isinstance(content, dict) else read_array(content, options)


def _read_matlab(path: Path, options: ReadOptions) -> SkeletonRecording:
    """UTD-MHAD's, or the one array of three axes or more."""
    content = load_mat(path)
    arrays = [one for one in content.values() if isinstance(one, np.ndarray) and one.ndim >= 3]
    return read_array(arrays[0], options) if len(arrays) == 1 and "d_skel" not in content else read_utd_mhad(path)


def _read_pickle(path: Path, options: ReadOptions) -> SkeletonRecording:
    """One annotation of pyskl's, an array, arrays by name, or what JSON may hold."""
    content = load_pickle(path)
    if isinstance(content, np.ndarray):
        return read_array(content, options)
    if not is_pyskl(content):
        if isinstance(content, Mapping) and any(isinstance(one, np.ndarray) for one in content.values()):
            return read_archive({name: np.asarray(one) for name, one in content.items()}, options)
        if is_named_json(content):
            return read_named_json(content, options)
    found = list(pyskl_clips(content, options))
    if len(found) != 1:
        raise bad_file(path, "one annotation", f"{len(found)}", "read them all with read_clips(path)")
    if isinstance(found[0][0], ValueError):
        raise found[0][0]
    return found[0][0]


def _read_json(path: Path, options: ReadOptions) -> SkeletonRecording:
    content = parse_json(path, read_text(path))
    for recognised, read in _JSON:
        if recognised(content):
            return read(content, options)
    found = f"keys {sorted(content)[:5]}" if isinstance(content, dict) else type(content).__name__
    raise bad_file(path, _JSON_NAMES, found, "save other skeletons as .npz (np.savez(path, joints=...))")


def _read_text(path: Path, options: ReadOptions) -> SkeletonRecording:
    """BVH; a lone count in the first line is the NTU format (UAV-Human); anything else is a table."""
    text = read_text(path)
    if is_bvh(text):
        return read_bvh(path, text, options)
    first = text.lstrip().partition("\n")[0]
    return read_ntu(path) if first.strip().isdigit() else read_table(path, text, options)


_READERS: dict[str, Callable[[Path, ReadOptions], SkeletonRecording]] = {
    "folder": _read_folder,
    "video": read_video,
    "numpy": _read_numpy,
    "pickle": _read_pickle,
    "matlab": _read_matlab,
    "json": _read_json,
    "ntu": lambda path, options: read_ntu(path),
    "text": _read_text,
}
