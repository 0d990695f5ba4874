"""The page: its parts, and how it is served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from .camera_part import add_camera_part
from .loading import LoadingModel
from .pieces import hint_html, trouble_html
from .recording_part import add_recording_part
from .words import no_model

_CSS = Path(__file__).with_name("page.css")
_FONTS = ["system-ui", "sans-serif"]  # those of the machine: nothing is fetched from elsewhere
_UPLOAD = "500mb"  # at most
_KEPT = (3600, 24 * 3600)  # seconds: uploads are looked after every hour and kept for a day
_ANNOUNCE = """() => {
  for (const id of ["answer", "status", "live"]) document.getElementById(id)?.setAttribute("aria-live", "polite");
}"""


def launch_app(load: Callable[[], Any], name: str, **options: Any) -> gr.Blocks:
    """Serves the page, by default until somebody stops it.

    Args:
        load: makes the recognition pipeline; it is called in a thread while the page is already there.
        name: what the page calls the model.
        options: of gradio's `launch`: server_name, server_port, inbrowser, prevent_thread_lock ...

    Raises:
        OSError: no free port, or the one asked for is taken.
    """
    page = build_app(load, name)
    page.launch(theme=_theme(), css_paths=_CSS, footer_links=[], max_file_size=_UPLOAD, **options)
    return page


def _theme() -> gr.themes.Base:
    """Fonts of the visitor's machine, and texts dark enough to be read by everybody."""
    theme = gr.themes.Default(primary_hue="blue", font=_FONTS, font_mono=["monospace"])
    return theme.set(
        block_info_text_color="*neutral_600",
        input_placeholder_color="*neutral_500",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )


def build_app(load: Callable[[], Any], name: str) -> gr.Blocks:
    """The page, a gradio Blocks; `launch_app` gives it its looks.

    Args:
        load, name: as `launch_app` has them.
    """
    model = LoadingModel(load)
    with gr.Blocks(title="Name the action", analytics_enabled=False, delete_cache=_KEPT) as page:
        gr.Markdown(f"# Name the action\nShow a moving skeleton; the model *{name}* says which action it is.")
        status = gr.HTML(lambda: _status(model), elem_id="status")
        clock = gr.Timer(1)
        clock.tick(
            lambda: (_status(model), gr.Timer(active=model.is_loading)), None, [status, clock], show_progress="hidden"
        )
        with gr.Tabs():
            with gr.Tab("A recording"):
                add_recording_part(model)
            with gr.Tab("The camera"):
                add_camera_part(model)
        page.load(None, js=_ANNOUNCE)
    return page


def _status(model: LoadingModel) -> str:
    if model.is_loading:
        return hint_html("The model is still loading. You can already choose a recording; the answer comes then.")
    return trouble_html(no_model(model.error)) if model.error else ""
