"""A stock transformers.Trainer trains, evaluates and resumes the recognizer, as llm_action/training/README.md says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import DataCollatorForSeq2Seq, DataCollatorWithPadding, Trainer, TrainingArguments

from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor


@pytest.fixture(scope="module")
def processor(tiny_export) -> LlmArProcessor:
    return LlmArProcessor.from_pretrained(tiny_export)


@pytest.fixture(scope="module")
def prompts(processor, recordings) -> list[list[int]]:
    return processor(sorted(recordings.iterdir())[:4])["input_ids"]


@pytest.fixture
def model(tiny_export) -> LlmArForActionRecognition:
    return new_model(tiny_export)


def new_model(folder: Path) -> LlmArForActionRecognition:
    model = LlmArForActionRecognition.from_pretrained(folder, is_trainable=True, dtype="float32")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # two runs meet the same network
    return model


@pytest.fixture(scope="module")
def word_rows(prompts, tiny_export) -> list[dict]:
    """Answers of different lengths, so that a mean of means is not the mean."""
    rows = []
    for number, prompt in enumerate(prompts):
        answer = [*range(20, 21 + 3 * number), 2]
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


@pytest.fixture(scope="module")
def class_rows(prompts) -> list[dict]:
    return [{"input_ids": prompt, "labels": number} for number, prompt in enumerate(prompts)]


def trainer_for(model, rows, processor, folder, **options) -> Trainer:
    words = isinstance(rows[0]["labels"], list)
    collator = (DataCollatorForSeq2Seq if words else DataCollatorWithPadding)(processor.tokenizer)
    settings = {
        "max_steps": 1,
        "optim": "sgd",
        "max_grad_norm": 0,
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
    }
    settings |= {"report_to": "none", "save_strategy": "no", "use_cpu": True, "logging_steps": 1, "disable_tqdm": True}
    arguments = TrainingArguments(folder, **(settings | options))
    return Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, data_collator=collator)


def trained_weights(model) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def plain_loss(model, rows) -> float:
    """The mean over all answer words, row by row without padding, from the logits of transformers' own forward."""
    losses = []
    with torch.no_grad():
        for row in rows:
            logits = model.causal_lm(inputs_embeds=model.embed(torch.tensor([row["input_ids"]]))).logits[0]
            losses.append(F.cross_entropy(logits[:-1], torch.tensor(row["labels"])[1:], reduction="none"))
    found = torch.cat(losses)
    return (found.sum() / sum(label != -100 for row in rows for label in row["labels"])).item()


@pytest.mark.parametrize("kind", ("words", "classes", "smoothed classes"))
def test_accumulated_gradients_are_those_of_the_larger_batch(kind, request, tiny_export, processor, tmp_path):
    rows = request.getfixturevalue("word_rows" if kind == "words" else "class_rows")
    smoothing = {"label_smoothing_factor": 0.1} if kind == "smoothed classes" else {}
    steps, losses = [], []
    for batch, accumulated in ((4, 1), (2, 2), (1, 4)):
        model = new_model(tiny_export)
        before = trained_weights(model)
        options = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulated}
        trainer = trainer_for(model, rows, processor, tmp_path, **options, **smoothing)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
        steps.append({name: before[name] - weight for name, weight in trained_weights(model).items()})
    assert max(step.abs().max() for step in steps[0].values()) > 1e-3
    for step, loss in zip(steps[1:], losses[1:], strict=True):
        assert loss == pytest.approx(losses[0], abs=1e-5)
        for name, gradient in step.items():
            torch.testing.assert_close(gradient, steps[0][name], rtol=1e-4, atol=1e-5)


def test_the_losses_are_the_cross_entropies(model, word_rows, class_rows, prompts, processor, tmp_path):
    model.eval()
    words = trainer_for(model, word_rows, processor, tmp_path, per_device_eval_batch_size=4).evaluate()
    assert words["eval_loss"] == pytest.approx(plain_loss(model, word_rows), abs=1e-4)
    classes = trainer_for(model, class_rows, processor, tmp_path, per_device_eval_batch_size=4).evaluate()
    with torch.no_grad():
        scores = torch.cat([model.score(torch.tensor([prompt])) for prompt in prompts])
    expected = F.cross_entropy(scores, torch.arange(4)).item()
    assert classes["eval_loss"] == pytest.approx(expected, abs=1e-4)


