"""The action tokenizer: skeletons to codes and back, its codebook, saving and loading."""

from __future__ import annotations

import pytest
import torch

from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.skeleton_layouts import LAYOUTS

SMALL = {
    "num_frames": 16,
    "codebook_size": 24,
    "code_dim": 6,
    "embedding_dim": 20,
    "hidden_size": 16,
    "num_layers": 1,
    "num_heads": 2,
}


def make(**settings) -> ActionVQVAE:
    torch.manual_seed(0)
    return ActionVQVAE(ActionVQVAEConfig(**{**SMALL, **settings})).eval()


def skeletons(vqvae: ActionVQVAE, batch: int = 3) -> torch.Tensor:
    joints = LAYOUTS[vqvae.config.layout].num_joints
    return torch.randn(batch, vqvae.config.num_frames, joints, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_levels": 3},
        {"geometry": "euclidean"},
        {"code_dim": 20},  # the paper's setting: as wide as the word embeddings
        {"num_frames": 1, "downsample": 1},
        {"num_frames": 4, "downsample": 1},
        {"downsample": 8},
        {"downsample": 16, "num_levels": 2},
        {"layout": "coco17"},
        {"codebook_size": 1},
        {"curvature": 2.3, "num_levels": 2},
        {"body_parts": True, "downsample": 4},
        {"body_parts": True, "downsample": 8, "num_levels": 2, "layout": "coco17"},
        {"trunk_widths": [8, 16], "downsample": 2},
        {"trunk_widths": [8, 16], "downsample": 8, "body_parts": True, "layout": "smarthome13"},
        {"encoder": "transformer", "downsample": 8, "num_levels": 2},
        {"encoder": "transformer", "body_parts": True, "layout": "coco17"},
    ],
    ids=str,
)
def test_shapes_and_round_trip(settings):
    vqvae = make(**settings)
    config, x = vqvae.config, skeletons(vqvae)
    places = config.num_frames // config.downsample * (5 if config.body_parts else 1)
    levels = config.num_levels
    output = vqvae(x)
    codes = vqvae.encode(x)
    assert codes.shape == (3, places, levels) and codes.dtype == torch.int64
    assert codes.min() >= 0 and codes.max() < config.codebook_size
    assert output.latents.shape == (3, places, config.code_dim)
    assert output.reconstruction.shape == x.shape
    torch.testing.assert_close(vqvae.decode(codes), output.reconstruction, rtol=1e-5, atol=1e-5)
    assert torch.equal(codes, output.quantized.codes)
    assert vqvae.token_embeddings().shape == (config.codebook_size * levels, config.embedding_dim)


@torch.no_grad()
def test_a_part_of_the_body_sees_its_own_joints_first():
    """Without the layers that mix places, a part's latent vectors depend on its own joints and the root alone.

    The trunk, which mixes joints, is another matter.
    """
    vqvae = make(body_parts=True, downsample=4, encoder="transformer")
    vqvae.attention = torch.nn.Identity()
    layout = LAYOUTS["kinect20"]
    x = skeletons(vqvae)
    for number, (part, joints) in enumerate(layout.body_parts.items()):
        moved = x.clone()
        moved[:, :, [joint for joint in joints if joint != layout.root]] += 0.5
        changed = (vqvae.latents(moved) - vqvae.latents(x)).abs().sum((0, 2)).view(-1, 5) > 1e-6
        assert changed[:, number].all() and changed.sum() == changed[:, number].sum(), part


def test_the_projection_is_left_out_where_codes_are_as_wide_as_words():
    vqvae = make(code_dim=20)
    assert torch.equal(vqvae.token_embeddings(), vqvae.codebook.codes[0])
    assert not torch.equal(make().token_embeddings()[:, :6], make().codebook.codes[0])


def test_codes_are_the_nearest_in_the_ball():
    geoopt = pytest.importorskip("geoopt")
    vqvae = make(curvature=1.7)
    ball = geoopt.PoincareBall(c=1.7)
    output = vqvae(skeletons(vqvae))
    points, codes = ball.expmap0(output.latents.double()), ball.expmap0(vqvae.codebook.codes[0].double())
    expected = ball.dist(points[..., None, :], codes).argmin(-1)
    assert torch.equal(output.quantized.codes[..., 0], expected)


def test_the_euclidean_control_searches_in_flat_space():
    vqvae = make(geometry="euclidean")
    output = vqvae(skeletons(vqvae))
    differences = output.latents[..., None, :] - vqvae.codebook.codes[0]
    assert torch.equal(output.quantized.codes[..., 0], differences.square().sum(-1).argmin(-1))


