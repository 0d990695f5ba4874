"""The page: what is on it, and what happens when somebody uses it."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.skeleton_layouts import LAYOUTS

from .answering import Answer, names_in, recognise
from .examples import write_examples
from .loading import LoadingModel
from .pieces import answer_html, hint_html, trouble_html
from .words import SAY_IT, Trouble, trouble, unforeseen

_CSS = Path(__file__).with_name("page.css")
_FROM_FILE = "as the file says"
_UP = ("y", "-y", "z", "-z", "x", "-x")
_UNITS = ("m", "cm", "mm", "in", "px", "image")
_ONE_AT_A_TIME = "model"  # events of this name wait for each other
_FONTS = ["system-ui", "sans-serif"]  # those of the machine: nothing is fetched from elsewhere
_SHOW_ANSWER = """() => {
  const answer = document.getElementById("answer");
  if (answer.getBoundingClientRect().top > window.innerHeight * 0.7) answer.scrollIntoView({behavior: "smooth"});
}"""
_ANNOUNCE = """() => {
  for (const id of ["answer", "status"]) document.getElementById(id)?.setAttribute("aria-live", "polite");
}"""


def launch_app(load: Callable[[], Any], name: str, **options: Any) -> None:
    """Serves the page until somebody stops it.

    Args:
        load: makes the recognition pipeline; it is called in a thread while the page is already there.
        name: what the page calls the model.
        options: of gradio's `launch`: server_name, server_port, inbrowser, prevent_thread_lock ...
    """
    theme = gr.themes.Default(font=_FONTS, font_mono=["monospace"])
    build_app(load, name).launch(theme=theme, css_paths=_CSS, footer_links=[], max_file_size="500mb", **options)


def build_app(load: Callable[[], Any], name: str) -> gr.Blocks:
    """The page, a gradio Blocks; `launch_app` gives it its looks.

    Args:
        load, name: as `launch_app` has them.
    """
    model = LoadingModel(load, name)
    examples = write_examples(Path(tempfile.mkdtemp(prefix="llm-action-examples-")))
    with gr.Blocks(title="Name the action", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(
            f"# Name the action\nGive a recording of a moving skeleton; the model {name} says which action it shows."
        )
        status = gr.HTML(lambda: _status(model), elem_id="status")
        waiting = gr.Timer(1)
        waiting.tick(
            lambda: (_status(model), gr.Timer(active=model.is_loading)), None, [status, waiting], show_progress="hidden"
        )
        _add_recording_part(model, examples)
        page.load(None, js=_ANNOUNCE)
    return page


def _status(model: LoadingModel) -> str:
    if model.is_loading:
        return hint_html("The model is still loading. You can already choose a recording; the answer comes then.")
    return trouble_html(_no_model(model.error)) if model.error else ""


def _no_model(error: str) -> Trouble:
    return Trouble(
        "The model could not be loaded, so nothing can be recognised.",
        came=error,
        remedy="Those who run this page have to mend it: check the model's folder or name, then start the page again.",
    )


def _add_recording_part(model: LoadingModel, examples: list[tuple[str, str]]) -> None:
    states = KeptStates()  # the model's weights stay as they are
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("Try one of these, made up by a program:")
            with gr.Row():
                buttons = [gr.Button(title, size="sm", min_width=120) for title, _ in examples]
            files = gr.File(label="Recording", file_count="multiple", type="filepath", elem_id="recording")
            names = gr.Textbox(
                label="Names to choose among",
                info="One a line, and after a colon what it means. Empty: the actions the model was trained on.",
                placeholder="bowing: bending the upper body forward\nwaving",
                lines=3,
                elem_id="names",
            )
            with gr.Accordion(SAY_IT, open=False):
                said = _options()
            go = gr.Button("Name the action", variant="primary", elem_id="go")
        with gr.Column(scale=3, min_width=300):
            shown = gr.HTML(hint_html("The answer comes here."), elem_id="answer")
    answered = gr.State(None)

    def answer(paths, text, *options) -> Iterator[tuple[str, Answer | None]]:
        if not paths:
            yield hint_html("Choose a recording first, or one of the examples."), None
            return
        if model.is_loading:
            yield hint_html("The model is still loading; the answer comes as soon as it is there."), None
        try:
            recognize = model.wait()
        except RuntimeError as error:
            yield trouble_html(_no_model(str(error))), None
            return
        try:
            found = recognise(recognize, paths, _said(options), names_in(text), states)
            yield answer_html(found), found
        except (ValueError, OSError) as error:
            yield trouble_html(trouble(error, paths)), None
        except Exception as error:
            traceback.print_exc()
            yield trouble_html(unforeseen(error)), None

    asked = {
        "fn": answer,
        "inputs": [files, names, *said],
        "outputs": [shown, answered],
        "concurrency_id": _ONE_AT_A_TIME,
        "show_progress_on": shown,
    }
    triggers = [go.click(**asked), files.upload(**asked)]
    for button, (_, path) in zip(buttons, examples, strict=True):
        triggers.append(button.click(lambda path=path: [path], None, files).then(**asked))
    for trigger in triggers:
        trigger.then(None, js=_SHOW_ANSWER)


def _options() -> list[Any]:
    """The controls of what a reader can be told, in the order of `_said`."""
    return [
        gr.Dropdown([_FROM_FILE, *LAYOUTS], value=_FROM_FILE, label="Joint layout"),
        gr.Dropdown([_FROM_FILE, *_UP], value=_FROM_FILE, label="Axis that points up"),
        gr.Dropdown([_FROM_FILE, *_UNITS], value=_FROM_FILE, label="Unit of the coordinates"),
        gr.Dropdown(
            [(_FROM_FILE, None), ("right-handed", False), ("left-handed (Unity)", True)],
            value=None,
            label="Handedness of the axes",
        ),
        gr.Textbox(
            label="Order of an array's axes", info="M persons, T frames, V joints, C channels", placeholder="CTVM"
        ),
        gr.Textbox(label="Width and height of the video", placeholder="1920x1080"),
        gr.Number(label="Number that marks missing joints", value=None),
    ]


def _said(values: tuple[Any, ...]) -> dict[str, Any]:
    names = ("layout", "up", "unit", "mirrored", "axes", "image_size", "missing")
    return {name: value for name, value in zip(names, values, strict=True) if value not in (None, "", _FROM_FILE)}
