"""MATLAB files, read no further than their headers where those announce what is no recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from .files import bad_file

_NUMBERS = 1 << 22  # that a small file may unpack to
_NO_NUMBERS = ("cell", "struct", "object", "sparse", "function", "opaque", "unknown")


def load_mat(path: Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Reads variables of a MATLAB file.

    Args:
        names: those wanted; default all that are arrays.

    Raises:
        ValueError: not a MATLAB file, a damaged one, or one that would unpack to far more than its size.
    """
    try:
        most = max(_NUMBERS, 100 * path.stat().st_size)
        wanted = []
        for name, shape, kind in scipy.io.whosmat(path):
            if names is not None and name not in names:
                continue
            if np.prod(shape, dtype=float) > most or (kind in _NO_NUMBERS and names is not None):
                raise ValueError(f"{name} as {kind} {tuple(shape)}")
            if kind not in _NO_NUMBERS:
                wanted.append(name)
        return {name: value for name, value in scipy.io.loadmat(path, variable_names=wanted).items() if name in wanted}
    except Exception as error:  # scipy lets many kinds out on damaged files
        remedy = "the file is likely cut short or of another format: fetch it again"
        raise bad_file(path, "a MATLAB file", f"{type(error).__name__}: {error}", remedy) from None