def test_each_level_quantises_what_the_levels_before_left_over():
    vqvae = make(num_levels=3)
    output = vqvae(skeletons(vqvae))
    rest = output.latents
    for level in range(3):
        chosen = output.quantized.codes[..., level]
        flat = vqvae.codebook.nearest(rest.flatten(0, 1), level)
        assert torch.equal(flat, chosen.flatten())
        rest = rest - vqvae.codebook.codes[level][chosen]
    torch.testing.assert_close(output.latents - rest, output.quantized.vectors)


def test_latents_stay_within_the_largest_norm():
    vqvae = make(max_norm=0.7)
    with torch.no_grad():
        vqvae.latent_projection.weight.mul_(1e4)
    norms = vqvae.latents(skeletons(vqvae) * 100).norm(dim=-1)
    assert norms.max() <= 0.7 + 1e-5 and norms.min() > 0.69


def test_the_gradient_goes_straight_through_the_codebook():
    vqvae = make()
    latents = torch.randn(2, 8, 6, requires_grad=True)
    quantized = vqvae.codebook(latents)
    torch.testing.assert_close(quantized.straight_through, quantized.vectors)
    weight = torch.randn(2, 8, 6)
    (quantized.straight_through * weight).sum().backward()
    torch.testing.assert_close(latents.grad, weight)
    vqvae(skeletons(vqvae)).reconstruction.square().mean().backward()
    assert vqvae.latent_projection.weight.grad.abs().sum() > 0
    assert vqvae.codebook.codes.grad is None


@pytest.mark.parametrize("encoder", ("transformer", "trunk"))
def test_saved_and_loaded_bit_for_bit(tmp_path, encoder):
    vqvae = make(num_levels=2, encoder=encoder, trunk_widths=[8, 16])
    vqvae.save_pretrained(tmp_path)
    loaded = ActionVQVAE.from_pretrained(tmp_path)
    assert not loaded.training
    assert loaded.state_dict().keys() == vqvae.state_dict().keys()
    assert all(torch.equal(weight, vqvae.state_dict()[name]) for name, weight in loaded.state_dict().items())
    assert loaded.config.to_diff_dict() == vqvae.config.to_diff_dict()
    assert loaded.fingerprint() == vqvae.fingerprint()
    assert torch.equal(loaded.encode(skeletons(vqvae)), vqvae.encode(skeletons(vqvae)))


def test_the_codebook_stays_float32_in_bfloat16(tmp_path):
    vqvae = make()
    vqvae.save_pretrained(tmp_path)
    half = ActionVQVAE.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.codebook.codes.dtype == torch.float32
    assert torch.equal(half.codebook.codes, vqvae.codebook.codes)
    assert half.latent_projection.weight.dtype == torch.bfloat16
    codes = half.encode(skeletons(half).bfloat16())
    assert half.decode(codes).shape == skeletons(half).shape
    assert (codes == vqvae.encode(skeletons(vqvae))).float().mean() > 0.7  # the same tokens but for rounding


def test_the_fingerprint_tells_weights_apart():
    vqvae, other = make(), make()
    assert vqvae.fingerprint() == other.fingerprint()
    with torch.no_grad():
        other.codebook.codes[0, 0, 0] += 1e-3
    assert vqvae.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("shape", [(16, 20, 3), (2, 15, 20, 3), (2, 16, 17, 3), (2, 16, 20, 2)])
def test_a_wrong_shape_says_what_was_expected(shape):
    with pytest.raises(ValueError, match=r"\(batch, 16, 20, 3\).*kinect20.*got \(" + ", ".join(map(str, shape))):
        make().encode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"downsample": 3}, "power of two"),
        ({"num_frames": 15}, "multiple of downsample"),
        ({"geometry": "spherical"}, "hyperbolic"),
        ({"curvature": 0.0}, "curvature"),
        ({"encoder": "graph"}, "'transformer' or 'trunk'"),
        ({"encoder": "trunk", "trunk_widths": [8, 12]}, "multiples of 8"),
        ({"layout": "octopus8"}, "octopus8"),
        ({"hidden_size": 15}, "multiple of num_heads"),
        ({"codebook_size": 0}, "codebook_size"),
        ({"format_version": 99}, "pip install -U llm-action"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ActionVQVAEConfig(**{**SMALL, **settings})
