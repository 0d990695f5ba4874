"""How codes learn: start, moving averages, gradient, revival; and where the MMD term's gradient goes."""

from __future__ import annotations

import pytest
import torch

from llm_action.config.sections import VQVAEStage
from llm_action.evaluation.language_likeness import mmd
from llm_action.modeling.configuration_llm_ar import ActionVQVAEConfig
from llm_action.modeling.hyperbolic_codebook import HyperbolicCodebook
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.training.codebook_learning import CodebookLearner
from llm_action.training.train_vqvae import VQVAETraining

SMALL = {
    "num_frames": 16,
    "codebook_size": 4,
    "code_dim": 6,
    "embedding_dim": 20,
    "hidden_size": 16,
    "num_layers": 1,
    "num_heads": 2,
    "dropout": 0.0,
}
BIASES = {"zipf_weight": 0.1, "context_weight": 0.1, "mmd_weight": 0.1}


def learner_of(centres: torch.Tensor, by_gradient: bool = False, **settings) -> tuple[CodebookLearner, torch.Tensor]:
    """A learner that has started, its codes on `centres` (codes, width)."""
    size, width = centres.shape
    codebook = HyperbolicCodebook(ActionVQVAEConfig(**{**SMALL, "codebook_size": size, "code_dim": width}))
    codebook.codes.data = centres[None].clone()
    codebook.codes.requires_grad_(by_gradient)
    learner = CodebookLearner(codebook, **settings)
    learner.started.fill_(True)
    learner.sums[0] = centres
    return learner, codebook


def training(stage: dict, **settings) -> VQVAETraining:
    torch.manual_seed(0)
    vqvae = ActionVQVAE(ActionVQVAEConfig(**{**SMALL, **settings}))
    return VQVAETraining(vqvae, VQVAEStage(**stage), 3, torch.randn(10, 20)).train()


def batch(rows: int = 6) -> dict[str, torch.Tensor]:
    skeletons = torch.randn(rows, 1, 16, 20, 3, generator=torch.Generator().manual_seed(1))
    return {
        "skeletons": skeletons,
        "person_mask": torch.ones(rows, 1, dtype=torch.bool),
        "labels": torch.arange(rows) % 3,
    }


CORNERS = 0.5 * torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])


def test_k_means_finds_the_clusters():
    torch.manual_seed(3)
    points = CORNERS.repeat(50, 1) + 0.01 * torch.randn(200, 2)
    codebook = HyperbolicCodebook(ActionVQVAEConfig(**{**SMALL, "codebook_size": 16, "code_dim": 2}))
    codebook.init_weights()
    CodebookLearner(codebook).update(points)
    nearest = torch.cdist(CORNERS, codebook.codes[0]).min(1).values
    assert nearest.max() < 0.02


def test_a_moving_average_by_hand():
    learner, codebook = learner_of(CORNERS, decay=0.9)
    points = torch.tensor([[0.6, 0.0], [0.8, 0.0], [-0.5, 0.1], [0.0, 0.5]])
    learner.update(points)
    # uses 2, 1, 1, 0 are as often as the average code uses; usage and sums move a tenth of the way
    usage = 0.9 + 0.1 * torch.tensor([2.0, 1, 1, 0])
    sums = 0.9 * CORNERS + 0.1 * torch.tensor([[1.4, 0.0], [-0.5, 0.1], [0.0, 0.5], [0.0, 0.0]])
    torch.testing.assert_close(learner.usage[0], usage)
    torch.testing.assert_close(codebook.codes[0], sums / usage[:, None])


def test_perplexity_of_recent_use_by_hand():
    learner, _ = learner_of(torch.eye(4))
    assert learner.perplexity() == pytest.approx(4)  # all alike before anything was seen
    learner.usage[0] = torch.tensor([2.0, 1.0, 1.0, 0.0])
    assert learner.perplexity() == pytest.approx(2**1.5)


