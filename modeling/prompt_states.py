"""Runs the language model for every way of scoring labels: over prompts, once, and over tree nodes after them.

Attention implementations: "eager" and "sdpa" (others do not take a 4-D mask). Log-softmax is in float32 at least.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel

from .label_tree import LabelTree

PASS_BYTES = 2**28  # what the activations and states of one forward over tree nodes may take
LOGITS_BYTES = 2**26  # what the logits of nodes x vocabulary may take at a time, in float32


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
        return DynamicCache(
            [(keys[rows.to(keys.device)], values[rows.to(keys.device)]) for keys, values in self.layers]
        )


def encode_prompts(
    model: PreTrainedModel,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    prefix: EncodedPrompts | None = None,
) -> EncodedPrompts:
    """Reads the prompts once; see `encode_prompts_and_nodes` for arguments and errors."""
    return encode_prompts_and_nodes(model, None, None, inputs_embeds, attention_mask, prefix)[0]


def encode_prompts_and_nodes(
    model: PreTrainedModel,
    tree: LabelTree | None,
    nodes: Tensor | None,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    prefix: EncodedPrompts | None = None,
) -> tuple[EncodedPrompts, Tensor]:
    """Reads the prompts, and nodes of a tree after each in the same forward: its fixed cost is that of many tokens.

    Args:
        model: a causal language model of the LLaMA kind, PEFT layers welcome.
        tree, nodes: (n,) the nodes, each after its ancestors, which must be among them; None: the prompts alone.
        inputs_embeds: (batch, tokens, hidden) the prompts' embeddings, padded left or right.
        attention_mask: (batch, tokens) 1 for tokens, 0 for padding; default: no padding.
        prefix: states of what comes before `inputs_embeds`, of one row (shared by all) or of `batch` rows.

    Returns:
        the prompts, and (batch, n, hidden) the decoder's output at the nodes.

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
    positions = (full_mask.long().cumsum(1) - 1).clamp(min=0)[:, seen.shape[1] :]
    attention = full_mask.long()
    if tree is not None and nodes is not None and len(nodes):
        rows_of_nodes = nodes.expand(batch, -1)
        visible = torch.cat(
            [_causal(full_mask, tokens, len(nodes)), _visible(tree, full_mask, nodes[:0], rows_of_nodes)], 1
        )
        attention = _additive(visible, inputs_embeds.dtype)
        positions = torch.cat([positions, _node_positions(tree, full_mask, rows_of_nodes)], 1)
        embeds = model.get_input_embeddings()(tree.token_ids[rows_of_nodes])
        inputs_embeds = torch.cat([inputs_embeds, embeds], 1)
    hidden = decoder(
        inputs_embeds=inputs_embeds,
        attention_mask=attention,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state.to(mask.device)  # of the last layer, which may be elsewhere
    last = (mask * torch.arange(1, tokens + 1, device=mask.device)).argmax(1)
    known = full_mask.shape[1]
    layers = tuple((layer.keys[:, :, :known], layer.values[:, :, :known]) for layer in cache.layers)
    prompts = EncodedPrompts(layers, full_mask, hidden[torch.arange(batch, device=mask.device), last])
    return prompts, hidden[:, tokens:]


def read_nodes(
    model: PreTrainedModel, tree: LabelTree, cache: DynamicCache, prompt_mask: Tensor, past: Tensor, nodes: Tensor
) -> Tensor:
    """Reads tree nodes after the prompts: (rows, n, hidden). The cache grows by the n nodes.

    `past` (rows, m) are the nodes already in the cache behind the prompt, `nodes` (rows, n) those to read; -1 is a
    filler that nothing sees. A node sees the prompt, its ancestors and itself.
    """
    embeds = model.get_input_embeddings()(tree.token_ids[nodes.clamp(min=0)])
    return model.get_decoder()(
        inputs_embeds=embeds,
        attention_mask=_additive(_visible(tree, prompt_mask, past, nodes), embeds.dtype),
        position_ids=_node_positions(tree, prompt_mask, nodes),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state.to(prompt_mask.device)


def _visible(tree: LabelTree, prompt_mask: Tensor, past: Tensor, nodes: Tensor) -> Tensor:
    """(rows, n, prompt + m + n) bool: what each node sees of the prompt, the nodes before, and its like."""
    seen = torch.cat([past.expand(len(nodes), -1), nodes], 1)[:, None, :]
    node = nodes[:, :, None]
    is_ancestor = (seen > 0) & (seen <= node) & (node < tree.subtree_ends[seen.clamp(min=0)])
    return torch.cat([prompt_mask[:, None, :].expand(-1, nodes.shape[1], -1), is_ancestor], 2)


def _causal(full_mask: Tensor, tokens: int, num_nodes: int) -> Tensor:
    """(batch, tokens, all + nodes) bool: what each of a prompt's last `tokens` sees; never the nodes."""
    known = full_mask.shape[1]
    causal = full_mask.new_ones(known, known).tril()[known - tokens :]
    return nn.functional.pad(full_mask[:, None, :] & causal, (0, num_nodes))


def _node_positions(tree: LabelTree, prompt_mask: Tensor, nodes: Tensor) -> Tensor:
    """(rows, n): depths below the prompt's end."""
    return prompt_mask.sum(1, keepdim=True) + tree.depths[nodes.clamp(min=0)] - 1


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, 1, queries, keys) what is added to attention scores."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)[:, None]


def child_log_probs(
    model: PreTrainedModel, tree: LabelTree, hidden: Tensor, row_of: Tensor, nodes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of every child of the nodes read, given its parent.

    `hidden` (m, width) is the model's output at `nodes` (m,) of the batch rows `row_of` (m,).
    Returns (edges,) rows, (edges,) child nodes, (edges,) log-probabilities.
    """
    head = model.get_output_embeddings()
    found = []
    step = max(1, LOGITS_BYTES // (4 * model.config.vocab_size))
    for part, part_rows, part_nodes in zip(hidden.split(step), row_of.split(step), nodes.split(step), strict=True):
        counts = tree.num_children[part_nodes]
        parent = torch.arange(len(part), device=nodes.device).repeat_interleave(counts)
        children = tree.children[_ranges(tree.first_child[part_nodes], counts)]
        if torch.is_grad_enabled() and part.requires_grad:  # logits are made again in backward, not kept
            values = checkpoint(_token_log_probs, head, part, parent, tree.token_ids[children], use_reentrant=False)
        else:
            values = _token_log_probs(head, part, parent, tree.token_ids[children])
        found.append((part_rows[parent], children, values))
    rows, children, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    return rows, children, values


def _token_log_probs(head: nn.Module, hidden: Tensor, parent: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of `tokens` (edges,) after `hidden[parent]`, among all tokens the head knows."""
    logits = head(hidden).to(hidden.device)
    logits = logits.to(at_least_float32(logits.dtype))
    return logits[parent, tokens] - logits.logsumexp(-1)[parent]


def state_bytes(model: PreTrainedModel) -> int:
    """Bytes that keys and values of one token take in the cache, over all layers."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * head_dim * model.get_input_embeddings().weight.element_size()


def tokens_per_pass(model: PreTrainedModel) -> int:
    """How many tokens (prompts and nodes, over the batch) one forward holds within `PASS_BYTES`.

    A token costs its states and, in the layer at work, some six vectors of each width.
    """
    config = model.config
    widths = 6 * (config.hidden_size + config.intermediate_size)
    activations = widths * model.get_input_embeddings().weight.element_size()
    return max(1, PASS_BYTES // (state_bytes(model) + activations))


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """The numbers `start .. start + length - 1` of every pair, one after the other."""
    offsets = torch.arange(int(lengths.sum()), device=starts.device)
    return starts.repeat_interleave(lengths) + offsets - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)


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


Found = TypeVar("Found")


class KeptStates:
    """What a language model has read and shall not read again: the words all prompts begin with, priors, a lexicon.

    It lives as long as whoever makes it: one call of the pipeline, one stream. It does not notice that weights,
    adapters or devices change; a new one does not know what they were.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def kept(self, key: Hashable, read: Callable[[], Found]) -> Found:
        """What `read` gave the first time it was asked for under this key."""
        if key not in self._found:
            self._found[key] = read()
        return self._found[key]


def common_words(input_ids: Tensor, mask: Tensor, first_action_id: int) -> tuple[int, ...]:
    """The words before the first action token of prompts (batch, tokens), if all begin with the same and go on."""
    prompts = [ids[real].tolist() for ids, real in zip(input_ids, mask.bool(), strict=True)]
    count = next((place for place, token in enumerate(prompts[0]) if token >= first_action_id), 0)
    words = prompts[0][:count]
    return tuple(words) if all(prompt[:count] == words and len(prompt) > count for prompt in prompts) else ()


def without_first(input_ids: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Prompts (batch, tokens), padded on either side, and their mask without the first `count` tokens of each."""
    rest = mask * (mask.cumsum(1) > count)
    return input_ids[:, count:], rest[:, count:]  # the columns before hold padding and the tokens to drop
