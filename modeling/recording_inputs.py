"""What a processor is given of a recording, whatever its form: a skeleton, and the signals of further senses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .familiarity import Familiarity
from .feature_extraction_skeleton import SkeletonFeatureExtractor
from .modeling_action_vqvae import ActionVQVAE
from .recording_length import of_one_action
from .signal_sequence import SignalSequence, beside, signal_from
from .skeleton_recording import recording_from_array, recording_of
from .skeleton_sequence import SKELETON, SkeletonSequence


class RecordingInputs:
    """Reads what `LlmArProcessor` is given.

    Attributes:
        file_reader, signal_reader: read files of recording formats and of other senses; the installed package sets
            them, .npy files need none.
    """

    file_reader: Callable[..., SkeletonSequence] | None = None
    signal_reader: Callable[..., SignalSequence] | None = None
    feature_extractor: SkeletonFeatureExtractor
    _senses: dict[str, ActionVQVAE]
    _familiarity: Familiarity | None

    def read(
        self,
        skeleton: Any,
        layout: Any = None,
        fps: float | None = None,
        any_length: bool = False,
        whole: bool = False,
        **conventions: Any,
    ) -> SkeletonSequence:
        """Any accepted input as a `SkeletonSequence`; see `__call__`.

        A `SkeletonSequence` and a row of a prepared table are taken as they are. Of all else, what neither the input
        nor the caller says is inferred, and doubts are said with a `RecordingWarning`.

        Args:
            skeleton: see `__call__`.
            layout, fps: of inputs that do not say theirs.
            any_length: whether a recording too long for one label is no doubt, default False.
            whole: whether one that is too long keeps its still ends, default False.
            conventions: axes, up, unit, mirrored, missing, image_size, as `SkeletonRecording` has them.

        Raises:
            ValueError: bad input; says what to pass.
        """
        if hasattr(skeleton, "to_layout"):  # duck-typed: hub code has a class of its own
            return skeleton
        if isinstance(skeleton, Mapping) and skeleton.get("shape") is not None:
            return _from_row(skeleton, layout, fps)
        sequence = self._inferred(skeleton, layout, fps, conventions)
        longest = 0.0 if self._familiarity is None else self._familiarity.longest
        return sequence if any_length else of_one_action(sequence, self.feature_extractor.num_frames, longest, whole)

    def _inferred(
        self, skeleton: Any, layout: Any, fps: float | None, conventions: Mapping[str, Any]
    ) -> SkeletonSequence:
        if isinstance(skeleton, (str, Path)):
            return self._read_file(Path(skeleton), layout, fps, **conventions)
        return recording_of(skeleton, layout, fps=fps, **conventions)

    def read_senses(
        self, given: Any, layout: Any = None, fps: float | None = None, **conventions: Any
    ) -> tuple[SkeletonSequence | None, dict[str, np.ndarray]]:
        """Any accepted input as a skeleton, None where there is none, and its signals on the skeleton's clock.

        Raises:
            ValueError: bad input, a sense that this model does not know, or none at all.
        """
        if not isinstance(given, Mapping) or "joints" in given:
            skeleton: SkeletonSequence | None = self.read(given, layout, fps, **conventions)
            row = given if isinstance(given, Mapping) and given.get("shape") is not None else {}
            columns = {name: row[name] for name in self._senses if row.get(name) is not None}
            signals = {name: _from_column(column) for name, column in columns.items() if len(column["shape"])}
        else:
            known = (SKELETON, *self._senses)
            if unknown := [str(name) for name in given if name not in known]:
                more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
                raise ValueError(
                    f"Unknown sense {', '.join(unknown[:3])}{more}: this model was trained on {', '.join(known)}. "
                    "Expected a mapping of those, or of one recording with the key joints (an array) and, where known, "
                    "layout, fps, scores."
                )
            there = {name: one for name, one in given.items() if one is not None}
            if not there:
                raise ValueError(f"Expected a recording of at least one of {', '.join(known)}, got none.")
            seen = there.pop(SKELETON, None)
            skeleton = None if seen is None else self.read(seen, layout, fps, whole=bool(there), **conventions)
            signals = there
        return skeleton, {name: self._read_signal(name, one, skeleton) for name, one in signals.items()}

    def _read_signal(self, sense: str, given: Any, skeleton: SkeletonSequence | None) -> np.ndarray:
        if isinstance(given, (str, Path)):
            path = Path(given)
            if (read := self.signal_reader) is not None:
                given = read(path)
            elif path.suffix != ".npy":
                raise ValueError(
                    f"{path}: without the llm-action package only .npy files are read; pip install llm-action"
                )
            else:
                given = signal_from(np.load(path, allow_pickle=False), path.name)
        elif torch.is_tensor(given):
            given = given.detach().float().cpu().numpy()
        return beside(skeleton, given, sense, self._senses[sense].config.channels)

    def _read_file(self, path: Path, layout: Any, fps: float | None, **conventions: Any) -> SkeletonSequence:
        if (read := self.file_reader) is not None:
            return read(path, layout=layout, fps=fps, **conventions)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        if path.suffix != ".npy":
            raise ValueError(f"{path}: without the llm-action package only .npy files are read; pip install llm-action")
        array = np.load(path, allow_pickle=False)
        return recording_from_array(array, layout, fps=fps, name=path.name, **conventions).to_sequence()


def with_signals(skeletons: list[Any] | None, signals: Mapping[str, Any], several: bool) -> list[dict[str, Any]]:
    """Mappings of the senses of each recording."""
    if not several and skeletons is not None:
        return [{SKELETON: skeletons[0], **signals}]
    lists = {name: list(given) if isinstance(given, (list, tuple)) else [given] for name, given in signals.items()}
    given = {**({} if skeletons is None else {SKELETON: skeletons}), **lists}
    if len({len(of_sense) for of_sense in given.values()}) != 1:
        counts = ", ".join(f"{len(of_sense)} of {name}" for name, of_sense in given.items())
        raise ValueError(f"Expected as many recordings of every sense, None where one is lacking, got {counts}.")
    return [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]


def _from_column(column: Mapping[str, Any]) -> np.ndarray:
    """A sense's column of a data set's row, whose values are flat beside their shape."""
    return np.asarray(column["values"], np.float32).reshape([int(size) for size in column["shape"]])


def _from_row(row: Mapping[str, Any], layout: str | None, fps: float | None) -> SkeletonSequence:
    """A data set's row, whose joints are flat beside their shape and in the package's convention."""
    if "joints" not in row or (layout is None and "layout" not in row):
        raise ValueError(f"Expected a row with the keys joints and layout, got the keys {sorted(row)}.")
    name, shape = str(row.get("name", "")), tuple(int(size) for size in row["shape"])
    joints = np.asarray(row["joints"], np.float32)
    if joints.size != np.prod(shape):
        raise ValueError(f"{name}: expected {np.prod(shape)} numbers for the shape {shape}, got {joints.size}.")
    given = fps or row.get("fps") or np.nan  # a table's missing value is NaN in numpy's format
    fps = None if np.isnan(float(given)) else float(given)
    return SkeletonSequence(joints.reshape(shape), str(layout or row["layout"]), fps, name=name)
