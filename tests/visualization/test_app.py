"""What the page says: names that people type, errors in plain words, answers with their doubts. No browser needed."""

from __future__ import annotations

import re
import threading
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from llm_action.datasets.synthetic.sequences import generate_sequence
from llm_action.modeling.skeleton_recording import RecordingWarning
from llm_action.modeling.skeleton_sequence import SkeletonSequence
from llm_action.modeling.skeleton_stream import StreamResult
from llm_action.skeleton_io import read_skeleton, write_npz
from llm_action.visualization.app.answering import Answer, Row, names_in, recognise
from llm_action.visualization.app.loading import LoadingModel
from llm_action.visualization.app.pieces import answer_html, live_html, timeline_html, trouble_html
from llm_action.visualization.app.words import OPTIONS, SAY_IT, doubt_in_words, no_model, trouble, unforeseen

gradio = pytest.importorskip("gradio", reason="the page needs gradio (pip install 'llm-action[app]')")

from llm_action.visualization.app import camera, camera_part  # noqa: E402
from llm_action.visualization.app.recording_part import _guarded, _said  # noqa: E402

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


@pytest.fixture(scope="module")
def sequence():
    return generate_sequence("waving a hand", subject=1, camera=2, repetition=1)


@pytest.fixture(scope="module")
def files_of_a_wave(sequence, recordings, tmp_path_factory):
    """The same movement as .mat, .npy, .npz and .csv, and with axes that are left-handed."""
    folder = tmp_path_factory.mktemp("wave")
    (folder / "a.mat").write_bytes(sorted(recordings.glob("a3_*"))[0].read_bytes())
    np.save(folder / "a.npy", sequence.to_layout("kinect20").joints[0])
    np.savez(folder / "a.npz", joints=sequence.joints, layout=sequence.layout)
    np.savez(folder / "mirrored.npz", joints=sequence.joints * [1, 1, -1], layout=sequence.layout)
    np.savetxt(folder / "a.csv", sequence.joints[0].reshape(sequence.num_frames, -1), delimiter=",")
    return folder


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

    @pytest.mark.parametrize(
        ("name", "said", "parts"),
        [
            ("a.mat", {"layout": "ntu25"}, ["“Joint layout” 'ntu25'", "Choose “as the file says” for it"]),
            ("a.npz", {"layout": "body25"}, ["layout 'ntu25' in the file", "Choose “as the file says” for it"]),
            ("a.npy", {"layout": "ntu25"}, ["choose “Joint layout”", f"under “{SAY_IT}”"]),
            ("a.npy", {"axes": "XYZ"}, ["“Order of an array's axes” as letters", "'XYZ'"]),
            ("a.csv", {"columns": "time"}, ["1 columns (“Columns of a table” 'time')", "Say what all columns are"]),
            ("a.npy", {"image_size": "wide"}, ["of the video as 1920x1080", "leave it empty"]),
            ("a.npy", {"missing": "none"}, ["a number that marks missing joints", "'none'", "leave it empty"]),
        ],
        ids=lambda given: next(iter(given)) if isinstance(given, dict) else None,
    )
    def test_what_cannot_be_so_is_said_in_the_page_s_words(self, files_of_a_wave, name, said, parts):
        file = str(files_of_a_wave / name)
        with pytest.raises(ValueError) as caught:
            read_skeleton(file, **_said(tuple(said.get(option, "") for option in OPTIONS)))
        found = trouble(caught.value, [file])
        told = " ".join((found.expected, found.came, found.remedy))
        assert all(part in told for part in parts), told
        assert not any(f"{option}=" in told for option in OPTIONS)

    @pytest.mark.parametrize(
        ("name", "said", "part"),
        [
            ("a.mat", {"axes": "XYZ"}, "“Order of an array's axes” XYZ counts for nothing"),
            ("a.mat", {"columns": "time"}, "“Columns of a table” time counts for nothing"),
            ("a.mat", {"up": "x"}, "as stated by “Axis that points up” x"),
            ("a.mat", {"unit": "mm"}, "although “Unit of the coordinates” mm is stated"),
            ("a.npz", {"mirrored": True}, "“Handedness of the axes” left-handed or mirrored, as stated; try right"),
            ("mirrored.npz", {"mirrored": False}, "“Handedness of the axes” right-handed, as stated; try left-handed"),
            ("mirrored.npz", {}, "“Handedness of the axes” settles it"),
        ],
    )
    def test_doubts_are_said_in_the_page_s_words(self, files_of_a_wave, name, said, part):
        file = files_of_a_wave / name
        with pytest.warns(RecordingWarning) as caught:
            read_skeleton(file, **said)
        told = doubt_in_words(str(caught[0].message), file.stem)
        assert part in told and not told.startswith(file.stem)

    def test_any_other_text_is_kept_whole(self):
        assert trouble(ValueError("the moon is full"), ["a.npz"]).came == "The moon is full."

    def test_as_html_an_alert_with_nothing_live_in_it(self):
        html = trouble_html(trouble(ValueError("expected <b>a</b>, found <script>x</script>; run"), ["<i>.npy"]))
        assert {tag for tag, _ in Reader(html).attributes} <= {"div", "strong", "dl", "dt", "dd"}
        assert 'role="alert"' in html

    def test_the_others_say_what_to_do(self):
        for said in (no_model("no such folder"), unforeseen(KeyError("x"))):
            assert said.headline and said.came and said.remedy


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
        said = answer_html(answer_of(sequence, strange))
        assert "unlike anything the model was trained on" in said and "Unfamiliar; nearest is wave" in said

    def test_nothing_is_sure_or_impossible(self, sequence):
        text = Reader(answer_html(answer_of(sequence, [{"label": "wave", "score": 0.999}, SURE[1] | {"score": 0.001}])))
        assert "wave, over 99 %" in text.text and "under 1 %" in text.text

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
        assert "unlike anything" not in live_html(result, "") and "behind" not in live_html(result, "")
        assert "20 pictures behind" in live_html(StreamResult(None, 3.0, "wave", 0.9, SURE, "wave", 0.8, 20), "")
        assert "it broke" in live_html(result, "it broke") and 'role="alert"' in live_html(result, "it broke")


