"""transformers' own common tests of models, configurations, feature extractors and processors, on ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
TESTS = Path(__file__).with_name("transformers_common.py")


def test_what_applies_passes_and_what_does_not_says_why(tiny_export):
    """They run in a process of their own: their modules change transformers' settings."""
    sys.path.insert(0, str(TESTS.parent))
    from transformers_source import common_tests

    try:
        source = common_tests()
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"transformers' common tests: {error}")
    environment = {**os.environ, "PYTHONPATH": str(source), "TINY_EXPORT": str(tiny_export)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(TESTS),
        "-q",
        "-rs",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,  # their markers are not ours
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-5000:]
    skipped = re.findall(r"^SKIPPED \[\d+\] \S+: ?(.*)$", done.stdout, re.M)
    assert all(skipped)
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 300
