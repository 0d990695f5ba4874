"""Prints a table of all that is installed with the package, and its licence, as the packages themselves say it."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from lowest import lowest_versions
from packaging.requirements import Requirement

HEAD = """# Licences

llm-action is under the Apache License 2.0. These packages are installed with it, on Linux and without CUDA; none is
part of it. `make licences` writes this list from what the packages say of themselves.

| package | licence |
|---|---|
"""
_LONGEST = 60  # some have the whole text in the field


def installed_with(names: list[str]) -> dict[str, Distribution]:
    """Finds packages and all that they require, by name; what is not installed here (for other systems) is left out."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        requirements = map(Requirement, found[name].requires or ())
        waiting += [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """Says a package's licence: its expression, else its text if that is short, else its classifiers."""
    fields = package.metadata
    classifiers = [each.rpartition(" :: ")[2] for each in fields.get_all("Classifier", []) if "License ::" in each]
    text = (fields.get("License") or "").strip()
    short = text if len(text) <= _LONGEST and "\n" not in text else ""
    return fields.get("License-Expression") or short or ", ".join(classifiers) or "not said"


if __name__ == "__main__":
    rows = [f"| {name} | {licence(package)} |" for name, package in installed_with(list(lowest_versions())).items()]
    print(HEAD + "\n".join(rows))
