"""Joints that are known by their names, or by numbers: which layout they are, and what their maker is known for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from llm_action.modeling.skeleton_layouts import LAYOUTS, SkeletonLayout, get_layout
from llm_action.modeling.skeleton_recording import SkeletonRecording, layout_for, recording_from_array

from .azure_kinect import in_azure_frame
from .joint_names import standard_joints
from .options import ReadOptions
from .time_stamps import seconds_of, timed

# what other programs call a list of joints' names, and frames a second
NAMES = ("joint_names", "jointnames", "joints", "names", "keypoint_names", "landmark_names", "bone_names", "markers")
RATES = ("fps", "framerate", "frame_rate", "rate", "frequency", "hz", "sample_rate")
_FEWEST = 5  # names that have to be joints'
_SDK_NAME = re.compile(r"spine[ _]?base", re.IGNORECASE)  # Kinect v2's own


def placed(names: Sequence[str], options: ReadOptions) -> tuple[SkeletonLayout, list[int | None]]:
    """The layout of the named joints, and the place of each in it, None of those it has not.

    Raises:
        ValueError: names of no known joints, or numbers that no layout, or several, have.
    """
    digits = [
        re.fullmatch(r"(?:joint|landmark|kp|keypoint|point|pose|marker|j|p|lm)?[ _.-]*(\d+)", name.lower())
        for name in names
    ]
    if all(digits):
        numbers = [int(match[1]) for match in digits if match]
        start = 1 if min(numbers) == 1 else 0
        layout = get_layout(layout_for(max(numbers) - start + 1, options.layout))
        return layout, [number - start for number in numbers]
    if options.layout is not None:
        layout = get_layout(options.layout)
        if set(names) & set(layout.joints):
            return layout, [layout.joints.index(name) if name in layout.joints else None for name in names]
    found = standard_joints(names)
    known = {joint for joint in found if joint is not None}
    if options.layout is None:
        if len(known) < _FEWEST:
            raise ValueError(
                f"expected known joint names, found {', '.join(names[:12])}; pass layout= the JSON of a layout of your "
                "own whose joints bear these names"
            )
        if {"chest", "left_clavicle"} <= known and len(names) == 32:
            layout = get_layout("azure32")
        else:
            layout = max(LAYOUTS.values(), key=lambda one: (len(known & set(one.standard)), -one.num_joints))
    standard = list(layout.standard)
    return layout, [standard.index(joint) if joint is not None and joint in standard else None for joint in found]


def named_recording(
    array: np.ndarray,
    layout: SkeletonLayout,
    times: np.ndarray | None,
    has_score: bool,
    options: ReadOptions,
    names: Sequence[str],
) -> SkeletonRecording:
    """A recording of (persons, frames, joints, channels), with what the maker of such names is known for.

    Args:
        times: (frames,) stamps in any unit, see `seconds_of`.
        has_score: whether the last channel is a score.
    """
    scores = None
    if has_score:
        array, scores = array[..., :-1], np.nan_to_num(array[..., -1])
        scores = scores / 2 if scores.max() > 1 and np.isin(scores, (0, 1, 2)).all() else scores
    recording = recording_from_array(array, layout.name, "MTVC", scores=scores, image_size=options.image_size)
    if (seconds := seconds_of(times)) is not None:
        timed(recording, seconds)
    if layout.name == "azure32":
        in_azure_frame(recording)
    elif layout.name == "ntu25" and recording.joints.shape[-1] == 3 and any(map(_SDK_NAME.fullmatch, names)):
        recording.up, recording.unit = "y", "m"
    return recording


def named_array(
    names: Sequence[str], array: np.ndarray, options: ReadOptions, scores: np.ndarray | None = None
) -> SkeletonRecording:
    """A recording of ([persons,] frames, joints, 2 to 4), of which each joint has a name; a fourth number is a score.

    Args:
        scores: ([persons,] frames, joints), where they lie beside the joints.

    Raises:
        ValueError: another shape, or names of no known joints.
    """
    if array.ndim not in (3, 4) or array.shape[-2] != len(names) or array.shape[-1] not in (2, 3, 4):
        raise ValueError(
            f"expected joints of shape (frames, {len(names)}, 2 or 3), for there are {len(names)} names, found "
            f"{array.shape}"
        )
    if scores is not None and scores.shape == array.shape[:-1]:
        array = np.concatenate([array[..., :3], scores[..., None]], -1)
        layout, joints = in_layout(names, array.reshape(-1, *array.shape[-3:]), options)
        return named_recording(joints, layout, None, True, options, names)
    layout, joints = in_layout(names, array.reshape(-1, *array.shape[-3:]), options)
    return named_recording(joints, layout, None, joints.shape[3] == 4, options, names)


def in_layout(names: Sequence[str], array: np.ndarray, options: ReadOptions) -> tuple[SkeletonLayout, np.ndarray]:
    """The layout of named joints (persons, frames, names, channels), and these in it, NaN where it has others."""
    layout, places = placed(names, options)
    joints = np.full((*array.shape[:2], layout.num_joints, array.shape[3]), np.nan)
    for number, place in enumerate(places):
        if place is not None:
            joints[:, :, place] = array[:, :, number]
    return layout, joints


def joint_by_joint(arrays: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray] | None:
    """(names, (frames, joints, 2 to 4)) of arrays (frames, 2 to 4) by joint; None where too few are known joints."""
    shapes = Counter(array.shape for array in arrays.values() if array.ndim == 2 and array.shape[1] in (2, 3, 4))
    if not shapes:
        return None
    shape = shapes.most_common(1)[0][0]
    names = [name for name, array in arrays.items() if array.shape == shape]
    known = sum(joint is not None for joint in standard_joints(names))
    return (names, np.stack([arrays[name] for name in names], 1)) if known >= _FEWEST else None
