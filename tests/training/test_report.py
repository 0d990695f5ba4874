"""The report of a training: written at its end, one file, what was measured in it."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from llm_action.config.experiment import load_experiment
from llm_action.training.report import write_report

_path = Path(__file__).parents[1] / "visualization" / "pages.py"
_spec = importlib.util.spec_from_file_location("pages", _path)
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)


@pytest.fixture(scope="module")
def content(tiny_run):
    return pages.check_page(tiny_run / "report.html")


@pytest.fixture(scope="module")
def held_out(tiny_run, tiny_config, recordings, tmp_path_factory):
    """The report of the same run, had it left two subjects out."""
    run = tmp_path_factory.mktemp("held") / "run"
    shutil.copytree(tiny_run, run)
    experiment = load_experiment(tiny_config, ["holdout_subjects=[1,3]"])
    return pages.check_page(
        write_report(experiment, str(recordings), run, {"train_vqvae": 70.0, "train_recognizer": 3.0})
    )


def test_it_has_curves_tokens_and_time(content):
    for part in ("How it learned", "The action sentences", "Where the time went"):
        assert f"<h2>{part}</h2>" in content
    assert content.count("data:image/png;base64,") >= 2
    assert "Nothing was left out of the training to measure on" in content


def test_of_what_was_left_out_it_says_accuracy_and_confusion(held_out, recordings):
    for part in ("Accuracy", "What is confused"):
        assert f"<h2>{part}</h2>" in held_out
    left_out = [file for file in recordings.glob("*.mat") if int(re.search(r"_s(\d)", file.name)[1]) in (1, 3)]
    assert f"Measured on {len(left_out)} held-out training sequences." in held_out
    right = re.search(r"<h1>([\d.]+) % right</h1>", held_out)
    assert right and 0 <= float(right[1]) <= 100
    # a class that is always right is none of these
    assert ("<h2>The classes least often right</h2>" in held_out) == (float(right[1]) < 100)


def test_it_names_every_part_of_the_time(held_out):
    rows = dict(re.findall(r"<td>(stage \d[^<]*|this report|together)</td><td>([^<]+)</td>", held_out))
    assert {name[:7] for name in rows} == {"stage 1", "stage 2", "this re", "togethe"}
    assert all(re.fullmatch(r"\d+ (second|minute|hour|day)s?.*", said) for said in rows.values())
