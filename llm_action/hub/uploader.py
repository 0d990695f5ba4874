"""Uploads model folders, their demo Spaces and prepared data to the Hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from llm_action import version
from llm_action.config.atomic_files import file_hash
from llm_action.datasets.hub_table import INDEX, write_index
from llm_action.datasets.prepared import MANIFEST, is_prepared, open_prepared, read_manifest
from llm_action.hub.cards import TEMPLATES, card_license, dataset_card, space_card, write_card
from llm_action.hub.model_folder import add_result, check_model
from llm_action.modeling import hub_repository
from llm_action.modeling.hub_repository import (
    UPLOAD_ERRORS,
    check_login,
    explain_refusal,
    is_hub_id,
    repository_files,
    upload,
)


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    private: bool | None = None,
    space: bool = False,
    message: str = "Upload model",
    results: Sequence[dict[str, Any]] = (),
) -> str:
    """Uploads a model folder with its card and evaluation results in one commit; returns the commit's URL.

    The repository is made if need be. An upload that was interrupted goes on where it stopped: large files that had
    arrived are not sent again. A failure leaves the folder as it was.

    Args:
        repo_id: "user/name".
        private: of a new repository; default public, or what the organisation has set.
        space: make the demo Space of the same name, too.
        results: of `llm-action evaluate --json`, to add to the model first.

    Raises:
        FileNotFoundError, ValueError: the folder is no model that others can load; the text says why.
        OSError: nobody is logged in, the Hub refused or the connection broke.
    """
    folder = Path(folder)
    if not is_hub_id(repo_id):
        raise ValueError(f"Expected the repository as user/name, got {repo_id!r}.")
    check_login(repo_id)
    check_model(folder)
    with tempfile.TemporaryDirectory() as name:
        staged = Path(name)
        for file in repository_files(folder):
            (staged / file).parent.mkdir(parents=True, exist_ok=True)
            if file.startswith(("README.", "training/", ".eval_results/")):
                shutil.copyfile(folder / file, staged / file)  # what results and the card's title change
            else:
                (staged / file).symlink_to((folder / file).resolve())
        for metrics in results:
            add_result(staged, metrics)
        write_card(staged, repo_id)
        commit = upload(staged, repo_id, message, private=private, whole=True)
    for metrics in results:
        add_result(folder, metrics)
    write_card(folder, repo_id)
    if space:
        push_space(repo_id, private, card_license(folder))
    return str(commit.commit_url)


def push_data(folder: str | os.PathLike[str], repo_id: str, private: bool | None = None) -> str:
    """Uploads a folder that `llm-action prepare` wrote, to train on from anywhere; returns the commit's URL.

    Trainings read it part by part (`datasets.hub_table`), and so does `datasets.load_dataset`. An interrupted upload
    goes on where it stopped.

    Args:
        repo_id: "user/name", made if need be.
        private: of a new repository; default public, or what the organisation has set.

    Raises:
        ValueError: no prepared folder, or a part is damaged.
        OSError: nobody is logged in, the Hub refused or the connection broke.
    """
    folder = Path(folder)
    if not is_hub_id(repo_id):
        raise ValueError(f"Expected the repository as user/name, got {repo_id!r}.")
    if not is_prepared(folder):
        raise ValueError(f"{folder}: expected a folder that llm-action prepare wrote, found no manifest.json.")
    table, manifest = open_prepared(folder), read_manifest(folder)
    for part in manifest["parts"]:
        if file_hash(folder / part["file"]) != part["sha256"]:
            raise ValueError(f"{folder / part['file']}: is damaged; run llm-action prepare again.")
    check_login(repo_id)
    api = HfApi()
    with tempfile.TemporaryDirectory() as name:
        staged = Path(name)
        for file in (MANIFEST, *(part["file"] for part in manifest["parts"])):
            (staged / file).symlink_to((folder / file).resolve())
        write_index(folder, staged / INDEX)
        dataset_card(table, repo_id, manifest["dataset"], "data-*.arrow").save(staged / "README.md")
        try:
            api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                repo_type="dataset",
                folder_path=staged,
                commit_message="Upload data",
                delete_patterns=["data-*.arrow"],  # parts of an earlier table
            )
        except UPLOAD_ERRORS as error:
            raise OSError(explain_refusal(repo_id, error)) from error
    return str(commit.commit_url)


def push_space(model_id: str, private: bool | None = None, license: str | None = None) -> str:
    """Uploads the demo Space of a model on the Hub, with this package's code; returns the commit's URL.

    Raises:
        OSError: nobody is logged in, the Hub refused or the connection broke.
    """
    check_login(model_id)
    api = HfApi()
    with tempfile.TemporaryDirectory() as name:
        write_space(name, model_id, license)
        try:
            api.create_repo(model_id, repo_type="space", private=private, exist_ok=True, space_sdk="gradio")
            commit = api.upload_folder(
                repo_id=model_id,
                repo_type="space",
                folder_path=name,
                commit_message="Upload demo",
                delete_patterns=["llm_action/*"],  # modules of an earlier release
            )
        except UPLOAD_ERRORS as error:
            raise OSError(explain_refusal(model_id, error)) from error
    return str(commit.commit_url)


def write_space(folder: str | os.PathLike[str], model_id: str, license: str | None = None) -> None:
    """Writes the demo Space of a model: app, requirements, card and the package itself."""
    folder = Path(folder)
    app = (TEMPLATES / "space" / "app.py").read_text(encoding="utf-8")
    (folder / "app.py").write_text(app.replace('MODEL_ID = "user/name"', f'MODEL_ID = "{model_id}"'), encoding="utf-8")
    shutil.copy(TEMPLATES / "space" / "requirements.txt", folder)
    space_card(model_id, license).save(folder / "README.md")
    package = folder / "llm_action"
    parts = {package: Path(version.__file__), package / "modeling": Path(hub_repository.__file__)}
    for target, module in parts.items():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(module.parent, target, ignore=ignored, dirs_exist_ok=True)
    shutil.copytree(TEMPLATES, package / "hub_cards", ignore=ignored, dirs_exist_ok=True)
