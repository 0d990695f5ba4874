"""The exact log-likelihood of every candidate label after a prompt, for little more than the prompt's own cost.

A label's score is the language model's own log p(label's tokens, end | prompt): every token competes with the whole
vocabulary, so scores are comparable across label lists. A softmax over the labels' scores is the posterior given that
the answer is one of them, and serves as a closed-set training loss.

The labels form a prefix tree (`LabelTree`), the prompt is read once, and there are two ways to read the tree. Both are
exact; `rank_labels`, the front door, picks the one that reads less:

- *Packed*, `score_labels`, scores all labels. All inner nodes of the tree are read in one pass together with the
  prompt. A node sees the prompt and its ancestors only (tree attention mask, positions by depth).
- *Best-first search*, `top_k_labels`, finds the best k of many. A node's log-probability bounds all labels below it, so
  the search stops when no unread node can beat the k-th best label. A trained model needs a few dozen nodes however
  many labels there are; an unsure one is given up at a third of the tree, which is then read packed.

Memory above the model stays bounded however many labels and prompts there are: `PASS_BYTES` and `LOGITS_BYTES` in
`prompt_states`, `SEARCH_BYTES` here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .label_tree import LabelTree
from .prompt_states import (
    EncodedPrompts,
    at_least_float32,
    child_log_probs,
    encode_prompts,
    encode_prompts_and_nodes,
    read_nodes,
    state_bytes,
    tokens_per_pass,
)

NODES_PER_PASS = 256  # of one prompt: attention between nodes grows with its square
PACKED_NODES = 96  # trees up to this many nodes are read whole: steps of a search would save less than they cost
SCORE_TOLERANCE = 0.01  # of a score shown to users, where not all labels had to be read for the best ones


class RankedLabels(NamedTuple):
    """The best k labels of every prompt, best first.

    `log_mass_low` and `log_mass_high` bound the log of the summed likelihood of *all* labels of the tree: what was
    found, and that plus what the nodes left unread could still hold. They are equal if all labels were scored.
    """

    log_likelihoods: Tensor  # (batch, k), exact
    indices: Tensor  # (batch, k), into LabelTree.labels
    log_mass_low: Tensor  # (batch,)
    log_mass_high: Tensor  # (batch,)

    def posterior_bounds(self) -> tuple[Tensor, Tensor]:
        """(batch, k) lower and (batch, k) upper bound on each label's share of all labels' likelihood."""
        low = (self.log_likelihoods - self.log_mass_high[:, None]).exp()
        high = (self.log_likelihoods - self.log_mass_low[:, None]).exp()
        return low, high


@torch.no_grad()
def rank_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    k: int | None = None,
    *,
    prefix: EncodedPrompts | None = None,
    tolerance: float | None = None,
) -> RankedLabels:
    """The k best labels (default: all, sorted), by whichever exact way reads less. No gradients.

    The whole tree is read if all labels are wanted or it has at most `PACKED_NODES` nodes to read.
    Arguments, results and errors are those of `top_k_labels`. Training calls `score_labels`.
    """
    k = _check_k(len(tree) if k is None else k, tolerance, tree)
    if k < len(tree) and tree.must_be_read().sum() > PACKED_NODES:
        return top_k_labels(model, tree, inputs_embeds, attention_mask, k, prefix=prefix, tolerance=tolerance)
    return ranked(score_labels(model, tree, inputs_embeds, attention_mask, prefix=prefix), k)


def ranked(scores: Tensor, k: int | None = None) -> RankedLabels:
    """The k best (default: all) of labels that were all scored: (batch, labels)."""
    mass, count = scores.logsumexp(1), scores.shape[1]
    return RankedLabels(*scores.topk(min(k or count, count)), mass, mass)


def score_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    *,
    prefix: EncodedPrompts | None = None,
) -> Tensor:
    """The exact log-likelihood of every label, by reading the whole tree. Differentiable.

    Args:
        model, inputs_embeds, attention_mask, prefix: see `encode_prompts`.
        tree: the candidate labels.

    Returns:
        (batch, labels) float32 (float64 for a float64 model); `.log_softmax(-1)` is the posterior over the labels.

    Raises:
        ValueError: see `encode_prompts`.
    """
    tree = tree.to(inputs_embeds.device)
    nodes = tree.must_be_read().nonzero().squeeze(1)[:NODES_PER_PASS]
    if inputs_embeds.shape[:2].numel() + len(inputs_embeds) * len(nodes) > tokens_per_pass(model):
        nodes = nodes[:0]
    prompts, hidden = encode_prompts_and_nodes(model, tree, nodes, inputs_embeds, attention_mask, prefix)
    rows = torch.arange(len(prompts.mask), device=prompts.mask.device)
    return _score_packed(model, tree, prompts, rows, hidden)


def _score_packed(
    model: PreTrainedModel,
    tree: LabelTree,
    prompts: EncodedPrompts,
    rows: Tensor,
    hidden: Tensor | None = None,
) -> Tensor:
    """(rows, labels): every label's log-likelihood after the prompts `rows` (batch rows).

    `hidden` (rows, n, width) is the model's output at the first n nodes that must be read, if they were.
    """
    roots = torch.zeros_like(rows)
    found = [child_log_probs(model, tree, prompts.last_hidden[rows], rows, roots)]
    nodes = tree.must_be_read().nonzero().squeeze(1)
    num_read = 0 if hidden is None else hidden.shape[1]
    if hidden is not None and num_read:
        found.append(_after(model, tree, hidden, rows, nodes[:num_read]))
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
            found.append(_after(model, tree, read[:, len(ancestors) :], part, chunk))

    row_of, children, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    log_probs = values.new_zeros(len(prompts.mask), len(tree.token_ids)).index_put((row_of, children), values)
    return log_probs[rows][:, tree.paths].sum(-1)


def _after(
    model: PreTrainedModel, tree: LabelTree, hidden: Tensor, rows: Tensor, nodes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`child_log_probs` of the same nodes (n,) after each of the prompts `rows`; `hidden` (rows, n, width)."""
    row_of = rows.repeat_interleave(len(nodes))
    return child_log_probs(model, tree, hidden.flatten(0, 1), row_of, nodes.repeat(len(rows)))


