"""How much action tokens are like the words of a language: measured here, and raised by the losses of stage 1."""

from __future__ import annotations

import torch
from torch import Tensor

ZIPF_SHIFT, ZIPF_EXPONENT = 2.7, 1.0


def zipf_divergence(frequencies: Tensor) -> Tensor:
    """Jensen-Shannon divergence (nats) of frequencies (codes,), largest first, to Zipf-Mandelbrot 1 / (rank + 2.7)."""
    ranked = frequencies.sort(descending=True).values
    target = 1 / (torch.arange(1, len(ranked) + 1, device=ranked.device) + ZIPF_SHIFT) ** ZIPF_EXPONENT
    target = target / target.sum()
    middle = (ranked + target) / 2
    return (_divergence(ranked, middle) + _divergence(target, middle)) / 2


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.clamp(min=1e-12).log() - q.clamp(min=1e-12).log())).sum()


def mmd(x: Tensor, y: Tensor, bandwidths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)) -> Tensor:
    """Squared maximum mean discrepancy of samples (n, width) and (m, width), RBF kernels of several bandwidths.

    Bandwidths are multiples of the mean squared distance within `y`, which gets no gradient.
    """
    y = y.detach()
    scale = torch.cdist(y, y).square().mean()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = torch.cdist(a, b).square() / scale
        return torch.stack([torch.exp(-squared / bandwidth).mean() for bandwidth in bandwidths]).mean()

    return kernel(x, x) - 2 * kernel(x, y) + kernel(y, y)
