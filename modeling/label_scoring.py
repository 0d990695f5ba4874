"""The exact log-likelihood of every candidate label after a prompt, for little more than the prompt's own cost.

The labels form a prefix tree (`LabelTree`). The prompt is read once; then there are three ways, all exact:

- `score_labels`, the full posterior: all nodes of the tree are read in one packed pass in which a node sees the
  prompt and its ancestors only (tree attention mask, positions by depth).
- `top_k_labels`, the best k: best-first search. A node's log-probability bounds all labels below it, so the search
  stops when no unread node can beat the k-th best label, usually after a handful of nodes.
- if the prompt's last state settles every label (`LabelTree.must_be_read` is empty) nothing but the prompt is read.

`rank_labels` picks among them by size.

Normalisation. `"vocabulary"` (default) is the language model's own probability: every token competes with the whole
vocabulary, so the score is log p(label tokens, end | prompt), comparable across label lists; a softmax over the labels'
scores is the posterior given that the answer is one of them, and serves as a closed-set training loss.
`"children"` lets a token compete only with its siblings in the tree, which is the probability of constrained decoding:
it sums to 1 over the labels, needs only the language model head's rows of the tree's tokens, and skips nodes without
a choice below. But it ignores how well the only continuation of a prefix fits, so it can favour labels of few branches.

Attention implementations: "eager" and "sdpa" (others do not take a 4-D mask). Log-softmax is in float32 at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel

from .label_tree import LabelTree

# What one forward of the packed pass holds at most; the bounds keep 2,000 labels x 16 prompts far below 2 GB.
NODES_PER_PASS = 256  # nodes of one prompt: attention between nodes grows with its square
TOKENS_PER_PASS = 2048  # nodes x prompts
LOGITS_PER_PASS = 2**24  # nodes x vocabulary: 64 MB in float32
SEARCH_TOKENS = 16  # nodes of one prompt in the search's first step: so few cost about as much as reading one


@dataclass(frozen=True)
class EncodedPrompts:
    """Prompts the model has read: what every way of scoring starts from.

    Attributes:
        layers: one (keys, values) a layer, each (batch, heads, tokens, width).
        mask: (batch, tokens) bool, False where padded.
        last_hidden: (batch, hidden) the decoder's output at each prompt's last token.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor
    last_hidden: Tensor

    def cache(self, rows: Tensor) -> DynamicCache:
        """A growing cache that starts with these prompts' states; `self` stays as it is."""
        return DynamicCache([(keys[rows], values[rows]) for keys, values in self.layers])


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


