"""The part of the page that takes the visitor's camera as a live stream, where there is a pose estimator."""

from __future__ import annotations

import traceback
from functools import partial

import gradio as gr
import numpy as np

from .camera import FPS, CameraStream
from .estimator import has_estimator
from .loading import LoadingModel
from .pieces import hint_html, live_html, trouble_html
from .words import no_model, unforeseen

_NO_ESTIMATOR = (
    "This page cannot use a camera: no pose estimator is installed where it runs. Those who run it can add one: "
    "pip install 'llm-action[video]', then start the page again."
)
_AT_ONCE = 4  # visitors
_LONGEST = 600  # seconds of a stream


def add_camera_part(model: LoadingModel) -> None:
    """Adds the camera and what is seen in it; says why not where there is no pose estimator."""
    if not has_estimator():
        gr.HTML(hint_html(_NO_ESTIMATOR), elem_id="live")
        return
    gr.Markdown(
        "Stand so that the whole body is seen and press record. Every second the page names what the last three show; "
        "pictures are looked at and forgotten. Browsers give the camera to pages on the same machine or over https."
    )
    with gr.Row():
        with gr.Column(min_width=300):
            camera = gr.Image(
                sources=["webcam"],
                streaming=True,
                label="Your camera",
                elem_id="camera",
                webcam_options=gr.WebcamOptions(mirror=False),
            )
        with gr.Column(min_width=300):
            seen = gr.Image(
                label="What the page sees", alt_text="The picture with the skeleton found in it", buttons=[]
            )
            live = gr.HTML(hint_html("The names come here."), elem_id="live")
    stream = gr.State(None, time_to_live=_LONGEST, delete_callback=_close)

    camera.stream(
        partial(follow, model),
        [camera, stream],
        [seen, live, stream],
        stream_every=1 / FPS,
        time_limit=_LONGEST,
        concurrency_limit=_AT_ONCE,
        show_progress="hidden",
    )
    camera.clear(_close, stream, stream)


def follow(
    model: LoadingModel, picture: np.ndarray, current: CameraStream | None
) -> tuple[np.ndarray, str, CameraStream | None]:
    """What the page shows of a picture, what it says, and the stream that the next picture belongs to."""
    try:
        recognize = model.wait(0)
    except RuntimeError as error:
        return picture, trouble_html(no_model(str(error))), current
    if recognize is None:
        return picture, hint_html("The model is still loading; the names come as soon as it is there."), current
    try:
        if current is not None and current.was_stopped:
            current.close()
            current = None
        current = current or CameraStream(recognize)
        return current.add(picture), live_html(current.latest, current.error), current
    except Exception as error:
        traceback.print_exc()
        return picture, trouble_html(unforeseen(error)), current


def _close(current: CameraStream | None) -> None:
    if current is not None:
        current.close()
