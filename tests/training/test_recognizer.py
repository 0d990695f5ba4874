"""Stage 2: its losses, its settings, a 4-bit base."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from llm_action.config.experiment import load_experiment
from llm_action.datasets.split import load_split
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training import precision
from llm_action.training.precision import base_dtype, quantization
from llm_action.training.sentences import Collator, write_sentences
from llm_action.training.train_recognizer import new_recognizer, recognizer_trainer, saved_weights


@pytest.fixture(scope="module")
def parts(tiny_config, tiny_base, tiny_run, recordings, tmp_path_factory):
    """Experiment, processor, examples and a model whose adapter is not zero."""
    experiment = load_experiment(tiny_config, ["recognizer.sentences=0"])
    processor = LlmArProcessor.from_pretrained(tiny_run / "processor")
    split = load_split(experiment, str(recordings))
    model = new_recognizer(experiment, processor, split.labels, tiny_base)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    examples = write_sentences(experiment, processor, split, tmp_path_factory.mktemp("examples") / "sentences.arrow")
    return experiment, processor, examples, model


def trainer_loss(parts, out: Path, smoothing: float) -> torch.Tensor:
    experiment, processor, examples, model = parts
    stage = replace(experiment.recognizer, label_smoothing=smoothing)
    changed = replace(experiment, recognizer=stage)
    trainer = recognizer_trainer(changed, model, processor, examples, out)
    return trainer.compute_loss(model.train(), trainer.data_collator([examples[row] for row in (0, 3, 5)]))


@pytest.mark.parametrize("smoothing", (0.0, 0.2))
def test_the_loss_of_class_ids_is_that_of_the_label_among_all(parts, smoothing):
    _, processor, examples, model = parts
    prompts = [examples[row]["input_ids"][: examples[row]["prompt_length"]] for row in (0, 3, 5)]
    batch = processor.tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    numbers = torch.tensor([examples[row]["label"] for row in (0, 3, 5)])
    loss = model.train()(**batch, labels=numbers, smoothing=smoothing).loss

    log_likelihoods = []  # of every label after every prompt, by the answer's own cross-entropy
    for row in (0, 3, 5):
        prompt = examples[row]["input_ids"][: examples[row]["prompt_length"]]
        for ids in model.config.label_token_ids:
            answer = [*ids, processor.tokenizer.eos_token_id]
            labels = torch.tensor([[-100] * len(prompt) + answer])
            with torch.no_grad():
                log_likelihoods.append(-len(answer) * model(torch.tensor([prompt + answer]), labels=labels).loss)
    posterior = torch.stack(log_likelihoods).view(3, -1).log_softmax(1)
    classes = [examples[row]["label"] for row in (0, 3, 5)]
    expected = -(1 - smoothing) * posterior[range(3), classes].mean() - smoothing * posterior.mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)

    model.zero_grad()
    loss.backward()
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert [name for name, weight in learning.items() if weight.grad is None or not weight.grad.any()] == []


def test_label_smoothing_spreads_over_the_words(parts, tmp_path):
    _, processor, examples, model = parts
    given = trainer_loss(parts, tmp_path, 0.1)
    batch = Collator(processor.tokenizer.pad_token_id)([examples[row] for row in (0, 3, 5)])
    logits = model.causal_lm(
        inputs_embeds=model.embed(batch["input_ids"]), attention_mask=batch["attention_mask"]
    ).logits
    log_probs = logits[:, :-1].log_softmax(-1)
    targets = batch["labels"][:, 1:]
    chosen = log_probs[targets >= 0]
    expected = 0.9 * F.nll_loss(chosen, targets[targets >= 0]) - 0.1 * chosen.mean()
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


def test_saved_weights_have_the_names_of_the_model(parts, tmp_path):
    model = parts[-1]
    model.save_pretrained(tmp_path)
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    saved = saved_weights(tmp_path)
    assert saved.keys() == learning.keys()
    assert all(torch.equal(saved[name], weight) for name, weight in learning.items())


def test_embeddings_and_adapter_have_a_rate_each(parts, tmp_path):
    experiment, processor, examples, model = parts
    stage = replace(experiment.recognizer, learning_rate=0.25, embedding_learning_rate=0.5)
    trainer = recognizer_trainer(replace(experiment, recognizer=stage), model, processor, examples, tmp_path)
    rates = {weight: group["lr"] for group in trainer.create_optimizer().param_groups for weight in group["params"]}
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(rates) == len(learning)
    assert {name: rates[weight] for name, weight in learning.items()} == {
        name: 0.5 if name == "action_embeddings.weight" else 0.25 for name in learning
    }


def test_on_a_bfloat16_base_adapters_compute_in_it_and_stay_in_float32(parts, tiny_base, tmp_path):
    experiment, processor, examples, _ = parts
    losses = {}
    for dtype in ("float32", "bfloat16"):
        stage = replace(experiment.recognizer, base_dtype=dtype, steps=3)
        torch.manual_seed(0)
        model = new_recognizer(replace(experiment, recognizer=stage), processor, ["wave", "clap"], tiny_base)
        computed = []
        lora = next(module for name, module in model.named_modules() if name.endswith("q_proj.lora_B.default"))
        lora.register_forward_hook(lambda module, inputs, output, computed=computed: computed.append(output.dtype))
        trained = replace(experiment, recognizer=stage)
        trainer = recognizer_trainer(trained, model, processor, examples, tmp_path / dtype, save_strategy="no")
        trainer.train()
        assert set(computed) == {getattr(torch, dtype)}
        learning = [weight for weight in model.parameters() if weight.requires_grad]
        assert {weight.dtype for weight in learning} == {torch.float32}
        losses[dtype] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        ids = torch.tensor([examples[0]["input_ids"][: examples[0]["prompt_length"]]])
        assert torch.isfinite(model.eval().score(ids)).all(), "a trained model scores without autocast"
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_gradient_checkpointing_changes_nothing_but_memory(parts, tiny_base, tmp_path):
    experiment, processor, examples, _ = parts
    losses = []
    for checkpointing in (False, True):
        stage = replace(experiment.recognizer, base_dtype="bfloat16", steps=3, gradient_checkpointing=checkpointing)
        trained = replace(experiment, recognizer=stage)
        torch.manual_seed(0)
        model = new_recognizer(trained, processor, ["wave", "clap"], tiny_base)
        trainer = recognizer_trainer(trained, model, processor, examples, tmp_path, save_strategy="no")
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1]


class TestFourBits:
    def test_without_cuda_it_says_what_to_do(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ValueError, match=r"nf4.*CUDA device.*recognizer.base_dtype=auto"):
            quantization("nf4")
        assert quantization("bfloat16") is None

    def test_without_bitsandbytes_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(precision, "is_bitsandbytes_available", lambda: False)
        with pytest.raises(ValueError, match="pip install -U bitsandbytes"):
            quantization("nf4")

    def test_the_base_is_loaded_with_it(self, parts, tiny_base, monkeypatch):
        experiment, processor, _, _ = parts
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(precision, "fast_dtype", lambda stored: stored)  # as on such a device
        monkeypatch.setattr(precision, "is_bitsandbytes_available", lambda: True)
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.49.0")
        assert base_dtype("nf4") == torch.bfloat16

        class Loaded(Exception):
            pass

        def load(folder, **options):
            raise Loaded(options)

        monkeypatch.setattr("llm_action.modeling.modeling_llm_ar.AutoModelForCausalLM.from_pretrained", load)
        four_bits = replace(experiment, recognizer=replace(experiment.recognizer, base_dtype="nf4"))
        with pytest.raises(Loaded) as loading:
            new_recognizer(four_bits, processor, ["wave", "clap"], tiny_base)
        config = loading.value.args[0]["quantization_config"]
        assert config.load_in_4bit and config.bnb_4bit_quant_type == "nf4" and config.bnb_4bit_use_double_quant
        assert config.bnb_4bit_compute_dtype == config.bnb_4bit_quant_storage == torch.bfloat16


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recognizer.steps=0", "recognizer: steps: expected at least 1, got 0"),
        ("vqvae.steps=0", "vqvae: steps: expected at least 1, got 0"),
        ("vqvae.batch_size=-1", "vqvae: batch_size: expected at least 1"),
        ("recognizer.label_smoothing=-0.1", "label_smoothing: expected a share"),
        ("recognizer.train=all", "recognizer: train: expected lora or full, got 'all'"),
        ("recognizer.base_dtype=int3", "base_dtype: expected auto or float32 .* or nf4, got 'int3'"),
        ("training_examples_per_class=-2", "training_examples_per_class: expected 0 for all"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tiny_config, override, message):
    with pytest.raises(ValueError, match=message):
        load_experiment(tiny_config, [override])
