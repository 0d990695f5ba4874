"""Trains stage 2: LLaMA learns to name action sentences.

    accelerate launch -m llm_action.training.train --stage recognizer --config utd_mhad --data UTD_FOLDER

reads `OUT/processor/` of stage 1, tokenises every training sequence once (several augmented sentences each, kept in
`OUT/sentences/`), trains adapter and action embeddings on the answer words, and writes `OUT/recognizer/` (checkpoints,
resumable) and `OUT/model/`, the export.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.optim import AdamW
from torch.utils.data import SequentialSampler, Subset
from transformers import set_seed

from llm_action.config.atomic_files import write_json
from llm_action.config.experiment import Experiment, save_experiment
from llm_action.config.sections import RecognizerStage
from llm_action.datasets.lexicon import shipped_lexicon
from llm_action.datasets.split import load_split
from llm_action.hub.base_models import DEFAULT_BASE_MODEL, resolve_base_model
from llm_action.hub.model_folder import export
from llm_action.hub.token_statistics import TokenStatistics, write_token_statistics
from llm_action.hub.uploader import push
from llm_action.modeling.adapters import ADAPTER_FOLDER
from llm_action.modeling.label_tree import LabelTree, label_key, label_token_ids
from llm_action.modeling.modeling_llm_ar import LlmArForActionRecognition
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.training.attribute_statistics import gather_attribute_statistics, training_lexicon
from llm_action.training.example_order import BalancedDraws, Passes
from llm_action.training.familiarity import gather_familiarity
from llm_action.training.precision import base_dtype, fast_training, half_arithmetic, quantization
from llm_action.training.rehearsal import trained_rehearsal, write_rehearsal
from llm_action.training.run_folder import fit, trainer_settings
from llm_action.training.sentences import Collator, training_sentences
from llm_action.training.trainer import HubTrainer, hub_settings


class RecognizerTrainer(HubTrainer):
    """A Trainer that resumes the composite: config.json and model.safetensors beside a PEFT adapter.

    Args:
        stage: whose rates, weight decay and label smoothing are used.
    """

    optimizer: AdamW | None

    def __init__(self, *args, stage: RecognizerStage, **kwargs):
        super().__init__(*args, **kwargs)
        self.stage = stage

    def train(self, *args, **kwargs):
        with fast_training(self.accelerator.unwrap_model(self.model), self.args.device):
            return super().train(*args, **kwargs)

    def compute_loss_context_manager(self):
        contexts = super().compute_loss_context_manager()
        contexts.enter_context(half_arithmetic(self.accelerator.unwrap_model(self.model), self.args.device))
        return contexts

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs["smoothing"] = self.stage.label_smoothing
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def create_optimizer(self, model=None) -> AdamW:
        """Makes AdamW with a rate for the adapter and one for the action embeddings.

        FSDP accepts no ready-made optimizer.
        """
        if self.optimizer is None:
            stage, weights = self.stage, dict((self.model if model is None else model).named_parameters())
            learning = {name: weight for name, weight in weights.items() if weight.requires_grad}
            embeddings = [learning.pop(name) for name in list(learning) if "action_embeddings" in name]
            self.optimizer = AdamW(
                [
                    {"params": list(learning.values()), "lr": stage.learning_rate},
                    {"params": embeddings, "lr": stage.embedding_learning_rate, "weight_decay": 0.0},
                ],
                betas=(0.9, 0.99),
                weight_decay=stage.weight_decay,
            )
        return self.optimizer

    def full_state_dict(self) -> dict[str, Any] | None:
        """Gathers the whole weights of a model that is spread over the ranks, all of which have to ask; else None."""
        if self.is_fsdp_enabled or self.deepspeed is not None:
            return self.accelerator.get_state_dict(self.model_wrapped)
        return None

    def _get_train_sampler(self, train_dataset=None) -> SequentialSampler:
        return SequentialSampler(train_dataset or self.train_dataset)  # the examples are in their order already

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        if self.is_fsdp_enabled:  # every rank takes its shards
            options = StateDictOptions(full_state_dict=True, strict=False)
            set_model_state_dict(self.model, saved_weights(Path(resume_from_checkpoint)), options=options)
        else:
            self.accelerator.unwrap_model(self.model).load_trained(resume_from_checkpoint)


def train_recognizer(experiment: Experiment, data_dir: str | None, out: Path, resume: bool = True) -> dict[str, Any]:
    """Trains the recognizer of an experiment on the processor in `out/processor`, writes `out/model`.

    Returns:
        The loss history.

    Raises:
        FileNotFoundError: stage 1 has not written `out/processor`.
        ValueError: a control, which is not exported: see `llm_action.experiments.controls`.
    """
    if experiment.recognizer.is_control:
        raise ValueError(
            "recognizer: base_weights, train and inputs other than pretrained, lora and tokens make a control for the "
            "ablation table, which leaves no model; run it with llm-action benchmark ablate."
        )
    set_seed(experiment.seed)
    processor = _with_senses_read(stage_one(out), experiment)
    split = load_split(experiment, data_dir)
    with PartialState().main_process_first():  # the first rank writes them, the others read
        examples = training_sentences(experiment, processor, split, out / "sentences")
    model = new_recognizer(experiment, processor, split.trained_labels, resolve_base_model(experiment.base_model))
    model.config.attribute_statistics = asdict(gather_attribute_statistics(experiment, processor, split))
    model.config.label_lexicon = training_lexicon(experiment)
    model.lexicon = shipped_lexicon().without(experiment.unseen) if experiment.unseen else shipped_lexicon()
    model.config.background_label = background_class(experiment.background, model.config.label_names)
    model.config.point_window = split.point_window
    trainer = recognizer_trainer(experiment, model, processor, examples, out, **hub_settings(experiment))
    fit(trainer, resume)
    history, weights = trainer.state.log_history, trainer.full_state_dict()
    if trainer.is_world_process_zero():
        write_json(history, out / "recognizer" / "history.json")
        save_experiment(experiment, out / "experiment.yaml")
        processor.familiarity = gather_familiarity(experiment, processor.feature_extractor, split)
        known = partial(_write_sentences_known, out / "sentences", processor)
        export(model, processor, out / "model", run=out, state_dict=weights, finish=known)
        if experiment.hub_model_id is not None:
            trainer._finish_current_push()
            push(out / "model", experiment.hub_model_id, message="End of training")
    return {"loss": history}


def _write_sentences_known(sentences: Path, processor: LlmArProcessor, folder: Path) -> None:
    """Writes the rehearsal of a model, and how its training sentences use their tokens."""
    known = trained_rehearsal(sentences, folder)
    write_rehearsal(folder, known)
    first, config = processor.first_action_id, processor.vqvae.config
    write_token_statistics(TokenStatistics.gathered(known.sentences, first, config), folder)


def background_class(background: str, label_names: list[str] | None) -> str | None:
    """The class of an experiment's background as the model spells it; None where there is no such class."""
    return next((name for name in label_names or () if label_key(name) == label_key(background)), None)


