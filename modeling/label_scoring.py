"""The exact log-likelihood of every candidate label after a prompt, for little more than the prompt's own cost.

The labels form a prefix tree (`LabelTree`). The prompt is read once; there are three ways, all exact, and
`rank_labels`, the front door, picks among them:

- *One forward.* If the prompt's last state settles every label (`LabelTree.must_be_read` is empty: labels of one token
  that are not closed, or with children normalisation labels of different first tokens) only the prompt is read.
- *Packed tree*, `score_labels`, the full posterior: all nodes of the tree are read in one packed pass, together with
  the prompt, in which a node sees the prompt and its ancestors only (tree attention mask, positions by depth).
- *Best-first search*, `top_k_labels`, for the best k of many: a node's log-probability bounds all labels below it, so
  the search stops when no unread node can beat the k-th best label. It reads some 30 nodes a forward, which costs at
  most twice what one costs. A trained model needs a few dozen nodes however many labels there are; an unsure one is
  given up at a third of the tree, which is then read packed. `rank_labels` searches trees of more than `PACKED_NODES`
  nodes.

Normalisation. `"vocabulary"` (default) is the language model's own probability: every token competes with the whole
vocabulary, so the score is log p(label tokens, end | prompt), comparable across label lists; a softmax over the labels'
scores is the posterior given that the answer is one of them, and serves as a closed-set training loss. Its normaliser
takes the whole head, but only at the nodes that are read, and logits are dropped as soon as summed (`LOGITS_BYTES`).
`"children"` lets a token compete only with its siblings in the tree, which is the probability of constrained decoding:
it sums to 1 over the labels, needs only the language model head's rows of the tree's tokens, and skips nodes without
a choice below. But it ignores how well the only continuation of a prefix fits, so it can favour labels of few branches.

Memory above the model stays bounded however many labels and prompts there are: see `PASS_BYTES` and `SEARCH_BYTES`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .label_reading import (
    EncodedPrompts,
    child_log_probs,
    encode_prompts,
    encode_prompts_and_nodes,
    read_nodes,
    tokens_per_pass,
)
from .label_search import RankedLabels, ranked, search_labels
from .label_tree import LabelTree

NODES_PER_PASS = 256  # of one prompt: attention between nodes grows with its square
PACKED_NODES = 96  # trees up to this many nodes are read whole: steps of a search would save less than they cost
SCORE_TOLERANCE = 0.01  # of a score shown to users, where not all labels had to be read for the best ones


def score_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    *,
    prefix: EncodedPrompts | None = None,
    normalization: str = "vocabulary",
) -> Tensor:
    """The log-likelihood of every label, exact, in one pass over the tree. Differentiable; memory stays bounded.

    Args:
        model, inputs_embeds, attention_mask, prefix: see `encode_prompts`.
        tree: the candidate labels.
        normalization: "vocabulary" (default) or "children", see the module's text.

    Returns:
        (batch, labels) float32 (float64 for a float64 model); `.log_softmax(-1)` is the posterior over the labels.

    Raises:
        ValueError: see `encode_prompts`; an unknown normalisation.
    """
    tree.check_normalization(normalization)
    tree = tree.to(inputs_embeds.device)
    nodes = tree.must_be_read(normalization).nonzero().squeeze(1)[:NODES_PER_PASS]
    if inputs_embeds.shape[:2].numel() + len(inputs_embeds) * len(nodes) > tokens_per_pass(model):
        nodes = nodes[:0]
    prompts, hidden = encode_prompts_and_nodes(model, tree, nodes, inputs_embeds, attention_mask, prefix)
    rows = torch.arange(len(prompts.mask), device=prompts.mask.device)
    return _score_packed(model, tree, prompts, rows, normalization, hidden)


@torch.no_grad()
def top_k_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    k: int = 5,
    *,
    prefix: EncodedPrompts | None = None,
    normalization: str = "vocabulary",
    tolerance: float | None = None,
) -> RankedLabels:
    """The k most likely labels with their exact log-likelihoods, by best-first search over the tree. No gradients.

    Args:
        model, tree, inputs_embeds, attention_mask, prefix, normalization: see `score_labels`.
        k: labels wanted a prompt, default 5; cut to the number of labels.
        tolerance: search on until the unread nodes hold at most this share of the labels' likelihood, so that
            `posterior_bounds` differ by no more; default: stop as soon as the k labels are sure.

    Raises:
        ValueError: see `score_labels`; k < 1; a tolerance that is not above 0.
    """
    tree.check_normalization(normalization)
    k = _check_k(k, tolerance, tree)
    prompts = encode_prompts(model, inputs_embeds, attention_mask, prefix)
    tree = tree.to(prompts.mask.device)
    state, unsure = search_labels(model, tree, prompts, k, normalization, tolerance)
    rows = torch.arange(len(prompts.mask), device=prompts.mask.device)
    scores, bounds = state.label_scores(rows), state.open_bounds(rows)
    if len(unsure):
        scores[unsure] = _score_packed(model, tree, prompts, unsure, normalization)
        bounds[unsure] = -torch.inf
    low = scores.logsumexp(1)
    return RankedLabels(*scores.topk(k), low, torch.logaddexp(low, bounds.logsumexp(1)))


@torch.no_grad()
def rank_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    k: int | None = None,
    *,
    prefix: EncodedPrompts | None = None,
    normalization: str = "vocabulary",
    tolerance: float | None = None,
) -> RankedLabels:
    """The k best labels (default: all, sorted), by whichever exact way reads least: the front door of this module.

    The whole tree is read if all labels are wanted or it has at most `PACKED_NODES` nodes to read.
    Arguments, results and errors are those of `top_k_labels`. No gradients; training calls `score_labels`.
    """
    shared: dict[str, Any] = {"prefix": prefix, "normalization": normalization}
    k = _check_k(len(tree) if k is None else k, tolerance, tree)
    if k < len(tree) and tree.must_be_read(normalization).sum() > PACKED_NODES:
        return top_k_labels(model, tree, inputs_embeds, attention_mask, k, tolerance=tolerance, **shared)
    scores = score_labels(model, tree, inputs_embeds, attention_mask, **shared)
    return ranked(scores, k)


def _score_packed(
    model: PreTrainedModel,
    tree: LabelTree,
    prompts: EncodedPrompts,
    rows: Tensor,
    normalization: str,
    hidden: Tensor | None = None,
) -> Tensor:
    """(rows, labels): every label's log-likelihood after the prompts `rows` (batch rows).

    `hidden` (rows, n, width) is the model's output at the first n nodes that must be read, if they were.
    """
    roots = torch.zeros_like(rows)
    found = [child_log_probs(model, tree, prompts.last_hidden[rows], rows, roots, normalization)]
    nodes = tree.must_be_read(normalization).nonzero().squeeze(1)
    num_read = 0 if hidden is None else hidden.shape[1]
    if hidden is not None and num_read:
        found.append(_after(model, tree, hidden, rows, nodes[:num_read], normalization))
    unread = nodes[num_read:]
    for chunk in unread.split(NODES_PER_PASS) if len(unread) else ():
        # Preorder: only the chunk's first node has ancestors outside of the chunk. They are read again.
        ancestors = nodes[(nodes < chunk[0]) & (tree.subtree_ends[nodes] > chunk[0])]
        to_read = torch.cat([ancestors, chunk])
        tokens_of_row = prompts.mask.shape[1] + len(to_read)
        for part in rows.split(max(1, tokens_per_pass(model) // tokens_of_row)):
            no_past = nodes.new_empty(len(part), 0)
            part_nodes = to_read.expand(len(part), -1)
            read = read_nodes(model, tree, prompts.cache(part), prompts.mask[part], no_past, part_nodes)
            found.append(_after(model, tree, read[:, len(ancestors) :], part, chunk, normalization))

    row_of, children, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    log_probs = values.new_zeros(len(prompts.mask), len(tree.token_ids)).index_put((row_of, children), values)
    return log_probs[rows][:, tree.paths].sum(-1)


def _after(
    model: PreTrainedModel, tree: LabelTree, hidden: Tensor, rows: Tensor, nodes: Tensor, normalization: str
) -> tuple[Tensor, Tensor, Tensor]:
    """`child_log_probs` of the same nodes (n,) after each of the prompts `rows`; `hidden` (rows, n, width)."""
    row_of = rows.repeat_interleave(len(nodes))
    return child_log_probs(model, tree, hidden.flatten(0, 1), row_of, nodes.repeat(len(rows)), normalization)


def _check_k(k: int, tolerance: float | None, tree: LabelTree) -> int:
    if k < 1:
        raise ValueError(f"Expected k >= 1 labels, got {k}.")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"Expected a tolerance above 0, or None, got {tolerance}.")
    return min(k, len(tree))
