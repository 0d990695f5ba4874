"""Label scores against an oracle that reads prompt and label anew, label by label, without cache or tree."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from llm_action.modeling import label_scoring, prompt_states
from llm_action.modeling.label_scoring import rank_labels, score_labels, top_k_labels
from llm_action.modeling.label_tree import LabelTree
from llm_action.modeling.prompt_states import encode_prompts

VOCABULARY = 97
END = 2


def tiny_llama(attention="sdpa", dtype=torch.float32, seed=0, sharpness=1.0):
    """A random LLaMA; a head with larger weights makes it as sure of its words as a trained one."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.15,
        attn_implementation=attention,
    )
    model = LlamaForCausalLM(config).to(dtype).eval()
    model.lm_head.weight.data *= sharpness
    return model


def random_labels(count, seed, tokens=VOCABULARY, longest=6):
    """Token sequences that share prefixes often; some are prefixes of others."""
    random = np.random.default_rng(seed)
    labels = {}
    while len(labels) < count:
        base = list(labels)[random.integers(len(labels))] if labels and random.random() < 0.6 else ()
        keep = base[: random.integers(len(base) + 1)]
        more = random.integers(0 if keep else 1, longest)
        labels[keep + tuple(int(t) for t in random.integers(END + 1, tokens, more))] = None
    return [list(label) for label in labels]


def prompts_of(lengths, side, dtype=torch.float32, width=64, seed=1):
    """Padded prompt embeddings, their mask, and the unpadded prompts. Padding holds large values nobody may see."""
    torch.manual_seed(seed)
    prompts = [torch.randn(n, width, dtype=dtype) for n in lengths]
    embeds = torch.full((len(lengths), max(lengths), width), 5.0, dtype=dtype)
    mask = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        place = slice(0, len(prompt)) if side == "right" else slice(max(lengths) - len(prompt), None)
        embeds[row, place], mask[row, place] = prompt, 1
    return embeds, mask, prompts


@torch.no_grad()
def label_by_label(model, prompts, labels, end=(END,)):
    """(prompts, labels) log-likelihoods, each from a forward of its own over prompt + label."""
    closed = [tuple(label) + tuple(end) for label in labels]
    scores = torch.zeros(len(prompts), len(closed), dtype=torch.promote_types(prompts[0].dtype, torch.float32))
    for row, prompt in enumerate(prompts):
        for column, label in enumerate(closed):
            words = model.get_input_embeddings()(torch.tensor(label))
            logits = model(inputs_embeds=torch.cat([prompt, words])[None], use_cache=False).logits[0].to(scores.dtype)
            for i, token in enumerate(label):
                step = logits[len(prompt) - 1 + i]
                scores[row, column] += step.log_softmax(0)[token]
    return scores


# ---- the full posterior


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_equal_label_by_label(attention, side):
    model = tiny_llama(attention)
    labels = random_labels(40, seed=3)
    assert any(a != b and b[: len(a)] == a for a in labels for b in labels)
    embeds, mask, prompts = prompts_of([5, 11, 1], side)
    scores = score_labels(model, LabelTree.from_token_ids(labels, END), embeds, mask)
    assert scores.dtype == torch.float32
    expected = label_by_label(model, prompts, labels)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_in_double_precision(seed):
    model = tiny_llama(dtype=torch.float64, seed=seed)
    count = int(np.random.default_rng(seed).integers(1, 30))
    labels = random_labels(count, seed, tokens=6 + 10 * seed)
    embeds, mask, prompts = prompts_of([4, 7], "left", torch.float64, seed=seed)
    tree = LabelTree.from_token_ids(labels, END)
    expected = label_by_label(model, prompts, labels)
    torch.testing.assert_close(score_labels(model, tree, embeds, mask), expected, atol=1e-10, rtol=0)


