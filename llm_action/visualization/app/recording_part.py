"""The part of the page that takes recordings: what somebody puts in, the answer, the timeline, and why."""

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
from .pieces import answer_html, hint_html, page_in_page, timeline_html, trouble_html
from .words import OPTIONS, SAY_IT, no_model, trouble, unforeseen

_FROM_FILE = "as the file says"
_UP = ("y", "-y", "z", "-z", "x", "-x")
_UNITS = ("m", "cm", "mm", "in", "px", "image")
_LONG = 8.0  # seconds; what lasts longer may show several actions in turn
_ONE_AT_A_TIME = "model"  # events of this name wait for each other
_SHOW_ANSWER = """() => {
  const answer = document.getElementById("answer");
  if (answer.getBoundingClientRect().top > window.innerHeight * 0.7) answer.scrollIntoView({behavior: "smooth"});
}"""


def add_recording_part(model: LoadingModel) -> None:
    """Adds the controls, the answer, and what happens when they are used."""
    examples = write_examples(Path(tempfile.mkdtemp(prefix="llm-action-examples-")))
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("Try one of these, made up by a program:")
            with gr.Row():
                buttons = [gr.Button(title, size="sm", min_width=120) for title, _ in examples]
            files = gr.File(label="Or your own recording", file_count="multiple", elem_id="recording")
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
            with gr.Row():
                when = gr.Button("What happens when?", visible=False, elem_id="when")
                why = gr.Button("Why this answer?", visible=False, elem_id="why")
            more = gr.HTML(elem_id="more")
            kept_page = gr.DownloadButton("Keep this explanation", visible=False, elem_id="keep")
    answered = gr.State(None)

    def answer(paths: list[str] | None, text: str, *options: Any) -> Iterator[tuple[Any, ...]]:
        """The page's answer; what belonged to the one before goes."""

        def page(html: str, found: Answer | None = None) -> tuple[Any, ...]:
            is_long = found is not None and found.seconds > _LONG
            return (
                html,
                found,
                gr.Button(visible=is_long),
                gr.Button(visible=found is not None),
                "",
                gr.DownloadButton(visible=False),
            )

        if not paths:
            yield page(hint_html("Choose a recording first, or one of the examples."))
            return
        try:
            candidates = names_in(text)
        except ValueError as error:
            yield page(trouble_html(trouble(error, [])))
            return
        if model.is_loading:
            yield page(hint_html("The model is still loading; the answer comes as soon as it is there."))
        try:
            recognize = model.wait()
        except RuntimeError as error:
            yield page(trouble_html(no_model(str(error))))
            return
        try:
            found = recognise(recognize, paths, _said(options), candidates, states)
            yield page(answer_html(found), found)
        except (ValueError, OSError) as error:
            yield page(trouble_html(trouble(error, paths)))
        except Exception as error:
            traceback.print_exc()
            yield page(trouble_html(unforeseen(error)))

    states = KeptStates()  # the model's weights stay as they are
    asked = {
        "fn": answer,
        "inputs": [files, names, *said],
        "outputs": [shown, answered, when, why, more, kept_page],
        "concurrency_id": _ONE_AT_A_TIME,
        "show_progress_on": shown,
    }
    triggers = [go.click(**asked), files.upload(**asked)]
    for button, (_, path) in zip(buttons, examples, strict=True):
        triggers.append(button.click(lambda path=path: [path], None, files).then(**asked))
    for trigger in triggers:
        trigger.then(None, js=_SHOW_ANSWER)
    for button, said_meanwhile, action in (
        (when, "Looking for segments: each moment is recognised like a recording of its own.", _timeline),
        (why, "Looking for reasons: the model is asked about many parts of the recording.", _explanation),
    ):
        begun = button.click(lambda text=said_meanwhile: hint_html(text), None, more, show_progress="hidden")
        begun.then(
            _guarded(model, action),
            answered,
            [more, kept_page],
            concurrency_id=_ONE_AT_A_TIME,
            show_progress="hidden",  # what goes on is said in words, which it would cover
        )


def _options() -> list[Any]:
    """The controls of what a reader can be told, in the order of `words.OPTIONS`."""
    title = OPTIONS.__getitem__
    return [
        gr.Dropdown([_FROM_FILE, *LAYOUTS], value=_FROM_FILE, label=title("layout")),
        gr.Dropdown([_FROM_FILE, *_UP], value=_FROM_FILE, label=title("up")),
        gr.Dropdown([_FROM_FILE, *_UNITS], value=_FROM_FILE, label=title("unit")),
        gr.Dropdown(
            [(_FROM_FILE, _FROM_FILE), ("right-handed", False), ("left-handed or mirrored", True)],
            value=_FROM_FILE,
            label=title("mirrored"),
        ),
        gr.Textbox(label=title("axes"), info="M persons, T frames, V joints, C channels", placeholder="CTVM"),
        gr.Textbox(label=title("columns"), placeholder="time, 25*(x, y, z)"),
        gr.Textbox(label=title("image_size"), placeholder="1920x1080"),
        gr.Textbox(label=title("missing"), placeholder="-1"),
    ]


def _said(values: tuple[Any, ...]) -> dict[str, Any]:
    given = zip(OPTIONS, values, strict=True)
    said = {name: value for name, value in given if value is not None and value not in ("", _FROM_FILE)}
    if "missing" in said:
        try:
            said["missing"] = float(said["missing"])
        except ValueError:
            raise ValueError(
                f"expected a number that marks missing joints, found {said['missing']!r}; change it or leave it empty"
            ) from None
    return said


def _guarded(model: LoadingModel, action: Callable[[Any, Answer], tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """What is asked of the answer on the page, with the model; errors are said in its place."""

    def asked(found: Answer) -> tuple[Any, ...]:
        try:
            return action(model.wait(), found)
        except (ValueError, OSError) as error:
            return trouble_html(trouble(error, [found.name])), gr.DownloadButton(visible=False)
        except Exception as error:
            traceback.print_exc()
            return trouble_html(unforeseen(error)), gr.DownloadButton(visible=False)

    return asked


def _timeline(recognize: Any, found: Answer) -> tuple[Any, ...]:
    names = {} if found.names is None else {"candidate_labels": list(found.names)}
    return timeline_html(recognize.segment(found.sequence, **names), found.seconds), gr.DownloadButton(visible=False)


def _explanation(recognize: Any, found: Answer) -> tuple[Any, ...]:
    from llm_action.visualization.explanation_page import write_explanations

    folder = Path(tempfile.mkdtemp(prefix="llm-action-explanation-"))
    path = folder / f"{Path(found.name).stem}_explanation.html"
    options = {} if found.names is None else {"candidate_labels": found.names}
    write_explanations([recognize.explain(found.sequence, **options)], path)
    html = page_in_page(path.read_text(encoding="utf-8"), f"Why {found.name} is called what it is called")
    return html, gr.DownloadButton(value=str(path), visible=True)
