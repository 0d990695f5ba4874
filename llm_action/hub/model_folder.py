"""The composite folder, and its way to the Hub and back."""

from __future__ import annotations

import json
import os
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi, get_token, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

import llm_action
from llm_action.datasets.lexicon import write_lexicon
from llm_action.hub.base_models import resolve_base_model
from llm_action.hub.cards import TEMPLATES, card_license, is_hub_id, space_card, write_card
from llm_action.hub.training_record import read_record, record_evaluation, record_training
from llm_action.modeling import base_model as base_fingerprint
from llm_action.modeling.base_model import weights_fingerprint
from llm_action.modeling.hub_repository import check_file_names, reading
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.modeling_llm_ar import BASE_MODEL_VARIABLE, LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor

# All that a repository holds. A checkpoint's optimizer state and training arguments are pickles: never among them.
ROOT_FILES = (
    *("config.json", "model.safetensors", "processor_config.json", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json"),
    *("lexicon.json", "*.py", "README.md", "LICENSE*"),
)
FOLDER_FILES = {
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    "vqvae": ("config.json", "model.safetensors"),
    "base": ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*"),
    "training": ("*.yaml", "*.json", "*.png"),
    ".eval_results": ("*.yaml",),
}
_PARTS = ("config.json", "vqvae/config.json", "adapter/adapter_config.json", "processor_config.json")
_SECRET = re.compile(r"\bhf_[A-Za-z0-9]{20,}")


def export(
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    folder: str | os.PathLike[str],
    run: str | os.PathLike[str] | None = None,
    state_dict: dict[str, Any] | None = None,
) -> Path:
    """Writes model and processor as one folder that `pipeline()` and the Auto classes load; replaces an earlier one.

    The folder appears whole or not at all.

    Args:
        run: the run folder of the training; its recipe, curves and sentence statistics go onto the card.
        state_dict: the model's weights where this process holds only a part of them; default its own.
    """
    folder = Path(folder)
    temporary = fresh_folder(folder.with_name(folder.name + ".tmp"))
    model.save_pretrained(temporary, state_dict=state_dict)
    processor.save_pretrained(temporary)
    write_lexicon(temporary)
    if run is not None:
        record_training(temporary, run)
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


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    private: bool | None = None,
    space: bool = False,
    message: str = "Upload model",
) -> str:
    """Uploads a model folder with its card and evaluation results in one commit; returns the commit's URL.

    The repository is made if need be. An upload that was interrupted goes on where it stopped: large files that had
    arrived are not sent again.

    Args:
        repo_id: "user/name".
        private: of a new repository; default public, or what the organisation has set.
        space: also make the demo Space of the same name.

    Raises:
        FileNotFoundError, ValueError: the folder is no model that others can load; the text says why.
        OSError: the Hub refused or the connection broke.
    """
    folder = Path(folder)
    if not is_hub_id(repo_id):
        raise ValueError(f"Expected the repository as user/name, got {repo_id!r}.")
    check_model(folder)
    write_card(folder, repo_id)
    check_secrets(folder)
    url = _upload(folder, repo_id, "model", private, message)
    if space:
        push_space(repo_id, private, card_license(folder))
    return url


