"""The best k labels by best-first search over the label tree: exact, after reading a fraction of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .label_reading import (
    EncodedPrompts,
    at_least_float32,
    child_log_probs,
    read_nodes,
    state_bytes,
    tokens_per_pass,
)
from .label_tree import LabelTree

# On a CPU the fixed cost of a forward is that of some 30 more tokens in it (SmolLM2-135M, float32).
STEP_TOKENS = 32  # of one prompt in the first step
STEP_TOKENS_OF_BATCH = 128  # of all prompts together, where that leaves fewer for each
STEP_GROWTH = 1.25  # an unsure model, which has to read much, is not kept at small steps
SEARCH_BYTES = 2**29  # states of prompts and nodes that a search may keep
MOST_READ = 1 / 3  # of a tree: where the model is so unsure, all is read in one packed pass instead


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


def ranked(scores: Tensor, k: int | None = None) -> RankedLabels:
    """The k best (default: all) of labels that were all scored: (batch, labels)."""
    mass, count = scores.logsumexp(1), scores.shape[1]
    return RankedLabels(*scores.topk(min(k or count, count)), mass, mass)


class SearchState:
    """What is known of the tree after each of some prompts.

    Attributes:
        log_probs: (prompts, nodes) of the path to the node; -inf where its parent was not read.
        is_open: (prompts, nodes) nodes that would have to be read before every label is scored.
    """

    def __init__(self, tree: LabelTree, to_read: Tensor, num_prompts: int, dtype: torch.dtype):
        self.tree = tree
        self.label_nodes = tree.settled_at(to_read)
        self.log_labels_below = tree.labels_below().to(dtype).log()
        self.is_open = to_read.repeat(num_prompts, 1)
        self.log_probs = torch.full(self.is_open.shape, -torch.inf, dtype=dtype, device=to_read.device)
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
        return self.log_probs[rows][:, self.label_nodes]

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


@torch.no_grad()
def search_labels(
    model: PreTrainedModel,
    tree: LabelTree,
    prompts: EncodedPrompts,
    k: int,
    normalization: str,
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
    to_read = tree.must_be_read(normalization)
    rows = torch.arange(len(prompts.mask), device=to_read.device)
    state = SearchState(tree, to_read, len(rows), at_least_float32(prompts.last_hidden.dtype))
    roots = torch.zeros_like(rows)
    state.settle(rows, roots, child_log_probs(model, tree, prompts.last_hidden, rows, roots, normalization))

    cache, prompt_mask, past = prompts.cache(rows), prompts.mask, rows.new_empty(len(rows), 0)
    most_read = int(MOST_READ * to_read.sum())
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
        edges = child_log_probs(model, tree, hidden[real], row_of[real], nodes[real], normalization)
        state.settle(row_of[real], nodes[real], edges)
        budget *= STEP_GROWTH