def saved_weights(folder: Path) -> dict[str, Any]:
    """Reads the trained weights of a saved recognizer, under the names they have in the model."""
    adapter = load_file(folder / ADAPTER_FOLDER / "adapter_model.safetensors")
    named = {re.sub(r"\.lora_([AB])\.", r".lora_\1.default.", name): weight for name, weight in adapter.items()}
    prefixed = {f"{LlmArForActionRecognition.base_model_prefix}.{name}": weight for name, weight in named.items()}
    return {**prefixed, **load_file(folder / "model.safetensors")}


def stage_one(out: Path) -> LlmArProcessor:
    """Loads the processor that stage 1 wrote; raises FileNotFoundError without one."""
    if not (out / "processor" / "processor_config.json").is_file():
        raise FileNotFoundError(
            f"{out / 'processor'}: expected the action tokenizer; run llm-action train --stage vqvae first."
        )
    return LlmArProcessor.from_pretrained(out / "processor")


def _with_senses_read(processor: LlmArProcessor, experiment: Experiment) -> LlmArProcessor:
    """Without the further senses that stage 2 is not to read: the model would answer to what it never learned."""
    read = experiment.recognizer.senses or list(processor.senses)
    if set(processor.senses) <= set(read):
        return processor
    kept = {name: tokenizer for name, tokenizer in processor.senses.items() if name in read}
    return processor.with_senses(kept, {name: experiment.senses[name].title for name in kept})


def recognizer_trainer(
    experiment: Experiment,
    model: LlmArForActionRecognition,
    processor: LlmArProcessor,
    examples: Dataset,
    out: Path,
    balanced: bool = False,
    **settings: Any,
) -> RecognizerTrainer:
    """Makes the Trainer of stage 2.

    Args:
        examples: table with the columns of `write_sentences`.
        out: run folder; checkpoints go into `out/recognizer`.
        balanced: whether every class is drawn as often as every other; default every example once a pass.
        settings: of TrainingArguments; they come on top of the experiment's.
    """
    stage, seed = experiment.recognizer, experiment.seed
    settings = {
        "report_to": experiment.report_to,
        "logging_steps": max(1, stage.steps // 40),
        "ddp_find_unused_parameters": False,  # every adapter has a part in every loss
        **settings,
    }
    arguments = trainer_settings(stage, out / "recognizer", seed, **settings)
    # of all processes: the order is the same for any number of them that share one batch
    batch_size = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    total = arguments.max_steps * batch_size
    draws = BalancedDraws(examples["label"], total, seed)
    order = list(draws if balanced else Passes(examples["prompt_length"], batch_size, total, seed))
    return RecognizerTrainer(
        model,
        arguments,
        train_dataset=Subset(examples, order),
        data_collator=Collator(processor.tokenizer.pad_token_id),
        stage=stage,
        processor=lambda: processor,
        run=out,
    )


def new_recognizer(
    experiment: Experiment, processor: LlmArProcessor, labels: list[str], base_folder: Path
) -> LlmArForActionRecognition:
    """Makes an untrained recognizer on a base, its action embeddings those of the VQ-VAE."""
    stage, tokenizer = experiment.recognizer, processor.tokenizer
    names = list(LabelTree.from_labels(labels, tokenizer).labels)
    model = LlmArForActionRecognition.from_base(
        base_folder,
        processor.token_embeddings().detach(),
        LoraConfig(
            task_type="CAUSAL_LM",
            r=stage.lora_rank,
            lora_alpha=stage.lora_alpha,
            lora_dropout=stage.lora_dropout,
            target_modules=list(stage.lora_targets),
        ),
        dtype=base_dtype(stage.base_dtype),
        quantization=quantization(stage.base_dtype),
        base_model=experiment.base_model or DEFAULT_BASE_MODEL,
        vqvae_fingerprint=processor.vqvae_fingerprint,
        sense_fingerprints=processor.sense_fingerprints,
        label_names=names,
        label_token_ids=label_token_ids(names, tokenizer),
        end_token_id=tokenizer.eos_token_id,
        taught=stage.taught,
    )
    if stage.gradient_checkpointing:
        model.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    return model
