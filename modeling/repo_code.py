"""What a saved folder needs so that transformers loads it without this package: its code and where the classes are."""

from __future__ import annotations

import shutil
from pathlib import Path

FORMAT_VERSION = 1  # raised when an older release could no longer read what this one writes

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
