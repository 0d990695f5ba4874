"""transformers' own common tests, from the source distribution of the version that is installed, as a package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers

from llm_action.hub.base_models import cache_folder

PACKAGE = "transformers_common_tests"
# what the source distribution leaves out and its test modules import
_STUBS = {
    f"{PACKAGE}/__init__.py": "",
    f"{PACKAGE}/exporters/__init__.py": "",
    f"{PACKAGE}/exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    f"{PACKAGE}/generation/__init__.py": "",
    f"{PACKAGE}/generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    f"{PACKAGE}/utils/__init__.py": "",
    f"{PACKAGE}/utils/test_configuration_utils.py": (
        'config_common_kwargs = {"return_dict": False, "output_hidden_states": True, "output_attentions": True,\n'
        '    "dtype": "float16", "architectures": ["Model"], "problem_type": "regression"}\n'
    ),
    "utils/fetch_hub_objects_for_ci.py": "def url_to_local_path(url):\n    return url\n",
}


def common_tests() -> Path:
    """Finds the folder in the cache that holds the package `PACKAGE`, and fetches it once with pip.

    Raises:
        OSError: it cannot be had; says why.
    """
    version = transformers.__version__
    folder = cache_folder() / "transformers_tests" / version
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            _unpack(_downloaded(version, Path(temporary)), made)
            try:
                os.replace(made, folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return folder


def _downloaded(version: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    pip += ["--no-binary=transformers", "--dest", str(folder), f"transformers=={version}"]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600)
    found = list(folder.glob("transformers-*.tar.gz"))
    if done.returncode or not found:
        raise OSError(f"pip: {next(reversed(done.stderr.strip().splitlines()), 'no source distribution')}")
    return found[0]


def _unpack(archive: Path, folder: Path) -> None:
    (folder / PACKAGE).mkdir(parents=True)
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            parts = Path(member.name).parts
            if member.isfile() and len(parts) == 3 and parts[1] == "tests" and parts[2].endswith(".py"):
                with packed.extractfile(member) as source, (folder / PACKAGE / parts[2]).open("wb") as target:
                    shutil.copyfileobj(source, target)
    for name, text in _STUBS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).write_text(text)