class TestWhatElseCanGoWrong:
    """What a browser test would have to wait for, or break."""

    def ready(self, recognize) -> LoadingModel:
        model = LoadingModel(lambda: recognize)
        model.wait()
        return model

    @pytest.mark.parametrize(
        ("error", "headline"),
        [
            (ValueError("Expected a recording with a skeleton: there is none."), "wave.npz could not be recognised."),
            (KeyError("joints"), "This page made a mistake."),
        ],
    )
    def test_in_the_place_of_an_explanation(self, sequence, error, headline):
        def action(recognize, found):
            raise error

        html, _ = _guarded(self.ready(None), action)(answer_of(sequence, name="wave.npz"))
        assert headline in Reader(html).text and 'role="alert"' in html

    def test_a_model_that_fails_without_a_word_is_named_by_its_error(self):
        def load():
            raise MemoryError

        model = LoadingModel(load)
        with pytest.raises(RuntimeError, match="MemoryError"):
            model.wait()

    def test_a_page_without_an_estimator_has_no_camera(self, monkeypatch):
        monkeypatch.setattr(camera_part, "has_estimator", lambda: False)
        with gradio.Blocks() as page:
            camera_part.add_camera_part(self.ready(None))
        (said,) = (block for block in page.blocks.values() if isinstance(block, gradio.HTML))
        assert "pip install 'llm-action[video]'" in Reader(said.value).text


class TestCamera:
    """Pictures one after the other, with an estimator that finds nobody in them."""

    PICTURE = np.zeros((6, 8, 3), np.uint8)

    @pytest.fixture(autouse=True)
    def estimator(self, monkeypatch):
        class Estimator:
            def __call__(self, picture, seconds):
                if picture.shape != TestCamera.PICTURE.shape:
                    raise KeyError("a picture of another size")

            def close(self):
                pass

        monkeypatch.setattr(camera, "Estimator", Estimator)
        monkeypatch.setattr(camera, "_PAUSE", 0.05)

    def until(self, part: str, model: LoadingModel, current=None):
        """Shows pictures until the page says so."""
        for _ in range(200):
            _, html, current = camera_part.follow(model, self.PICTURE, current)
            if part in Reader(html).text:
                return current
            time.sleep(0.01)
        pytest.fail(f"never said {part!r}, but {html}")

    def test_while_the_model_is_loading_and_when_it_never_comes(self):
        go_on = threading.Event()

        def load():
            go_on.wait(60)
            raise ValueError("runs/none: expected a model folder, found nothing")

        model = LoadingModel(load)
        assert self.until("The model is still loading", model) is None
        go_on.set()
        self.until("The model could not be loaded", model)

    def test_a_stream_that_stops_begins_again_when_the_camera_does(self):
        class Recognize:
            begun = 0

            def stream(self, frames, *arguments, **options):
                self.begun += 1
                next(frames)
                if self.begun == 1:
                    raise ValueError("Frame 3 of the stream: expected 33 joints, got 32")
                yield StreamResult(None, 3.0, None, 0.0, [], None, 0.0, 0)

        model = LoadingModel(Recognize)
        model.wait()
        current = self.until("The stream stopped. What came Frame 3 of the stream", model)
        assert self.until("Stop the camera and start it again", model, current) is current
        time.sleep(0.1)
        assert self.until("Nobody is seen", model, current) is not current

    def test_a_mistake_of_the_page(self):
        model = LoadingModel(object)
        model.wait()
        _, html, _ = camera_part.follow(model, np.zeros((2, 2, 3), np.uint8), None)
        assert "This page made a mistake" in html and "another size" in html


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

    def test_three_persons(self, recognize, tmp_path, sequence):
        crowd = np.concatenate([sequence.joints + np.array([offset, 0, 0]) for offset in (0, 1.5, 3)])
        write_npz(SkeletonSequence(crowd, sequence.layout, 30.0), tmp_path / "crowd.npz")
        found = recognise(recognize, [str(tmp_path / "crowd.npz")], {}, None, None)
        assert [row.title for row in found.rows] == ["All 3 together", "Person 1", "Person 2", "Person 3"]

    def test_names_of_one_s_own(self, recognize, recordings):
        file = str(sorted(recordings.glob("a3_*"))[0])
        found = recognise(recognize, [file], {}, names_in("bowing: bending forward\nwaving"), None)
        assert {entry["label"] for entry in found.rows[0].ranking} == {"bowing", "waving"}

    def test_a_doubtful_recording_says_why(self, recognize, sequence, tmp_path):
        joints = np.tile(sequence.joints[0], (30, 1, 1))  # a minute and more: one label is too few
        np.savez(tmp_path / "long.npz", joints=joints, layout=sequence.layout, up="y", fps=30.0)
        found = recognise(recognize, [str(tmp_path / "long.npz")], {}, None, None)
        (doubt,) = [doubt for doubt in found.doubts if "moments" in doubt]
        assert doubt_in_words(doubt, "long").endswith(
            "“What happens when?” tells apart what is done in turn, or again."
        )

    def test_files_that_are_no_recording_together(self, recognize, recordings):
        files = [str(file) for file in sorted(recordings.glob("a3_*"))[:2]]
        with pytest.raises(ValueError, match="expected one recording, found 2 files"):
            recognise(recognize, files, {}, None, None)
