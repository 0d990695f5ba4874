"""The exact ways of scoring labels against what one would write without them, all on one prompt at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from llm_action.experiments.bench.inputs import BenchInputs
from llm_action.experiments.bench.precision import PRECISIONS
from llm_action.experiments.bench.timing import Figure, Section, ratio, take_turns
from llm_action.modeling.label_scoring import rank_labels, score_labels, top_k_labels
from llm_action.modeling.label_tree import LabelTree, label_token_ids
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition

GENERATED_TOKENS = 5
SORTED_BATCH = 32
PROMPT_LENGTHS = (1, 2, 4)  # action sentences one after the other
CHEAP_REPEATS = 3  # runs of what takes a second for each run of what takes a minute
EXACT = "<= 0.001"


# ---- what one would write without this project


@torch.no_grad()
def label_by_label(model: PreTrainedModel, embeds: Tensor, labels: list[Tensor]) -> Tensor:
    """(labels,) log-likelihoods: a forward of its own over prompt and label, with logits of the label's tokens only.

    Args:
        embeds: (1, tokens, hidden) the prompt.
        labels: token ids of each label, the end included.
    """
    words, scores = model.get_input_embeddings(), []
    for ids in labels:
        inputs = torch.cat([embeds, words(ids[:-1])[None]], 1)
        logits = model(inputs_embeds=inputs, use_cache=False, logits_to_keep=len(ids)).logits[0]
        scores.append(logits.float().log_softmax(-1).gather(-1, ids[:, None]).sum())
    return torch.stack(scores)


@torch.no_grad()
def repeated_cache(model: PreTrainedModel, embeds: Tensor, labels: list[Tensor], batch_size: int) -> Tensor:
    """(labels,) log-likelihoods: the prompt is read once, its cache repeated for each label of a padded batch.

    Labels are batched by length, so a `batch_size` below their number saves padding.
    """
    prompt = model(inputs_embeds=embeds, use_cache=True, logits_to_keep=1)
    first = prompt.logits[0, -1].float().log_softmax(-1)
    scores = torch.stack([first[ids[0]] for ids in labels])
    order = torch.tensor([len(ids) for ids in labels]).argsort(descending=True).tolist()
    for start in range(0, len(order), batch_size):
        rows = [row for row in order[start : start + batch_size] if len(labels[row]) > 1]
        if not rows:
            continue
        cache = copy.deepcopy(prompt.past_key_values)
        cache.batch_repeat_interleave(len(rows))
        read = pad_sequence([labels[row][:-1] for row in rows], batch_first=True)
        asked = pad_sequence([labels[row][1:] for row in rows], batch_first=True, padding_value=-1)
        mask = torch.cat([asked.new_ones(len(rows), embeds.shape[1]), (asked >= 0).long()], 1)
        logits = model(input_ids=read, attention_mask=mask, past_key_values=cache, use_cache=True).logits.float()
        found = logits.gather(-1, asked.clamp(min=0)[..., None])[..., 0] - logits.logsumexp(-1)
        scores[torch.tensor(rows)] += (found * (asked >= 0)).sum(-1)
    return scores


def generate(model: PreTrainedModel, embeds: Tensor, end: int, **options: Any) -> list[int]:
    """One greedy answer of transformers' `generate`, up to the end token."""
    mask = embeds.new_ones(embeds.shape[:2], dtype=torch.long)
    options = {
        "max_new_tokens": GENERATED_TOKENS,
        "do_sample": False,
        "eos_token_id": end,
        "pad_token_id": end,
    } | options
    answer = model.generate(inputs_embeds=embeds, attention_mask=mask, **options)[0].tolist()
    return answer[: answer.index(end)] if end in answer else answer


def allowed_tokens(labels: list[Tensor]) -> Callable[[int, Tensor], list[int]]:
    """`prefix_allowed_tokens_fn` of answers that are one of the labels (each with its end token)."""
    following: dict[tuple[int, ...], set[int]] = {}
    for ids in map(Tensor.tolist, labels):
        for length, token in enumerate(ids):
            following.setdefault(tuple(ids[:length]), set()).add(token)
    choices = {prefix: sorted(tokens) for prefix, tokens in following.items()}
    last = [int(labels[0][-1])]
    return lambda _, answer: choices.get(tuple(answer.tolist()), last)


