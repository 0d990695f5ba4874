"""Cards for the Hub: of a model folder, of a data set table, of a demo Space; from the templates in `hub_cards/`."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from datasets import Dataset
from huggingface_hub import (
    DatasetCard,
    DatasetCardData,
    EvalResult,
    ModelCard,
    ModelCardData,
    RepoCard,
    SpaceCard,
    SpaceCardData,
)
from jinja2 import Environment, FileSystemLoader

from llm_action.config.reading import read_json
from llm_action.datasets import BENCHMARKS
from llm_action.hub.training_record import FOLDER, METRICS, read_record, update_record
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.familiarity import FAMILIARITY_FILE
from llm_action.modeling.hub_repository import TASK, is_hub_id
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.version import __version__

Card = TypeVar("Card", bound=RepoCard)

TEMPLATES = Path(str(files("llm_action.hub_cards")))
_TEMPLATES = Environment(loader=FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True)
PIPELINE_TAG = "video-classification"  # the nearest of the Hub's tasks; the exact one is a tag
MARK = "<!-- written by llm-action; remove this line to keep your own text -->"
_TAGS = [TASK, "skeleton", "action-recognition", "human-motion", "vector-quantization", "lora", "llama", "llm-action"]
_TITLES = {
    "synthetic": "Synthetic Kinect actions",
    "utd_mhad": "UTD-MHAD",
    "nw_ucla": "Northwestern-UCLA",
    "msr_action3d": "MSR-Action3D",
    "ntu60": "NTU RGB+D 60",
    "ntu120": "NTU RGB+D 120",
    "smarthome": "Toyota Smarthome",
    "uav_human": "UAV-Human",
}
# LLaMA's licences cover what is derived from it; the Hub has an identifier for each.
_LICENSES = {
    "meta-llama/Llama-2": "llama2",
    "meta-llama/Meta-Llama-3-": "llama3",
    "meta-llama/Meta-Llama-3.1": "llama3.1",
    "meta-llama/Llama-3.1": "llama3.1",
    "meta-llama/Llama-3.2": "llama3.2",
    "meta-llama/Llama-3.3": "llama3.3",
}
_DEFAULT_LICENSE = "apache-2.0"
_GRADIO = "6.31.0"  # that the page of the demo Space is tested with


def write_card(folder: str | os.PathLike[str], name: str | None = None) -> Path:
    """Writes README.md of a model or action-tokenizer folder from what lies in the folder.

    A README whose mark was removed is its owner's: its text stays, only metadata that it lacks and evaluation results
    are added.

    Args:
        name: what the usage examples load, a Hub id or a path; default the name of the last time, else the folder's.
    """
    folder = Path(folder)
    name = name or read_record(folder).get("name") or folder.name
    update_record(folder, name=name)
    path = folder / "README.md"
    card, earlier = model_card(folder, name), ModelCard.load(path) if path.is_file() else None
    if earlier is not None and MARK not in earlier.content:
        fresh = card.data.to_dict()
        fresh = {**fresh, **earlier.data.to_dict(), **{key: fresh[key] for key in ("model-index",) if key in fresh}}
        earlier.data = ModelCardData(**fresh)
        card = earlier
    temporary = path.with_suffix(".tmp")
    card.save(temporary)
    os.replace(temporary, path)
    return path


def model_card(folder: str | os.PathLike[str], name: str) -> ModelCard:
    """The card of a composite folder, or of one that holds the action tokenizer alone."""
    folder = Path(folder)
    config, vqvae = _json(folder / "config.json"), _json(folder / "vqvae" / "config.json")
    adapter, record = _json(folder / "adapter" / "adapter_config.json"), read_record(folder)
    evaluations = [{**entry, "key": key} for key, entry in record.get("evaluations", {}).items()]
    base, title = config.get("base_model"), name.rsplit("/", 1)[-1]
    public_base = base if base and is_hub_id(base) else None
    datasets = [record["dataset"], *record.get("extra_datasets", ())] if "dataset" in record else []
    data = ModelCardData(
        base_model=public_base,
        base_model_relation="adapter" if public_base else None,
        datasets=datasets or None,
        eval_results=[result for entry in evaluations for result in _eval_results(entry)] or None,
        language="en",
        library_name="transformers",
        license=_license(base),
        metrics=["accuracy"] if config else None,
        model_name=title if evaluations else None,
        pipeline_tag=PIPELINE_TAG if config else "feature-extraction",
        tags=_TAGS,
    )
    experiment = folder / FOLDER / "experiment.yaml"
    return _filled(
        ModelCard,
        data,
        "model_card.md",
        mark=MARK,
        name=name,
        title=title,
        on_hub=is_hub_id(name),
        task=TASK,
        config=config,
        familiar=(folder / FAMILIARITY_FILE).is_file(),
        base=public_base or "the base model",
        known_base=public_base is not None,
        included_base=(folder / "base").is_dir(),
        vqvae=ActionVQVAEConfig.from_dict(vqvae) if vqvae else None,
        layout=get_layout(vqvae["layout"]) if vqvae else None,
        senses=_senses(folder),
        extractor=_json(folder / "processor_config.json").get("feature_extractor", {}),
        adapter=adapter,
        record=record,
        datasets=list(map(_title, datasets)),
        tables=_tables(evaluations),
        recipe=experiment.read_text(encoding="utf-8").rstrip() if experiment.is_file() else None,
        plots={file.stem for file in (folder / FOLDER).glob("*.png")},
        versions=record.get("versions") or {"llm-action": __version__},
    )


def dataset_card(table: Dataset, name: str, dataset: str, files: str | None = None) -> DatasetCard:
    """The card of a table as `llm_action.datasets` makes it.

    Args:
        table: with the columns of `load_benchmark`.
        name: the Hub id that the examples load.
        dataset: key of `BENCHMARKS`; only the synthetic one is this project's to license.
        files: pattern of the repository's files that hold the table; default those that `push_to_hub` of it writes.
    """
    frames = np.array([shape[1] for shape in table["shape"]])
    labels = table.features["label"].names
    own = dataset == "synthetic"
    counts = np.bincount(table["label"], minlength=len(labels))
    parts = ("train", "test", "validation")
    texts = [name for name, feature in table.features.items() if getattr(feature, "dtype", None) == "string"]
    columns = [name for name in texts if set(table.unique(name)) <= {*parts, ""}]
    protocols = {name: {part: table[name][:].count(part) for part in parts} for name in columns}
    configs: dict[str, Any] = {"configs": [{"config_name": "default", "data_files": files}]} if files else {}
    data = DatasetCardData(
        **configs,
        pretty_name=_title(dataset),
        language="en",
        license=_DEFAULT_LICENSE if own else "other",
        license_name=None if own else "terms-of-the-owner",
        task_categories=[PIPELINE_TAG],
        size_categories=_size_category(len(table)),
        tags=[TASK, "skeleton", "human-motion", "llm-action"],
    )
    return _filled(
        DatasetCard,
        data,
        "dataset_card.md",
        name=name,
        title=_title(dataset),
        own=own,
        rows=len(table),
        labels=[(label, int(count)) for label, count in zip(labels, counts, strict=True)],
        layout=get_layout(table["layout"][0]),
        subjects=len(set(table["subject"])),
        frames=(int(frames.min()), float(np.median(frames)), int(frames.max())),
        protocols=protocols,
    )


def space_card(model_id: str, license: str | None = None) -> SpaceCard:
    """The card of the demo Space of a model on the Hub."""
    data = SpaceCardData(
        title=f"{model_id.rsplit('/', 1)[-1]}: name the action",
        emoji="🕺",
        colorFrom="blue",
        colorTo="green",
        sdk="gradio",
        sdk_version=_GRADIO,
        python_version="3.11",
        app_file="app.py",
        pinned=False,
        license=license or _DEFAULT_LICENSE,
        models=[model_id],
        tags=[TASK, "llm-action"],
        short_description="Names the action in a skeleton recording",
    )
    return _filled(SpaceCard, data, "space_card.md", model_id=model_id)


def card_license(folder: str | os.PathLike[str]) -> str | None:
    """The licence that the card in a folder names."""
    return ModelCard.load(Path(folder) / "README.md").data.to_dict().get("license")


def _filled(kind: type[Card], data: Any, template: str, **values: Any) -> Card:
    # the library's own rendering leaves the lines of {% if %} in the text, where they would break tables
    body = _TEMPLATES.get_template(template).render(**values)
    return kind.from_template(data, template_str="---\n{{ card_data }}\n---\n\n{{ body }}\n", body=body)


def _senses(folder: Path) -> dict[str, ActionVQVAEConfig]:
    """The tokenizers' settings of the further senses, by name."""
    files = sorted(folder.glob("senses/*/config.json"))
    return {file.parent.name: ActionVQVAEConfig.from_dict(_json(file)) for file in files}