def test_label_lists_longer_than_one_pass():
    model = tiny_llama()
    labels = random_labels(2000, seed=5)
    embeds, mask, prompts = prompts_of([6, 3], "right")
    tree = LabelTree.from_token_ids(labels, END)
    scores = score_labels(model, tree, embeds, mask)
    some = np.random.default_rng(0).choice(2000, 60, replace=False).tolist()
    expected = label_by_label(model, prompts, [labels[i] for i in some])
    torch.testing.assert_close(scores[:, some], expected, atol=1e-4, rtol=0)
    best = top_k_labels(model, tree, embeds, mask, k=7)
    torch.testing.assert_close(best.log_likelihoods, scores.topk(7).values, atol=1e-4, rtol=0)


@torch.no_grad()
def test_labels_from_words_are_scored_as_the_model_would_say_them(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    model = LlamaForCausalLM(config).eval()
    labels = ["throw", "throw a ball", "人が歩く", "naïve café", "drink water"]
    prompt = torch.tensor(tokenizer("Skeletons move. Action:", add_special_tokens=False)["input_ids"])
    scores = score_labels(model, LabelTree.from_labels(labels, tokenizer), model.get_input_embeddings()(prompt)[None])
    for label, score in zip(labels, scores[0].tolist(), strict=True):
        ids = torch.tensor(tokenizer(f"Skeletons move. Action: {label}</s>", add_special_tokens=False)["input_ids"])
        targets = ids.clone()
        targets[: len(prompt)] = -100
        loss = model(input_ids=ids[None], labels=targets[None]).loss  # a mean over the label's tokens
        assert score == pytest.approx(-float(loss) * (len(ids) - len(prompt)), abs=1e-4)


def test_labels_of_one_token_need_the_prompt_alone():
    model = tiny_llama()
    embeds, mask, prompts = prompts_of([3, 9], "right")
    labels = [[token] for token in range(10, 40)]
    calls = []
    model.model.register_forward_hook(lambda *_: calls.append(1))
    unclosed = score_labels(model, LabelTree.from_token_ids(labels, None), embeds, mask)
    ranked = rank_labels(model, LabelTree.from_token_ids(labels, None), embeds, mask, k=3)
    assert len(calls) == 2
    torch.testing.assert_close(unclosed, label_by_label(model, prompts, labels, end=()), atol=1e-4, rtol=0)
    assert ranked.indices.tolist() == unclosed.topk(3).indices.tolist()


def test_half_precision_stays_near():
    labels = random_labels(30, seed=2)
    embeds, mask, _ = prompts_of([5, 8], "left")
    tree = LabelTree.from_token_ids(labels, END)
    exact = score_labels(tiny_llama(), tree, embeds, mask)
    half = tiny_llama(dtype=torch.bfloat16)
    scores = score_labels(half, tree, embeds.bfloat16(), mask)
    assert scores.dtype == torch.float32
    assert (scores - exact).abs().mean() < 0.2
    assert top_k_labels(half, tree, embeds.bfloat16(), mask, k=3).log_likelihoods.dtype == torch.float32


def test_a_shared_prefix_is_read_once():
    model = tiny_llama()
    labels = random_labels(30, seed=4)
    tree = LabelTree.from_token_ids(labels, END)
    embeds, mask, prompts = prompts_of([4, 7], "left")
    start = torch.randn(1, 6, 64)
    prefix = encode_prompts(model, start)
    keys_before = prefix.layers[0][0].clone()
    whole = [torch.cat([start[0], prompt]) for prompt in prompts]
    for _ in range(2):
        scores = score_labels(model, tree, embeds, mask, prefix=prefix)
        torch.testing.assert_close(scores, label_by_label(model, whole, labels), atol=1e-4, rtol=0)
        best = top_k_labels(model, tree, embeds, mask, k=4, prefix=prefix)
        torch.testing.assert_close(best.log_likelihoods, scores.topk(4).values, atol=1e-4, rtol=0)
    assert torch.equal(prefix.layers[0][0], keys_before)


# ---- training


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gradient_equals_label_by_label(attention):
    model = tiny_llama(attention)
    labels = random_labels(12, seed=6)
    embeds, mask, prompts = prompts_of([4, 6], "left")
    embeds.requires_grad_()
    tree = LabelTree.from_token_ids(labels, END)
    target = torch.tensor([3, 7])

    model.zero_grad()
    scores = score_labels(model, tree, embeds, mask)
    torch.nn.functional.cross_entropy(scores, target).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert embeds.grad[mask == 0].abs().max() == 0 < embeds.grad[mask == 1].abs().min()

    model.zero_grad()
    oracle = label_by_label.__wrapped__(model, prompts, labels)
    torch.nn.functional.cross_entropy(oracle, target).backward()
    for name, parameter in model.named_parameters():
        atol = 1e-4 * parameter.grad.abs().max().item()
        torch.testing.assert_close(found[name], parameter.grad, atol=atol, rtol=0)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["q_proj", "down_proj", "lm_head"]])
