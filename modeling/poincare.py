"""The Poincare ball of curvature -c, seen from its origin: exp0, log0 and the distance.

Textbook maps (the paper projects into hyperbolic space; the formulas are those of Ganea et al., 2018).
Distances are computed in float32 at least, also under autocast, because half precision breaks them near the boundary.
Points have the shape (..., width); curvature `c` > 0 is a number or a tensor (1,), which gets a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-15


def exp0(v: Tensor, c: float | Tensor = 1.0) -> Tensor:
    """Exponential map at the origin: tanh(sqrt(c)|v|) v / (sqrt(c)|v|), tangent vectors to points of the ball."""
    v = _at_least_float32(v)
    scaled = c**0.5 * _norm(v)
    return torch.tanh(scaled) / scaled * v


def log0(y: Tensor, c: float | Tensor = 1.0) -> Tensor:
    """Logarithmic map at the origin, the inverse of `exp0`: artanh(sqrt(c)|y|) y / (sqrt(c)|y|)."""
    y = _at_least_float32(y)
    scaled = c**0.5 * _norm(y)
    return torch.atanh(scaled.clamp(max=1 - torch.finfo(y.dtype).eps)) / scaled * y


def distance(x: Tensor, y: Tensor, c: float | Tensor = 1.0) -> Tensor:
    """Geodesic distance between points of the ball, last dimension reduced, the others broadcast.

    (1/sqrt(c)) arcosh(1 + 2u) with u = c|x-y|^2 / ((1-c|x|^2)(1-c|y|^2)), computed as (2/sqrt(c)) arsinh(sqrt(u)): the
    same number, exact for points close to each other where arcosh(1 + tiny) loses all digits.
    """
    x, y = _at_least_float32(x), _at_least_float32(y)
    u = c * (x - y).square().sum(-1) / (_conformal(x, c) * _conformal(y, c))
    return 2 / c**0.5 * torch.asinh(u.clamp(min=_TINY**2).sqrt())


def pairwise_distance(x: Tensor, y: Tensor, c: float | Tensor = 1.0) -> Tensor:
    """Distances of all pairs: x (points, width) and y (codes, width) give (points, codes), by one matrix product."""
    return 2 / c**0.5 * torch.asinh(_pairwise_ratio(x, y, c).clamp(min=_TINY**2).sqrt())


def nearest(x: Tensor, y: Tensor, c: float | Tensor = 1.0) -> Tensor:
    """Index (points,) of the y (codes, width) nearest to each x (points, width), without the monotone arsinh."""
    return _pairwise_ratio(x, y, c).argmin(-1)


def _pairwise_ratio(x: Tensor, y: Tensor, c: float | Tensor) -> Tensor:
    x, y = _at_least_float32(x), _at_least_float32(y)
    with torch.autocast(x.device.type, enabled=False):  # it would multiply in half precision
        squared = x.square().sum(-1, keepdim=True) + y.square().sum(-1) - 2 * x @ y.T
    return c * squared.clamp(min=0) / (_conformal(x, c)[:, None] * _conformal(y, c))


def _conformal(x: Tensor, c: float | Tensor) -> Tensor:
    """1 - c|x|^2, kept positive for points that rounding put on the boundary."""
    return (1 - c * x.square().sum(-1)).clamp(min=torch.finfo(x.dtype).eps)


def _norm(x: Tensor) -> Tensor:
    # the square root has no gradient at 0, so the origin gets a tiny norm instead
    return x.square().sum(-1, keepdim=True).clamp(min=_TINY**2).sqrt()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