@pytest.mark.parametrize("by_gradient", (False, True))
def test_a_dead_code_is_revived_on_a_latent_vector(by_gradient):
    far = CORNERS.clone()
    far[3] = torch.tensor([0.0, -1.4])
    learner, codebook = learner_of(far, by_gradient, decay=0.5)
    points = CORNERS[:3].repeat(8, 1)
    for _ in range(3):
        learner.update(points)
        assert torch.equal(codebook.codes[0, 3], far[3])
    learner.update(points)  # its usage has fallen to 1/16
    assert (codebook.codes[0, 3] == points).all(1).any()
    assert learner.usage[0, 3] == 1


@pytest.mark.parametrize(
    "settings",
    [{}, {"code_dim": 20}, {"geometry": "euclidean"}, {"num_levels": 2}, {"curvature": 2.3}],
    ids=str,
)
def test_every_geometry_takes_a_step(settings):
    model = training(BIASES, **settings)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    model(**batch())["loss"].backward()  # after the learner has moved the codes
    optimizer.step()  # the codes are on latent vectors now
    before = model.vqvae.codebook.codes.clone()
    model(**batch())["loss"].backward()
    assert model.vqvae.codebook.codes.grad is None
    assert (model.vqvae.codebook.codes != before).any()
    assert model.vqvae.latent_projection.weight.grad.abs().sum() > 0


def test_the_mmd_gradient_of_a_code_goes_to_the_latent_vectors_that_chose_it():
    model = training({"mmd_weight": 1.0}, num_levels=2)
    codebook, words = model.vqvae.codebook, model.words
    latents = (0.3 * torch.randn(2, 8, 6)).requires_grad_()
    output = model.vqvae(batch(2)["skeletons"][:, 0])
    output.latents, output.quantized = latents, codebook(latents)
    mmd(model.tokens(output.latents, output.quantized.codes), words).backward()
    codes = codebook.codes.detach().clone().requires_grad_()
    mmd(model.vqvae.token_projection(codes.flatten(0, 1)), words).backward()
    expected = torch.zeros(2, 8, 6)
    for level in range(2):
        chosen = output.quantized.codes[..., level]
        uses = torch.bincount(chosen.flatten(), minlength=4)
        expected += codes.grad[level][chosen] / uses[chosen][..., None]
    torch.testing.assert_close(latents.grad, expected)
    torch.testing.assert_close(model.tokens(output.latents, output.quantized.codes), model.vqvae.token_embeddings())


def test_continuous_features_train_without_tokens():
    model = training({}, geometry="continuous")
    before = model.vqvae.codebook.codes.clone()
    model(**batch())["loss"].backward()
    assert torch.equal(model.vqvae.codebook.codes, before) and not model.codebook_learner.started
    assert model.vqvae.latent_projection.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="mmd_weight of 0 with geometry 'continuous'"):
        training(BIASES, geometry="continuous")


def test_labels_reach_the_encoder_past_its_tokens():
    model = training({"label_weight": 1.0, "batch_size": 6})
    for weight in model.token_label_head.parameters():
        weight.data.zero_()  # what tokens tell of the label asks nothing of the encoder
    given = batch()
    output = model.vqvae(given["skeletons"][:, 0])
    model._label_loss(output, given["person_mask"], given["labels"]).backward()
    assert model.vqvae.trunk.blocks[0].mixing.adjacency.grad.abs().sum() > 0
    assert not model.vqvae.latent_projection.weight.grad.any()


def test_persons_count_alike_in_a_label():
    model = training({"label_weight": 1.0}).eval()
    one, other = torch.randn(2, 16, 20, 3, generator=torch.Generator().manual_seed(2))
    both, mask = torch.stack([one, other])[None], torch.ones(1, 2, dtype=torch.bool)
    swapped = model(both.flip(1), mask, torch.tensor([1]))["loss"]
    torch.testing.assert_close(model(both, mask, torch.tensor([1]))["loss"], swapped)
