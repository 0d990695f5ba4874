"""Writes, copies, describes and checks model folders, and fetches them from the Hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from llm_action.config.reading import read_json
from llm_action.hub.base_models import resolve_base_model
from llm_action.hub.cards import write_card
from llm_action.hub.training_record import read_record, record_evaluation, record_training
from llm_action.modeling.base_model import BASE_MODEL_VARIABLE, weights_fingerprint
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.hub_repository import (
    belongs,
    check_parts_agree,
    check_upload,
    explain_refusal,
    is_hub_id,
    reading,
    repository_files,
    repository_patterns,
)
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.student import STUDENT_FOLDER

_PARTS = ("config.json", "vqvae/config.json", "adapter/adapter_config.json", "processor_config.json")


def export(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    folder: str | os.PathLike[str],
    run: str | os.PathLike[str] | None = None,
    state_dict: dict[str, Any] | None = None,
    finish: Callable[[Path], object] | None = None,
) -> Path:
    """Writes model and processor as one folder that `pipeline()` and the Auto classes load; replaces an earlier one.

    The folder appears whole or not at all.

    Args:
        run: the run folder of the training; its recipe, curves and sentence statistics go onto the card.
        state_dict: the model's weights where this process holds only a part of them; default its own.
        finish: writes further files into the folder before it appears.
    """
    folder = Path(folder)
    temporary = fresh_folder(folder.with_name(folder.name + ".tmp"))
    model.save_pretrained(temporary, state_dict=state_dict, resumable=False)
    processor.save_pretrained(temporary)
    if run is not None:
        record_training(temporary, run)
    if finish is not None:
        finish(temporary)
    write_card(temporary, folder.name)
    return _replace(temporary, folder)


def copy_model(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    include_base: bool = False,
    base_model: str | None = None,
) -> Path:
    """Writes a model folder anew, without anything that does not belong to it.

    Args:
        source: model folder, run folder or Hub id.
        out: where to; default the model folder itself.
        include_base: copy the base model into `base/`, for use without the Hub.
        base_model: the Hub id to note as the base, for a model trained on a local copy.

    Raises:
        FileNotFoundError: `source` is no model folder.
        ValueError: the base found is not the one trained on.
    """
    folder = Path(source) if Path(source).is_dir() else pull(str(source))
    folder = folder / "model" if (folder / "model").is_dir() else folder
    describe(folder)
    out = Path(out or folder)
    temporary = fresh_folder(out.with_name(out.name + ".tmp"))
    copy_repository(folder, temporary)
    if base_model:
        _note_base(temporary, base_model)
    if include_base:
        _include_base(temporary)
    shared_as = read_record(folder).get("name", "")
    write_card(temporary, shared_as if is_hub_id(shared_as) else out.name)
    return _replace(temporary, out)


def add_result(folder: str | os.PathLike[str], metrics: dict[str, Any]) -> None:
    """Adds the result of `llm-action evaluate` to a model folder: `.eval_results/`, card, record and picture.

    A failure leaves the folder as it was.

    Raises:
        ValueError: `metrics` are not what `llm-action evaluate --json` writes.
    """
    describe(folder)
    folder = Path(folder)
    before = {file: file.read_bytes() for file in _result_files(folder)}
    try:
        record_evaluation(folder, metrics)
        write_card(folder)
    except BaseException:
        for file in _result_files(folder):
            if file not in before:
                file.unlink()
        for file, content in before.items():
            if file.read_bytes() != content:
                file.write_bytes(content)
        raise


def _result_files(folder: Path) -> list[Path]:
    """The files that `add_result` may write."""
    return [
        file
        for pattern in ("README.*", "training/*", ".eval_results/*")
        for file in folder.glob(pattern)
        if file.is_file()
    ]


def pull(repo_id: str, revision: str | None = None, out: str | os.PathLike[str] | None = None) -> Path:
    """Downloads a model into the Hugging Face cache, or into the folder `out`; returns its folder.

    Offline (HF_HUB_OFFLINE=1) it is taken from the cache.

    Args:
        revision: branch, tag or commit; default main.

    Raises:
        OSError: no such repository or revision, no right to read it, or no connection and nothing in the cache.
        ValueError: what came is damaged or does not fit together.
    """
    try:
        local = None if out is None else Path(out)
        folder = Path(
            snapshot_download(repo_id, revision=revision, local_dir=local, allow_patterns=repository_patterns())
        )
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:  # the latter without a connection
        raise OSError(explain_refusal(repo_id, error)) from error
    check_model(folder, to_share=False)
    return folder


def copy_repository(source: Path, target: Path) -> None:
    """Copies `repository_files`."""
    for name in repository_files(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def check_model(folder: str | os.PathLike[str], to_share: bool = True) -> None:
    """Refuses a folder whose parts are missing, damaged or not of one model, or whose base nobody else can find.

    Args:
        to_share: whether others have to find the base model: on the Hub, or in the folder.

    Raises:
        FileNotFoundError: a part is missing.
        ValueError: anything else; the text says what to do.
    """
    folder = Path(folder)
    describe(folder)
    if to_share:
        check_upload(folder)
    else:
        check_parts_agree(folder)


def describe(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Says what a model folder holds, for `llm-action info`.

    Raises:
        FileNotFoundError: a part is missing; the text names it.
    """
    folder = Path(folder)
    parts = {}
    for part in _PARTS:
        if not (folder / part).is_file():
            raise FileNotFoundError(
                f"{folder}: expected a model folder written by llm-action train, {part} is missing."
            )
        with reading(folder / part):
            parts[part] = read_json(folder / part)
    model, vqvae, adapter, processor = parts.values()
    files = [file for file in folder.rglob("*") if file.is_file()]
    with reading(folder):
        return {
            "folder": str(folder),
            "classes": model["label_names"],
            "base_model": model["base_model"],
            "base_fingerprint": model["base_fingerprint"],
            "vqvae_fingerprint": model["vqvae_fingerprint"],
            "layout": vqvae["layout"],
            "dimensions": vqvae.get("dimensions", 3),
            "geometry": vqvae["geometry"],
            "codebook": f"{vqvae['num_levels']} x {vqvae['codebook_size']} codes of width {vqvae['code_dim']}",
            "frames": vqvae["num_frames"],
            "tokens_per_person": ActionVQVAEConfig.from_dict(vqvae).tokens_per_person,
            "prompt": processor["prompt"],
            **sense_lines(folder),
            "lora_rank": adapter["r"],
            "lora_targets": sorted(adapter["target_modules"]),
            "student": (folder / STUDENT_FOLDER / "config.json").is_file(),
            "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
        }