def push_space(model_id: str, private: bool | None = None, license: str | None = None) -> str:
    """Uploads the demo Space of a model on the Hub, with this package's code; returns the commit's URL."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_space(folder, model_id, license)
        return _upload(folder, model_id, "space", private, "Upload demo")


def write_space(folder: str | os.PathLike[str], model_id: str, license: str | None = None) -> None:
    """Writes the demo Space of a model: app, requirements, card and the package itself."""
    folder = Path(folder)
    app = (TEMPLATES / "space" / "app.py").read_text(encoding="utf-8")
    (folder / "app.py").write_text(app.replace('MODEL_ID = "user/name"', f'MODEL_ID = "{model_id}"'), encoding="utf-8")
    shutil.copy(TEMPLATES / "space" / "requirements.txt", folder)
    space_card(model_id, license).save(folder / "README.md")
    package = folder / "llm_action"
    parts = {package: Path(llm_action.__file__), package / "modeling": Path(base_fingerprint.__file__)}
    for target, module in parts.items():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(module.parent, target, ignore=ignored, dirs_exist_ok=True)
    shutil.copytree(TEMPLATES, package / "hub_cards", ignore=ignored, dirs_exist_ok=True)


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
        folder = Path(snapshot_download(repo_id, revision=revision, local_dir=local, allow_patterns=_patterns()))
    except HfHubHTTPError as error:
        raise OSError(_explain(repo_id, error)) from error
    check_model(folder, to_share=False)
    return folder


def repository_files(folder: str | os.PathLike[str]) -> list[str]:
    """The files of a folder that belong into a repository, as relative paths."""
    folder = Path(folder)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    wanted = sorted(name for name in names if _belongs(name))
    # without config.json the folder is an action tokenizer's, and a model.safetensors in it a training's
    return wanted if "config.json" in wanted else [name for name in wanted if name != "model.safetensors"]


def copy_repository(source: Path, target: Path) -> None:
    """Copies `repository_files`."""
    for name in repository_files(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def check_model(folder: str | os.PathLike[str], to_share: bool = True) -> None:
    """Refuses a folder whose parts are missing, damaged or not of one model, or whose base nobody else can find.

    Args:
        to_share: whether the base model has to be one on the Hub or lie in the folder.

    Raises:
        FileNotFoundError: a part is missing.
        ValueError: anything else; the text says what to do.
    """
    folder = Path(folder)
    known = describe(folder)
    check_file_names(folder)
    processor = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    found = ActionVQVAE.from_pretrained(folder / "vqvae").fingerprint()
    for part, noted in (
        ("config.json", known["vqvae_fingerprint"]),
        ("processor_config.json", processor["vqvae_fingerprint"]),
    ):
        if noted != found:
            raise ValueError(
                f"{folder}: {part} belongs to the VQ-VAE {noted}, vqvae/ holds {found}; export the model again."
            )
    if to_share and not is_hub_id(known["base_model"]) and not (folder / "base").is_dir():
        raise ValueError(
            f"{folder}: its base model {known['base_model']!r} is a folder of this machine, so nobody else could load "
            "it. Run `llm-action export` with --base-model USER/NAME, or with --include-base if its licence allows."
        )


def check_secrets(folder: str | os.PathLike[str]) -> None:
    """Refuses a folder in which a text file holds an access token of the Hub."""
    token = get_token()
    for name in repository_files(folder):
        if not name.endswith((".safetensors", ".png", ".model")):
            text = (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
            if _SECRET.search(text) or (token and token in text):
                raise ValueError(f"{Path(folder) / name}: holds an access token; remove it before sharing this folder.")


def describe(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What a composite folder holds, for `llm-action info`.

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
            parts[part] = json.loads((folder / part).read_text(encoding="utf-8"))
    model, vqvae, adapter, processor = parts.values()
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {
        "folder": str(folder),
        "classes": model["label_names"],
        "base_model": model["base_model"],
        "base_fingerprint": model["base_fingerprint"],
        "vqvae_fingerprint": model["vqvae_fingerprint"],
        "layout": vqvae["layout"],
        "geometry": vqvae["geometry"],
        "codebook": f"{vqvae['num_levels']} x {vqvae['codebook_size']} codes of width {vqvae['code_dim']}",
        "frames": vqvae["num_frames"],
        "tokens_per_person": vqvae["num_frames"] // vqvae["downsample"] * vqvae["num_levels"],
        "prompt": processor["prompt"],
        "lora_rank": adapter["r"],
        "lora_targets": sorted(adapter["target_modules"]),
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
    }


def _include_base(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    base = resolve_base_model(os.environ.get(BASE_MODEL_VARIABLE) or config["base_model"])
    found = weights_fingerprint(base)
    if config["base_fingerprint"] is not None and found != config["base_fingerprint"]:
        raise ValueError(
            f"{base}: its weights ({found[:16]}) are not those this model was trained on "
            f"({config['base_model']}, {config['base_fingerprint'][:16]}); "
            f"name the right ones in {BASE_MODEL_VARIABLE}."
        )
    for file in sorted(base.iterdir()):
        if file.is_file() and _belongs(f"base/{file.name}"):
            (folder / "base").mkdir(exist_ok=True)
            shutil.copyfile(file, folder / "base" / file.name)
    if not is_hub_id(config["base_model"]):
        _note_base(folder, "base")  # not the path of this machine


def _note_base(folder: Path, name: str) -> None:
    for file, key in (("config.json", "base_model"), ("adapter/adapter_config.json", "base_model_name_or_path")):
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        content[key] = name
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    recipe = folder / "training" / "experiment.yaml"
    if recipe.is_file() and is_hub_id(name):
        experiment = {**yaml.safe_load(recipe.read_text(encoding="utf-8")), "base_model": name}
        recipe.write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")


def _upload(folder: Path, repo_id: str, kind: str, private: bool | None, message: str) -> str:
    api = HfApi()
    sdk = "gradio" if kind == "space" else None
    # what our folders held before and hold no more goes in the same commit; other files stay
    ours = _patterns() if kind == "model" else None
    stale = [pattern for pattern in ours if "/" in pattern] if ours else ["llm_action/*"]
    try:
        api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=sdk)
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type=kind,
            folder_path=folder,
            commit_message=message,
            allow_patterns=ours,
            delete_patterns=stale,
        )
    except (HfHubHTTPError, RuntimeError) as error:
        raise OSError(_explain(repo_id, error)) from error
    return str(commit.commit_url)


def _explain(repo_id: str, error: Exception) -> str:
    cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    advice = {
        401: "log in with `hf auth login` or set HF_TOKEN",
        403: "the token may not write there; make one with write access",
        404: "check the name, and whether the token may see it",
    }.get(status or 0, "run the same command again; what has arrived is not sent again")
    reason = next(iter(str(cause or error).strip().splitlines()), type(error).__name__)
    return f"{repo_id}: {reason}; {advice}"


def _belongs(name: str) -> bool:
    parent, _, file = name.rpartition("/")
    return any(fnmatch(file, pattern) for pattern in (FOLDER_FILES.get(parent, ()) if parent else ROOT_FILES))


def _patterns() -> list[str]:
    inside = [f"{folder}/{pattern}" for folder, patterns in FOLDER_FILES.items() for pattern in patterns]
    return [*ROOT_FILES, *inside]


def fresh_folder(folder: Path) -> Path:
    """`folder`, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _replace(temporary: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    return folder
