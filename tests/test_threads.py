"""How long OpenMP's threads turn in circles before they sleep: little, unless the user says otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

IMPORT, TRAIN = ("-c", "import llm_action"), ("-m", "llm_action.training.train", "--help")


@pytest.mark.parametrize(
    ("start", "set_by_user", "expected"),
    (
        (IMPORT, {}, "5000"),
        (TRAIN, {}, "5000"),
        (IMPORT, {"GOMP_SPINCOUNT": "70000"}, "70000"),
        (IMPORT, {"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
    ),
)
def test_waiting_threads_sleep_soon(start, set_by_user, expected):
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"OMP_DISPLAY_ENV": "verbose", **set_by_user}
    done = subprocess.run([sys.executable, *start], capture_output=True, text=True, env=environment)
    found = re.findall(r"GOMP_SPINCOUNT = '(\w+)'", done.stderr)
    if not found:
        pytest.skip("this torch brings another OpenMP than libgomp")
    assert found[-1] == expected
