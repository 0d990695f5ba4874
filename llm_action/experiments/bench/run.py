"""`llm-action benchmark speed`: what exact label scores cost, in ratios of paired runs on the machine it runs on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers

from llm_action.config.progress import ProgressBar
from llm_action.experiments.bench.fast import fast_section
from llm_action.experiments.bench.inputs import BenchInputs, Sizes, load_inputs, untrained_model
from llm_action.experiments.bench.memory import memory_section
from llm_action.experiments.bench.pipeline import batches_section, pipeline_section, streaming_section
from llm_action.experiments.bench.precision import precision_section
from llm_action.experiments.bench.scoring import labels_section, prompt_length_section, scoring_section
from llm_action.experiments.bench.timing import Section
from llm_action.experiments.bench.training import training_section
from llm_action.modeling.base_model import base_location

SECTIONS: dict[str, Callable[[BenchInputs, int], Section]] = {
    "scoring": scoring_section,
    "labels": labels_section,
    "prompt-length": prompt_length_section,
    "pipeline": pipeline_section,
    "streaming": streaming_section,
    "batches": batches_section,
    "training": training_section,
    "memory": memory_section,
    "precision": precision_section,
    "fast": fast_section,
}
REPEATS = 3


def run_bench(
    model: str | Path | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    sections: Sequence[str] = tuple(SECTIONS),
    repeats: int = REPEATS,
    sizes: Sizes | None = None,
    base_model: str | None = None,
) -> dict[str, Any]:
    """Runs the benchmark and prints each section's figures as it ends.

    Args:
        model: folder of a trained recognizer; None makes an untrained one, for which targets that need a trained one
            are dropped.
        dataset, data_dir: as of `llm-action evaluate`; default: made-up sequences.
        sections: keys of `SECTIONS`.
        repeats: runs of the expensive ways; cheap ones run more often.
        sizes: how much is measured.
        base_model: of the untrained recognizer; default the default one.

    Returns:
        A report that `json.dumps` takes: setting, and for each section figures (`Figure.as_dict`), notes and seconds.

    Raises:
        ValueError: unknown sections, or repeats < 1.
    """
    if unknown := sorted(set(sections) - set(SECTIONS)):
        raise ValueError(f"unknown sections {', '.join(unknown)}; known: {', '.join(SECTIONS)}")
    if repeats < 1:
        raise ValueError(f"expected at least one repeat, got {repeats}")
    with TemporaryDirectory(prefix="llm-action-bench-") as temporary:
        folder = Path(model) if model is not None else untrained_model(Path(temporary) / "model", base_model)
        inputs = load_inputs(folder, model is not None, sizes or Sizes(), dataset, data_dir)
        setting = _setting(inputs, str(model or "untrained"), dataset, repeats)
        report: dict[str, Any] = {"setting": setting, "sections": {}}
        print("\n".join(f"{name}: {value}" for name, value in setting.items()), flush=True)
        if not inputs.trained:
            print("No MODEL: an untrained recognizer stands in. Times are real, answers mean nothing.", flush=True)
        for name in ProgressBar(sections, desc="benchmark", disable=None):
            started = time.perf_counter()
            section = SECTIONS[name](inputs, repeats)
            seconds = time.perf_counter() - started
            report["sections"][name] = {
                "figures": [figure.as_dict() for figure in section.figures],
                "notes": section.notes,
                "seconds": round(seconds, 1),
            }
            ProgressBar.write(
                "\n".join([f"\n{name} ({seconds:.0f} s)", *map(_line, [*section.figures, *section.notes])])
            )
    return report


def _line(text: object) -> str:
    return f"  {text}"


def _setting(inputs: BenchInputs, model: str, dataset: str | None, repeats: int) -> dict[str, Any]:
    return {
        "model": model,
        "base model": base_location(None, inputs.folder, inputs.model.config),
        "sequences": dataset or "made-up",
        "tokens of the prompts": sorted({prompt.shape[1] for prompt in inputs.prompts}),
        "dtype": "float32, adapter not merged, where nothing else is said",
        "device": str(inputs.model.device),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "repeats": repeats,
    }
