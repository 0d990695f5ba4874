"""How codes learn: k-means at the start, moving averages, revival of dead codes; alike on every rank."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from llm_action.modeling.hyperbolic_codebook import HyperbolicCodebook

_KMEANS_ROUNDS = 10


class CodebookLearner(nn.Module):
    """Moves the codes to the (exponentially averaged) mean of the latent vectors that chose them.

    The mean is taken in the tangent space at the origin (this project's choice). A code that is chosen less than
    `dead_share` times as often as the average code is put on a random latent vector of the batch.

    Args:
        codebook: whose codes are moved, in place.
        decay: of the moving averages, default 0.95.
        dead_share: default 0.1.
    """

    usage: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, codebook: HyperbolicCodebook, decay: float = 0.95, dead_share: float = 0.1):
        super().__init__()
        self._codebook = [codebook]  # in a list, so that its weights are not registered twice
        self.decay, self.dead_share = decay, dead_share
        levels, size, width = codebook.codes.shape
        self.register_buffer("usage", torch.ones(levels, size))  # 1 = chosen as often as the average code
        self.register_buffer("sums", torch.zeros(levels, size, width))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def update(self, latents: Tensor) -> None:
        """Takes a step after a forward pass: latents (batch, steps, code_dim) of this rank."""
        codebook = self._codebook[0]
        codebook.codes.data = codebook.codes.data.clone()  # the backward pass still reads the codes of the forward one
        codes = codebook.codes.data
        rest = latents.detach().float().flatten(0, -2)
        for level in range(len(codes)):
            if not self.started:
                self._start(codebook, rest, level)
            chosen = codebook.nearest(rest, level)
            rest_after = rest - codes[level][chosen]
            counts, sums = _tally(rest, chosen, codes.shape[1])
            share = len(counts) / counts.sum()
            self.usage[level].lerp_(counts * share, 1 - self.decay)
            self.sums[level].lerp_(sums * share, 1 - self.decay)
            dead = self.usage[level] < self.dead_share
            drawn = _draw(rest, len(counts))
            self.sums[level] = torch.where(dead[:, None], drawn, self.sums[level])
            self.usage[level] = torch.where(dead, 1.0, self.usage[level])
            codes[level] = self.sums[level] / self.usage[level][:, None]
            rest = rest_after
        self.started.fill_(True)

    @property
    def shares(self) -> Tensor:
        """(levels, codes) how often each code was chosen of late; each level adds up to one."""
        return self.usage / self.usage.sum(1, keepdim=True)

    def perplexity(self) -> float:
        """exp of the entropy of the codes' recent use, 1..codebook_size, mean over the levels."""
        return float(torch.exp(-torch.xlogy(self.shares, self.shares).sum(1)).mean())

    def _start(self, codebook: HyperbolicCodebook, vectors: Tensor, level: int) -> None:
        codes = codebook.codes.data[level]
        codes.copy_(_draw(vectors, len(codes)))
        for _ in range(_KMEANS_ROUNDS):
            counts, sums = _tally(vectors, codebook.nearest(vectors, level), len(codes))
            codes.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], codes))
        self.sums[level] = codes
        self.usage[level] = 1


def _tally(vectors: Tensor, chosen: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Counts how often each code was chosen and sums its vectors, over all ranks."""
    counts = torch.bincount(chosen, minlength=size).to(vectors.dtype)
    sums = vectors.new_zeros(size, vectors.shape[1]).index_add_(0, chosen, vectors)
    if dist.is_initialized():
        dist.all_reduce(counts)
        dist.all_reduce(sums)
    return counts, sums


def _draw(vectors: Tensor, count: int) -> Tensor:
    """Draws `count` random vectors on the first rank and sends them to the others."""
    order = torch.randperm(len(vectors), device=vectors.device)
    drawn = vectors[order[torch.arange(count, device=vectors.device) % len(vectors)]].contiguous()
    if dist.is_initialized():
        dist.broadcast(drawn, src=0)
    return drawn
