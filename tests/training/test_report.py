"""The report of a training: written at its end, one file, what was measured in it."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

_path = Path(__file__).parents[1] / "visualization" / "pages.py"
_spec = importlib.util.spec_from_file_location("pages", _path)
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)


@pytest.fixture(scope="module")
def content(tiny_run):
    return pages.check_page(tiny_run / "report.html")


def test_it_has_curves_tokens_accuracy_and_time(content):
    for part in ("Accuracy", "What is confused", "How it learned", "The action sentences", "Where the time went"):
        assert f"<h2>{part}</h2>" in content
    assert content.count("data:image/png;base64,") >= 3


def test_it_names_every_part_of_the_time(content, tiny_run):
    seconds = json.loads((tiny_run / "seconds.json").read_text())
    assert set(seconds) == {"train_vqvae", "train_recognizer"}
    rows = re.findall(r"<td>(stage \d[^<]*|this report)</td><td>([^<]+)</td>", content)
    assert {name[:7] for name, _ in rows} == {"stage 1", "stage 2", "this re"}
    assert all(re.fullmatch(r"\d+ (second|minute|hour|day)s?.*", said) for _, said in rows)


def test_it_says_how_many_sequences_were_tested(content, recordings):
    tested = len([file for file in recordings.glob("*.mat") if int(re.search(r"_s(\d)", file.name)[1]) % 2 == 0])
    assert f"Measured on {tested} sequences of the test part." in content
