"""Recordings of several senses: each sense's sentence is read alone, and what the readings say is weighed.

A language model that reads two sentences at once does not learn which of them to believe of somebody new (measured in
`llm_action/experiments/README.md`), so the sum of the senses' log-posteriors decides, each times a weight (this
project's choice).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .processing_llm_ar import EncodedRecording
from .skeleton_sequence import SKELETON

SENSE_WEIGHT = 0.5  # of a further sense, where nothing was fitted


def weighed(
    read: Callable[[list[EncodedRecording]], Tensor],
    recordings: Sequence[EncodedRecording],
    weights: Mapping[str, float],
) -> Tensor:
    """(recordings, labels) log-posteriors of recordings, some of which have several senses.

    Args:
        read: (recordings, labels) log-posteriors of recordings of one sense each.
        weights: of further senses, the skeleton's being 1; default `SENSE_WEIGHT`.
    """
    parts = [alone(recording) for recording in recordings]
    total = None
    for sense in dict.fromkeys(name for one in parts for name in one):  # prompts of one kind together
        rows = [row for row, one in enumerate(parts) if sense in one]
        found = read([parts[row][sense] for row in rows])
        total = found.new_zeros(len(recordings), found.shape[1]) if total is None else total
        weight = 1.0 if sense == SKELETON else weights.get(sense, SENSE_WEIGHT)
        total.index_add_(0, torch.tensor(rows, device=found.device), weight * found)
    assert total is not None
    return total.log_softmax(-1)


def alone(recording: EncodedRecording) -> dict[str, EncodedRecording]:
    """What each sense of a recording says, by sense: the joints' attributes are the skeleton's alone."""
    parts = {}
    for sense, sentences in recording.sentences_of.items():
        part = replace(recording, sentences_of={sense: sentences})
        parts[sense] = part if sense == SKELETON else replace(part, attributes=None, measures=None)
    return parts
