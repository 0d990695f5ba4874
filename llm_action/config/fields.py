"""Dataclasses from YAML: every field by its name and type, what does not fit refused with its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml


def read_fields(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty one.

    Raises:
        ValueError: no YAML, or something else than a mapping.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: expected fields of Experiment, got {fields!r:.80}.")
    return fields


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
    except yaml.YAMLError:
        raise ValueError(f"Expected a YAML value in the override {change!r}.") from None


def _merge(fields: dict[str, Any], others: dict[str, Any]) -> None:
    for name, value in others.items():
        if isinstance(value, dict) and isinstance(fields.get(name), dict):
            _merge(fields[name], value)
        else:
            fields[name] = value


def build(cls: type, fields: Any, where: str) -> Any:
    """A dataclass of some fields, nested ones too; a field that is None keeps its default.

    Args:
        where: what an error begins with.

    Raises:
        ValueError: an unknown field, a value of the wrong type, or one that the dataclass itself refuses.
    """
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: expected fields of {cls.__name__}, got {fields!r}.")
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
            raise ValueError(f"{where}: {name}: expected {' or '.join(get_args(kinds[name]))}, got {value!r}.")
        values[name] = value
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def check_names(fields: dict[str, Any], known: Any, owner: str, where: str) -> None:
    """Raises a ValueError that names the fields the owner has not."""
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; {owner} has {', '.join(known)}.")


def converted(value: Any, kind: type, where: str) -> Any:
    """A value as the type wanted; YAML reads 1e-3 as text. Raises a ValueError where it is something else."""
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: expected {kind.__name__}, got {value!r}.")
