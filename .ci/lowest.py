"""Prints the lowest version of every dependency that pyproject.toml allows, as constraints for pip."""

from __future__ import annotations

import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def lowest_versions(pyproject: Path = PYPROJECT) -> dict[str, str]:
    """Reads the lower bound of each dependency; raises a ValueError that names one without."""
    dependencies = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    bounds = {dependency: re.match(r"([\w.-]+)>=([\w.]+)", dependency) for dependency in dependencies}
    for dependency, bound in bounds.items():
        if bound is None:
            raise ValueError(f"{pyproject}: expected a lower bound, like {dependency}>=1.2, found {dependency!r}")
    return {bound[1]: bound[2] for bound in bounds.values() if bound}


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in lowest_versions().items())
