"""Stage 2: LLaMA learns to name action sentences.

    accelerate launch -m llm_action.training.train_recognizer --config utd_mhad --data UTD_FOLDER --out runs/utd_mhad

reads `OUT/processor/` of stage 1, tokenises every training sequence once (several augmented sentences each, kept in
`OUT/sentences/`), trains adapter and action embeddings on the answer words, and writes `OUT/recognizer/` (checkpoints,
resumable) and `OUT/model/`, the export.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, load_from_disk
from peft import LoraConfig
from torch.optim import AdamW
from tqdm import tqdm
from transformers import set_seed

from llm_action.base_models import DEFAULT_BASE_MODEL, resolve_base_model
from llm_action.hub import export, push
from llm_action.modeling.label_tree import LabelTree, label_token_ids
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.data import Passes, Split, load_split, normalized, padded, plain_batch
from llm_action.training.experiment import Experiment, RecognizerStage, save_experiment
from llm_action.training.hub_trainer import HubTrainer, hub_settings
from llm_action.training.runs import fit, stage_command, trainer_settings, write_json

_CHUNK = 64


class RecognizerTrainer(HubTrainer):
    """A Trainer that resumes the composite: config.json and model.safetensors beside a PEFT adapter."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        output = model(**inputs)
        return (output.loss, output) if return_outputs else output.loss

    def _get_train_sampler(self, train_dataset=None) -> Passes:
        # two persons' prompts are twice as long as one's
        lengths = (train_dataset or self.train_dataset)["prompt_length"]
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        total = self.args.max_steps * batch_size * self.args.world_size
        return Passes(lengths, batch_size, total, self.args.seed)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        self.accelerator.unwrap_model(self.model).load_trained(resume_from_checkpoint)


