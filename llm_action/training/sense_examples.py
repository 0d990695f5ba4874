"""What of each training recording's senses an example is made of: which of them, and the further ones' signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from llm_action.config.experiment import Experiment
from llm_action.datasets.augmentation import aligned_signals, augment_signal, item_rng
from llm_action.datasets.split import Split
from llm_action.modeling.processing_llm_ar import LlmArProcessor
from llm_action.modeling.skeleton_sequence import SKELETON

_LACKING = 0.3  # share of a student's examples that lack a sense


class SenseExamples:
    """Chooses among `recognizer.senses`; of a model of skeletons alone there is no signal.

    An example of the language model has one sense, for each is read alone (`llm_action.modeling.sense_fusion`). One of
    a student has all, but for a share that lacks one, so that a recording may lack it in use.

    Attributes:
        read: the senses that the model is trained on, "skeleton" among them.
        heard: those beside the skeleton of which a recording has a signal.
    """

    def __init__(self, experiment: Experiment, processor: LlmArProcessor, split: Split):
        self.experiment, self.processor = experiment, processor
        known = [SKELETON, *processor.senses]
        self.read = [name for name in known if name in (experiment.recognizer.senses or known)]
        self.signals = {name: aligned_signals(split.train, name, model) for name, model in processor.senses.items()}
        there = [name for name, of_sense in self.signals.items() if any(one is not None for one in of_sense)]
        self.heard = [name for name in there if name in self.read]

    def of_sentences(
        self, versions: np.ndarray, indices: range, person_mask: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The person_mask (batch, persons) and the signals of recordings, each in its version.

        Versions are those of `write_sentences`; each of them has one sense.
        """
        if not self.processor.senses:
            return person_mask, {}
        numbers = [int(versions[index]) for index in indices]
        chosen = [
            self._chosen(index, np.random.default_rng((self.experiment.seed, 10, version, index)))
            for version, index in zip(numbers, indices, strict=True)
        ]
        signals = {}
        for name, of_sense in self.signals.items():
            values: list[np.ndarray | None] = []
            for version, index, sense in zip(numbers, indices, chosen, strict=True):
                rng = np.random.default_rng((self.experiment.seed, 3, version, index))  # the skeleton's: cut alike
                plain = of_sense[index] if name == sense else None
                values.append(self._augmented(name, plain, rng) if version else plain)
            signals[name] = self.processor.standardized(name, values)
        return person_mask & torch.tensor([sense == SKELETON for sense in chosen])[:, None], signals

    def plain(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The signals of recordings as they are, standardised: (batch, frames, channels) each, NaN where one lacks."""
        return {
            name: self.processor.standardized(name, [self.signals[name][index] for index in indices])
            for name in self.heard
        }

    def augmented(self, indices: Sequence[int], first: int) -> dict[str, Tensor]:
        """The same beside items of `Recordings.augmented_rows` from number `first` on: cut at the same places."""
        rngs = range(first, first + len(indices))
        return {
            name: self.processor.standardized(
                name,
                [
                    self._augmented(name, self.signals[name][index], item_rng(self.experiment.seed, item))
                    for index, item in zip(indices, rngs, strict=True)
                ],
            )
            for name in self.heard
        }

    def dropped(
        self, person_mask: Tensor, signals: dict[str, Tensor], indices: Sequence[int], first: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The person_mask and signals of the same items, of which a share lacks a sense."""
        items = range(first, first + len(indices))
        kept = [
            self._kept(index, np.random.default_rng((self.experiment.seed, 11, item)))
            for index, item in zip(indices, items, strict=True)
        ]
        lack = {name: torch.tensor([name not in names for names in kept]) for name in (SKELETON, *signals)}
        absent = torch.tensor(float("nan"))
        signals = {name: torch.where(lack[name][:, None, None], absent, values) for name, values in signals.items()}
        return person_mask & ~lack[SKELETON][:, None], signals

    def _there(self, index: int) -> list[str]:
        """Which of the senses read a recording has."""
        return [name for name in self.read if name == SKELETON or self.signals[name][index] is not None] or [SKELETON]

    def _chosen(self, index: int, rng: np.random.Generator) -> str:
        there = self._there(index)
        return there[rng.integers(len(there))]

    def _kept(self, index: int, rng: np.random.Generator) -> list[str]:
        there = self._there(index)
        if len(there) > 1 and rng.random() < _LACKING:
            del there[rng.integers(len(there))]
        return there

    def _augmented(self, name: str, values: np.ndarray | None, rng: np.random.Generator) -> np.ndarray | None:
        if values is None:
            return None
        own, model = self.experiment.senses[name].augmentation, self.processor.senses[name]
        scales = model.channel_scales.cpu().numpy()
        return augment_signal(values, own, model.config.num_frames, rng, scales)
