"""Which rows of a table train and which test."""

from __future__ import annotations

import re

import numpy as np
from datasets import Dataset

from .benchmark import Benchmark
from .unseen_splits import unseen_protocol_parts, unseen_protocols

_LEAVE_OUT = re.compile(r"leave_out_subject_(\d+)")


def protocol_name(benchmark: Benchmark, protocol: str | None = None) -> str:
    """Checks the name of a protocol; default the data set's own.

    Beside the protocol columns there is `leave_out_subject_N` where subjects are known: subject N tests, the others
    train. The mean over all N is leave-one-subject-out. NTU RGB+D has `unseen_55/5` and the like (`unseen_splits`).

    Raises:
        ValueError: the data set has no such protocol; the known ones are listed.
    """
    protocol = protocol or benchmark.default_protocol
    protocols = (*benchmark.protocols, *unseen_protocols(benchmark.name))
    if protocol not in protocols and not _LEAVE_OUT.fullmatch(protocol):
        known = ", ".join(protocols)
        raise ValueError(f"{benchmark.name}: unknown protocol {protocol!r}; known: {known}, leave_out_subject_N")
    return protocol


def protocol_parts(table: Dataset, protocol: str) -> np.ndarray:
    """Says the part of every row: "train", "test", "validation" or "".

    Raises:
        ValueError: `leave_out_subject_N` and nobody is subject N; the known subjects are listed.
    """
    if protocol in table.column_names:
        return np.array(table[protocol])
    match = _LEAVE_OUT.fullmatch(protocol)
    if match is None:
        return unseen_protocol_parts(table, protocol)
    subjects = np.array(table["subject"])
    if int(match[1]) not in subjects or len(set(subjects.tolist())) == 1:
        known = ", ".join(map(str, sorted(set(subjects.tolist()))))
        raise ValueError(f"{protocol}: expected one of several subjects, the data set has subject {known}")
    return np.where(subjects == int(match[1]), "test", "train")
