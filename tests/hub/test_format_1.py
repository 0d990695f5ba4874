"""A model folder that a release wrote in format 1 still loads and answers as it did.

But for names that it was not trained on ("jump", "raise both arms"), which the joints alone tell since: the release
gave them 0.357 and 0.505 of the clap, 0.596 and 0.380 of the squat.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import pipeline

from llm_action.datasets.synthetic.sequences import generate_sequence

FOLDER = Path(__file__).with_name("format_1_model")
NEW_NAMES = ["wave", "jump", "raise both arms"]
DESCRIBED = {
    "wave": {},
    "jump": {
        "phrasings": ["both feet leave the floor"],
        "attributes": {"body": "down and up", "feet": "stay"},
    },
}
RECORDINGS = {"clap": ("clapping hands", 2), "squat": ("squatting", 4)}
QUESTIONS = {
    "trained": {},
    "views": {"views": 3},
    "names": {"candidate_labels": NEW_NAMES},
    "uncalibrated": {"candidate_labels": NEW_NAMES, "calibrate": False},
    "described": {"candidate_labels": DESCRIBED},
}


@pytest.fixture(scope="module")
def recognize():
    return pipeline("skeleton-action-recognition", model=str(FOLDER))


@pytest.mark.parametrize("label", RECORDINGS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_as_the_release_that_wrote_it(recognize, label, question):
    action, subject = RECORDINGS[label]
    recording = generate_sequence(action, subject, camera=2, repetition=1).to_layout("kinect20_utd")
    expected = json.loads((FOLDER / "expected_scores.json").read_text(encoding="utf-8"))[label][question]
    found = {entry["label"]: entry["score"] for entry in recognize(recording, top_k=None, **QUESTIONS[question])}
    assert found == pytest.approx({entry["label"]: entry["score"] for entry in expected}, abs=2e-4)