@torch.no_grad()
def top_k_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    k: int = 5,
    *,
    prefix: EncodedPrompts | None = None,
    tolerance: float | None = None,
) -> RankedLabels:
    """The k most likely labels with their exact log-likelihoods, by best-first search over the tree. No gradients.

    Args:
        model, tree, inputs_embeds, attention_mask, prefix: see `score_labels`.
        k: labels wanted a prompt, default 5; cut to the number of labels.
        tolerance: search on until the unread nodes hold at most this share of the labels' likelihood, so that
            `posterior_bounds` differ by no more; default: stop as soon as the k labels are sure.

    Raises:
        ValueError: see `score_labels`; k < 1; a tolerance that is not above 0.
    """
    k = _check_k(k, tolerance, tree)
    prompts = encode_prompts(model, inputs_embeds, attention_mask, prefix)
    tree = tree.to(prompts.mask.device)
    state, unsure = search_labels(model, tree, prompts, k, tolerance)
    rows = torch.arange(len(prompts.mask), device=prompts.mask.device)
    scores, bounds = state.label_scores(rows), state.open_bounds(rows)
    if len(unsure):
        scores[unsure] = _score_packed(model, tree, prompts, unsure)
        bounds[unsure] = -torch.inf
    low = scores.logsumexp(1)
    return RankedLabels(*scores.topk(k), low, torch.logaddexp(low, bounds.logsumexp(1)))


def _check_k(k: int, tolerance: float | None, tree: LabelTree) -> int:
    if k < 1:
        raise ValueError(f"Expected k >= 1 labels, got {k}.")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"Expected a tolerance above 0, or None, got {tolerance}.")
    return min(k, len(tree))


# On a CPU the fixed cost of a forward is that of some 30 more tokens in it (SmolLM2-135M, float32).
STEP_TOKENS = 32  # of one prompt in the first step
STEP_TOKENS_OF_BATCH = 128  # of all prompts together, where that leaves fewer for each
STEP_GROWTH = 1.25  # an unsure model, which has to read much, is not kept at small steps
SEARCH_BYTES = 2**29  # states of prompts and nodes that a search may keep
MOST_READ = 1 / 3  # of a tree: where the model is so unsure, all is read in one packed pass instead