def sense_lines(folder: Path) -> dict[str, str]:
    """What a model folder says of its further senses: a line for each, by "sense NAME"."""
    lines = {}
    for file in sorted(folder.glob("senses/*/config.json")):
        with reading(file):
            config = ActionVQVAEConfig.from_dict(json.loads(file.read_text(encoding="utf-8")))
        unit = f" ({config.unit})" if config.unit else ""
        channels = f"{len(config.channels)} channels{unit}: {', '.join(config.channels)}"
        lines[f"sense {file.parent.name}"] = f"{channels}; {config.num_frames} moments, {config.num_steps} tokens"
    return lines


def _include_base(folder: Path) -> None:
    config = read_json(folder / "config.json")
    base = resolve_base_model(os.environ.get(BASE_MODEL_VARIABLE) or config["base_model"])
    found = weights_fingerprint(base)
    if config["base_fingerprint"] is not None and found != config["base_fingerprint"]:
        raise ValueError(
            f"{base}: its weights ({found[:16]}) are not those this model was trained on "
            f"({config['base_model']}, {config['base_fingerprint'][:16]}); "
            f"name the right ones in {BASE_MODEL_VARIABLE}."
        )
    for file in sorted(base.iterdir()):
        if file.is_file() and belongs(f"base/{file.name}"):
            (folder / "base").mkdir(exist_ok=True)
            shutil.copyfile(file, folder / "base" / file.name)
    if not is_hub_id(config["base_model"]):
        _note_base(folder, "base")  # not the path of this machine


def _note_base(folder: Path, name: str) -> None:
    for file, key in (("config.json", "base_model"), ("adapter/adapter_config.json", "base_model_name_or_path")):
        content = read_json(folder / file)
        content[key] = name
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    recipe = folder / "training" / "experiment.yaml"
    if recipe.is_file() and is_hub_id(name):
        experiment = {**yaml.safe_load(recipe.read_text(encoding="utf-8")), "base_model": name}
        recipe.write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")


def fresh_folder(folder: Path) -> Path:
    """Makes a folder, or empties it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _replace(temporary: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    return folder