# ---- sections


def scoring_section(inputs: BenchInputs, repeats: int) -> Section:
    """Each exact way against label by label, the repeated cache, `generate` and the backbone, with 120 labels."""
    model, tree = inputs.model.causal_lm, inputs.tree(inputs.sizes.labels)
    single = single_token_tree(inputs)
    labels, single_labels = label_ids(tree), label_ids(single)
    end, longest = int(labels[0][-1]), max(map(len, labels))
    merged = LlmArForActionRecognition.from_pretrained(inputs.folder, **PRECISIONS["float32, merged"]).causal_lm
    exact: dict[str, Callable[[int], Tensor]] = {
        "packed tree": lambda r: score_labels(model, tree, inputs.embeds(r))[0],
        "packed tree, adapter merged": lambda r: score_labels(merged, tree, inputs.embeds(r))[0],
        "best-first top-5": lambda r: top_k_labels(model, tree, inputs.embeds(r), k=5).log_likelihoods[0],
        "label by label": lambda r: label_by_label(model, inputs.embeds(r), labels),
        "repeated cache": lambda r: repeated_cache(model, inputs.embeds(r), labels, len(labels)),
        f"repeated cache, batches of {SORTED_BATCH}": lambda r: repeated_cache(
            model, inputs.embeds(r), labels, SORTED_BATCH
        ),
        "single tokens": lambda r: rank_labels(model, single, inputs.embeds(r)).log_likelihoods[0],
        "single tokens, label by label": lambda r: label_by_label(model, inputs.embeds(r), single_labels),
    }
    answers: dict[str, Callable[[int], Any]] = {
        **{way: exact[way] for way in ("packed tree", "best-first top-5", "single tokens")},
        "generate": lambda r: generate(model, inputs.embeds(r), end),
        "generate, constrained": lambda r: generate(
            model, inputs.embeds(r), end, max_new_tokens=longest, prefix_allowed_tokens_fn=allowed_tokens(labels)
        ),
        "backbone": lambda r: read_prompt(model, inputs.embeds(r)),
    }
    given: dict[str, list[Any]] = {name: [] for name in answers}

    def keep(name: str, repeat: int) -> None:
        given[name].append(answers[name](repeat))

    with torch.no_grad():
        section = Section(_differences({name: run(0) for name, run in exact.items()}))  # the warm-up, too
        whole = take_turns("full posterior", exact, repeats)
        one = take_turns("one answer", {name: partial(keep, name) for name in answers}, CHEAP_REPEATS * repeats)
    section.figures += [
        ratio(whole, "label by label", "packed tree", ">= 12"),
        ratio(whole, "repeated cache", "packed tree", ">= 4"),
        ratio(whole, "repeated cache", "packed tree, adapter merged"),
        ratio(whole, f"repeated cache, batches of {SORTED_BATCH}", "packed tree"),
        ratio(whole, "label by label", "best-first top-5"),
        ratio(whole, "repeated cache", "best-first top-5"),
        ratio(whole, "single tokens, label by label", "single tokens"),
    ]
    for other in ("generate", "generate, constrained", "backbone"):
        for way in ("packed tree", "best-first top-5", "single tokens"):
            aimed = inputs.trained and (way, other) == ("best-first top-5", "generate")
            section.figures.append(ratio(one, way, other, "<= 1.3" if aimed else None))
    section.notes.append(_generated(given, labels))
    if not inputs.trained:
        section.notes.append("An untrained model is never sure: best-first search reads more than after training.")
    return section


def labels_section(inputs: BenchInputs, repeats: int) -> Section:
    """The cost of the packed tree and of the search against the number of labels."""
    model, counts = inputs.model.causal_lm, inputs.sizes.label_counts

    def search(tree: LabelTree, repeat: int) -> None:
        top_k_labels(model, tree, inputs.embeds(repeat), k=5)

    def score(tree: LabelTree, repeat: int) -> None:
        score_labels(model, tree, inputs.embeds(repeat))

    ways: dict[str, Callable[[int], Any]] = {"backbone": lambda r: read_prompt(model, inputs.embeds(r))}
    for count in counts:
        tree = inputs.tree(count)
        ways[f"best-first top-5 of {count}"] = partial(search, tree)
        ways[f"packed tree of {count}"] = partial(score, tree)
    with torch.no_grad():
        for name in list(ways)[:3]:
            ways[name](0)
        seconds = take_turns("number of labels", ways, repeats)
    figures = []
    for way in ("packed tree", "best-first top-5"):
        for count in counts:
            figures.append(ratio(seconds, f"{way} of {count}", "backbone", curve=way, x=float(count)))
        aimed = "<= 2" if inputs.trained and way == "best-first top-5" else None
        figures.append(ratio(seconds, f"{way} of {counts[-1]}", f"{way} of {counts[0]}", aimed))
    return Section(figures)