def test_lora_layers_are_used_and_trained(targets):
    labels = random_labels(20, seed=9)
    embeds, mask, prompts = prompts_of([4, 6], "right")
    bare = tiny_llama()
    tree = LabelTree.from_token_ids(labels, END)
    before = score_labels(bare, tree, embeds, mask).detach()
    model = get_peft_model(bare, LoraConfig(r=4, target_modules=targets, init_lora_weights=False)).eval()
    expected = label_by_label(model, prompts, labels)
    for outer in (model, model.get_base_model()):
        scores = score_labels(outer, tree, embeds, mask)
        torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
    assert (scores - before).abs().max() > 1e-2
    model.zero_grad()
    scores.log_softmax(1)[:, 0].sum().neg().backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads.values())


def test_gradient_checkpointing_is_refused_rather_than_wrong():
    model = tiny_llama().train()
    model.model.gradient_checkpointing = True
    embeds, mask, _ = prompts_of([4], "left")
    with pytest.raises(ValueError, match="gradient checkpointing"):
        score_labels(model, LabelTree.from_token_ids([[5], [6]], END), embeds, mask)


# ---- the best k


@pytest.mark.parametrize(("sharpness", "side"), [(0.3, "left"), (1.0, "right"), (4.0, "left")])
def test_best_k_equal_the_sorted_posterior(sharpness, side):
    model = tiny_llama(sharpness=sharpness)
    embeds, mask, prompts = prompts_of([5, 2, 9, 1], side)
    for count, k in ((1, 1), (2, 1), (30, 5), (30, 50), (300, 10)):
        labels = random_labels(count, seed=count, tokens=30)
        tree = LabelTree.from_token_ids(labels, END)
        scores = score_labels(model, tree, embeds, mask)
        if k == 5:
            expected = label_by_label(model, prompts, labels)
            torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
        for ranked in (
            top_k_labels(model, tree, embeds, mask, k),
            rank_labels(model, tree, embeds, mask, k),
        ):
            assert ranked.indices.shape == (4, min(k, count))
            values = scores.gather(1, ranked.indices)
            torch.testing.assert_close(ranked.log_likelihoods, values, atol=1e-4, rtol=0)
            torch.testing.assert_close(ranked.log_likelihoods, scores.topk(min(k, count)).values, atol=1e-4, rtol=0)
            mass = scores.logsumexp(1)
            assert (ranked.log_mass_low <= mass + 1e-4).all() and (mass <= ranked.log_mass_high + 1e-4).all()
            low, high = ranked.posterior_bounds()
            posterior = scores.softmax(1).gather(1, ranked.indices)
            assert (low <= posterior + 1e-4).all() and (posterior <= high + 1e-4).all()


