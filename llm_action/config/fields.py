"""Makes dataclasses of YAML. What fits no field's name or type is refused, and the error says where it stands."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from llm_action.config.reading import read_text, shortened

_MOST = 100_000  # entries of an experiment


def read_fields(path: Path) -> dict[str, Any]:
    """Reads the mapping in a YAML file; an empty file is an empty one.

    Raises:
        ValueError: no YAML, or something else than a mapping.
    """
    return _mapping(read_text(path), str(path))


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(text) or {}
        if _entries(fields, _MOST) < 0:
            raise ValueError(f"more than {_MOST} entries, counting each where it is referred to")
    except Exception as error:  # dates that are none, numbers too long and nesting too deep have errors of their own
        raise ValueError(f"{where}: expected YAML: {shortened(str(error))}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: expected fields of Experiment, got {shown(fields)}.")
    return fields


def _entries(value: Any, left: int) -> int:
    """How many entries are left of so many; below 0 for anchors that stand for each other again and again."""
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, (list, set)) else ()
    left -= 1
    for each in inside:
        if left < 0:
            break
        left = _entries(each, left)
    return left


def override(fields: dict[str, Any], change: str) -> None:
    """Changes nested fields in place.

    Args:
        change: "section.field=value", value as YAML, or the path of a YAML file whose fields come on top.

    Raises:
        ValueError: neither of the two.
    """
    name, found, value = change.partition("=")
    if not found:
        if not change.endswith((".yaml", ".yml")) or not Path(change).is_file():
            raise ValueError(f"Expected an override like recognizer.steps=100, or a YAML file, got {change!r}.")
        _merge(fields, read_fields(Path(change)))
        return
    *sections, last = name.strip().split(".")
    for section in sections:
        if not isinstance(fields.get(section), dict):
            fields[section] = {}
        fields = fields[section]
    try:
        fields[last] = yaml.safe_load(value)
    except Exception:  # as in a file
        raise ValueError(f"Expected a YAML value in the override {shown(change)}.") from None


def _merge(fields: dict[str, Any], others: dict[str, Any]) -> None:
    for name, value in others.items():
        if isinstance(value, dict) and isinstance(fields.get(name), dict):
            _merge(fields[name], value)
        else:
            fields[name] = value


def build(cls: type, fields: Any, where: str) -> Any:
    """Makes a dataclass of some fields, nested ones too; a field that is None keeps its default.

    Args:
        where: what an error begins with.

    Raises:
        ValueError: an unknown field, a value of the wrong type, or one that the dataclass itself refuses.
    """
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: expected fields of {cls.__name__}, got {shown(fields)}.")
    known = {entry.name: entry for entry in dataclasses.fields(cls)}
    check_names(fields, known, cls.__name__, where)
    defaults, kinds, values = cls(), get_type_hints(cls), {}
    for name, value in fields.items():
        default = getattr(defaults, name)
        if value is None:  # a key without a value
            continue
        if dataclasses.is_dataclass(default):
            value = build(type(default), value, f"{where}: {name}")
        elif default is not None:
            value = converted(value, type(default), f"{where}: {name}")
        if get_origin(kinds[name]) is Literal and value not in get_args(kinds[name]):
            raise ValueError(f"{where}: {name}: expected {' or '.join(get_args(kinds[name]))}, got {shown(value)}.")
        values[name] = value
    with naming(where):
        return cls(**values)


def check_names(fields: dict[str, Any], known: Any, owner: str, where: str) -> None:
    """Raises a ValueError that names the fields the owner has not."""
    unknown = sorted(map(str, set(fields) - set(known)))
    if unknown:
        raise ValueError(f"{where}: unknown {shortened(', '.join(unknown))}; {owner} has {', '.join(known)}.")


def converted(value: Any, kind: type, where: str) -> Any:
    """Converts a value to the wanted type, because YAML reads 1e-3 as text; a ValueError if it is something else."""
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            number = float(value)
            if math.isfinite(number):
                return number
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: expected {'a finite number' if kind is float else kind.__name__}, got {shown(value)}.")


def shown(value: Any) -> str:
    """Writes a value as errors show it, cut if it is long."""
    return shortened(repr(value))


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Turns whatever a dataclass refuses its fields for into a ValueError that begins with their place."""
    try:
        yield
    except Exception as error:  # huggingface_hub's strict dataclasses have errors of their own
        raise ValueError(f"{where}: {shortened(str(error))}") from None
