"""What is installed with the package: bounded from below, tested at both ends, under licences that are listed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]


def printed_by(script: str) -> str:
    command = [sys.executable, REPOSITORY / ".ci" / script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def lowest() -> dict[str, Version]:
    lines = [line.split("==") for line in printed_by("lowest.py").splitlines()]
    return {name: Version(version) for name, version in lines}


def test_every_dependency_has_a_lower_bound_not_above_what_is_tested(lowest):
    pins = [Requirement(line) for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    tested = {pin.name.lower(): Version(next(iter(pin.specifier)).version) for pin in pins}
    assert {"torch", "transformers", "filelock"} <= lowest.keys()
    assert [name for name, version in lowest.items() if version > tested[name.lower()]] == []


def test_a_dependency_without_a_lower_bound_is_named(tmp_path):
    copy = tmp_path / "repository"
    (copy / ".ci").mkdir(parents=True)
    (copy / ".ci" / "lowest.py").write_text((REPOSITORY / ".ci" / "lowest.py").read_text())
    (copy / "pyproject.toml").write_text('[project]\ndependencies = ["torch>=2.8", "tqdm"]\n')
    done = subprocess.run([sys.executable, copy / ".ci" / "lowest.py"], capture_output=True, text=True)
    assert done.returncode == 1 and "expected a lower bound, like tqdm>=1.2, found 'tqdm'" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="backports that older Pythons need are not listed")
def test_the_list_of_licences_names_every_dependency_and_what_it_requires(lowest):
    listed = dict(re.findall(r"^\| ([\w.-]+) \| (.+) \|$", (REPOSITORY / ".github" / "LICENCES.md").read_text(), re.M))
    assert "not said" not in listed.values()
    for name in lowest:
        assert re.sub(r"[-_.]+", "-", name).lower() in listed, f"run make licences for {name}"
    for line in printed_by("licences.py").splitlines():
        if line.startswith("| ") and not line.startswith("| package"):
            name = line.split(" | ")[0][2:]
            assert name in listed, f"run make licences for {name}"


def test_nothing_under_a_licence_that_binds_the_users_code_is_installed_with_it():
    listed = (REPOSITORY / ".github" / "LICENCES.md").read_text()
    assert not re.search(r"\bA?GPL", listed)
