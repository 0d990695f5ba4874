"""The page and the picture of an explanation: all its parts, in one file that anybody can read."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llm_action.modeling.explanation import (
    AttributeSeen,
    Explanation,
    Moment,
    PosteriorOverTime,
    Token,
    TrainingRecording,
)
from llm_action.modeling.motion_attribution import Attribution
from llm_action.visualization.explanation_page import token_runs, write_explanations
from llm_action.visualization.explanation_picture import plot_explanation

_spec = importlib.util.spec_from_file_location("pages", Path(__file__).with_name("pages.py"))
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

LABELS = ["wave", "clap & <b>cheer</b>", "squat"]


def body(persons=1, frames=64, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(persons, 1, 20, 3)) + rng.normal(size=(persons, frames, 20, 3)) * 0.05).astype(np.float32)


@pytest.fixture
def explanation():
    frames = np.zeros(64)
    frames[20:30] = 2.0
    joints = np.full((2, 20), 0.1)
    joints[0, 7] = 3.0
    half = [[0.2, 0.7, 0.1]] * 8 + [[0.8, 0.1, 0.1]] * 8
    moments = [Moment("wave", 3, 0.4, 0.2)]
    tokens = [
        Token([f"<a{step // 4}>"], person, step, step / 32, (step + 1) / 32, 0.5, body()[0, 0], moments)
        for person in range(2)
        for step in range(32)
    ]  # fmt: skip
    return Explanation(
        name="<script>alert(1)</script>",
        frames=90,
        fps=30.0,
        layout="kinect20",
        skeletons=body(2),
        decoded=body(2, seed=1),
        ranking=[{"label": label, "score": score} for label, score in zip(LABELS, (0.8, 0.15, 0.05))],
        labels=LABELS,
        prefixes=PosteriorOverTime([0.0] * 16, [(k + 1) / 16 for k in range(16)], half),
        windows=PosteriorOverTime([0.0, 0.5], [0.5, 1.0], [[0.1, 0.8, 0.1], [0.9, 0.05, 0.05]]),
        attribution=Attribution("motion", frames, joints),
        tokens=tokens,
        nearest=[TrainingRecording("wave", 3, 0.25, body())],
        attributes=[AttributeSeen("arms", "Which arm moves most?", "right arm", ["left arm"], "right arm")],
        doubts=["it may be upside down."],
        notes=["the unit was inferred."],
    )


def test_the_page_tells_all_parts_and_nothing_comes_from_outside(explanation, tmp_path):
    content = pages.check_page(write_explanations([explanation], tmp_path / "deep" / "why.html", "my model"))
    for part in ("What it was taken for", "When", "Where", "What the tokens say", "Like what", "Attributes seen"):
        assert part in content
    assert "80.0 %" in content and "my model" in content and "it may be upside down." in content
    assert "Which arm moves most?" in content and "the unit was inferred." in content


def test_names_are_text_not_markup(explanation, tmp_path):
    content = write_explanations([explanation], tmp_path / "why.html").read_text()
    assert "<script" not in content and "<b>cheer" not in content
    assert "&lt;script&gt;alert(1)" in content and "clap &amp; &lt;b&gt;cheer" in content


def test_it_says_from_when_on_the_label_is_ahead(explanation, tmp_path):
    content = write_explanations([explanation], tmp_path / "why.html").read_text()
    assert "wave is ahead from 56% of the recording on" in content


def test_the_joint_that_counts_most_is_named_first(explanation, tmp_path):
    content = write_explanations([explanation], tmp_path / "why.html").read_text()
    after = content[content.index("Joints that count most") :]
    first = re.search(r'<span class="name">([^<]+)</span>.*?<span class="value">([^<]+)</span>', after).groups()
    assert first == ("left hand, person 1", "3")


def test_repeated_tokens_are_shown_once(explanation):
    runs = token_runs(explanation.tokens)
    assert [len(run) for run in runs] == [4] * 16
    assert runs[7][0].person == 0 and runs[8][0].person == 1


def test_several_recordings_share_a_page_with_a_list(explanation, tmp_path):
    other = replace(explanation, name="second", nearest=[], fps=None)
    content = pages.check_page(write_explanations([explanation, other], tmp_path / "why.html"))
    assert 'href="#r1"' in content and 'id="r1"' in content
    assert "carries no training recordings" in content


def test_an_answer_of_the_student_is_said_to_be_its(explanation, tmp_path):
    assert "student" not in write_explanations([explanation], tmp_path / "why.html").read_text()
    content = pages.check_page(write_explanations([replace(explanation, answered_by="student")], tmp_path / "why.html"))
    assert "answered by the student" in content and "all that the language model is given" not in content


def test_familiarity_is_said_in_words_where_the_answer_carries_it(explanation, tmp_path):
    def page(**beside) -> str:
        ranking = [{**explanation.ranking[0], **beside}, *explanation.ranking[1:]]
        return write_explanations([replace(explanation, ranking=ranking)], tmp_path / "why.html").read_text()

    assert "amiliarity" not in page()
    assert "12% of familiar motions are stranger" in page(familiarity=0.12)
    assert "Like nothing the model was trained on" not in page(familiarity=0.12)
    assert "Like nothing the model was trained on" in page(familiarity=0.01, unfamiliar=True)


def test_the_picture_shows_poses_curves_and_bars(explanation, tmp_path):
    path = plot_explanation(replace(explanation, name="a"), tmp_path / "why.png")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[1] == 1800 and (pixels.sum(-1) < 700).mean() > 0.02
    red = (abs(pixels - [194, 37, 12]).sum(-1) < 12).sum()
    assert red > 50, "the joint that counts most is drawn in the strongest colour"


def test_nothing_and_a_wrong_suffix_are_refused(explanation, tmp_path):
    with pytest.raises(ValueError, match="got none"):
        write_explanations([], tmp_path / "why.html")
    with pytest.raises(ValueError, match=r"\.html"):
        write_explanations([explanation], tmp_path / "why.txt")