def test_smoothing_spreads_over_words_and_classes(model, word_rows, class_rows, processor):
    model.eval()
    words = DataCollatorForSeq2Seq(processor.tokenizer)([dict(row) for row in word_rows])
    classes = DataCollatorWithPadding(processor.tokenizer)([dict(row) for row in class_rows])
    with torch.no_grad():
        scores = model(classes["input_ids"], classes["attention_mask"]).logits
        expected = F.cross_entropy(scores, classes["labels"], label_smoothing=0.2)
        torch.testing.assert_close(model(**classes, smoothing=0.2).loss, expected)
        plain, smoothed = model(**words).loss, model(**words, smoothing=0.2).loss
        assert abs(plain - smoothed) > 1e-3


def test_smoothing_of_a_trainer_with_words_is_refused_by_name(model, word_rows, processor, tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor.*class ids"):
        trainer_for(model, word_rows, processor, tmp_path, label_smoothing_factor=0.1).train()


@pytest.mark.parametrize(
    ("labels", "message"),
    (
        ([[1, 2]], r"shape \(2, 3\), the answers' words, or \(2,\), class ids; got \(1, 2\)"),
        ([0, 99], r"class ids below 27.*got \[99\]"),
        ([[-100, 5, 100_000], [-100, 5, 6]], r"ids of words \(below \d+\).*got \[100000\]"),
        ([[4, 5, 6], [-100, 5, 6]], r"at the first token; got \[4\]"),
    ),
)
def test_other_labels_are_refused(model, labels, message):
    with pytest.raises(ValueError, match=message):
        model(torch.tensor([[3, 4, 5], [3, 4, 5]]), labels=torch.tensor(labels))


@pytest.mark.parametrize("rows", ("word_rows", "class_rows"))
def test_the_best_checkpoint_comes_back_whole(rows, request, model, processor, tmp_path):
    rows = request.getfixturevalue(rows)
    # the first step helps, those after it ruin the model
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    trainer = trainer_for(
        model, rows, processor, tmp_path, load_best_model_at_end=True, optim="adamw_torch", learning_rate=0.5, **options
    )
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert max(losses) > min(losses) + 0.01
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses), abs=1e-5)
    saved = LlmArForActionRecognition.from_pretrained(trainer.state.best_model_checkpoint, dtype="float32")
    expected = saved.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in trained_weights(model).items())


def test_a_resumed_training_ends_where_an_undisturbed_one_does(tiny_export, word_rows, processor, tmp_path):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "optim": "adamw_torch", "learning_rate": 0.01}
    whole = new_model(tiny_export)
    trainer_for(whole, word_rows, processor, tmp_path, **options).train()
    resumed = new_model(tiny_export)
    with torch.no_grad():
        for weight in trained_weights(resumed):
            resumed.get_parameter(weight).add_(1.0)  # as a new process, which knows nothing
    trainer = trainer_for(resumed, word_rows, processor, tmp_path, **options)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = trained_weights(whole)
    assert any("lora_" in name for name in expected)
    for name, weight in trained_weights(resumed).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-6)


def test_a_model_folder_is_no_checkpoint(model, tiny_export):
    """Its model.safetensors has the action embeddings alone."""
    with pytest.raises(ValueError, match="are missing.*load_trained"):
        model.load_state_dict(load_file(tiny_export / "model.safetensors"), False)


RANK = """
import os, sys, torch
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from safetensors.torch import save_file
from test_stock_trainer import new_model, trained_weights, trainer_for
from llm_action.modeling.processing_llm_ar import LlmArProcessor
folder, rows, out = Path(sys.argv[2]), torch.load(sys.argv[3], weights_only=True), Path(sys.argv[4])
model = new_model(folder)
trainer = trainer_for(model, rows, LlmArProcessor.from_pretrained(folder), out, per_device_train_batch_size=2)
assert trainer.args.world_size == 2
trainer.train()
save_file(trained_weights(model), out / f"rank{os.environ['RANK']}.safetensors")
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_does_with_the_larger_batch(tiny_export, word_rows, processor, tmp_path):
    torch.save(word_rows, tmp_path / "rows.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    arguments = [str(Path(__file__).parent), str(tiny_export), str(tmp_path / "rows.pt"), str(tmp_path)]
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, *arguments], env={**shared, "RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    one = new_model(tiny_export)
    trainer_for(one, word_rows, processor, tmp_path, per_device_train_batch_size=4).train()
    for rank in (0, 1):
        two = load_file(tmp_path / f"rank{rank}.safetensors")
        for name, weight in trained_weights(one).items():
            torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5)
