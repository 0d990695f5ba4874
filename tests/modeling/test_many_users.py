"""One pipeline that many threads share: each gets what it would get alone, and memory stays flat."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transformers import pipeline

import llm_action  # noqa: F401  registers the pipeline

SCRIPT = Path(__file__).with_name("many_users.py")


def test_sixteen_threads_are_answered_as_one_by_one(tiny_export, recordings):
    sys.path.insert(0, str(SCRIPT.parent))
    from many_users import requests_of

    recognize = pipeline("skeleton-action-recognition", model=str(tiny_export), dtype="float32")
    requests = requests_of(recognize, sorted(map(str, recordings.iterdir())))
    expected = [request() for request in requests]
    assert len({str(answer) for answer in expected}) > len(expected) // 2  # they differ
    chosen = [number % len(requests) for number in range(3 * len(requests))]
    with ThreadPoolExecutor(16) as users:
        found = list(users.map(lambda number: requests[number](), chosen))
    for number, answer in zip(chosen, found, strict=True):
        assert answer == expected[number], number


def watched(model: Path, recordings: Path, *numbers: int) -> subprocess.CompletedProcess:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("memory in use is counted by glibc 2.33 or newer")
    command = [sys.executable, str(SCRIPT), str(model), str(recordings), *map(str, numbers)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_stays_flat(tiny_export, recordings):
    """Over 800 calls here; the command with 10,000 is in the script."""
    done = watched(tiny_export, recordings, 800)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    print(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kilobyte_that_every_call_keeps_is_found(tiny_export, recordings):
    done = watched(tiny_export, recordings, 200, 1024)
    assert done.returncode == 1 and "a call keeps 1" in done.stderr, done.stdout + done.stderr[-3000:]
