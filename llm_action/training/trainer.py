"""A Trainer whose checkpoints and pushes are what users load: the parts of a repository and our card, no pickles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import HubStrategy
from transformers.utils.hub import PushInProgress

from llm_action.config.experiment import Experiment
from llm_action.hub.base_models import DEFAULT_BASE_MODEL
from llm_action.hub.cards import write_card
from llm_action.hub.model_folder import copy_repository, fresh_folder
from llm_action.hub.training_record import record_training
from llm_action.modeling.hub_repository import is_hub_id, upload
from llm_action.modeling.processing_llm_ar import LlmArProcessor

_STAGING = "repository"


def hub_settings(experiment: Experiment) -> dict[str, Any]:
    """The TrainingArguments of an experiment that pushes to the Hub; none for one that does not.

    Raises:
        ValueError: nobody else could load the experiment's base model.
    """
    if experiment.hub_model_id is None:
        return {}
    base = experiment.base_model or DEFAULT_BASE_MODEL
    if not is_hub_id(base):
        raise ValueError(
            f"Expected a base model on the Hub with hub_model_id {experiment.hub_model_id!r}, got {base!r}: nobody "
            "else could load what is pushed."
        )
    return {"push_to_hub": True, "hub_model_id": experiment.hub_model_id}


class HubTrainer(Trainer):
    """Saves the parts of a repository into every checkpoint and pushes these, never optimizer state or arguments.

    Args:
        processor: gives the processor as the model is now; it is saved beside what the Trainer saves.
        run: the run folder; its recipe and curves go onto the card.

    Raises:
        ValueError: a `hub_strategy` that would push optimizer state, which is a pickle.
    """

    push_in_progress: PushInProgress | None

    def __init__(
        self, *args, processor: Callable[[], LlmArProcessor] | None = None, run: str | Path | None = None, **kwargs
    ):
        super().__init__(*args, **kwargs)
        self.processor, self.run = processor, run

    def init_hf_repo(self, *args, **kwargs) -> None:
        """As the Trainer's; refuses to push optimizer state before there is a repository."""
        strategy = self.args.hub_strategy
        if strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            raise ValueError(
                f"Expected hub_strategy 'every_save' or 'end', got {strategy.value!r}: optimizer state is a pickle and "
                "stays on this machine."
            )
        super().init_hf_repo(*args, **kwargs)

    def create_model_card(self, *args, **kwargs) -> None:
        """Writes our card, where the Trainer would write its own."""
        if self.is_world_process_zero():
            write_card(self.args.output_dir, self.hub_model_id)

    def push_to_hub(
        self,
        commit_message: str = "End of training",
        blocking: bool = True,
        token=None,
        revision=None,
        private=None,
        **_,
    ):
        """As the Trainer's; what is pushed is the repository."""
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        return self._upload(Path(self.args.output_dir), commit_message, not blocking, token, revision)

    def _save(self, output_dir=None, state_dict=None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle that nothing reads
            if self.processor is not None:
                training = self.model.training
                self.processor().save_pretrained(folder)
                self.model.train(training)  # a processor puts its VQ-VAE into evaluation mode

    def _push_from_checkpoint(self, checkpoint_folder) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None and not self.push_in_progress.is_done():
            if not self.args.hub_always_push:
                return
            self._finish_current_push()
        message = f"Training in progress, step {self.state.global_step}"
        self.push_in_progress = PushInProgress([self._upload(Path(checkpoint_folder), message, True)])

    def _upload(self, source: Path, message: str, in_background: bool, token=None, revision=None):
        staging = fresh_folder(Path(self.args.output_dir) / _STAGING)
        copy_repository(source, staging)
        if self.run is not None:
            record_training(staging, self.run)
        write_card(staging, self.hub_model_id)
        return upload(
            staging,
            self.hub_model_id,
            message,
            token=token or self.args.hub_token,
            revision=revision or self.args.hub_revision,
            in_background=in_background,
        )
