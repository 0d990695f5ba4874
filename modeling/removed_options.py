"""Options that models and trainings once had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# none gained anything on held-out data
OFF: dict[str, Any] = {"normalize_bones": False, "joint_dropout": 0.0, "curvature_learnable": False}


def without_removed(fields: Mapping[str, Any], off: Mapping[str, Any] = OFF) -> dict[str, Any]:
    """Leaves out the removed options of what was saved with them switched off, which reads as it did.

    Args:
        off: what each of them is then.

    Raises:
        ValueError: one is switched on; the text names it.
    """
    fields = dict(fields)
    for name, value_off in off.items():
        if (value := fields.pop(name, value_off) or value_off) != value_off:
            raise ValueError(
                f"{name}={value}: this option was removed, as it gained nothing; what was trained with it can no "
                "longer be read, so train without it."
            )
    return fields
