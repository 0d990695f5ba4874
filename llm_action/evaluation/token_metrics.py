"""What an action tokenizer keeps and how its sentences look like a language: the figures every stage-1 run writes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from llm_action.datasets import row_to_sequence
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.data import normalized, plain_batch
from llm_action.training.losses import ZIPF_SHIFT, zipf_divergence

_CHUNK = 64


@torch.no_grad()
def token_metrics(processor: LlmArProcessor, table: Dataset) -> dict[str, Any]:
    """Reconstruction, codebook and language figures of a table's sequences (plain, not augmented).

    Returns:
        reconstruction_error: mean joint distance, share of torso length; reconstruction_error_mm: in millimetres.
        velocity_error: mean error of frame-to-frame differences, share of torso length a frame.
        used_codes, dead_codes, perplexity: of each level.
        zipf_exponent: slope of log frequency over log(rank + 2.7), sign turned; zipf_divergence: Jensen-Shannon, nats.
        bits: entropy of a token; bits_given_previous: of a token given the one before it (level 0, add-one smoothed
            over the codes seen).
        stable_tokens: share of tokens that stay when the reconstruction is encoded again.
        tokens_per_second: of motion, where the frame rate is known.
        sequences_per_second: tokenised here, batches of 64.
    """
    vqvae, extractor = processor.vqvae.eval(), processor.feature_extractor
    sequences = normalized(table, extractor, "reconstructing")
    torsos = torch.tensor([extractor.torso_length(row_to_sequence(row)) for row in table.with_format("numpy")])
    codes, errors, velocity_errors, stable, millimetres, seconds = [], [], [], [], [], 0.0
    for start in range(0, len(sequences), _CHUNK):
        batch = plain_batch(sequences[start : start + _CHUNK], extractor.num_frames, extractor.max_persons)
        persons = torch.from_numpy(batch["skeletons"][batch["person_mask"]]).to(vqvae.device)
        started = time.perf_counter()
        found = vqvae.encode(persons)
        seconds += time.perf_counter() - started
        decoded = vqvae.decode(found)
        distances = (decoded - persons).norm(dim=-1).mean((1, 2))
        owner = torch.from_numpy(np.nonzero(batch["person_mask"])[0]) + start
        codes.append(found.cpu())
        errors.append(distances.cpu())
        millimetres.append(distances.cpu() * 1000 * torsos[owner])
        velocity_errors.append((decoded.diff(dim=1) - persons.diff(dim=1)).norm(dim=-1).mean((1, 2)).cpu())
        stable.append((vqvae.encode(decoded) == found).float().mean((1, 2)).cpu())
    all_codes = torch.cat(codes)
    return {
        "n": len(sequences),
        "reconstruction_error": float(torch.cat(errors).mean()),
        "reconstruction_error_mm": float(torch.cat(millimetres).mean()),
        "velocity_error": float(torch.cat(velocity_errors).mean()),
        "stable_tokens": float(torch.cat(stable).mean()),
        "sequences_per_second": round(len(sequences) / seconds, 1),
        "tokens_per_second": _tokens_per_second(table, vqvae),
        **_codebook_figures(all_codes, vqvae.config.codebook_size),
        **_language_figures(all_codes[..., 0], vqvae.config.codebook_size),
    }


def _codebook_figures(codes: Tensor, size: int) -> dict[str, Any]:
    counts = [torch.bincount(level, minlength=size) for level in codes.flatten(0, 1).T]
    return {
        "used_codes": [int((count > 0).sum()) for count in counts],
        "dead_codes": [int((count == 0).sum()) for count in counts],
        "perplexity": [2 ** _entropy(count) for count in counts],
    }


def _language_figures(codes: Tensor, size: int) -> dict[str, float]:
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
        "bits": _entropy(counts),
        "bits_given_previous": float(-(weight * (conditional * conditional.log2()).sum(1)).sum()),
    }


def _entropy(counts: Tensor) -> float:
    share = counts.double() / counts.sum()
    return float(-torch.xlogy(share, share).sum() / np.log(2))


def _tokens_per_second(table: Dataset, vqvae: ActionVQVAE) -> float | None:
    seconds = [shape[1] / fps for shape, fps in zip(table["shape"], table["fps"], strict=True) if fps]
    tokens = vqvae.config.num_steps * vqvae.config.num_levels
    return round(tokens / float(np.mean(seconds)), 1) if seconds else None
