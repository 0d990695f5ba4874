"""The Hub's rules for the metadata of a card, as its documentation states them."""

from __future__ import annotations

import re

import yaml

LICENSES = "apache-2.0 mit cc-by-4.0 cc-by-nc-4.0 cc0-1.0 llama2 llama3 llama3.1 llama3.2 llama3.3 gemma other unknown"
PIPELINE_TAGS = (
    "text-classification text-generation image-classification video-classification feature-extraction "
    "keypoint-detection zero-shot-classification other"
)
COLOURS = "red yellow green blue indigo purple pink gray"
TASK_CATEGORIES = PIPELINE_TAGS
SIZES = "n<1K 1K<n<10K 10K<n<100K 100K<n<1M"


def metadata(content: str) -> dict:
    match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    return (yaml.safe_load(match[1]) or {}) if match else {}


def check_card(content: str, kind: str) -> tuple[list[str], list[str]]:
    """What is wrong with a card (text) of a "model", "dataset" or "space": (errors, warnings)."""
    data, errors, warnings = metadata(content), [], []
    if not data:
        return [], ["empty or missing yaml metadata in repo card"]

    def listed(name: str, allowed: str, wrong: list[str]) -> None:
        values = data[name] if isinstance(data.get(name), list) else [data[name]] if name in data else []
        wrong += [f'"{name}" must be one of [{allowed}], got {v!r}' for v in values if v not in allowed.split()]

    def texts(name: str) -> None:
        values = data.get(name, [])
        if not isinstance(values, (str, list)) or not all(isinstance(value, str) for value in values):
            errors.append(f'"{name}" must be a string or a list of strings')

    listed("license", LICENSES, errors)
    if data.get("license") == "other" and "license_name" not in data:
        errors.append('"license_name" is required with license other')
    for name in ("tags", "datasets", "models", "metrics", "base_model", "language"):
        texts(name)
    languages = data.get("language", [])
    for language in [languages] if isinstance(languages, str) else languages:
        if not re.fullmatch(r"[a-z]{2,3}|code|multilingual", language):
            errors.append(f'"language" must be an ISO 639 code, got {language!r}')
    repo_id = r"[\w.-]+(/[\w.-]+)?"
    for name in ("base_model", "datasets", "models"):
        values = data.get(name, [])
        for value in [values] if isinstance(values, str) else values:
            if not re.fullmatch(repo_id, value):
                errors.append(f'"{name}" with value {value!r} is not valid, it must be a repository id')
    if kind == "model":
        listed("pipeline_tag", PIPELINE_TAGS, warnings)
        for entry in data.get("model-index", []):
            if not entry.get("name") or not isinstance(entry.get("results"), list):
                errors.append('"model-index" needs a name and results')
            for result in entry.get("results", []):
                whole = {"task", "dataset", "metrics"} <= set(result) and result["task"].get("type")
                whole = whole and {"name", "type"} <= set(result["dataset"])
                if not whole or not all({"type", "value"} <= set(metric) for metric in result["metrics"]):
                    errors.append('"model-index" results need task.type, dataset.name, dataset.type and metrics')
        if "license" not in data:
            warnings.append("a license is missing")
    if kind == "dataset":
        listed("task_categories", TASK_CATEGORIES, warnings)
        listed("size_categories", SIZES, errors)
    if kind == "space":
        listed("colorFrom", COLOURS, errors)
        listed("colorTo", COLOURS, errors)
        listed("sdk", "gradio docker static", errors)
        if "sdk" not in data or ("app_file" not in data and data["sdk"] == "gradio"):
            errors.append('"sdk" and "app_file" are required')
        if len(data.get("short_description", "")) > 60:
            errors.append('"short_description" must be at most 60 characters')
    return errors, warnings
