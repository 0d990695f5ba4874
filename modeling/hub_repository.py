"""A repository on the Hub: what it holds, the code that transformers loads without this package, and the way there."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfApi, ModelCard, ModelCardData, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from safetensors.torch import load_file
from torch import Tensor

FORMAT_VERSION = 3  # raised when an older release could no longer read what this one writes
_WITHOUT_SENSES = 2  # what is written where the skeleton is the only sense, which releases of format 2 read

TASK = "skeleton-action-recognition"

MODEL_AUTO_MAP = {
    "AutoConfig": "configuration_llm_ar.LlmArConfig",
    "AutoModel": "modeling_llm_ar.LlmArForActionRecognition",
}
VQVAE_AUTO_MAP = {
    "AutoConfig": "configuration_llm_ar.ActionVQVAEConfig",
    "AutoModel": "modeling_action_vqvae.ActionVQVAE",
}
PROCESSOR_AUTO_MAP = {"AutoProcessor": "processing_llm_ar.LlmArProcessor"}
FEATURE_EXTRACTOR_AUTO_MAP = {"AutoFeatureExtractor": "feature_extraction_skeleton.SkeletonFeatureExtractor"}
PIPELINES = {
    TASK: {
        "impl": "pipeline_skeleton_action_recognition.SkeletonActionRecognitionPipeline",
        "pt": ["AutoModel"],
        "type": "multimodal",
    }
}


# All that a repository holds. A checkpoint's optimizer state and training arguments are pickles: never among them.
ROOT_FILES = (
    *(
        "config.json",
        "model.safetensors",
        "familiarity.safetensors",
        "lexicon.json",
        "processor_config.json",
        "preprocessor_config.json",
    ),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json"),
    *("*.py", "README.md", "LICENSE*"),
)
FOLDER_FILES = {
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    "adapter/*": ("adapter_config.json", "adapter_model.safetensors"),
    "vqvae": ("config.json", "model.safetensors"),
    "student": ("config.json", "model.safetensors"),
    "onnx": ("*.onnx",),
    "senses/*": ("config.json", "model.safetensors"),
    "base": ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*"),
    "training": ("*.yaml", "*.json", "*.png"),
    ".eval_results": ("*.yaml",),
}
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_SECRET = re.compile(r"\bhf_[A-Za-z0-9]{20,}")


def copy_code(folder: str | Path) -> None:
    """Copies the modules of this package into `folder`, flat, as the Hub wants them."""
    for module in sorted(Path(__file__).parent.glob("*.py")):
        target = Path(folder) / module.name
        if target.resolve() != module.resolve():
            shutil.copyfile(module, target)


def repository_files(folder: str | Path) -> list[str]:
    """Lists the files of a folder that belong into a repository, as relative paths; whatever else lies there stays."""
    folder = Path(folder)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    wanted = sorted(name for name in names if belongs(name))
    # without config.json the folder is an action tokenizer's, and a model.safetensors in it a training's
    return wanted if "config.json" in wanted else [name for name in wanted if name != "model.safetensors"]


def belongs(name: str) -> bool:
    """Whether a repository holds a file of this relative path."""
    parent, _, file = name.rpartition("/")
    inside = [pattern for folder, files in FOLDER_FILES.items() if fnmatch(parent, folder) for pattern in files]
    return any(fnmatch(file, pattern) for pattern in (inside if parent else ROOT_FILES))


def repository_patterns() -> list[str]:
    """Lists the patterns of all files that a repository can hold."""
    inside = [f"{folder}/{pattern}" for folder, patterns in FOLDER_FILES.items() for pattern in patterns]
    return [*ROOT_FILES, *inside]


def is_hub_id(name: str) -> bool:
    """Whether a model's name is one on the Hub (owner/name) rather than a path of this machine."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None and not Path(name).exists()


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Hashes weights by name and value, in float32: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.detach().float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_parts_agree(folder: str | Path) -> None:
    """Refuses a folder whose parts, as far as there are any, are of different models, or whose index leads out of it.

    Raises:
        ValueError: names the part.
    """
    folder = Path(folder)
    check_file_names(folder)
    for weights in (folder / "vqvae" / "model.safetensors", *sorted(folder.glob("senses/*/model.safetensors"))):
        if not weights.is_file():
            continue
        place, sense = weights.parent.relative_to(folder).as_posix(), weights.parent.name
        with reading(weights.parent):
            found = weights_hash(load_file(weights))
        for part in ("config.json", "processor_config.json"):
            known = _read_json(folder / part)
            noted = known.get("vqvae_fingerprint")
            if place != "vqvae":
                noted = (known.get("sense_fingerprints") or {}).get(sense)
            if noted is not None and noted != found:
                raise ValueError(
                    f"{folder}: {part} belongs to the VQ-VAE {noted}, {place}/ holds {found}; export the model again."
                )


