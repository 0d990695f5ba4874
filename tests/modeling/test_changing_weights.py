"""Scores are those of the weights as they are, however these change between calls."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from peft.helpers import rescale_adapter_scale
from peft.tuners.lora import LoraLayer
from peft.utils.hotswap import hotswap_adapter
from transformers import Trainer, TrainingArguments

from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.pipeline_skeleton_action_recognition import SkeletonActionRecognitionPipeline
from llm_action.modeling.processing_llm_ar import LlmArProcessor

# among new ones two that were trained on: these go by the weights, the others by the joints
NEW_NAMES = {"greet": "a hand swings", "crouch": {"attributes": {"body": "down and up"}}, "wave": [], "clap": []}


def trained(model) -> list[torch.nn.Parameter]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def prompt_loss(model, prompts) -> torch.Tensor:
    return -model.score(**prompts)[:, 0].mean()


def fused_optimizer(model, prompts, other):
    optimizer = torch.optim.AdamW(trained(model), lr=0.1, fused=True)
    prompt_loss(model, prompts).backward()
    optimizer.step()


def stock_trainer(model, prompts, other):
    ids = prompts["input_ids"][0]
    example = {"input_ids": ids, "labels": torch.where(torch.arange(len(ids)) < len(ids) - 2, -100, ids)}
    options = {"max_steps": 2, "learning_rate": 0.1, "report_to": "none", "save_strategy": "no", "use_cpu": True}
    Trainer(model, TrainingArguments(other.parent / "trainer", **options), train_dataset=[example] * 8).train()
    model.eval()


def data_edits(model, prompts, other):
    for weight in trained(model):
        weight.data.add_(torch.randn_like(weight.data) * 0.1)


def base_data_edits(model, prompts, other):
    model.get_input_embeddings().weight.data.mul_(3)


def whole_vector(model, prompts, other):
    vector = torch.nn.utils.parameters_to_vector(trained(model))
    torch.nn.utils.vector_to_parameters(vector + 0.1 * torch.randn_like(vector), trained(model))


def state_dict(model, prompts, other):
    model.load_state_dict({name: weight + 0.05 for name, weight in model.state_dict().items()})


def hotswap(model, prompts, other):
    hotswap_adapter(model.language_model, str(other), adapter_name="default")


def set_scale(model, prompts, other):
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.set_scale("default", 5.0)


def merge_adapter(model, prompts, other):
    data_edits(model, prompts, other)
    model.language_model.merge_adapter()


def unmerge_changed(model, prompts, other):
    model.language_model.merge_adapter()
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.base_layer.weight.data.mul_(1.5)


def delete_and_load(model, prompts, other):
    model.language_model.load_adapter(str(other), "other")
    model.language_model.set_adapter("other")
    model.language_model.delete_adapter("default")
    model.language_model.load_adapter(str(other), "default")
    model.language_model.set_adapter("default")


def delete_and_remake(model, prompts, other):
    model.language_model.load_adapter(str(other), "other")
    model.language_model.set_adapter("other")
    model.language_model.delete_adapter("default")
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    model.language_model.add_adapter("default", lora)
    model.language_model.set_adapter("default")


def disable(model, prompts, other):
    model.language_model.base_model.disable_adapter_layers()


def to_double(model, prompts, other):
    model.double()
    data_edits(model, prompts, other)


CHANGES = [
    fused_optimizer,
    stock_trainer,
    data_edits,
    base_data_edits,
    whole_vector,
    state_dict,
    hotswap,
    set_scale,
    merge_adapter,
    unmerge_changed,
    delete_and_load,
    delete_and_remake,
    disable,
    to_double,
]


def plain_scores(model: LlmArForActionRecognition, input_ids: torch.Tensor) -> torch.Tensor:
    """(labels,) log-likelihoods by transformers alone: each label after the prompt in a forward without a cache."""
    model, config, scores = copy.deepcopy(model), model.config, []
    for label in config.label_token_ids:
        answer = torch.tensor([*label, config.end_token_id])
        whole = torch.cat([input_ids, answer])
        words = model.get_input_embeddings()(whole.clamp(max=config.base_vocab_size - 1))
        actions = model.action_embeddings((whole - config.base_vocab_size).clamp(min=0)).to(words.dtype)
        embedded = torch.where((whole >= config.base_vocab_size)[:, None], actions, words)
        logits = model.language_model(inputs_embeds=embedded[None], use_cache=False).logits[0].double().log_softmax(-1)
        scores.append(logits[len(input_ids) - 1 : -1].gather(1, answer[:, None]).sum())
    return torch.stack(scores)


@pytest.fixture
def model(tiny_export) -> LlmArForActionRecognition:
    torch.manual_seed(0)
    model = LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32", is_trainable=True)
    model.config.label_lexicon = {"waving": "arms: right arm; repeated: yes", "squatting": "body: down and up"}
    return model


@pytest.fixture(scope="module")
def other(tiny_export, tmp_path_factory) -> Path:
    """The folder of an adapter of the same shape and other weights."""
    model = LlmArForActionRecognition.from_pretrained(tiny_export, dtype="float32", is_trainable=True)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.add_(torch.randn_like(weight) * 0.2)
    folder = tmp_path_factory.mktemp("other")
    model.save_pretrained(folder)
    return folder / "adapter"


@pytest.fixture
def files(recordings) -> list[str]:
    return sorted(map(str, recordings.glob("*_s1_*")))


def by_label(ranking: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in ranking}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_scores_follow_the_weights(model, tiny_export, files, other, change):
    recognize = SkeletonActionRecognitionPipeline(
        model=model, processor=LlmArProcessor.from_pretrained(tiny_export), top_k=None
    )
    prompts = recognize.processor(files, return_tensors="pt")

    def all_ways() -> dict:
        with torch.no_grad():
            scores, logits = model.score(**prompts), model(**prompts).logits
        named = recognize(files, batch_size=2), [recognize(file) for file in files]
        return {"score": scores, "forward": logits, "named": named, "new": recognize(files[0], NEW_NAMES)}

    before = all_ways()
    change(model, prompts, other)
    after = all_ways()
    with torch.no_grad():
        rows = [
            plain_scores(model, ids[real])
            for ids, real in zip(prompts["input_ids"], prompts["attention_mask"].bool(), strict=True)
        ]
    expected = torch.stack(rows).to(after["score"].dtype)
    assert (expected - before["score"]).abs().max() > 0.01, "the change shows"
    for way in ("score", "forward"):
        torch.testing.assert_close(after[way], expected, rtol=1e-4, atol=1e-4)
    posterior = [dict(zip(model.config.label_names, row, strict=True)) for row in expected.softmax(-1).tolist()]
    for rankings in after["named"]:
        assert [by_label(ranking) for ranking in rankings] == [pytest.approx(row, abs=1e-4) for row in posterior]
    fresh = SkeletonActionRecognitionPipeline(
        model=copy.deepcopy(model), processor=LlmArProcessor.from_pretrained(tiny_export), top_k=None
    )
    assert by_label(after["new"]) == pytest.approx(by_label(fresh(files[0], NEW_NAMES)), rel=1e-3)
    assert by_label(after["new"]) != pytest.approx(by_label(before["new"]), rel=5e-3)


def test_a_rescaled_adapter_counts_while_it_is_rescaled(model, tiny_export, files):
    recognize = SkeletonActionRecognitionPipeline(
        model=model, processor=LlmArProcessor.from_pretrained(tiny_export), top_k=None
    )
    ids = recognize.processor(files[0], return_tensors="pt")["input_ids"]
    seen = []
    for multiplier in (1.0, 4.0, 1.0):
        with rescale_adapter_scale(model.language_model, multiplier), torch.no_grad():
            expected = plain_scores(model, ids[0]).float()
            torch.testing.assert_close(model.score(ids)[0], expected, rtol=1e-4, atol=1e-4)
            found = by_label(recognize(files[0]))
        posterior = dict(zip(model.config.label_names, expected.softmax(-1).tolist(), strict=True))
        assert found == pytest.approx(posterior, abs=1e-4)
        seen.append(expected)
    assert (seen[0] - seen[1]).abs().max() > 0.01
    torch.testing.assert_close(seen[0], seen[2])
