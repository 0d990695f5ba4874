"""What gets installed: built as a user's pip would build it, and used from outside of the checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[1]
INSTALLED_AS = {"llm_action": "llm_action", "modeling": "llm_action/modeling", "hub_cards": "llm_action/hub_cards"}


def run(*command: str | Path, **kwargs) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, so that building leaves no traces in the repository."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in INSTALLED_AS:
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, copy / file)
    return copy


def build(source: Path, kind: str, folder: Path) -> Path:
    """Build without a network, with this environment's setuptools."""
    options = ["--no-isolation", "--skip-dependency-check", f"--{kind}", "--outdir", folder]
    run(sys.executable, "-m", "build", *options, source)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(checkout: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    run(*pip, folder, wheel)
    return folder


def packaged_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_three_folders_and_nothing_else(checkout, wheel):
    expected = {
        f"{target}/{file.relative_to(checkout / source).as_posix()}"
        for source, target in INSTALLED_AS.items()
        for file in (checkout / source).rglob("*")
        if file.is_file()
    }
    assert {
        "llm_action/modeling/skeleton_layouts.py",
        "llm_action/modeling/README.md",
        "llm_action/py.typed",
    } <= expected
    assert packaged_files(wheel) == expected


def test_a_wheel_built_from_the_sdist_is_the_same(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (tmp_path / "out").mkdir()
    assert packaged_files(build(source, "wheel", tmp_path / "out")) == packaged_files(wheel)


def test_nothing_but_llm_action_lands_in_site_packages(installed):
    modules = {entry.name for entry in installed.iterdir() if entry.suffix != ".dist-info"} - {"bin", "Scripts"}
    assert modules == {"llm_action"}


@pytest.mark.parametrize("module", ["llm_action.modeling.skeleton_layouts", "llm_action.hub.base_models"])
def test_the_installed_package_imports_outside_of_the_checkout(installed, tmp_path, module):
    code = f"import importlib; print(importlib.import_module({module!r}).__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    file = run(sys.executable, "-c", code, cwd=tmp_path, env=environment).strip().splitlines()[-1]
    assert installed in Path(file).parents


def test_the_card_templates_are_found_in_the_installed_package(installed, tmp_path):
    code = (
        "from importlib.resources import files\n"
        "print(*sorted(f.name for f in files('llm_action.hub_cards').iterdir() if f.name.endswith('.md')))"
    )
    found = run(sys.executable, "-c", code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}).split()
    assert found == sorted(file.name for file in (REPOSITORY / "hub_cards").glob("*.md"))


def test_the_environment_s_own_install_imports_from_any_folder(tmp_path):
    code = "import llm_action.modeling.skeleton_layouts as layouts; print(layouts.__name__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert run(sys.executable, "-c", code, cwd=tmp_path, env=environment).split() == [
        "llm_action.modeling.skeleton_layouts"
    ]


def test_the_command_is_installed_and_says_what_it_can_do(installed, tmp_path):
    (metadata,) = installed.glob("llm_action-*.dist-info")
    entry_points = configparser.ConfigParser()
    entry_points.read(metadata / "entry_points.txt")
    assert dict(entry_points["console_scripts"]) == {"llm-action": "llm_action.cli:main"}
    code = "import sys; from llm_action.cli import main; sys.argv = ['llm-action', '--help']; main()"
    usage = run(sys.executable, "-c", code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)})
    assert "llm-action" in usage