def check_upload(folder: str | Path) -> None:
    """Refuses a folder, whole or a part of a model, that should not be shared.

    Raises:
        ValueError: its parts are of different models, an index leads out of it, a text file holds an access token of
            the Hub, or its base model is a folder of this machine; the text says what to do.
    """
    folder = Path(folder)
    check_parts_agree(folder)
    config = _read_json(folder / "config.json")
    base = config.get("base_model")
    if base is not None and not is_hub_id(base) and not (folder / "base").is_dir():
        raise ValueError(
            f"{folder}: its base model {base!r} is a folder of this machine, so nobody else could load it. Run "
            "`llm-action export` with --base-model USER/NAME, or with --include-base if its licence allows."
        )
    _check_no_pickles(folder)
    check_secrets(folder)


def _check_no_pickles(folder: Path) -> None:
    """Refuses files that are pickles, or torch's zip of one, by their content and whatever they are called."""
    for name in repository_files(folder):
        with (folder / name).open("rb") as file:
            if file.read(4).startswith(_PICKLES):
                raise ValueError(f"{folder / name}: is a pickle, which runs code when it is read; save as safetensors.")


def check_secrets(folder: str | Path) -> None:
    """Refuses a folder in which a text file holds an access token of the Hub."""
    token = get_token()
    for name in repository_files(folder):
        if not name.endswith((".safetensors", ".png", ".model")):
            text = (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
            if _SECRET.search(text) or (token and token in text):
                raise ValueError(f"{Path(folder) / name}: holds an access token; remove it before sharing this folder.")


def upload(
    folder: str | Path,
    repo_id: str,
    message: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    whole: bool = False,
    in_background: bool = False,
    **commit: Any,
) -> Any:
    """Uploads a folder's `repository_files` as one commit; every way to the Hub ends here.

    What is too large to lie in the commit itself is sent first, and not again after an interruption.

    Args:
        folder: a model folder or a part of one.
        repo_id: "user/name", made if need be.
        private: of a new repository; default public, or what the organisation has set.
        revision: branch, made if need be; default main.
        whole: whether files of ours that the repository holds and the folder does not are removed.
        in_background: return a future at once.
        commit: further arguments of `HfApi.upload_folder`.

    Returns:
        `huggingface_hub.CommitInfo`, or a future of one.

    Raises:
        ValueError: see `check_upload`.
        OSError: nobody is logged in, the Hub refused or the connection broke; one line that says what to do.
    """
    check_upload(folder)
    check_login(repo_id, token)
    api = HfApi(token=token)
    patterns = repository_patterns()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None and not revision.startswith("refs/pr"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        return api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=message,
            revision=revision,
            allow_patterns=patterns,
            delete_patterns=[pattern for pattern in patterns if "/" in pattern] if whole else None,
            **{"run_as_future": in_background, **commit},
        )
    except UPLOAD_ERRORS as error:
        raise OSError(explain_refusal(repo_id, error)) from error


def check_login(repo_id: str, token: str | bool | None = None) -> None:
    """Raises an OSError where there is no access token to upload with."""
    if not (token if isinstance(token, str) else get_token()):
        raise OSError(f"{repo_id}: nobody is logged in; run `hf auth login` or set HF_TOKEN")


UPLOAD_ERRORS = (HTTPError, RuntimeError)  # what the Hub refuses, and what breaks on the way to it


def explain_refusal(repo_id: str, error: Exception) -> str:
    """One line on why the Hub refused and what to do."""
    cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    advice = {
        401: "log in with `hf auth login` or set HF_TOKEN",
        403: "the token may not write there; make one with write access",
        404: "check the name, and whether the token may see it",
    }.get(status or 0, "check the connection and run the same command again; what has arrived is kept")
    reason = next(iter(str(cause or error).strip().splitlines()), type(error).__name__)
    return f"{repo_id}: {reason.rstrip('.;: ')}; {advice}"


class HubUpload:
    """`push_to_hub` of a part: `save_pretrained` into a temporary folder, sent by `upload`.

    A card that the repository has already stays; else one is written, in full by the installed package.
    """

    # writes README.md into a folder, for a repository of that name; the installed package sets it
    card_writer: Callable[[Path, str], object] | None = None

    save_pretrained: Callable[..., object]  # of the class this one is mixed into

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        **kwargs,
    ) -> str:
        """Uploads to the repository `repo_id` ("user/name"), made if need be; returns the commit's URL.

        Args:
            private: of a new repository.
            revision: branch, made if need be; default main.
            kwargs: for `save_pretrained`.

        Raises:
            ValueError, OSError: see `upload`.
        """
        check_login(repo_id, token)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.save_pretrained(folder, **kwargs)
            check_upload(folder)
            api = HfApi(token=token)
            try:
                repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
                has_card = api.file_exists(repo_id, "README.md", revision=revision)
            except HfHubHTTPError as error:
                raise OSError(explain_refusal(repo_id, error)) from error
            if not has_card:
                (type(self).card_writer or _short_card)(folder, repo_id)
            commit = upload(
                folder,
                repo_id,
                commit_message or f"Upload {type(self).__name__}",
                token=token,
                private=private,
                revision=revision,
                commit_description=commit_description,
                create_pr=create_pr,
            )
        return str(commit)