@pytest.fixture(scope="module")
def trained():
    """A LLaMA that learned to answer each of 30 prompts with a label of its own, now and then the next one's."""
    model = tiny_llama()
    torch.manual_seed(0)
    prompts = torch.randn(30, 4, 64)
    labels = random_labels(30, seed=21, tokens=60)
    answers = [torch.tensor([*label, END]) for label in labels]
    words = torch.nn.utils.rnn.pad_sequence([*answers, *answers], batch_first=True)
    read = torch.cat([prompts, prompts.roll(1, 0)])
    targets = torch.nn.utils.rnn.pad_sequence([*answers, *answers], batch_first=True, padding_value=-100)
    weights = torch.tensor([0.9] * 30 + [0.1] * 30)[:, None].expand_as(targets)[targets != -100]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        embeds = torch.cat([read, model.get_input_embeddings()(words)], 1)
        logits = model(inputs_embeds=embeds).logits[:, 3:-1][targets != -100]
        losses = torch.nn.functional.cross_entropy(logits, targets[targets != -100], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
    return model.requires_grad_(False), prompts, labels


@pytest.fixture
def forwards(trained):
    """(rows, tokens) of the decoder's forwards on the trained model."""
    shapes = []
    hook = trained[0].model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    yield shapes
    hook.remove()


def test_a_trained_model_reads_a_handful_of_nodes_however_many_labels_there_are(trained, forwards):
    model, prompts, labels = trained[0], trained[1][:8], trained[2]
    more = [label for label in random_labels(2000, seed=22, tokens=60) if label not in labels]
    nodes = {}
    for count in (30, 2000):
        names = labels + more[: count - 30]
        tree = LabelTree.from_token_ids(names, END)
        everything = int(tree.must_be_read().sum())
        scores = score_labels(model, tree, prompts)
        assert (scores.argmax(1) == torch.arange(8)).all()
        forwards.clear()
        best = [top_k_labels(model, tree, prompts[row : row + 1], k=2) for row in range(8)]
        assert torch.cat([one.indices for one in best]).tolist() == scores.topk(2).indices.tolist()
        steps = [tokens for _, tokens in forwards if tokens != 4]
        assert len(steps) <= 3 * 8
        nodes[count] = sum(steps) / 8
    assert nodes[2000] < 0.02 * everything
    assert nodes[2000] < 2 * nodes[30]


def test_the_batch_sheds_settled_prompts(trained, forwards):
    model, prompts, labels = trained
    tree = LabelTree.from_token_ids(labels, END)
    unknown = torch.randn(2, 4, 64)
    together = top_k_labels(model, tree, torch.cat([prompts[:6], unknown]), k=1)
    assert forwards[-1][0] < 8
    alone = top_k_labels(model, tree, unknown, k=1)
    assert together.indices[6:].tolist() == alone.indices.tolist()
    torch.testing.assert_close(together.log_likelihoods[6:], alone.log_likelihoods, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tolerance", [0.2, 1e-2, 1e-5])
def test_posterior_bounds_are_as_tight_as_asked(trained, tolerance):
    model, prompts, labels = trained
    more = [label for label in random_labels(300, seed=22, tokens=60) if label not in labels]
    tree = LabelTree.from_token_ids(labels + more, END)
    posterior = score_labels(model, tree, prompts).softmax(1)
    ranked = top_k_labels(model, tree, prompts, k=3, tolerance=tolerance)
    low, high = ranked.posterior_bounds()
    assert (high - low).max() <= tolerance + 1e-6
    exact = posterior.gather(1, ranked.indices)
    assert (low <= exact + 1e-5).all() and (exact <= high + 1e-5).all()
    torch.testing.assert_close(exact, posterior.topk(3).values, atol=1e-5, rtol=0)


# ---- memory


def test_an_unsure_model_is_read_packed_rather_than_searched_to_the_end():
    model = tiny_llama(sharpness=0.01)
    tree = LabelTree.from_token_ids([[3 + i % 17, 3 + i % 19, 3 + i % 23] for i in range(300)], END)
    everything = int(tree.must_be_read().sum())
    embeds, mask, _ = prompts_of([5, 8], "left")
    read = []
    model.model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    best = top_k_labels(model, tree, embeds, mask, k=5)
    assert sum(read[1:]) < 1.6 * everything
    scores = score_labels(model, tree, embeds, mask)
    torch.testing.assert_close(best.log_likelihoods, scores.topk(5).values, atol=1e-4, rtol=0)
    assert torch.equal(best.log_mass_low, best.log_mass_high)


def test_little_memory_gives_the_same_scores_in_smaller_passes(monkeypatch):
    model = tiny_llama()
    tree = LabelTree.from_token_ids(random_labels(100, seed=14, tokens=30), END)
    embeds, mask, _ = prompts_of([5, 8, 3, 4, 6, 7], "left")
    scores = score_labels(model, tree, embeds, mask)
    best = top_k_labels(model, tree, embeds, mask)
    per_token = prompt_states.state_bytes(model) + 6 * (64 + 96) * 4
    monkeypatch.setattr(prompt_states, "PASS_BYTES", 100 * per_token)
    monkeypatch.setattr(prompt_states, "LOGITS_BYTES", 4 * VOCABULARY * 7)
    monkeypatch.setattr(label_scoring, "SEARCH_BYTES", 150 * prompt_states.state_bytes(model))
    tokens, logits = [], []
    model.model.register_forward_pre_hook(
        lambda _, args, kwargs: tokens.append(kwargs["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    model.lm_head.register_forward_hook(lambda _, args, output: logits.append(len(output)))
    small = score_labels(model, tree, embeds, mask)
    torch.testing.assert_close(small, scores, atol=1e-4, rtol=0)
    small = top_k_labels(model, tree, embeds, mask)
    torch.testing.assert_close(small.log_likelihoods, best.log_likelihoods, atol=1e-4, rtol=0)
    assert max(tokens) < 300  # one prompt's nodes; all prompts' would be over 1,000
    assert max(logits) <= 7


def test_all_labels_are_ranked_by_default():
    tree = LabelTree.from_token_ids(random_labels(25, seed=3), END)
    embeds, mask, _ = prompts_of([5, 8], "left")
    ranked = rank_labels(tiny_llama(), tree, embeds, mask)
    assert ranked.indices.sort(1).values.tolist() == [list(range(25))] * 2
    assert (ranked.log_likelihoods.diff(dim=1) <= 0).all()
    assert torch.equal(ranked.log_mass_low, ranked.log_mass_high)
    low, _ = ranked.posterior_bounds()
    torch.testing.assert_close(low.sum(1), torch.ones(2))


# ---- what is refused


def test_bad_requests_are_refused():
    model, tree = tiny_llama(), LabelTree.from_token_ids([[5], [6]], END)
    embeds, mask, _ = prompts_of([4, 6], "left")
    for ranked in (top_k_labels, rank_labels):
        with pytest.raises(ValueError, match="k >= 1"):
            ranked(model, tree, embeds, mask, k=0)
        with pytest.raises(ValueError, match="tolerance above 0, or None, got -0.1"):
            ranked(model, tree, embeds, mask, k=1, tolerance=-0.1)
    with pytest.raises(ValueError, match=r"attention_mask \(2, 6\), got \(2, 5\)"):
        score_labels(model, tree, embeds, mask[:, 1:])
    with pytest.raises(ValueError, match="Prompt 1 of the batch has no tokens"):
        score_labels(model, tree, embeds, mask * torch.tensor([[1], [0]]))
    with pytest.raises(ValueError, match="inputs_embeds"):
        score_labels(model, tree, embeds[0])
    with pytest.raises(ValueError, match="prefix of 1 or 2 rows"):
        score_labels(model, tree, embeds, mask, prefix=encode_prompts(model, torch.randn(3, 2, 64)))
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match='attn_implementation="sdpa"'):
        score_labels(model, tree, embeds, mask)
