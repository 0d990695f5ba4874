"""Options that models and trainings once had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REMOVED = ("normalize_bones", "joint_dropout", "curvature_learnable")  # none gained anything on held-out data


def without_removed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out the removed options of what was saved with them switched off, which reads as it did.

    Raises:
        ValueError: one is switched on; the text names it.
    """
    fields = dict(fields)
    for name in _REMOVED:
        if value := fields.pop(name, None):
            raise ValueError(
                f"{name}={value}: this option was removed, as it gained nothing; what was trained with it can no "
                "longer be read, so train without it."
            )
    return fields
