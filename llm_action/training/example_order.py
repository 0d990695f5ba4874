"""The order in which a recognizer reads its examples: the whole training's, decided by the seed alone.

An order that is known to its end lets a resumed training take up the very next example. A Trainer that shuffles at
every epoch cannot.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class Passes(Sampler[int]):
    """Pass after pass over the examples, each pass shuffled anew.

    A batch holds examples of one prompt length: two persons' prompts are twice as long as one's. Chance decides which
    examples share a batch, and the order of the batches. Sorting by exact lengths, answers counted, would sort a batch
    by class.

    Args:
        lengths: tokens of each example's prompt.
        batch_size: examples that should be of one length.
        total: examples of the whole training.
    """

    def __init__(self, lengths: list[int], batch_size: int, total: int, seed: int):
        self.lengths, self.batch_size, self.total, self.seed = np.array(lengths), batch_size, total, seed

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        for start in range(0, self.total, len(self.lengths)):
            order = self._one_pass(np.random.default_rng((self.seed, 4, start)))
            yield from order[: self.total - start]

    def _one_pass(self, rng: np.random.Generator) -> list[int]:
        batches, rest = [], []
        for length in np.unique(self.lengths):
            examples = rng.permutation(np.flatnonzero(self.lengths == length)).tolist()
            whole = len(examples) // self.batch_size * self.batch_size
            batches += [examples[i : i + self.batch_size] for i in range(0, whole, self.batch_size)]
            rest += examples[whole:]
        shuffled = [batches[i] for i in rng.permutation(len(batches))]
        return [index for batch in shuffled for index in batch] + rest


class BalancedDraws(Sampler[int]):
    """Examples drawn with replacement, every class as often as every other.

    Args:
        classes: class of each example.
        total: examples of the whole training.
    """

    def __init__(self, classes: list[int], total: int, seed: int):
        self.classes, self.total, self.seed = np.array(classes), total, seed

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, 10))
        of_class = [np.flatnonzero(self.classes == number) for number in np.unique(self.classes)]
        for number in rng.integers(len(of_class), size=self.total):
            yield int(rng.choice(of_class[number]))