def _eval_results(entry: dict[str, Any]) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=PIPELINE_TAG,
            task_name="Skeleton action recognition",
            dataset_type=entry["dataset"],
            dataset_name=f"{_title(entry['dataset'])} {entry['protocol']}",
            dataset_config=entry["protocol"],
            dataset_split="test",
            metric_type="accuracy",
            metric_name=title,
            metric_value=round(100 * entry[metric], 2),
        )
        for metric, title in own_metric_first(entry["dataset"]).items()
    ]


def _tables(evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One table a data set, with a row for each protocol evaluated and the data set's own metric first."""
    tables: dict[str, dict[str, Any]] = {}
    for entry in evaluations:
        dataset = entry["dataset"]
        empty = {"title": _title(dataset), "metrics": own_metric_first(dataset), "rows": []}
        tables.setdefault(dataset, empty)["rows"].append(entry)
    return list(tables.values())


def own_metric_first(dataset: str) -> dict[str, str]:
    """Keys and titles of the metrics, the one that the data set is reported with first."""
    own = BENCHMARKS[dataset].metric if dataset in BENCHMARKS else "top1"
    return {own: METRICS[own], **METRICS}


def _title(dataset: str) -> str:
    return _TITLES.get(dataset, dataset)


def _license(base: str | None) -> str:
    fitting = [prefix for prefix in _LICENSES if base and base.startswith(prefix)]
    return _LICENSES[max(fitting, key=len)] if fitting else _DEFAULT_LICENSE


def _size_category(rows: int) -> str:
    bounds = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K"}
    return next((name for bound, name in bounds.items() if rows < bound), "100K<n<1M")


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
