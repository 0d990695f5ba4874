"""The training of stage 2 against the same LoRA run with the library's Trainer and nothing else.

Stock is what one writes from the tutorials: `transformers.Trainer`, `DataCollatorForSeq2Seq` (pads to the longest of a
batch, whatever lengths meet in it), examples in random order, peft's LoRA on a `LlamaForCausalLM` in float32, and that
model's own loss, which takes the logits of every position. It is given what it cannot have by itself: the embeddings of
the action tokens, in a table of their own (resizing the vocabulary would make its head larger). Data, first weights,
optimiser with its groups, schedule and number of steps are ours, so both minimise the same loss, which is checked.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import DataCollatorForSeq2Seq, PrinterCallback, Trainer, set_seed

from llm_action.config.experiment import Experiment
from llm_action.config.progress import ProgressBar
from llm_action.config.sections import RecognizerStage
from llm_action.datasets.protocols import protocol_parts
from llm_action.datasets.split import Split
from llm_action.datasets.synthetic.sequences import LABELS, PROTOCOLS, build_synthetic
from llm_action.experiments.bench.inputs import BenchInputs
from llm_action.experiments.bench.timing import Figure, Section, ratio
from llm_action.hub.base_models import resolve_base_model
from llm_action.modeling.base_model import base_location
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.training.precision import base_dtype
from llm_action.training.sentences import write_sentences
from llm_action.training.train_recognizer import new_recognizer, recognizer_trainer

SAME_LOSS = "<= 0.1"  # relative: the order of the examples differs
EXACT = "<= 0.001"
_SETTINGS: dict[str, Any] = {"save_strategy": "no", "disable_tqdm": True}


class StockRecognizer(nn.Module):
    """peft's LlamaForCausalLM as it is, which is handed embeddings because it knows no action tokens."""

    def __init__(self, recognizer: LlmArForActionRecognition):
        super().__init__()
        self.recognizer = recognizer

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor):
        """Its output, loss included, for (batch, tokens) ids, mask and labels."""
        embeds = self.recognizer.embed(input_ids)
        return self.recognizer.causal_lm(
            inputs_embeds=embeds, attention_mask=attention_mask, labels=labels, use_cache=False
        )


def training_section(inputs: BenchInputs, repeats: int) -> Section:
    """Tokens a second and losses of our stage 2 and of the stock run, run by run in turns."""
    stage = RecognizerStage(sentences=1, steps=inputs.sizes.training_steps)
    experiment = Experiment(base_model=base_location(None, inputs.folder, inputs.model.config), recognizer=stage)
    examples = _examples(experiment, inputs)
    seconds: dict[str, list[float]] = {"ours": [], "stock": []}
    losses: dict[str, list[float]] = {"ours": [], "stock": []}
    with (
        TemporaryDirectory() as folder,
        ProgressBar(total=2 * repeats, desc="training", leave=False, disable=None) as progress,
    ):
        for repeat in range(repeats):
            for name in ("ours", "stock") if repeat % 2 == 0 else ("stock", "ours"):
                make = our_trainer if name == "ours" else stock_trainer
                trainer = make(experiment, inputs, examples, Path(folder))
                trainer.remove_callback(PrinterCallback)
                trainer.train()
                history = trainer.state.log_history
                seconds[name].append(history[-1]["train_runtime"])
                losses[name].append(float(np.mean([entry["loss"] for entry in history if "loss" in entry])))
                progress.update()
        apart = _same_batch(stock_trainer(experiment, inputs, examples, Path(folder)))
    between = tuple(abs(a - b) / b for a, b in zip(losses["ours"], losses["stock"], strict=True))
    lengths = [len(ids) for ids in examples["input_ids"]]
    dtype = str(base_dtype(stage.base_dtype)).removeprefix("torch.")
    return Section(
        [
            ratio(seconds, "stock", "ours", ">= 1.5", name="training tokens a second, ours / stock"),
            Figure("loss on one batch, ours and stock: difference", (apart,), "nats", EXACT),
            Figure("mean loss of the run, ours", tuple(losses["ours"]), "nats"),
            Figure("mean loss of the run, stock", tuple(losses["stock"]), "nats"),
            Figure("mean loss of the run: relative difference", between, "", SAME_LOSS),
        ],
        [
            f"{stage.steps} steps of {stage.batch_size} sentences of {min(lengths)} to {max(lengths)} tokens, "
            f"{sum(lengths)} tokens in both; our base in {dtype}, the stock one in float32."
        ],
    )


def our_trainer(experiment: Experiment, inputs: BenchInputs, examples: Dataset, out: Path) -> Trainer:
    """Stage 2 as `llm-action train` runs it."""
    model = _recognizer(experiment, inputs)
    return recognizer_trainer(experiment, model, inputs.processor, examples, out, **_SETTINGS)


def stock_trainer(experiment: Experiment, inputs: BenchInputs, examples: Dataset, out: Path) -> Trainer:
    """The same run without what stage 2 does for speed; see the module."""
    experiment = replace(experiment, recognizer=replace(experiment.recognizer, base_dtype="float32"))
    model = _recognizer(experiment, inputs)
    ours = recognizer_trainer(experiment, model, inputs.processor, examples, out, **_SETTINGS)
    tokenizer = copy.deepcopy(inputs.processor.tokenizer)
    tokenizer.padding_side = "right"
    return Trainer(
        StockRecognizer(model),
        ours.args,
        train_dataset=Dataset.from_list([_with_labels(example) for example in examples]),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        optimizers=(ours.create_optimizer(), None),
    )


def _with_labels(example: dict[str, Any]) -> dict[str, Any]:
    ids, answer = example["input_ids"], example["answer_length"]
    return {"input_ids": ids, "labels": [-100] * (len(ids) - answer) + ids[-answer:]}


def _same_batch(stock: Trainer) -> float:
    """The difference of the two losses, of the same float32 weights on the same batch."""
    batch = {name: value.to(stock.args.device) for name, value in next(iter(stock.get_train_dataloader())).items()}
    with torch.no_grad():
        return abs(float(stock.model(**batch).loss) - float(stock.model.recognizer(**batch).loss))


def _recognizer(experiment: Experiment, inputs: BenchInputs) -> LlmArForActionRecognition:
    set_seed(experiment.seed)  # the same adapters every time
    return new_recognizer(experiment, inputs.processor, list(LABELS), resolve_base_model(experiment.base_model))


def _examples(experiment: Experiment, inputs: BenchInputs) -> Dataset:
    """Sentences of synthetic actions, one and two persons, as many as one pass needs; both runs read each once."""
    table = build_synthetic(subjects=2)
    parts = protocol_parts(table, PROTOCOLS[0])
    train, test = (table.select(np.flatnonzero(parts == part)) for part in ("train", "test"))
    split = Split(train, test, list(LABELS), PROTOCOLS[0])
    wanted = experiment.recognizer.steps * experiment.recognizer.batch_size
    with TemporaryDirectory() as folder:
        sentences = write_sentences(experiment, inputs.processor, split, Path(folder) / "sentences.arrow")
        chosen = sentences.shuffle(seed=experiment.seed).select(range(min(wanted, len(sentences))))
        return chosen.flatten_indices(keep_in_memory=True)