def train_recognizer(experiment: Experiment, data_dir: str | None, out: Path, resume: bool = True) -> dict[str, Any]:
    """Trains the recognizer of an experiment on the processor in `out/processor`, writes `out/model`.

    Returns:
        The loss history.

    Raises:
        FileNotFoundError: stage 1 has not written `out/processor`.
    """
    set_seed(experiment.seed)
    if not (out / "processor" / "processor_config.json").is_file():
        raise FileNotFoundError(
            f"{out / 'processor'}: expected the action tokenizer; run llm-action train-vqvae first."
        )
    processor = LlmArProcessor.from_pretrained(out / "processor")
    split = load_split(experiment, data_dir)
    with PartialState().main_process_first():  # the first rank writes them, the others read
        examples = training_sentences(experiment, processor, split, out / "sentences")
    model = new_recognizer(experiment, processor, split.labels)
    stage = experiment.recognizer
    trainer = RecognizerTrainer(
        model,
        trainer_settings(
            stage,
            out / "recognizer",
            experiment.seed,
            logging_steps=max(1, stage.steps // 40),
            **hub_settings(experiment),
        ),
        train_dataset=examples,
        data_collator=AnswerCollator(processor.tokenizer.pad_token_id),
        optimizers=(_optimizer(model, stage), None),
        processor=lambda: processor,
        run=out,
    )
    fit(trainer, resume)
    history = trainer.state.log_history
    if trainer.is_world_process_zero():
        write_json(history, out / "recognizer" / "history.json")
        save_experiment(experiment, out / "experiment.yaml")
        export(model, processor, out / "model", run=out)
        if experiment.hub_model_id is not None:
            trainer._finish_current_push()
            push(out / "model", experiment.hub_model_id, message="End of training")
    return {"loss": history}


def new_recognizer(experiment: Experiment, processor: LlmArProcessor, labels: list[str]) -> LlmArForActionRecognition:
    """An untrained recognizer on the experiment's base, its action embeddings the VQ-VAE's."""
    stage, tokenizer = experiment.recognizer, processor.tokenizer
    names = list(LabelTree.from_labels(labels, tokenizer).labels)
    model = LlmArForActionRecognition.from_base(
        resolve_base_model(experiment.base_model),
        processor.vqvae.token_embeddings().detach(),
        LoraConfig(
            task_type="CAUSAL_LM",
            r=stage.lora_rank,
            lora_alpha=stage.lora_alpha,
            lora_dropout=stage.lora_dropout,
            target_modules=list(stage.lora_targets),
        ),
        dtype=base_dtype(stage.base_dtype),
        base_model=experiment.base_model or DEFAULT_BASE_MODEL,
        vqvae_fingerprint=processor.vqvae_fingerprint,
        label_names=names,
        label_token_ids=label_token_ids(names, tokenizer),
        end_token_id=tokenizer.eos_token_id,
    )
    if stage.gradient_checkpointing:
        model.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def base_dtype(name: str) -> torch.dtype:
    """The dtype a configuration names; "auto" is bfloat16 where the hardware multiplies it fast, float32 elsewhere."""
    if name != "auto":
        return getattr(torch, name)
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def training_sentences(experiment: Experiment, processor: LlmArProcessor, split: Split, folder: Path) -> Dataset:
    """Prompt and answer ids of every training sequence, in `1 + sentences` versions: the plain one and augmented ones.

    Made once and kept in `folder`; columns input_ids, answer_length and prompt_length.
    """
    wanted = {
        "vqvae": processor.vqvae_fingerprint,
        "experiment": _sentence_settings(experiment),
        "rows": len(split.train),
    }
    record = folder / "made_from.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) == wanted:
        return load_from_disk(str(folder))
    extractor = processor.feature_extractor
    sequences = normalized(split.train, extractor, "normalising skeletons")
    answers = [[*ids, processor.tokenizer.eos_token_id] for ids in label_token_ids(split.labels, processor.tokenizer)]
    before, after = processor.prompt_parts()
    rows: dict[str, list] = {"input_ids": [], "answer_length": [], "prompt_length": []}
    for version in tqdm(range(1 + experiment.recognizer.sentences), desc="writing action sentences"):
        for start in range(0, len(sequences), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(sequences)))
            batch = _version_of(version, [sequences[index] for index in chunk], chunk, experiment, extractor)
            sentences = processor.encode_features(*map(torch.from_numpy, (batch["skeletons"], batch["person_mask"])))
            for index, sentence in zip(chunk, sentences, strict=True):
                answer = answers[split.train["label"][index]]
                rows["input_ids"].append(before + sentence + after + answer)
                rows["answer_length"].append(len(answer))
                rows["prompt_length"].append(len(before) + len(sentence) + len(after))
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    Dataset.from_dict(rows).save_to_disk(str(temporary))
    write_json(wanted, temporary / record.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    return load_from_disk(str(folder))


def _sentence_settings(experiment: Experiment) -> dict[str, Any]:
    return {
        "dataset": experiment.dataset,
        "protocol": experiment.protocol,
        "holdout_subjects": experiment.holdout_subjects,
        "seed": experiment.seed,
        "sentences": experiment.recognizer.sentences,
        "augmentation": vars(experiment.augmentation),
    }


def _version_of(version: int, sequences, indices, experiment: Experiment, extractor) -> dict[str, np.ndarray]:
    if version == 0:
        return plain_batch(sequences, extractor.num_frames, extractor.max_persons)
    rows = []
    for index, persons in zip(indices, sequences, strict=True):
        rng = np.random.default_rng((experiment.seed, 3, version, index))
        rows.append(padded(experiment.augmentation(persons, extractor.num_frames, rng), extractor.max_persons))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class AnswerCollator:
    """Pads examples on the right; only the answer's ids are labels."""

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(example["input_ids"]) for example in examples)
        input_ids = torch.full((len(examples), longest), self.pad_token_id)
        attention_mask, labels = torch.zeros_like(input_ids), torch.full_like(input_ids, -100)
        for row, example in enumerate(examples):
            ids, answer = torch.tensor(example["input_ids"]), example["answer_length"]
            input_ids[row, : len(ids)], attention_mask[row, : len(ids)] = ids, 1
            labels[row, len(ids) - answer : len(ids)] = ids[-answer:]
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def _optimizer(model: LlmArForActionRecognition, stage: RecognizerStage) -> AdamW:
    adapter = [weight for weight in model.language_model.parameters() if weight.requires_grad]
    groups = [
        {"params": adapter, "lr": stage.learning_rate},
        {"params": model.action_embeddings.parameters(), "lr": stage.embedding_learning_rate, "weight_decay": 0.0},
    ]
    return AdamW(groups, betas=(0.9, 0.99), weight_decay=stage.weight_decay)


if __name__ == "__main__":
    stage_command(train_recognizer, __doc__)
