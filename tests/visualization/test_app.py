"""What the page says: names that people type, errors in plain words, answers with their doubts. No browser needed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.skeleton_stream import StreamResult
from llm_action.skeleton_io import read_skeleton, write_npz
from llm_action.visualization.app.answering import Answer, Row, names_in, recognise
from llm_action.visualization.app.pieces import answer_html, live_html, timeline_html, trouble_html
from llm_action.visualization.app.words import OPTIONS, SAY_IT, no_model, trouble, unforeseen

SURE = [{"label": "wave", "score": 0.9}, {"label": "clap", "score": 0.1}]


class Reader(HTMLParser):
    """Collects the texts of a piece of HTML, and checks that what is opened is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in ("img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


class TestNames:
    def test_nothing_means_the_trained_ones(self):
        assert names_in(" \n ") is None

    @pytest.mark.parametrize("text", ["bowing\nwaving a hand\n", "bowing, waving a hand", " bowing \n\n waving a hand"])
    def test_a_list(self, text):
        assert names_in(text) == ["bowing", "waving a hand"]

    def test_names_with_what_they_mean(self):
        found = names_in("bowing: bending forward; leaning down\nwaving")
        assert found == {"bowing": ["bending forward", "leaning down"], "waving": ["waving"]}

    @pytest.mark.parametrize("text", ["bowing\nbowing", ": bending forward\nwaving"])
    def test_what_is_wrong_is_said(self, text):
        with pytest.raises(ValueError, match=r"expected each name once.*change that line"):
            names_in(text)

    def test_one_name_is_no_choice(self):
        with pytest.raises(ValueError, match="'bowing' alone; write a second one"):
            names_in("bowing: bending forward")


class TestTrouble:
    def test_the_three_parts_of_a_reader_s_error(self, tmp_path):
        file = tmp_path / "holiday.json"
        file.write_text('{"a": 1}')
        with pytest.raises(ValueError) as caught:
            read_skeleton(file)
        said = trouble(caught.value, [str(file)])
        assert said.headline == "holiday.json could not be recognised."
        assert "OpenPose" in said.expected and "keys ['a']" in said.came and said.remedy
        assert str(tmp_path) not in repr(said)

    def test_options_are_called_what_the_page_calls_them(self):
        error = ValueError("/tmp/x.npy: expected one layout that fits, came 20 joints; pass layout= or up=")
        said = trouble(error, ["/tmp/x.npy"])
        assert "layout=" not in repr(said)
        assert all(name in said.remedy for name in (OPTIONS["layout"], OPTIONS["up"], SAY_IT))

    def test_names_are_not_blamed_on_the_recording(self):
        with pytest.raises(ValueError) as caught:
            names_in("bowing\nbowing")
        assert "names" in trouble(caught.value, []).headline

    def test_any_other_text_is_kept_whole(self):
        assert trouble(ValueError("the moon is full"), ["a.npz"]).came == "The moon is full."

    def test_as_html_an_alert_with_nothing_live_in_it(self):
        html = trouble_html(trouble(ValueError("expected <b>a</b>, found <script>x</script>; run"), ["<i>.npy"]))
        assert {tag for tag, _ in Reader(html).attributes} <= {"div", "strong", "dl", "dt", "dd"}
        assert 'role="alert"' in html

    def test_the_others_say_what_to_do(self):
        for said in (no_model("no such folder"), unforeseen(KeyError("x"))):
            assert said.headline and said.came and said.remedy


@pytest.fixture(scope="module")
def sequence():
    return generate_sequence("waving a hand", subject=1, camera=2, repetition=1)


def answer_of(sequence, ranking=SURE, **changed) -> Answer:
    row = Row("Person 1", sequence, ranking, "<a1> <a2>")
    return Answer(**{"name": "x.npz", "sequence": sequence, "rows": [row], "names": None, "doubts": (), "notes": (),
                     **changed})  # fmt: skip


class TestAnswer:
    def test_labels_scores_sentence_and_a_described_picture(self, sequence):
        read = Reader(answer_html(answer_of(sequence, notes=("Units: metres.",))))
        for part in ("wave, 90 %", "clap", "10 %", "<a1> <a2>", "Units: metres."):
            assert part in read.text
        (picture,) = [attributes for tag, attributes in read.attributes if tag == "img"]
        assert picture["src"].startswith("data:image/gif;base64,") and "Person 1" in picture["alt"]

    def test_doubts_are_shown(self, sequence):
        text = Reader(answer_html(answer_of(sequence, doubts=("x: it may lie; pass up=z",)))).text
        assert "Take this with care" in text and "it may lie" in text and OPTIONS["up"] in text

    def test_unfamiliar_motion_is_said_to_be_so(self, sequence):
        assert "unlike anything" not in answer_html(answer_of(sequence))
        strange = [{**SURE[0], "unfamiliar": True}, SURE[1]]
        assert "unlike anything the model was trained on" in answer_html(answer_of(sequence, strange))

    def test_a_weak_best_name_is_said_to_be_so(self, sequence):
        even = [{"label": name, "score": 0.25} for name in "abcd"]
        assert "not sure" in answer_html(answer_of(sequence, even))
        assert "not sure" not in answer_html(answer_of(sequence))

    def test_texts_are_escaped(self, sequence):
        hostile = [{"label": "<img src=x onerror=alert(1)>", "score": 1.0}]
        assert "<img src=x" not in answer_html(answer_of(sequence, hostile, name="<script>.npz"))

    def test_a_timeline_for_each_person(self):
        segments = [
            {"start": 0.0, "end": 4.0, "label": "wave", "score": 0.9, "person": 0},
            {"start": 4.0, "end": 9.5, "label": "clap", "score": 0.8, "person": 0},
            {"start": 2.0, "end": 3.0, "label": "wave", "score": 0.7, "person": 1},
        ]
        read = Reader(timeline_html(segments, 10.0))
        assert "Person 1" in read.text and "Person 2" in read.text and "4.0 to 9.5 s: clap, 80 %" in read.text
        widths = [float(found) for found in re.findall(r"width:([\d.]+)%", timeline_html(segments, 10.0))]
        assert widths == pytest.approx([40, 55, 10])
        assert "No action" in timeline_html([], 10.0)

    def test_a_stream_says_where_it_is(self):
        result = StreamResult(None, 3.0, "wave", 0.9, SURE, "wave", 0.8, 0)
        assert "wave" in live_html(result, "") and "80 %" in live_html(result, "")
        assert "three seconds" in live_html(None, "")
        assert "Nobody" in live_html(StreamResult(None, 3.0, None, 0.0, [], None, 0.0, 0), "")
        strange = [{**one, "unfamiliar": True} for one in SURE]
        assert "unlike anything" in live_html(StreamResult(None, 3.0, "wave", 0.9, strange, "wave", 0.8, 0), "")
        assert "unlike anything" not in live_html(result, "")
        assert "it broke" in live_html(result, "it broke") and 'role="alert"' in live_html(result, "it broke")


@pytest.fixture(scope="module")
def recognize(tiny_export):
    from transformers import pipeline

    import llm_action  # noqa: F401

    return pipeline("skeleton-action-recognition", model=str(tiny_export))


class TestRecognise:
    def test_one_person_one_row(self, recognize, recordings):
        file = str(sorted(recordings.glob("a3_*"))[0])
        found = recognise(recognize, [file], {}, None, None)
        (row,) = found.rows
        expected = recognize(file)
        assert [entry["label"] for entry in row.ranking] == [entry["label"] for entry in expected]
        assert row.ranking[0]["score"] == pytest.approx(expected[0]["score"], abs=1e-4)
        assert row.sentence.split() == recognize.processor.tokenize(file)

    def test_two_persons_together_and_each(self, recognize, tmp_path):
        pair = generate_sequence("shaking hands", subject=1, camera=2, repetition=1)
        write_npz(pair, tmp_path / "pair.npz")
        found = recognise(recognize, [str(tmp_path / "pair.npz")], {}, None, None)
        assert [row.title for row in found.rows] == ["Both together", "Person 1", "Person 2"]
        np.testing.assert_allclose(found.rows[2].sequence.joints[0], found.sequence.joints[1])

    def test_names_of_one_s_own(self, recognize, recordings):
        file = str(sorted(recordings.glob("a3_*"))[0])
        found = recognise(recognize, [file], {}, names_in("bowing: bending forward\nwaving"), None)
        assert {entry["label"] for entry in found.rows[0].ranking} == {"bowing", "waving"}

    def test_a_doubtful_recording_says_why(self, recognize, sequence, tmp_path):
        joints = np.tile(sequence.joints[0], (30, 1, 1))  # a minute and more: one label is too few
        np.savez(tmp_path / "long.npz", joints=joints, layout=sequence.layout, up="y", fps=30.0)
        found = recognise(recognize, [str(tmp_path / "long.npz")], {}, None, None)
        assert any("moments" in doubt for doubt in found.doubts)

    def test_files_that_are_no_recording_together(self, recognize, recordings):
        files = [str(file) for file in sorted(recordings.glob("a3_*"))[:2]]
        with pytest.raises(ValueError, match="expected one recording, found 2 files"):
            recognise(recognize, files, {}, None, None)
