"""The figures every run of stage 1 writes: what the tokenizer keeps, and how much its sentences resemble a language."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from llm_action.datasets import row_to_sequence
from llm_action.datasets.augmentation import normalized, plain_batch
from llm_action.evaluation.language_likeness import ZIPF_SHIFT, mmd, zipf_divergence
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.processing_llm_ar import LlmArProcessor

_CHUNK = 64
_WORDS = 512
_TOKENS = 4096  # at a time, as each is weighed against every code
_WORD_EMBEDDINGS = "model.embed_tokens.weight"


@torch.no_grad()
def token_metrics(processor: LlmArProcessor, table: Dataset, words: Tensor | None = None) -> dict[str, Any]:
    """Reconstruction, codebook and language figures of a table's sequences (plain, not augmented).

    Args:
        words: `word_sample` of the base model, for mmd.

    Returns:
        reconstruction_error: mean joint distance, share of torso length; reconstruction_error_mm: in millimetres.
        velocity_error: mean error of frame-to-frame differences, share of torso length a frame.
        sequences_per_second: tokenised here, batches of 64.

        A model of continuous features has no others. Tokens add:
        used_codes, dead_codes, perplexity: of each level.
        zipf_exponent: slope of log frequency over log(rank + 2.7), sign turned; zipf_divergence: Jensen-Shannon, nats.
        rank_counts: uses of each code, most used first (level 0).
        bits: entropy of a token; bits_given_previous: of a token given the one before it (level 0, add-one smoothed
            over the codes seen); bits_given_context: see `context_bits`.
        mmd: `language_likeness.mmd` of the embeddings of all action tokens and the words.
        stable_tokens: share of tokens that stay when the reconstruction is encoded again.
        tokens_per_second: of motion, where the frame rate is known.
    """
    vqvae, extractor = processor.vqvae.eval(), processor.feature_extractor
    sequences = [extractor.as_seen(persons) for persons in normalized(table, extractor, "reconstructing")]
    torsos = torch.tensor([extractor.torso_length(row_to_sequence(row)) for row in table.with_format("numpy")])
    codes, errors, velocity_errors, stable, millimetres, seconds = [], [], [], [], [], 0.0
    for start in range(0, len(sequences), _CHUNK):
        batch = plain_batch(sequences[start : start + _CHUNK], extractor.num_frames, extractor.max_persons)
        persons = torch.from_numpy(batch["skeletons"][batch["person_mask"]]).to(vqvae.device)
        started = time.perf_counter()
        quantized = vqvae.codebook(vqvae.latents(persons))
        seconds += time.perf_counter() - started
        decoded = vqvae.decode_vectors(quantized.vectors)
        distances = (decoded - persons).norm(dim=-1).mean((1, 2))
        owner = torch.from_numpy(np.nonzero(batch["person_mask"])[0]) + start
        errors.append(distances.cpu())
        millimetres.append(distances.cpu() * 1000 * torsos[owner])
        velocity_errors.append((decoded.diff(dim=1) - persons.diff(dim=1)).norm(dim=-1).mean((1, 2)).cpu())
        if quantized.codes is not None:
            codes.append(quantized.codes.cpu())
            stable.append((vqvae.encode(decoded) == quantized.codes).float().mean((1, 2)).cpu())
    figures: dict[str, Any] = {
        "n": len(sequences),
        "reconstruction_error": float(torch.cat(errors).mean()),
        "reconstruction_error_mm": float(torch.cat(millimetres).mean()),
        "velocity_error": float(torch.cat(velocity_errors).mean()),
        "sequences_per_second": round(len(sequences) / seconds, 1),
    }
    if not codes:
        return figures
    all_codes = torch.cat(codes)
    figures |= {
        "stable_tokens": float(torch.cat(stable).mean()),
        "tokens_per_second": _tokens_per_second(table, vqvae),
        **_codebook_figures(all_codes, vqvae.config.codebook_size),
        **_language_figures(all_codes[..., 0], vqvae.config.codebook_size),
    }
    if words is not None:
        figures["mmd"] = float(mmd(vqvae.token_embeddings().float().cpu(), words))
    return figures


def word_sample(base: Path, seed: int) -> Tensor:
    """(up to 512, embedding_dim) word embeddings of the base model in a folder, float32, drawn by the seed.

    Only that one tensor is loaded: it is a small part of a large base.
    """
    for file in sorted(base.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            if _WORD_EMBEDDINGS in weights.keys():  # noqa: SIM118, no mapping
                words = weights.get_tensor(_WORD_EMBEDDINGS)
                chosen = torch.randperm(len(words), generator=torch.Generator().manual_seed(seed))[:_WORDS]
                return words[chosen].float()
    raise ValueError(f"{base}: expected weights that hold {_WORD_EMBEDDINGS}, found none; choose a LLaMA.")


def context_bits(codes: Tensor, size: int) -> float:
    """Bits a token costs who knows the tokens before and after it: codes (sentences, steps), mean over all tokens.

    The cheapest of three codes: the tokens' frequencies; a first-order Markov chain, p(t | before); and the chain read
    from both sides, p(t | before, after) ~ p(t | before) p(after | t). Transitions are smoothed towards the frequencies
    by Witten and Bell's rule. Each half of the sentences is coded by counts of the other half, so this is what context
    is seen to save, an upper bound of the conditional entropy (this project's choice). Below the entropy `bits`, tokens
    depend on their context; a few dozen sentences are too few to tell.
    """
    halves = codes[0::2], codes[1::2]
    costs = [_code_lengths(*pair, size) for pair in (halves, halves[::-1])]
    return float(torch.cat(costs, 1).mean(1).min())


def _code_lengths(learned_from: Tensor, coded: Tensor, size: int) -> Tensor:
    """(3, tokens) bits of each token of `coded` (sentences, steps): by frequency, by the one before, by both sides."""
    frequencies = torch.bincount(learned_from.flatten(), minlength=size).double() + 1
    frequencies = frequencies / frequencies.sum()
    pairs = torch.bincount(learned_from[:, :-1].flatten() * size + learned_from[:, 1:].flatten(), minlength=size**2)
    pairs = pairs.view(size, size).double()
    kinds = (pairs > 0).sum(1, keepdim=True).clamp(min=1)  # of tokens seen after each
    following = ((pairs + kinds * frequencies) / (pairs.sum(1, keepdim=True) + kinds)).log()
    first = frequencies.log()
    after = torch.cat([following.new_zeros(size, 1), following], 1)  # column 0: nothing follows
    before = torch.cat([first[None], following])  # row 0: nothing came before
    tokens, lasts = coded.flatten(), F.pad(coded[:, :-1] + 1, (1, 0)).flatten()
    nexts = F.pad(coded[:, 1:] + 1, (0, 1)).flatten()
    both = [tokens.new_zeros(0).double()]
    for part in torch.arange(len(tokens)).split(_TOKENS):
        scores = before[lasts[part]] + after[:, nexts[part]].T
        both.append(scores.log_softmax(1).gather(1, tokens[part, None])[:, 0])
    return -torch.stack([first[tokens], before[lasts, tokens], torch.cat(both)]) / np.log(2)


def _codebook_figures(codes: Tensor, size: int) -> dict[str, Any]:
    counts = [torch.bincount(level, minlength=size) for level in codes.flatten(0, 1).T]
    return {
        "used_codes": [int((count > 0).sum()) for count in counts],
        "dead_codes": [int((count == 0).sum()) for count in counts],
        "perplexity": [2 ** _entropy(count) for count in counts],
    }


def _language_figures(codes: Tensor, size: int) -> dict[str, Any]:
    """Of one level's codes (sentences, steps)."""
    counts = torch.bincount(codes.flatten(), minlength=size).double()
    ranked = counts[counts > 0].sort(descending=True).values.numpy()
    log_ranks = np.log(np.arange(1, len(ranked) + 1) + ZIPF_SHIFT)
    slope = np.polyfit(log_ranks, np.log(ranked), 1)[0] if len(ranked) > 1 else 0.0
    pairs = torch.bincount(codes[:, :-1].flatten() * size + codes[:, 1:].flatten(), minlength=size * size)
    seen = int((counts > 0).sum())
    following = pairs.view(size, size).double()[counts > 0][:, counts > 0] + 1 / seen
    conditional = following / following.sum(1, keepdim=True)
    weight = following.sum(1) / following.sum()
    return {
        "zipf_exponent": float(-slope),
        "zipf_divergence": float(zipf_divergence((counts / counts.sum()).float())),
        "rank_counts": counts.sort(descending=True).values.int().tolist(),
        "bits": _entropy(counts),
        "bits_given_previous": float(-(weight * (conditional * conditional.log2()).sum(1)).sum()),
        "bits_given_context": context_bits(codes, size),
    }


def _entropy(counts: Tensor) -> float:
    share = counts.double() / counts.sum()
    return float(-torch.xlogy(share, share).sum() / np.log(2))


def _tokens_per_second(table: Dataset, vqvae: ActionVQVAE) -> float | None:
    seconds = [shape[1] / fps for shape, fps in zip(table["shape"], table["fps"], strict=True) if fps]
    tokens = vqvae.config.num_places * vqvae.config.num_levels
    return round(tokens / float(np.mean(seconds)), 1) if seconds else None