@torch.no_grad()
def search_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    prompts: EncodedPrompts,
    k: int,
    tolerance: float | None = None,
) -> tuple[SearchState, Tensor]:
    """Searches every prompt's k best labels.

    A node's log-probability bounds all labels below it. Each step reads, for every prompt that is not settled, its most
    promising nodes in one forward after the prompt's cached states; a prompt is settled when no unread node can beat
    its k-th best label (and, with `tolerance`, the unread nodes cannot hold more than that share of the likelihood).

    Returns:
        what is known, and the prompts (rows of the batch) given up because they need `MOST_READ` of the tree or more
        than `SEARCH_BYTES` of states.
    """
    rows = torch.arange(len(prompts.mask), device=prompts.mask.device)
    state = SearchState(tree, len(rows), at_least_float32(prompts.last_hidden.dtype))
    roots = torch.zeros_like(rows)
    state.settle(rows, roots, child_log_probs(model, tree, prompts.last_hidden, rows, roots))

    cache, prompt_mask, past = prompts.cache(rows), prompts.mask, rows.new_empty(len(rows), 0)
    most_read = int(MOST_READ * tree.must_be_read().sum())
    most_tokens, step_tokens = SEARCH_BYTES // state_bytes(model), tokens_per_pass(model)
    budget = float(min(STEP_TOKENS, max(4, STEP_TOKENS_OF_BATCH // len(rows))))
    while True:
        worth = state.label_scores(rows).topk(k).values[:, -1]
        bounds = state.open_bounds(rows)
        goes_on = bounds.amax(1) > worth
        if tolerance is not None:
            too_much = bounds.logsumexp(1) > state.label_scores(rows).logsumexp(1) + torch.tensor(tolerance).log()
            worth = worth.masked_fill(too_much, -torch.inf)
            goes_on |= too_much
        if not goes_on.any():
            return state, rows[:0]
        if not goes_on.all():
            rows, worth, prompt_mask, past = (part[goes_on] for part in (rows, worth, prompt_mask, past))
            cache.batch_select_indices(goes_on.nonzero().squeeze(1))
        count = min(int(budget), max(1, step_tokens // len(rows)))
        nodes = state.most_promising(rows, worth, count)
        tokens_kept = prompt_mask.shape[1] + past.shape[1] + nodes.shape[1]
        if past.shape[1] + nodes.shape[1] > most_read or len(rows) * tokens_kept > most_tokens:
            return state, rows
        hidden = read_nodes(model, tree, cache, prompt_mask, past, nodes)
        past = torch.cat([past, nodes], 1)
        real, row_of = nodes >= 0, rows[:, None].expand_as(nodes)
        edges = child_log_probs(model, tree, hidden[real], row_of[real], nodes[real])
        state.settle(row_of[real], nodes[real], edges)
        budget *= STEP_GROWTH


class SearchState:
    """What is known of the tree after each of some prompts.

    Attributes:
        log_probs: (prompts, nodes) of the path to the node; -inf where its parent was not read.
        is_open: (prompts, nodes) nodes that would have to be read before every label is scored.
    """

    def __init__(self, tree: LabelTree, num_prompts: int, dtype: torch.dtype):
        self.tree = tree
        self.leaves = tree.leaves()
        self.log_labels_below = tree.labels_below().to(dtype).log()
        self.is_open = tree.must_be_read().repeat(num_prompts, 1)
        self.log_probs = torch.full(self.is_open.shape, -torch.inf, dtype=dtype, device=self.is_open.device)
        self.log_probs[:, 0] = 0

    def settle(self, row_of: Tensor, nodes: Tensor, edges: tuple[Tensor, Tensor, Tensor]) -> None:
        """Enters what `child_log_probs` says of nodes (m,) of the prompts `row_of` (m,), all ancestors read too."""
        rows, children, values = edges
        depths = self.tree.depths[children]
        for depth in depths.unique():  # parents before children
            at, to, value = rows[depths == depth], children[depths == depth], values[depths == depth]
            self.log_probs[at, to] = self.log_probs[at, self.tree.parents[to]] + value
        self.is_open[row_of, nodes] = False

    def label_scores(self, rows: Tensor) -> Tensor:
        """(rows, labels): log-likelihoods, -inf where not found yet."""
        return self.log_probs[rows][:, self.leaves]

    def open_bounds(self, rows: Tensor) -> Tensor:
        """(rows, nodes): what a label below a known but unread node can have at most; -inf elsewhere."""
        return self.log_probs[rows].masked_fill(~self.is_open[rows], -torch.inf)

    def most_promising(self, rows: Tensor, worth: Tensor, count: int) -> Tensor:
        """(rows, at most count) nodes to read next; -1 is a filler.

        A node whose ancestors are not all read is judged by its deepest known ancestor, as if the labels below that
        shared its probability evenly. The guess costs or saves time, no exactness: it fills a step with the rest of
        likely labels, where a step a token would be the alternative.

        Args:
            worth: (rows,) known nodes of at most this log-probability are left alone, with all below them.
        """
        log_probs = self.log_probs[rows]
        nodes = torch.arange(log_probs.shape[1], device=rows.device)
        # preorder, and siblings become known together: the last known node before an unknown one is its ancestor
        ancestors = torch.where(log_probs > -torch.inf, nodes, 0).cummax(1).values
        bounds = log_probs.gather(1, ancestors)
        share = self.log_labels_below - self.log_labels_below[ancestors]
        depth = self.tree.depths - self.tree.depths[ancestors]
        guess = bounds + share - 1e-3 * depth  # an only child after its parent
        guess = guess.masked_fill(~self.is_open[rows] | (bounds <= worth[:, None]), -torch.inf)
        guess, chosen = guess.topk(min(count, guess.shape[1]))
        is_real = guess > -torch.inf
        return chosen.masked_fill(~is_real, -1)[:, : int(is_real.sum(1).max())]
