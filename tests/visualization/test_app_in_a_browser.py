"""The page in a real browser: headless Chromium on loopback. Screenshots lie in runs/screenshots afterwards."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
gradio = pytest.importorskip("gradio", reason="the page needs gradio (pip install 'llm-action[app]')")
playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")

from llm_action.modeling.configuration_llm_ar import LlmArConfig  # noqa: E402
from llm_action.modeling.student import ActionStudent, StudentConfig  # noqa: E402
from llm_action.skeleton_io.video import pictures  # noqa: E402
from llm_action.visualization.app.estimator import has_estimator  # noqa: E402
from llm_action.visualization.app.page import launch_app  # noqa: E402

SCREENSHOTS = Path(__file__).resolve().parents[2] / "runs" / "screenshots"
WIDE, NARROW = 1200, 390
SECONDS = 280_000  # milliseconds that an answer may take on a busy machine
CHROMIUM = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def _chromium() -> str | None:
    return os.environ.get("LLM_ACTION_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=_chromium(), args=list(CHROMIUM))
        except playwright.Error as error:
            pytest.skip(
                f"no browser: install chromium or name one in LLM_ACTION_CHROMIUM ({str(error).splitlines()[0]})"
            )
        yield browser
        browser.close()


class Page:
    """One visitor's page, with everything it asked the network for."""

    def __init__(self, browser, url: str, width: int):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, permissions=["camera"])
        self.page, self.url, self.width = self.context.new_page(), url, width
        self.page.set_default_timeout(SECONDS)
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.page.get_by_role("button", name="Name the action").wait_for()

    @property
    def answer(self):
        return self.page.locator("#answer")

    def upload(self, *files: Path) -> None:
        self.page.locator("#recording input[type=file]").set_input_files([str(file) for file in files])

    def upload_another(self, *files: Path) -> None:
        self.page.locator("#recording").get_by_role("button", name=re.compile("clear|remove", re.I)).first.click()
        self.upload(*files)

    def start_camera(self) -> None:
        self.page.locator("#camera").get_by_role("button", name="Access Webcam").click()
        self.page.locator("#camera").get_by_role("button", name=re.compile("capture|record", re.I)).click()

    def keep(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}_{self.width}.png", full_page=True)

    def overflow(self) -> int:
        """Pixels by which the page is wider than the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth") - self.width


def served(load: Callable) -> tuple[str, Callable[[], None]]:
    """Address of a page on loopback, and what ends it."""
    app = launch_app(load, "tiny", server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    return app.local_url, app.close


@pytest.fixture(scope="module")
def url(tiny_export) -> Iterator[str]:
    from transformers import pipeline

    address, close = served(lambda: pipeline("skeleton-action-recognition", model=str(tiny_export)))
    yield address
    close()


@pytest.fixture
def visit(browser, url) -> Iterator[Callable[..., Page]]:
    opened: list[Page] = []

    def one(width: int = WIDE, address: str = url) -> Page:
        opened.append(Page(browser, address, width))
        return opened[-1]

    yield one
    for page in opened:
        page.context.close()


@pytest.fixture
def recording(recordings) -> Path:
    return sorted(recordings.glob("a3_*"))[0]  # a wave


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_an_uploaded_recording_is_named(visit, recording, width):
    page = visit(width)
    page.keep("start")
    page.upload(recording)
    page.answer.locator("h2").wait_for()
    assert "wave" in page.answer.inner_text()
    page.answer.get_by_role("img").first.wait_for()
    assert page.answer.get_by_role("listitem").count() == 5  # of the classes trained on
    page.keep("answer")
    assert page.overflow() <= 0


def test_an_example_answers_at_once(visit):
    page = visit()
    page.page.get_by_role("button", name="shaking hands").click()
    page.answer.get_by_text("Person 2").wait_for()
    assert page.answer.get_by_role("article").count() == 3  # together, and each


def test_nothing_is_asked_of_other_machines(visit, recording):
    page = visit()
    page.upload(recording)
    page.answer.locator("h2").wait_for()
    assert [url for url in page.asked if not url.startswith((page.url, "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_wrong_file_is_explained_and_the_next_one_answered(visit, recording, tmp_path, width):
    wrong = tmp_path / "shopping_list_of_a_very_long_name_that_no_telephone_can_show_in_one_line.json"
    wrong.write_text('{"milk": 2}')
    page = visit(width)
    page.upload(wrong)
    alert = page.answer.get_by_role("alert")
    alert.wait_for()
    text = alert.inner_text()
    for part in (wrong.name, "Expected", "OpenPose", "What came", "milk", "What to do"):
        assert part in text
    assert "/tmp" not in text and "Traceback" not in text
    page.keep("wrong_file")
    assert page.overflow() <= 0
    page.upload_another(recording)
    page.answer.locator("h2").wait_for()
    assert page.answer.get_by_role("alert").count() == 0


def test_what_the_file_does_not_say_can_be_said(visit, recordings, tmp_path):
    import scipy.io

    joints = scipy.io.loadmat(sorted(recordings.glob("a3_*"))[0])["d_skel"].transpose(2, 0, 1)
    np.save(tmp_path / "bare.npy", joints)
    page = visit()
    page.page.get_by_role("button", name="What the file does not say").click()
    page.page.get_by_label("Joint layout").click()
    page.page.get_by_role("option", name="ntu25", exact=True).click()
    page.upload(tmp_path / "bare.npy")
    page.answer.get_by_role("alert").wait_for()
    page.keep("wrong_layout")
    page.page.get_by_label("Joint layout").click()
    page.page.get_by_role("option", name="kinect20_utd", exact=True).click()
    page.page.get_by_role("button", name="Name the action").click()
    page.answer.locator("h2").wait_for()


def test_names_of_one_s_own(visit, recording):
    page = visit()
    page.upload(recording)
    page.answer.locator("h2").wait_for()
    page.page.get_by_label("Names to choose among").fill("bowing: bending the upper body forward\ngreeting: wave")
    page.page.get_by_role("button", name="Name the action").click()
    page.answer.get_by_text("greeting").first.wait_for()
    assert page.answer.get_by_role("listitem").count() == 2
    page.page.get_by_label("Names to choose among").fill("bowing\nbowing")
    page.page.get_by_role("button", name="Name the action").click()
    page.answer.get_by_role("alert").wait_for()
    assert "each name once" in page.answer.inner_text()
    page.keep("names_twice")


def test_asking_without_a_recording(visit):
    page = visit()
    page.page.get_by_role("button", name="Name the action").click()
    page.answer.get_by_text("Choose a recording first").wait_for()


def test_by_keyboard_alone(visit):
    """Tab reaches an example, Enter starts it, and every control has a name."""
    page = visit()
    for _ in range(20):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("document.activeElement.innerText") == "squatting":
            break
    page.page.keyboard.press("Enter")
    page.answer.locator("h2").wait_for()
    unnamed = page.page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([type=hidden]), textarea, iframe, img")].filter(one =>
          one.checkVisibility() && !(one.innerText?.trim() || one.ariaLabel || one.title || one.alt ||
          one.labels?.length || one.ariaLabelledByElements?.length)).map(one => one.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    assert page.answer.get_attribute("aria-live") == "polite"


def test_a_model_that_is_still_loading(browser, visit, tiny_export, recording):
    from transformers import pipeline

    go_on = threading.Event()

    def load():
        go_on.wait(60)
        return pipeline("skeleton-action-recognition", model=str(tiny_export))

    address, close = served(load)
    try:
        page = visit(NARROW, address)
        page.page.locator("#status").get_by_text("still loading").wait_for()
        page.upload(recording)
        page.answer.get_by_text("still loading").wait_for()
        page.keep("loading")
        go_on.set()
        page.answer.locator("h2").wait_for()
        page.page.locator("#status").get_by_text("still loading").wait_for(state="detached")
    finally:
        go_on.set()
        close()


def test_a_model_that_cannot_be_loaded(visit, recording):
    def load():
        raise ValueError("runs/none: expected a model folder, found nothing")

    address, close = served(load)
    try:
        page = visit(WIDE, address)
        page.page.locator("#status").get_by_role("alert").wait_for()
        page.upload(recording)
        page.answer.get_by_role("alert").wait_for()
        assert "expected a model folder" in page.answer.inner_text()
        page.keep("no_model")
    finally:
        close()


class TestWhatThePipelineMayHave:
    """Segments, explanations and unfamiliar motion, said by a stand-in around the tiny model."""

    @pytest.fixture(scope="class")
    def rich_url(self, tiny_export) -> Iterator[str]:
        from transformers import pipeline

        def load():
            recognize = pipeline("skeleton-action-recognition", model=str(tiny_export))
            parts = {"start": 0.0, "end": 4.0, "label": "wave"}, {"start": 5.0, "end": 9.0, "label": "a very long name"}

            def answer(inputs, **options):
                return [[{**entry, "unfamiliar": True} for entry in one] for one in recognize(inputs, **options)]

            class Rich:
                processor = recognize.processor
                __call__ = staticmethod(answer)
                segment = staticmethod(lambda sequence: [{**part, "score": 0.8, "person": 0} for part in parts])

            return Rich()

        address, close = served(load)
        yield address
        close()

    @pytest.mark.parametrize("width", [WIDE, NARROW])
    def test_unfamiliar_motion_and_a_timeline(self, visit, rich_url, tmp_path, recordings, width):
        import scipy.io

        joints = scipy.io.loadmat(sorted(recordings.glob("a3_*"))[0])["d_skel"].transpose(2, 0, 1)
        np.savez(tmp_path / "long.npz", joints=np.tile(joints, (8, 1, 1)), layout="kinect20_utd", fps=30.0)
        page = visit(width, rich_url)
        page.upload(tmp_path / "long.npz")
        page.answer.get_by_text("unlike anything the model was trained on").wait_for()
        page.page.get_by_role("button", name="What happens when?").click()
        page.page.get_by_text("5.0 to 9.0 s: a very long name").wait_for()
        page.keep("timeline")
        assert page.overflow() <= 0


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_why(visit, recording, width):
    page = visit(width)
    page.upload(recording)
    page.answer.locator("h2").wait_for()
    page.page.get_by_role("button", name="Why this answer?").click()
    frame = page.page.frame_locator("iframe.explanation")
    frame.locator("h1, h2").first.wait_for()
    page.keep("why")
    with page.page.expect_download() as kept:
        page.page.locator("#keep").click()
    assert "<html" in Path(kept.value.path()).read_text(encoding="utf-8")


def test_a_mistake_of_the_page(visit, tiny_export, recording):
    """What nobody foresaw is said, in the place of the answer or of the reasons; the page goes on."""
    from transformers import pipeline

    recognize = pipeline("skeleton-action-recognition", model=str(tiny_export))

    class Mistaken:
        processor, asked = recognize.processor, 0

        def __call__(self, inputs, **options):
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("the wheels came off")
            return recognize(inputs, **options)

        def explain(self, *arguments, **options):
            raise KeyError("reasons")

    address, close = served(Mistaken)
    try:
        page = visit(NARROW, address)
        page.upload(recording)
        page.answer.get_by_role("alert").wait_for()
        said = page.answer.inner_text()
        assert "This page made a mistake." in said and "the wheels came off" in said and "Try again" in said
        page.keep("mistake")
        page.page.get_by_role("button", name="Name the action").click()
        page.answer.locator("h2").wait_for()
        page.page.get_by_role("button", name="Why this answer?").click()
        page.page.locator("#more").get_by_text("This page made a mistake.").wait_for()
        assert page.overflow() <= 0
    finally:
        close()


@pytest.mark.parametrize("film", ["S001C001P001R001A001_rgb.avi", "demo.mp4"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_video(visit, data_root, film, width):
    if not has_estimator():
        pytest.skip("videos need the video extra (pip install 'llm-action[video]')")
    page = visit(width)
    page.upload(data_root / "video" / film)
    page.answer.locator("h2").wait_for()
    said = page.answer.inner_text()
    assert "mediapipe33" in said
    often_empty = re.search(r"Take this with care\. Nobody was found in \d+ of 280 frames", said)
    assert bool(often_empty) == (film == "demo.mp4")
    page.keep(f"video_{Path(film).stem.split('_')[0]}")
    assert page.overflow() <= 0


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_camera(visit, width):
    page = visit(width)
    page.page.get_by_role("tab", name="The camera").click()
    live = page.page.locator("#live")
    if not has_estimator():
        pytest.skip("the camera needs the video extra (pip install 'llm-action[video]')")
    page.start_camera()
    live.get_by_text("Nobody is seen").wait_for()  # the browser's own test picture
    page.keep("camera_nobody")
    assert page.overflow() <= 0


def test_a_page_without_an_estimator_says_how_to_get_one(visit, monkeypatch):
    monkeypatch.setattr("llm_action.visualization.app.camera_part.has_estimator", lambda: False)
    address, close = served(lambda: None)
    try:
        page = visit(NARROW, address)
        page.page.get_by_role("tab", name="The camera").click()
        page.page.locator("#live").get_by_text("pip install 'llm-action[video]'").wait_for()
        page.keep("no_camera")
    finally:
        close()


def test_a_stream_that_stops_begins_again_with_the_camera(visit):
    if not has_estimator():
        pytest.skip("the camera needs the video extra (pip install 'llm-action[video]')")

    class Failing:
        begun = 0

        def stream(self, frames, *arguments, **options):
            self.begun += 1
            if self.begun == 1:
                next(frames)
                raise ValueError("Frame 1 of the stream: expected 33 joints, got 32")
            yield from ()

    address, close = served(Failing)
    try:
        page = visit(NARROW, address)
        page.page.get_by_role("tab", name="The camera").click()
        page.start_camera()
        live, record = page.page.locator("#live"), page.page.locator("#camera").get_by_label("capture photo")
        live.get_by_text("The stream stopped.").wait_for()
        assert "expected 33 joints, got 32" in live.inner_text() and "Stop the camera" in live.inner_text()
        page.keep("stopped")
        record.click()
        page.page.wait_for_timeout(2000)
        record.click()
        live.get_by_text("Looking: the first name comes").wait_for()
    finally:
        close()


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_somebody_before_the_camera(browser, url, data_root, tmp_path, width):
    if not has_estimator():
        pytest.skip("the camera needs the video extra (pip install 'llm-action[video]')")
    film = tmp_path / "film.mjpeg"
    with film.open("wb") as file:
        for picture in pictures(next((data_root / "video").glob("*.avi"))):
            Image.fromarray(picture).resize((640, 360)).save(file, "JPEG")
    arguments = [*CHROMIUM, f"--use-file-for-fake-video-capture={film}"]
    filming = browser.browser_type.launch(executable_path=_chromium(), args=arguments)
    try:
        page = Page(filming, url, width)
        page.page.get_by_role("tab", name="The camera").click()
        page.start_camera()
        page.page.locator("#live").get_by_role("listitem").first.wait_for()
        page.keep("camera")
        assert page.page.locator("#live").get_by_role("listitem").count() == 5
        assert page.overflow() <= 0
    finally:
        filming.close()


@pytest.fixture(scope="module")
def student_alone(tiny_export, without_base) -> Path:
    """A model with an untrained student, whose base model is not there."""
    folder = without_base(tiny_export)
    labels = LlmArConfig.from_pretrained(folder).class_names
    ActionStudent(StudentConfig(list(labels), num_frames=16)).save_pretrained(folder)
    return folder


@contextmanager
def commanded(*arguments: str) -> Iterator[str]:
    """The address that `llm-action app` serves with these arguments."""
    port = str(7990 + os.getpid() % 1000)
    command = [sys.executable, "-m", "llm_action.cli", "app", *arguments, "--port", port]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "http://127.0.0.1" in line:
                break
        else:
            pytest.fail("".join(said))
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(30)


def test_the_command_serves_the_page(visit, tiny_export, recording):
    with commanded(str(tiny_export)) as address:
        page = visit(WIDE, address)
        page.upload(recording)
        page.answer.locator("h2").wait_for()
        assert "wave" in page.answer.inner_text()


def test_the_student_answers_fast_and_new_names_are_the_language_model_s(visit, student_alone, recording):
    with commanded(str(student_alone), "--fast") as address:
        page = visit(NARROW, address)
        page.upload(recording)
        page.answer.locator("h2").wait_for()
        page.page.get_by_role("button", name="Why this answer?").click()
        page.page.frame_locator("iframe.explanation").get_by_text("student").first.wait_for()
        page.keep("fast")
        page.page.get_by_label("Names to choose among").fill("bowing\ngreeting")
        page.page.get_by_role("button", name="Name the action").click()
        page.answer.get_by_text("the base model").wait_for()  # which this model lacks
        page.keep("fast_without_base")
        assert page.overflow() <= 0
