"""The codebook: its curvature, gradients of codes, float32 distances, the control without a codebook."""

from __future__ import annotations

import pytest
import torch

from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.hyperbolic_codebook import HyperbolicCodebook
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE

SMALL = {
    "num_frames": 16,
    "codebook_size": 24,
    "code_dim": 6,
    "embedding_dim": 20,
    "hidden_size": 16,
    "num_layers": 1,
    "num_heads": 2,
}


def make(**settings) -> HyperbolicCodebook:
    torch.manual_seed(0)
    codebook = HyperbolicCodebook(ActionVQVAEConfig(**{**SMALL, **settings}))
    codebook.init_weights()
    return codebook


def latents(points: int = 40, seed: int = 1) -> torch.Tensor:
    return 0.3 * torch.randn(points, 6, generator=torch.Generator().manual_seed(seed))


def test_the_search_follows_the_curvature():
    geoopt = pytest.importorskip("geoopt")
    codebook = make(curvature=7.4)
    assert [name for name, _ in codebook.named_parameters()] == ["codes"]
    ball = geoopt.PoincareBall(c=torch.tensor(7.4).double())
    points, codes = ball.expmap0(latents().double()), ball.expmap0(codebook.codes[0].double())
    nearest = ball.dist(points[:, None], codes).argmin(-1)
    assert torch.equal(codebook(latents()).codes[:, 0], nearest)
    assert not torch.equal(make()(latents()).codes[:, 0], nearest), "another ball, other codes"


class TestGradientsOfCodes:
    def test_embedding_and_commitment_are_one_number_with_two_gradients(self):
        codebook, points = make(), latents().requires_grad_()
        codebook.codes.requires_grad_(True)
        quantized = codebook(points)
        assert quantized.embedding == quantized.commitment
        chosen = quantized.codes[:, 0]
        differences = (points - codebook.codes[0][chosen]).detach()
        by_codes = torch.autograd.grad(quantized.embedding, codebook.codes, retain_graph=True)[0]
        expected = torch.stack([-2 * differences[chosen == code].sum(0) / 40 for code in range(24)])
        torch.testing.assert_close(by_codes[0], expected)
        torch.testing.assert_close(torch.autograd.grad(quantized.commitment, points)[0], 2 * differences / 40)

    def test_neither_reaches_the_other_side(self):
        codebook, points = make(num_levels=2), latents().requires_grad_()
        codebook.codes.requires_grad_(True)
        quantized = codebook(points)
        ends = {"commitment": codebook.codes, "embedding": points, "straight_through": codebook.codes}
        for name, end in ends.items():
            gradient = torch.autograd.grad(getattr(quantized, name).sum(), end, retain_graph=True, allow_unused=True)[0]
            assert gradient is None or not gradient.any(), name


@pytest.mark.parametrize("geometry", ("hyperbolic", "euclidean"))
class TestHalfPrecision:
    def test_autocast_changes_nothing(self, geometry):
        codebook = make(geometry=geometry)
        codes, soft = codebook(latents()).codes, codebook.soft_assignments(latents())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(codebook(latents()).codes, codes)
            assert torch.equal(codebook.soft_assignments(latents()), soft)

    def test_distances_are_float32_in_a_half_precision_module(self, geometry):
        half = make(geometry=geometry).to(torch.bfloat16)
        same = make(geometry=geometry)
        same.codes.data = half.codes.float()
        points = latents().bfloat16()
        distances = half.distances(points, half.codes[0])
        assert distances.dtype == torch.float32
        torch.testing.assert_close(distances, same.distances(points.float(), same.codes[0]), rtol=0, atol=0)
        assert torch.equal(half(points).codes, same(points.float()).codes)


def test_soft_assignments_agree_with_the_search():
    codebook = make()
    soft = codebook.soft_assignments(latents())
    torch.testing.assert_close(soft.sum(-1), torch.ones(40))
    assert torch.equal(soft.argmax(-1), codebook.nearest(latents(), 0))


def test_continuous_features_pass_as_they_are():
    torch.manual_seed(0)
    vqvae = ActionVQVAE(ActionVQVAEConfig(**SMALL, geometry="continuous")).eval()
    skeletons = torch.randn(2, 16, 20, 3)
    output = vqvae(skeletons)
    assert output.quantized.codes is None and output.quantized.commitment == 0
    assert torch.equal(output.quantized.vectors, output.latents)
    assert torch.equal(vqvae.decode_vectors(output.latents), output.reconstruction)
    output.reconstruction.sum().backward()
    assert vqvae.latent_projection.weight.grad.any()
    with pytest.raises(ValueError, match="tokens, got geometry 'continuous'"):
        vqvae.encode(skeletons)