def prompt_length_section(inputs: BenchInputs, repeats: int) -> Section:
    """The cost of the packed tree and of the search against the length of the prompt, with 120 labels."""
    model, tree, processor = inputs.model.causal_lm, inputs.tree(inputs.sizes.labels), inputs.processor
    sentence = processor.encode(inputs.sequences[0])

    def read(embeds: Tensor, _: int) -> None:
        read_prompt(model, embeds)

    def score(embeds: Tensor, _: int) -> None:
        score_labels(model, tree, embeds)

    def search(embeds: Tensor, _: int) -> None:
        top_k_labels(model, tree, embeds, k=5)

    ways: dict[str, Callable[[int], Any]] = {}
    lengths = []
    for times in PROMPT_LENGTHS:
        ids = processor.build_prompts([sentence * times], "pt")["input_ids"].to(inputs.model.device)
        embeds, length = inputs.model.embed(ids).detach(), ids.shape[1]
        lengths.append(length)
        ways[f"backbone, {length} tokens"] = partial(read, embeds)
        ways[f"packed tree, {length} tokens"] = partial(score, embeds)
        ways[f"best-first top-5, {length} tokens"] = partial(search, embeds)
    with torch.no_grad():
        for name in list(ways)[:3]:
            ways[name](0)
        seconds = take_turns("length of the prompt", ways, repeats)
    figures = []
    for way in ("packed tree", "best-first top-5"):
        for length in lengths:
            name, backbone = f"{way}, {length} tokens", f"backbone, {length} tokens"
            figures.append(ratio(seconds, name, backbone, curve=way, x=float(length)))
        figures.append(ratio(seconds, f"{way}, {lengths[-1]} tokens", f"{way}, {lengths[0]} tokens"))
    return Section(figures)


def label_ids(tree: LabelTree) -> list[Tensor]:
    """The token ids of each label, the end included where labels are closed."""
    return [tree.token_ids[path[path > 0]] for path in tree.paths]


def single_token_tree(inputs: BenchInputs) -> LabelTree:
    """Labels of one token each, not closed: the first words of the names."""
    ids = label_token_ids(inputs.names, inputs.processor.tokenizer)
    first = list(dict.fromkeys(label[0] for label in ids))[: inputs.sizes.single_tokens]
    return LabelTree.from_token_ids([[token] for token in first], None).to(inputs.model.device)


def read_prompt(model: PreTrainedModel, embeds: Tensor) -> Tensor:
    """The floor: the backbone reads the prompt and nothing else."""
    return model.get_decoder()(inputs_embeds=embeds, use_cache=False).last_hidden_state


def _differences(found: dict[str, Tensor]) -> list[Figure]:
    """How far the exact ways are from label by label, in nats."""
    truth = found["label by label"]
    expected = {name: truth for name in found if name.startswith(("packed", "repeated"))}
    expected["best-first top-5"] = truth.topk(len(found["best-first top-5"])).values
    expected["single tokens"] = found["single tokens, label by label"].sort(descending=True).values
    return [
        Figure(f"{name}: largest difference", (float((found[name] - wanted).abs().max()),), "nats", EXACT)
        for name, wanted in expected.items()
    ]


def _generated(given: dict[str, list[Any]], labels: list[Tensor]) -> str:
    """What `generate` answered."""
    names = [ids[:-1].tolist() for ids in labels]
    most_likely = [names[int(scores.argmax())] for scores in given["packed tree"]]
    named = sum(answer in names for answer in given["generate"])
    best = sum(a == b for a, b in zip(given["generate, constrained"], most_likely, strict=True))
    return (
        f"generate answered one of the {len(names)} labels on {named} of {len(most_likely)} prompts; constrained, it "
        f"found the most likely label on {best}."
    )