def encode_prompts(
    model: PreTrainedModel,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    prefix: EncodedPrompts | None = None,
) -> EncodedPrompts:
    """Reads the prompts once.

    Args:
        model: a causal language model of the LLaMA kind, PEFT layers welcome.
        inputs_embeds: (batch, tokens, hidden) the prompts' embeddings, padded left or right.
        attention_mask: (batch, tokens) 1 for tokens, 0 for padding; default: no padding.
        prefix: states of what comes before `inputs_embeds`, of one row (shared by all) or of `batch` rows: an
            instruction that all prompts begin with is read once and passed here ever after.

    Raises:
        ValueError: shapes that do not match, an empty prompt, an attention implementation without 4-D masks, or a
            model in training mode with gradient checkpointing, which drops the cache.
    """
    decoder = model.get_decoder()
    _check_decoder(decoder)
    if inputs_embeds.ndim != 3:
        raise ValueError(f"Expected inputs_embeds (batch, tokens, hidden), got shape {tuple(inputs_embeds.shape)}.")
    batch, tokens, _ = inputs_embeds.shape
    if attention_mask is None:
        attention_mask = inputs_embeds.new_ones(batch, tokens)
    if attention_mask.shape != (batch, tokens):
        raise ValueError(f"Expected attention_mask {(batch, tokens)}, got {tuple(attention_mask.shape)}.")
    mask = attention_mask.to(inputs_embeds.device).bool()
    if not mask.any(1).all():
        raise ValueError(f"Prompt {mask.any(1).long().argmin().item()} of the batch has no tokens; drop it.")

    cache, seen = DynamicCache(), mask[:, :0]
    if prefix is not None:
        if prefix.mask.shape[0] not in (1, batch):
            raise ValueError(f"Expected a prefix of 1 or {batch} rows, got {prefix.mask.shape[0]}.")
        rows = torch.arange(batch, device=mask.device) % prefix.mask.shape[0]
        cache, seen = prefix.cache(rows), prefix.mask[rows]
    full_mask = torch.cat([seen, mask], 1)
    hidden = decoder(
        inputs_embeds=inputs_embeds,
        attention_mask=full_mask.long(),
        position_ids=(full_mask.long().cumsum(1) - 1).clamp(min=0)[:, seen.shape[1] :],
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    last = (mask * torch.arange(1, tokens + 1, device=mask.device)).argmax(1)
    layers = tuple((layer.keys, layer.values) for layer in cache.layers)
    return EncodedPrompts(layers, full_mask, hidden[torch.arange(batch, device=mask.device), last])


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
    unread = tree.must_be_read(normalization).nonzero().squeeze(1)
    prompts = encode_prompts(model, inputs_embeds, attention_mask, prefix)
    device, batch = prompts.mask.device, len(prompts.mask)
    tree, unread, all_rows = tree.to(device), unread.to(device), torch.arange(batch, device=device)

    found = [_child_log_probs(model, tree, prompts.last_hidden, all_rows, torch.zeros_like(all_rows), normalization)]
    for chunk in unread.split(NODES_PER_PASS) if len(unread) else ():
        # Preorder: only the chunk's first node has ancestors outside of the chunk. They are read again.
        ancestors = unread[(unread < chunk[0]) & (tree.subtree_ends[unread] > chunk[0])]
        nodes = torch.cat([ancestors, chunk])
        for rows in all_rows.split(max(1, TOKENS_PER_PASS // len(nodes))):
            no_past = nodes.new_empty(len(rows), 0)
            row_nodes = nodes.expand(len(rows), -1)
            hidden = _read_nodes(model, tree, prompts.cache(rows), prompts.mask[rows], no_past, row_nodes)
            hidden = hidden[:, len(ancestors) :].flatten(0, 1)
            row_of = rows.repeat_interleave(len(chunk))
            found.append(_child_log_probs(model, tree, hidden, row_of, chunk.repeat(len(rows)), normalization))

    rows, children, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    log_probs = values.new_zeros(batch, len(tree.token_ids)).index_put((rows, children), values)
    return log_probs[:, tree.paths].sum(-1)


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
) -> RankedLabels:
    """The k most likely labels with their exact log-likelihoods, by best-first search over the tree.

    Each step reads, for every prompt that is not settled, the most likely unread nodes, each with the only-child
    chain below it. Prompts that are settled leave the batch. Steps double in size: a sure model is done after one or
    two small ones, an unsure one (which may need most of the tree) after few. No gradients.

    Args:
        model, tree, inputs_embeds, attention_mask, prefix, normalization: see `score_labels`.
        k: labels wanted a prompt, default 5; cut to the number of labels.

    Raises:
        ValueError: see `score_labels`; k < 1.
    """
    k = _check_k(k, tree)
    read = tree.must_be_read(normalization)
    prompts = encode_prompts(model, inputs_embeds, attention_mask, prefix)
    device = prompts.mask.device
    tree, read = tree.to(device), read.to(device)
    settled_at, chains = tree.settled_at(read), tree.chain_lengths(read)

    rows = torch.arange(len(prompts.mask), device=device)
    scores_dtype = _at_least_float32(prompts.last_hidden.dtype)
    log_probs = torch.full((len(rows), len(tree.token_ids)), -torch.inf, dtype=scores_dtype, device=device)
    log_probs[:, 0] = 0
    is_open = read.repeat(len(rows), 1)

    def settle(hidden: Tensor, row_of: Tensor, nodes: Tensor) -> None:
        """Enters the log-probabilities of the children of nodes that have been read, parents before children."""
        found_rows, children, values = _child_log_probs(model, tree, hidden, row_of, nodes, normalization)
        depths = tree.depths[children]
        for depth in depths.unique():
            at, to, value = found_rows[depths == depth], children[depths == depth], values[depths == depth]
            log_probs[at, to] = log_probs[at, tree.parents[to]] + value
        is_open[row_of, nodes] = False

    settle(prompts.last_hidden, rows, torch.zeros_like(rows))
    cache, prompt_mask, past = prompts.cache(rows), prompts.mask, rows.new_empty(len(rows), 0)
    budget = SEARCH_TOKENS
    while True:
        kth_best = log_probs[rows][:, settled_at].topk(k).values[:, -1]
        bounds, candidates = log_probs[rows].masked_fill(~is_open[rows], -torch.inf).topk(min(budget, len(read)))
        goes_on = bounds[:, 0] > kth_best
        if not goes_on.any():
            break
        if not goes_on.all():
            rows, kth_best, bounds, candidates = rows[goes_on], kth_best[goes_on], bounds[goes_on], candidates[goes_on]
            prompt_mask, past = prompt_mask[goes_on], past[goes_on]
            cache.batch_select_indices(goes_on.nonzero().squeeze(1))
        lengths = torch.where(bounds > kth_best[:, None], chains[candidates], 0)
        lengths[:, 1:] *= lengths.cumsum(1)[:, 1:] <= budget
        nodes = pad_sequence([_ranges(*pair) for pair in zip(candidates, lengths, strict=True)], True, -1)
        hidden = _read_nodes(model, tree, cache, prompt_mask, past, nodes)
        past = torch.cat([past, nodes], 1)
        real = nodes >= 0
        settle(hidden[real], rows[:, None].expand_as(nodes)[real], nodes[real])
        budget = min(2 * budget, NODES_PER_PASS, max(SEARCH_TOKENS, TOKENS_PER_PASS // len(rows)))

    label_scores = log_probs[:, settled_at]
    best, indices = label_scores.topk(k)
    low = label_scores.logsumexp(1)
    high = torch.logaddexp(low, log_probs.masked_fill(~is_open, -torch.inf).logsumexp(1))
    return RankedLabels(best, indices, low, high)


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
) -> RankedLabels:
    """The k best labels (default: all, sorted), by whichever exact way reads least: the front door of this module.

    The whole tree is read if all labels are wanted or it is small enough for one step of the search.
    Arguments, results and errors are those of `top_k_labels`. No gradients; training calls `score_labels`.
    """
    k = _check_k(len(tree) if k is None else k, tree)
    small = tree.must_be_read(normalization).sum() <= SEARCH_TOKENS
    shared: dict[str, Any] = {"prefix": prefix, "normalization": normalization}
    if k < len(tree) and not small:
        return top_k_labels(model, tree, inputs_embeds, attention_mask, k, **shared)
    scores = score_labels(model, tree, inputs_embeds, attention_mask, **shared)
    mass = scores.logsumexp(1)
    return RankedLabels(*scores.topk(k), mass, mass)


def _read_nodes(
    model: PreTrainedModel, tree: LabelTree, cache: DynamicCache, prompt_mask: Tensor, past: Tensor, nodes: Tensor
) -> Tensor:
    """Reads tree nodes after the prompts: (rows, n, hidden). The cache grows by the n nodes.

    `past` (rows, m) are the nodes already in the cache behind the prompt, `nodes` (rows, n) those to read; -1 is a
    filler that nothing sees. A node sees the prompt, its ancestors and itself.
    """
    seen = torch.cat([past, nodes], 1)[:, None, :]
    node = nodes[:, :, None]
    is_ancestor = (seen > 0) & (seen <= node) & (node < tree.subtree_ends[seen.clamp(min=0)])
    visible = torch.cat([prompt_mask[:, None, :].expand(-1, nodes.shape[1], -1), is_ancestor], 2)
    real_nodes = nodes.clamp(min=0)
    embeds = model.get_input_embeddings()(tree.token_ids[real_nodes])
    mask = torch.zeros(visible.shape, dtype=embeds.dtype, device=embeds.device)
    return model.get_decoder()(
        inputs_embeds=embeds,
        attention_mask=mask.masked_fill(~visible, torch.finfo(embeds.dtype).min)[:, None],
        position_ids=prompt_mask.sum(1, keepdim=True) + tree.depths[real_nodes] - 1,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state


def _child_log_probs(
    model: PreTrainedModel, tree: LabelTree, hidden: Tensor, row_of: Tensor, nodes: Tensor, normalization: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of every child of the nodes read, given its parent.

    `hidden` (m, width) is the model's output at `nodes` (m,) of the batch rows `row_of` (m,).
    Returns (edges,) rows, (edges,) child nodes, (edges,) log-probabilities.
    """
    head = model.get_output_embeddings()
    pick = _among_vocabulary if normalization == "vocabulary" else _among_children
    found = []
    step = max(1, LOGITS_PER_PASS // model.config.vocab_size)
    for part, part_rows, part_nodes in zip(hidden.split(step), row_of.split(step), nodes.split(step), strict=True):
        counts = tree.num_children[part_nodes]
        parent = torch.arange(len(part), device=nodes.device).repeat_interleave(counts)
        children = tree.children[_ranges(tree.first_child[part_nodes], counts)]
        if torch.is_grad_enabled() and part.requires_grad:  # logits are made again in backward, not kept
            values = checkpoint(pick, head, part, parent, tree.token_ids[children], use_reentrant=False)
        else:
            values = pick(head, part, parent, tree.token_ids[children])
        found.append((part_rows[parent], children, values))
    rows, children, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    return rows, children, values


def _among_vocabulary(head: nn.Module, hidden: Tensor, parent: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of `tokens` (edges,) after `hidden[parent]`, among all tokens the head knows."""
    logits = head(hidden)
    logits = logits.to(_at_least_float32(logits.dtype))
    return logits[parent, tokens] - logits.logsumexp(-1)[parent]


def _among_children(head: nn.Module, hidden: Tensor, parent: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of `tokens` (edges,) after `hidden[parent]`, among the edges of the same parent."""
    wanted, column = tokens.unique(return_inverse=True)
    # A plain linear head gives single rows of its weight; an adapted or quantised one is asked for everything.
    if isinstance(head, nn.Linear) and type(head.weight) is nn.Parameter and not head.weight.is_meta:
        bias = head.bias[wanted] if head.bias is not None else None
        logits = nn.functional.linear(hidden, head.weight[wanted], bias)
    else:
        logits = head(hidden)[:, wanted]
    picked = logits[parent, column].to(_at_least_float32(logits.dtype))
    no_edge = torch.full((len(hidden),), -torch.inf, dtype=picked.dtype, device=picked.device)
    largest = no_edge.scatter_reduce(0, parent, picked.detach(), "amax")[parent]
    total = torch.zeros_like(no_edge).index_add(0, parent, (picked - largest).exp())
    return picked - largest - total.log()[parent]


def _ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """The numbers `start .. start + length - 1` of every pair, one after the other."""
    offsets = torch.arange(int(lengths.sum()), device=starts.device)
    return starts.repeat_interleave(lengths) + offsets - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _check_k(k: int, tree: LabelTree) -> int:
    if k < 1:
        raise ValueError(f"Expected k >= 1 labels, got {k}.")
    return min(k, len(tree))


def _check_decoder(decoder: PreTrainedModel) -> None:
    attention = decoder.config._attn_implementation
    if attention not in ("eager", "sdpa"):
        raise ValueError(
            f"Label scoring needs a 4-D attention mask, which attention {attention!r} does not take; "
            'load the model with attn_implementation="sdpa" or "eager".'
        )
    if decoder.training and any(getattr(module, "gradient_checkpointing", False) for module in decoder.modules()):
        raise ValueError(
            "Label scoring reads the labels after a cached prompt, and gradient checkpointing drops the cache; "
            "turn it off, or call eval() to score without training."
        )
