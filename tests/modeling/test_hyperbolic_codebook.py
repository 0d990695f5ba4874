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


def test_commitment_and_tokens_pull_at_the_latent_vectors_alone():
    codebook, points = make(num_levels=2), latents().requires_grad_()
    codebook.codes.requires_grad_(True)
    quantized = codebook(points)
    first = (points - codebook.codes[0][quantized.codes[:, 0]]).detach()
    second = first - codebook.codes[1][quantized.codes[:, 1]].detach()
    gradient = torch.autograd.grad(quantized.commitment, points, retain_graph=True)[0]
    torch.testing.assert_close(gradient, 2 * (first + second) / 40)
    for name in ("commitment", "straight_through"):
        ends = getattr(quantized, name).sum(), codebook.codes
        gradient = torch.autograd.grad(*ends, retain_graph=True, allow_unused=True)[0]
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
