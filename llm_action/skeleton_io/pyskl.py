"""pyskl / mmaction2 pickles, the interchange format of the field, and zips of them.

A dict of `split` (name -> sample names) and `annotations`, a bare list of annotations, or one annotation:
`{"frame_dir", "total_frames", "img_shape", "label", "keypoint" (persons, frames, joints, 2 or 3), "keypoint_score"
(persons, frames, joints)}`; label and frame_dir may be absent. 17 joints are COCO's in pixels, 25 in 3-D Kinect v2's in
metres; all-zero joints are padding; scores 0..1; fps is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from llm_action.modeling.skeleton_recording import SkeletonRecording

from .options import ReadOptions


def _annotations(content: Any) -> list[Any] | None:
    """The annotations of a pickle; None when it is something else."""
    if isinstance(content, Mapping):
        if isinstance(content.get("annotations"), list) and isinstance(content.get("split", {}), Mapping):
            return content["annotations"]
        return [content] if "keypoint" in content else None
    if isinstance(content, (list, tuple)) and content and all(isinstance(one, Mapping) for one in content):
        return list(content) if any("keypoint" in one for one in content) else None
    return None


def is_pyskl(content: Any) -> bool:
    """Whether it is a pyskl pickle."""
    return _annotations(content) is not None


def pyskl_clips(
    content: Any, options: ReadOptions
) -> Iterator[tuple[SkeletonRecording | ValueError, int | None, tuple[str, ...]]]:
    """Each annotation's recording (or what is wrong with it), its label, and the splits it belongs to.

    Raises:
        ValueError: not a pyskl pickle.
    """
    annotations = _annotations(content)
    if annotations is None:
        found = f"keys {list(content)[:5]}" if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            f"expected a dict with 'split' and 'annotations', a list of annotations or one annotation with 'keypoint', "
            f"found {found}; export it in pyskl's format"
        )
    splits = dict(content.get("split", {})) if isinstance(content, Mapping) else {}
    members = {str(name): {str(sample) for sample in samples} for name, samples in splits.items()}
    for number, annotation in enumerate(annotations):
        name = str(annotation.get("frame_dir", f"clip {number}")) if isinstance(annotation, Mapping) else ""
        inside = tuple(split for split, samples in members.items() if name in samples)
        recording: SkeletonRecording | ValueError
        label = None
        try:
            recording, label = _annotation(annotation, options, name)
        except ValueError as error:
            recording = error
        yield recording, label, inside


def _annotation(annotation: Any, options: ReadOptions, name: str) -> tuple[SkeletonRecording, int | None]:
    try:
        label = annotation.get("label")
        label = None if label is None else int(np.asarray(label))
        keypoint = np.asarray(annotation["keypoint"], dtype=np.float32)
        scores = annotation.get("keypoint_score")
        scores = None if scores is None else np.asarray(scores, dtype=np.float32)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "expected 'keypoint' (persons, frames, joints, channels), and 'label' as a number where there is one, "
            f"found {type(error).__name__}: {error}; export it in pyskl's format"
        ) from None
    if keypoint.ndim != 4:
        raise ValueError(
            f"expected 'keypoint' of shape (persons, frames, joints, channels), found {keypoint.shape}; "
            "export it in pyskl's format"
        )
    known = {(25, 3): "ntu25", (17, 2): "coco17", (17, 3): "coco17", (18, 2): "openpose18", (18, 3): "openpose18"}
    layout = options.layout or known.get((keypoint.shape[2], keypoint.shape[3]))
    if scores is not None and scores.shape != keypoint.shape[:3]:
        raise ValueError(f"expected scores of shape {keypoint.shape[:3]} (persons, frames, joints), got {scores.shape}")
    recording = SkeletonRecording(keypoint, layout, scores=scores, name=name)
    if keypoint.shape[3] == 3 and layout == "ntu25":
        recording.up, recording.unit = "y", "m"
    elif keypoint.shape[3] == 2:
        recording.up = "-y"
    return recording, label
