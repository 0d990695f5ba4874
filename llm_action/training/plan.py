"""Plans whether a training fits: memory of stage 2 on each device, part by part, of a model on the meta device.

No weight is loaded, so a laptop plans for a cluster. GB are 10^9 bytes. For LLaMA-13B (13.016 billion weights) with
LoRA of rank 64 on all seven projections the hand calculation is:

    base        13.016e9 x 2 bytes (bfloat16)                                          26.03 GB
    adapter     40 layers x 64 x (4 x 2 x 5120 + 3 x (5120 + 13824)) = 250.3e6, and
                512 action embeddings x 5120 = 2.6e6, x 4 bytes (float32)               1.01 GB
    gradients   the same                                                                1.01 GB
    optimizer   two moments of AdamW, twice the same                                    2.02 GB

"ddp" keeps all of it on every device; "fsdp" and "zero3" divide it by their number and gather one layer at a time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from llm_action.config.experiment import Experiment, tokenizer_config
from llm_action.datasets import describe_dataset
from llm_action.datasets.prepared import is_prepared, read_manifest
from llm_action.datasets.protocols import protocol_name
from llm_action.datasets.split import model_layout
from llm_action.hub.base_models import DEFAULT_BASE_MODEL

STRATEGIES = ("ddp", "fsdp", "zero3")
# Sizes of bases that presets name, for planning where the Hub cannot be reached.
KNOWN_BASES: dict[str, dict[str, int]] = {
    "huggyllama/llama-13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40,
                             "num_attention_heads": 40, "num_key_value_heads": 40, "vocab_size": 32000},
    "huggyllama/llama-7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                            "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000},
    DEFAULT_BASE_MODEL: {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                         "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
                         "tie_word_embeddings": True},
}  # fmt: skip
RUNTIME_GB = 1.5  # CUDA context, cuBLAS workspaces, fragmentation: a rule of thumb
_FLOAT, _ADAM = 4, 8  # bytes of a trained weight and of its two moments
_NF4 = 0.516  # bytes of a 4-bit weight, the doubly quantised scales of blocks of 64 counted
_PROMPT_TOKENS, _ANSWER_TOKENS = 12, 10  # words around the sentence and of a long class name, rounded up


@dataclass
class Sizes:
    """What decides the memory, in weights and tokens."""

    base_weights: int
    trained_weights: int
    layer_weights: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    vocab_size: int
    tokens: int


def plan_training(
    experiment: Experiment, gpus: int, memory: float, strategy: str | None = None, data: str | None = None
) -> dict[str, Any]:
    """Computes the memory of stage 2 on each device and the tokens of an epoch.

    Args:
        experiment: what is to be trained.
        gpus: devices.
        memory: of one device, GB.
        strategy: one of `STRATEGIES`; None for the first that fits, with one device always "ddp".
        data: prepared folder, for the number of sequences where the benchmark's is not known, and of persons.

    Returns:
        strategy, gpus, memory, parts (GB by name), total (GB), fits, sizes, sequences and tokens of an epoch (None
        where the number of sequences is not known).

    Raises:
        ValueError: nonsensical numbers, or a base whose sizes cannot be had.
    """
    if gpus < 1 or memory <= 0 or strategy not in (None, *STRATEGIES):
        raise ValueError(f"expected gpus of 1 or more, memory above 0 and a strategy of {', '.join(STRATEGIES)}")
    sizes = model_sizes(experiment)
    candidates = [strategy] if strategy else STRATEGIES[:1] if gpus == 1 else STRATEGIES[:2]
    for name in candidates:
        parts = device_memory(experiment, sizes, gpus, name)
        if sum(parts.values()) <= memory:
            break
    sequences, tokens = epoch(experiment, sizes, data)
    return {
        "strategy": name,
        "gpus": gpus,
        "memory": memory,
        "parts": {part: round(size, 3) for part, size in parts.items()},
        "total": round(sum(parts.values()), 3),
        "fits": sum(parts.values()) <= memory,
        "sizes": asdict(sizes),
        "sequences": sequences,
        "tokens": tokens,
    }


def model_sizes(experiment: Experiment) -> Sizes:
    """Counts the weights of the base and its adapter on the meta device."""
    config, stage = base_config(experiment.base_model), experiment.recognizer
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
        base_weights = count(model)
        layer = count(model.model.layers[0])
        lora = LoraConfig(r=stage.lora_rank, lora_alpha=stage.lora_alpha, target_modules=list(stage.lora_targets))
        adapted = get_peft_model(model, lora)
    tokenizer = tokenizer_config(experiment, layout=model_layout(experiment), embedding_dim=config.hidden_size)
    adapter = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    sentence = tokenizer.num_places * tokenizer.num_levels + 1
    return Sizes(
        base_weights,
        adapter + tokenizer.num_action_tokens * config.hidden_size,
        layer,
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.vocab_size,
        _PROMPT_TOKENS + experiment.max_persons * sentence + _ANSWER_TOKENS,
    )


def device_memory(experiment: Experiment, sizes: Sizes, gpus: int, strategy: str) -> dict[str, float]:
    """Computes the GB of each part on one device, at the longest sentence."""
    stage = experiment.recognizer
    four_bits = stage.base_dtype == "nf4"  # of the layers; word embeddings and head stay whole
    half = stage.base_dtype == "auto" or four_bits
    width = (torch.bfloat16 if half else getattr(torch, stage.base_dtype)).itemsize
    layer_bytes = sizes.layer_weights * (_NF4 if four_bits else width)
    base_bytes = sizes.num_layers * layer_bytes + (sizes.base_weights - sizes.num_layers * sizes.layer_weights) * width
    share = 1 if strategy == "ddp" else gpus
    trained = sizes.trained_weights
    communication: float
    if strategy == "ddp":
        communication = trained * _FLOAT if gpus > 1 else 0  # gradient buckets
    else:
        adapters_of_layer = trained // sizes.num_layers
        communication = 2 * (layer_bytes + adapters_of_layer * _FLOAT)  # this layer and the next
    tokens = stage.batch_size * sizes.tokens
    layer = tokens * activation_bytes(sizes, stage.lora_rank, width)
    layers = sizes.num_layers * (tokens * sizes.hidden_size * width if stage.gradient_checkpointing else layer)
    logits = stage.batch_size * _ANSWER_TOKENS * sizes.vocab_size * (width + 3 * _FLOAT)
    parts = {
        "base": base_bytes / share,
        "adapter": trained * _FLOAT / share,
        "gradients": trained * _FLOAT / share,
        "optimizer": trained * _ADAM / share,
        "activations": layers + (layer if stage.gradient_checkpointing else 0) + logits,
        "communication": communication,
    }
    return {part: size / 1e9 for part, size in parts.items()} | {"runtime": RUNTIME_GB}


def activation_bytes(sizes: Sizes, rank: int, width: int) -> int:
    """Counts the bytes that one decoder layer keeps of one token for its backward pass.

    The base's weights take no gradient, so their inputs are not kept, but each of the seven adapters keeps its input.
    Beside these: the two norms (float32 and normalised), queries, keys, values and attention output with the
    rotated copies, and gate, up and their product.
    """
    hidden, inner = sizes.hidden_size, sizes.intermediate_size
    norms = 2 * hidden * (_FLOAT + width)
    attention = 6 * hidden * width
    gate = 3 * inner * width
    adapters = (6 * hidden + inner + 7 * rank) * width
    return norms + attention + gate + adapters


def epoch(experiment: Experiment, sizes: Sizes, data: str | None) -> tuple[int | None, int | None]:
    """Counts training sequences, and tokens of a pass over all their sentences; None where they are not known."""
    benchmark = describe_dataset(experiment.dataset)
    protocol = protocol_name(benchmark, experiment.protocol)
    folder = data if data and is_prepared(data) else experiment.dataset if is_prepared(experiment.dataset) else None
    persons = float(experiment.max_persons)
    if folder:
        manifest = read_manifest(folder)
        sequences = manifest["counts"].get(protocol, {}).get("train")
        seen = manifest["persons"]
        persons = sum(int(number) * rows for number, rows in seen.items()) / sum(seen.values())
    else:
        sequences = benchmark.counts.get(protocol, (None,))[0]
    if sequences is None:
        return None, None
    words = _PROMPT_TOKENS + _ANSWER_TOKENS
    sentence = (sizes.tokens - words) / experiment.max_persons
    return sequences, round(sequences * (1 + experiment.recognizer.sentences) * (words + persons * sentence))


def base_config(name: str | None) -> LlamaConfig:
    """Finds the base's configuration: in a folder, among the bases this module knows, or on the Hub."""
    name = name or DEFAULT_BASE_MODEL
    if Path(name).is_dir():
        return AutoConfig.from_pretrained(name)
    if name in KNOWN_BASES:
        return LlamaConfig(**KNOWN_BASES[name])
    try:
        return AutoConfig.from_pretrained(name)
    except OSError as error:
        known = ", ".join(KNOWN_BASES)
        raise ValueError(
            f"{name}: expected a folder, a Hub id or one of {known}; its sizes are unknown: {error}"
        ) from None


def count(model: nn.Module) -> int:
    """Counts weights, shared ones once."""
    return sum(weight.numel() for weight in model.parameters())


def plan_table(plan: dict[str, Any]) -> str:
    """Writes the plan in words and figures."""
    lines = [f"{plan['gpus']} x {plan['memory']:g} GB, {plan['strategy']}; GB on each device:"]
    lines += [f"  {part:<14}{size:8.2f}" for part, size in plan["parts"].items()]
    verdict = "fits" if plan["fits"] else "does not fit"
    lines.append(f"  {'total':<14}{plan['total']:8.2f}  {verdict} in {plan['memory']:g}")
    if not plan["fits"]:
        lines.append(
            "try more devices, a smaller recognizer.batch_size, recognizer.gradient_checkpointing=true, --strategy fsdp"
        )
    if plan["tokens"] is None:
        lines.append("epoch: unknown number of sequences; pass --data PREPARED_FOLDER")
    else:
        lines.append(f"epoch: {plan['sequences']} training sequences, {plan['tokens'] / 1e6:.2f} million tokens")
    return "\n".join(lines)