def _short_card(folder: Path, name: str) -> None:
    data = ModelCardData(library_name="transformers", tags=[TASK, "llm-action"])
    text = f"# {name}\n\nPart of a skeleton action recognizer (LLM-AR) made with llm-action."
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n").save(folder / "README.md")


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    with reading(file):
        return dict(json.loads(file.read_text(encoding="utf-8")))


def check_file_names(folder: str | Path) -> None:
    """Refuses weight indexes whose file names lead out of their folder.

    Raises:
        ValueError: names the index and the entry.
    """
    for index in Path(folder).rglob("*.index.json"):
        with reading(index):
            names = list(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
        for name in names:
            if not isinstance(name, str) or PurePosixPath(name).name != name or "\\" in name:
                raise ValueError(f"{index}: expected names of files beside it, got {name!r}; do not use this model.")


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuses weights that are no numbers: everything computed with them would be none either.

    Raises:
        ValueError: names a tensor.
    """
    for name, weight in weights.items():
        if weight.is_floating_point() and not bool(weight.isfinite().all()):
            raise ValueError(f"{name} holds numbers that are not finite; export or download the model again.")


@contextmanager
def reading(part: str | Path) -> Iterator[None]:
    """Says which part of a model was being read when it turns out to be damaged, of another model or of a newer format.

    Raises:
        ValueError: names the part and the remedy. OSError passes: it names its file already; so does ImportError: it
            names what is missing.
    """
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:  # safetensors, json and torch each have their own
        if str(error).startswith(str(part)):
            raise  # names a part of this part
        message = f"{error!s:.1000}"
        if not isinstance(error, ValueError) or isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
            message = f"damaged or of another model ({message}); export or download the model again."
        raise ValueError(f"{part}: {message}") from error


def check_parts(folder: str | Path, parts: Iterable[str]) -> None:
    """Refuses a folder that lacks one of the files `parts`.

    Raises:
        OSError: names folder and file.
    """
    for part in parts:
        if not (Path(folder) / part).is_file():
            raise OSError(
                f"{folder}: expected a folder written by `llm-action train` or `save_pretrained`, {part} is missing; "
                "export or download the model again."
            )


def from_hub_code() -> bool:
    """Whether this code runs from a Hub repository's copy rather than from the installed package."""
    return __name__.startswith("transformers_modules.")


def written_format(senses: object) -> int:
    """The format that a part is written in, whether it has further `senses` or none."""
    return FORMAT_VERSION if senses else _WITHOUT_SENSES


def check_format(version: int, part: str) -> None:
    """Refuses a saved part of a newer format.

    Raises:
        ValueError: `version` is above the one this release reads; the text names both.
    """
    if version > FORMAT_VERSION:
        raise ValueError(
            f"This {part} was written in format {version}, this release reads formats up to {FORMAT_VERSION}; "
            "update with `pip install -U llm-action`."
        )
