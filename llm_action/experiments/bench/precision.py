"""What merging the adapter and fewer bits cost in accuracy and save in time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from llm_action.evaluation.ledger import Origin, config_hash, enter, recognizer_fingerprint
from llm_action.experiments.bench.inputs import BenchInputs
from llm_action.experiments.bench.timing import Figure, Section, ratio, take_turns
from llm_action.modeling.label_tree import LabelTree
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition

BATCH = 4
PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": torch.float32},
    "float32, merged": {"dtype": torch.float32, "merge": True},
    "bfloat16": {"dtype": torch.bfloat16},
    "bfloat16, merged": {"dtype": torch.bfloat16, "merge": True},
    "int8": {"dtype": torch.int8},
    "default": {"merge": True},
}


def precision_section(inputs: BenchInputs, repeats: int) -> Section:
    """Each precision against float32 with the adapter beside the base: time, scores, best label, accuracy.

    "default" is what a pipeline makes of the device; how many times as fast as what is stored it is, is a figure, too.

    Scores are the full posteriors, among the classes trained on, of all sequences of the data set or of a few made-up
    ones. A copy of the model for each precision is in memory. Batches are the repeats.
    """
    count = len(inputs.sequences) if inputs.targets is not None else inputs.sizes.precision_sequences
    tree = LabelTree.from_labels(inputs.classes(), inputs.processor.tokenizer).to(inputs.model.device)
    sentences = inputs.processor.encode_batch(inputs.sequences[:count])
    prompts = [
        inputs.processor.build_prompts(sentences[start : start + BATCH], "pt").to(inputs.model.device)
        for start in range(0, count, BATCH)
    ]
    found: dict[str, dict[int, Tensor]] = {name: {} for name in PRECISIONS}
    ways, arithmetic = {}, {}
    for name, options in PRECISIONS.items():
        model = LlmArForActionRecognition.from_pretrained(inputs.folder, **options).to(inputs.model.device)
        arithmetic[name] = model.arithmetic
        ways[name] = lambda r, name=name, model=model: found[name].update(
            {r: model.score(prompts[r]["input_ids"], prompts[r]["attention_mask"], tree).float().cpu()}
        )
    with torch.no_grad():
        for run in ways.values():
            run(0)
        seconds = take_turns("precisions", ways, len(prompts))
    scores = {name: torch.cat([parts[batch] for batch in range(len(prompts))]) for name, parts in found.items()}
    if inputs.targets is not None:
        _enter(inputs, scores)
    figures = [figure for name in PRECISIONS for figure in _figures(name, scores, seconds, inputs.targets)]
    figures.append(ratio(seconds, "bfloat16", "default", name="bfloat16, adapter beside it / default"))
    return Section(figures, [f"default: {arithmetic['default']}"])


def _enter(inputs: BenchInputs, scores: dict[str, Tensor]) -> None:
    """The ledger's lines: sequences of a data set are of its test part."""
    assert inputs.tested is not None and inputs.targets is not None
    fingerprint, targets = recognizer_fingerprint(inputs.model, inputs.processor), torch.tensor(inputs.targets)
    for name, found in scores.items():
        origin = Origin(f"bench, {name}", config_hash({"precision": name}), fingerprint)
        enter(origin, *inputs.tested, len(targets), {"top1": float((found.argmax(1) == targets).float().mean())})


def _figures(name: str, scores: dict[str, Tensor], seconds, targets: list[int] | None) -> list[Figure]:
    truth, given = scores["float32"], scores[name]
    figures = []
    if targets is not None:
        right = (given.argmax(1) == torch.tensor(targets)).float().mean()
        figures.append(Figure(f"{name}: top-1 on the data set", (float(right),), ""))
    if name == "float32":
        return figures
    agree = (given.argmax(1) == truth.argmax(1)).float().mean()
    apart, posterior = (given - truth).abs(), (given.softmax(1) - truth.softmax(1)).abs()
    exact = "<= 0.0001" if name == "float32, merged" else None
    return [
        *figures,
        ratio(seconds, name, "float32"),
        Figure(f"{name}: same best label as float32", (float(agree),), ""),
        Figure(f"{name}: difference of scores, largest", (float(apart.max()),), "nats", exact),
        Figure(f"{name}: difference of scores, mean", (float(apart.mean()),), "nats"),
        Figure(f"{name}: difference of posteriors, largest", (float(posterior.max()),), ""),
    ]
