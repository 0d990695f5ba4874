"""The Poincare ball against geoopt, an independent implementation."""

from __future__ import annotations

import pytest
import torch

from llm_action.modeling.hyperbolic_codebook import exp0, nearest, pairwise_distance

geoopt = pytest.importorskip("geoopt")

CURVATURES = (0.5, 1.0, 2.3)
# tangent norms times sqrt(c): next to the origin, in between, next to the boundary (geoopt clamps distances at 16.8)
NORMS = {"origin": (1e-6, 1e-3), "middle": (0.1, 1.5), "boundary": (3.0, 4.0)}


def ball_of(c: float):
    return geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))


def tangents(c: float, where: str, points: int = 20, width: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(points, width, generator=generator, dtype=torch.float64)
    low, high = NORMS[where]
    norms = low + (high - low) * torch.rand(points, 1, generator=generator, dtype=torch.float64)
    return directions / directions.norm(dim=-1, keepdim=True) * norms / c**0.5


@pytest.mark.parametrize("where", NORMS)
@pytest.mark.parametrize("c", CURVATURES)
class TestAgainstGeoopt:
    def test_exp0(self, c, where):
        ball, v = ball_of(c), tangents(c, where)
        torch.testing.assert_close(exp0(v, c), ball.expmap0(v, project=False), rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(ball.logmap0(exp0(v, c)), v, rtol=1e-6, atol=1e-12)

    def test_distance(self, c, where):
        ball = ball_of(c)
        x, y = exp0(tangents(c, where), c), exp0(tangents(c, "middle", seed=1), c)
        torch.testing.assert_close(pairwise_distance(x, y, c), ball.dist(x[:, None], y), rtol=1e-6, atol=1e-6)

    def test_nearest_is_the_argmin_of_the_distances(self, c, where):
        ball = ball_of(c)
        x, codes = exp0(tangents(c, where, points=200), c), exp0(tangents(c, "middle", points=50, seed=1), c)
        assert torch.equal(nearest(x, codes, c), ball.dist(x[:, None], codes).argmin(-1))

    def test_gradients(self, c, where):
        v, w = tangents(c, where, points=4), tangents(c, "middle", points=3, seed=1)
        v, w = v.requires_grad_(), w.requires_grad_()
        assert torch.autograd.gradcheck(lambda v: exp0(v, c), (v,))
        assert torch.autograd.gradcheck(lambda v, w: pairwise_distance(exp0(v, c), exp0(w, c), c), (v, w))


def test_random_points_of_many_curvatures_against_geoopt():
    generator = torch.Generator().manual_seed(5)
    for c in torch.logspace(-2, 1, 20, dtype=torch.float64).tolist():
        ball = ball_of(c)
        norms = 4 / c**0.5 * torch.rand(200, 1, generator=generator, dtype=torch.float64)
        v = torch.nn.functional.normalize(torch.randn(200, 32, generator=generator, dtype=torch.float64)) * norms
        x, y = exp0(v, c).split(100)
        torch.testing.assert_close(torch.cat([x, y]), ball.expmap0(v, project=False), rtol=0, atol=1e-6)
        torch.testing.assert_close(pairwise_distance(x, y, c), ball.dist(x[:, None], y), rtol=1e-6, atol=1e-6)


def test_two_points_near_the_boundary():
    ball = ball_of(1.0)
    x, y = (exp0(tangents(1.0, "boundary", seed=seed)) for seed in (0, 1))
    torch.testing.assert_close(pairwise_distance(x, y), ball.dist(x[:, None], y), rtol=1e-6, atol=1e-6)


def test_the_origin_has_a_finite_gradient_and_distance_zero():
    origin = torch.zeros(2, 3, requires_grad=True)
    exp0(origin).sum().backward()
    torch.testing.assert_close(origin.grad, torch.ones(2, 3))  # exp0 is the identity to first order
    assert torch.equal(exp0(torch.zeros(2, 3)), torch.zeros(2, 3))
    assert pairwise_distance(torch.zeros(1, 3), torch.zeros(1, 3)) < 1e-6


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_half_precision_is_computed_in_float32(dtype):
    v = torch.tensor([[0.5, -0.25], [1.0, 2.0]], dtype=dtype)
    assert exp0(v).dtype == torch.float32
    torch.testing.assert_close(exp0(v), exp0(v.float()))
    assert pairwise_distance(v / 4, v / 4).dtype == torch.float32
    assert nearest(v / 4, v / 4).tolist() == [0, 1]


def test_distances_stay_float32_under_autocast():
    x, y = exp0(tangents(1.0, "boundary").float()), exp0(tangents(1.0, "boundary", seed=1).float())
    with torch.autocast("cpu", torch.bfloat16):
        given = pairwise_distance(x, y)
    assert torch.equal(given, pairwise_distance(x, y)) and given.dtype == torch.float32


def test_float32_distances_are_finite_on_the_boundary():
    far = exp0(torch.tensor([[30.0, 0.0]]))  # rounds onto the boundary
    assert torch.isfinite(pairwise_distance(far, -far)).all()
