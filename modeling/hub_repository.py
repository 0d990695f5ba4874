"""What a saved folder needs so that transformers loads it without this package: its code and where the classes are."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, ModelCard, ModelCardData

FORMAT_VERSION = 2  # raised when an older release could no longer read what this one writes

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


def copy_code(folder: str | Path) -> None:
    """Copies the modules of this package into `folder`, flat, as the Hub wants them."""
    for module in sorted(Path(__file__).parent.glob("*.py")):
        target = Path(folder) / module.name
        if target.resolve() != module.resolve():
            shutil.copyfile(module, target)


class HubUpload:
    """`push_to_hub` of a part: `save_pretrained` into a temporary folder, uploaded as one commit.

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
        """
        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/pr"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.save_pretrained(folder, **kwargs)
            if not api.file_exists(repo_id, "README.md", revision=revision):
                (type(self).card_writer or _short_card)(folder, repo_id)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                commit_description=commit_description,
                revision=revision,
                create_pr=create_pr,
            )
        return str(commit)


def _short_card(folder: Path, name: str) -> None:
    data = ModelCardData(library_name="transformers", tags=[TASK, "llm-action"])
    text = f"# {name}\n\nPart of a skeleton action recognizer (LLM-AR) made with llm-action."
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n").save(folder / "README.md")


def check_file_names(folder: str | Path) -> None:
    """Refuses weight indexes whose file names lead out of their folder.

    Raises:
        ValueError: names the index and the entry.
    """
    for index in Path(folder).rglob("*.index.json"):
        for name in json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values():
            if PurePosixPath(name).name != name or "\\" in name:
                raise ValueError(f"{index}: expected names of files beside it, got {name!r}; do not use this model.")


@contextmanager
def reading(part: str | Path) -> Iterator[None]:
    """Says which part of a model was being read when it turns out to be damaged, of another model or of a newer format.

    Raises:
        ValueError: names the part and the remedy. OSError passes: it names its file already.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # safetensors, json and torch each have their own
        if str(error).startswith(str(part)):
            raise  # names a part of this part
        message = str(error)
        if not isinstance(error, ValueError) or isinstance(error, json.JSONDecodeError):
            message = f"damaged or of another model ({error}); export or download the model again."
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
