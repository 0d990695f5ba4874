"""The action tokenizer's codebook: nearest codes in the Poincare ball.

The codebook comes first, the ball's maps and distances after it. Points are given by tangent vectors at the origin,
of curvature -c, c > 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.initialization import normal_
from transformers.utils import ModelOutput

from .configuration_llm_ar import ActionVQVAEConfig


@dataclass
class Quantized(ModelOutput):
    """What the codebook made of latent vectors.

    Attributes:
        codes: (..., levels) int64, the nearest code of each level; None with continuous features.
        vectors: (..., code_dim) sum of the chosen codes, no gradient.
        straight_through: (..., code_dim) the same values, with the latent vectors' gradient.
        commitment: scalar, mean squared tangent distance of what each level quantised to its code, which gets no
            gradient. It is not the ball's distance, which grows with c: minimising that would only flatten the ball.
    """

    codes: Tensor | None = None
    vectors: Tensor | None = None
    straight_through: Tensor | None = None
    commitment: Tensor | None = None


class HyperbolicCodebook(nn.Module):
    """Nearest-code search in the Poincare ball.

    `config.geometry = "euclidean"` searches in flat space instead, "continuous" hands the latent vectors on as they
    are. Codes are kept as tangent vectors at the origin and mapped into the ball for the search, so that averages and
    ordinary optimisers work on them. How codes learn (moving averages or gradient, revival of dead codes) is training's
    business. Distances are float32 whatever dtype surrounds them.
    """

    def __init__(self, config: ActionVQVAEConfig):
        super().__init__()
        self.config = config
        shape = (config.num_levels, config.codebook_size, config.code_dim)
        self.codes = nn.Parameter(torch.empty(shape), requires_grad=False)

    def init_weights(self) -> None:
        """Random codes well inside the ball."""
        normal_(self.codes, std=0.3 * self.config.max_norm / self.config.code_dim**0.5)

    def nearest(self, vectors: Tensor, level: int) -> Tensor:
        """Index (points,) of the code of `level` nearest to each tangent vector (points, code_dim)."""
        vectors, codes = vectors.float(), self.codes[level].float()
        if self.config.geometry == "euclidean":
            return torch.cdist(vectors, codes).argmin(-1)
        c = self.config.curvature
        return nearest(exp0(vectors, c), exp0(codes, c), c)

    def soft_assignments(self, vectors: Tensor, level: int = 0) -> Tensor:
        """(points, codes) shares of a level's codes in tangent vectors (points, code_dim), differentiable.

        softmax(-d^2 / 0.1), the form of sibling work; the temperature is this project's choice.
        """
        return (-self.distances(vectors, self.codes[level]).square() / 0.1).softmax(-1)

    def distances(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """(points, codes) distances of tangent vectors (points, code_dim) to (codes, code_dim), differentiable."""
        vectors, codes = vectors.float(), codes.float()
        if self.config.geometry == "euclidean":
            return torch.cdist(vectors, codes)
        c = self.config.curvature
        return pairwise_distance(exp0(vectors, c), exp0(codes, c), c)

    def lookup(self, codes: Tensor) -> Tensor:
        """(..., levels) code indices to the sum (..., code_dim) of their tangent vectors."""
        chosen = (F.embedding(codes[..., level], self.codes[level]) for level in range(codes.shape[-1]))
        return sum(chosen, self.codes.new_zeros(()))

    def forward(self, latents: Tensor) -> Quantized:
        """Quantises tangent vectors (..., code_dim) level by level."""
        rest = latents.float().flatten(0, -2)
        commitment = rest.new_zeros(())
        if self.config.geometry == "continuous":
            return Quantized(None, latents.detach(), latents, commitment)
        codes = []
        for level in range(self.config.num_levels):
            with torch.no_grad():
                codes.append(self.nearest(rest, level))
            chosen = self.codes[level][codes[-1]]
            chosen = chosen.detach()
            commitment = commitment + (rest - chosen).square().sum(-1).mean()
            rest = rest - chosen
        indices = torch.stack(codes, -1).view(*latents.shape[:-1], -1)
        vectors = self.lookup(indices).detach()
        straight_through = latents + (vectors - latents).detach()
        return Quantized(indices, vectors, straight_through, commitment)


_TINY = 1e-15


def exp0(v: Tensor, c: float = 1.0) -> Tensor:
    """Exponential map at the origin: tanh(sqrt(c)|v|) v / (sqrt(c)|v|), tangent vectors to points of the ball."""
    v = _at_least_float32(v)
    scaled = c**0.5 * _norm(v)
    return torch.tanh(scaled) / scaled * v


def pairwise_distance(x: Tensor, y: Tensor, c: float = 1.0) -> Tensor:
    """Geodesic distances of all pairs of points of the ball: x (points, width), y (codes, width) to (points, codes).

    (1/sqrt(c)) arcosh(1 + 2u) with u = c|x-y|^2 / ((1-c|x|^2)(1-c|y|^2)), computed as (2/sqrt(c)) arsinh(sqrt(u)): the
    same number, without arcosh's loss of digits near 1. One matrix product gives all |x-y|^2.
    """
    return 2 / c**0.5 * torch.asinh(_pairwise_ratio(x, y, c).clamp(min=_TINY**2).sqrt())


def nearest(x: Tensor, y: Tensor, c: float = 1.0) -> Tensor:
    """Index (points,) of the y (codes, width) nearest to each x (points, width), without the monotone arsinh."""
    return _pairwise_ratio(x, y, c).argmin(-1)


def _pairwise_ratio(x: Tensor, y: Tensor, c: float) -> Tensor:
    x, y = _at_least_float32(x), _at_least_float32(y)
    with torch.autocast(x.device.type, enabled=False):  # it would multiply in half precision
        squared = x.square().sum(-1, keepdim=True) + y.square().sum(-1) - 2 * x @ y.T
    return c * squared.clamp(min=0) / (_conformal(x, c)[:, None] * _conformal(y, c))


def _conformal(x: Tensor, c: float) -> Tensor:
    """1 - c|x|^2, kept positive for points that rounding put on the boundary."""
    return (1 - c * x.square().sum(-1)).clamp(min=torch.finfo(x.dtype).eps)


def _norm(x: Tensor) -> Tensor:
    # the square root has no gradient at 0, so the origin gets a tiny norm instead
    return x.square().sum(-1, keepdim=True).clamp(min=_TINY**2).sqrt()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
