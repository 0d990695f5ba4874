"""The composite folder: everything a user or the Hub needs of a trained recognizer, the base's weights aside."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor


def export(model: LlmArForActionRecognition, processor: LlmArProcessor, folder: str | os.PathLike[str]) -> Path:
    """Writes model and processor as one folder that `pipeline()` and the Auto classes load; replaces an earlier one.

    The folder appears whole or not at all.
    """
    folder = Path(folder)
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    processor.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    return folder


def describe(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What a composite folder holds, for `llm-action info`.

    Raises:
        FileNotFoundError: a part is missing; the text names it.
    """
    folder = Path(folder)
    parts = {}
    for part in ("config.json", "vqvae/config.json", "adapter/adapter_config.json", "processor_config.json"):
        if not (folder / part).is_file():
            raise FileNotFoundError(
                f"{folder}: expected a model folder written by llm-action train, {part} is missing."
            )
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
