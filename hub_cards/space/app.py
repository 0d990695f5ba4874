"""Demo Space: a skeleton recording in, its animation, its action sentence and the ranked action names out."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from transformers import pipeline

import llm_action
from llm_action.modeling.prompt_states import KeptStates
from llm_action.modeling.skeleton_layouts import LAYOUTS
from llm_action.visualization.animation import animate_skeletons

MODEL_ID = "user/name"
FROM_FILE = "as the file says"
STATES = KeptStates()  # the model's weights stay as they are


@cache
def recognizer():
    """The model, loaded at the first request."""
    return pipeline("skeleton-action-recognition", model=MODEL_ID)


def name_action(file: str, layout: str = FROM_FILE, labels: str = "") -> tuple[dict[str, float], str, str, str]:
    """Posterior of the action names, path of the animation, action sentence of a recording, and how familiar it is.

    Args:
        file: path of the recording.
        layout: joint layout of files that do not tell.
        labels: names to choose among, separated by commas; default the classes trained on.
    """
    recognize = recognizer()
    sequence = llm_action.read_skeleton(file, layout=None if layout == FROM_FILE else layout)
    options = (
        {"candidate_labels": [label.strip() for label in labels.split(",") if label.strip()]} if labels.strip() else {}
    )
    ranking = recognize(sequence, top_k=5, states=STATES, **options)
    animation = Path(tempfile.mkdtemp()) / "recording.gif"
    animate_skeletons([[sequence]], animation, [[ranking[0]["label"]]])
    scores = {entry["label"]: entry["score"] for entry in ranking}
    return scores, str(animation), " ".join(recognize.processor.tokenize(sequence)), familiarity_of(ranking[0])


def familiarity_of(entry: dict) -> str:
    """What is said of a motion beside those that the model was trained on."""
    if "familiarity" not in entry:
        return "not known"
    strange = "unfamiliar: perhaps none of these actions. " if entry.get("unfamiliar") else ""
    return f"{strange}{entry['familiarity']:.0%} of familiar motions are stranger"


def build_demo():
    """The page."""
    import gradio as gr

    def answer(file, layout, labels):
        try:
            return name_action(file, layout, labels)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error)) from error

    return gr.Interface(
        answer,
        inputs=[
            gr.File(label="Recording", type="filepath"),
            gr.Dropdown([FROM_FILE, *LAYOUTS], value=FROM_FILE, label="Joint layout"),
            gr.Textbox(label="Names to choose among, separated by commas (default: the trained classes)"),
        ],
        outputs=[
            gr.Label(label="Action", num_top_classes=5),
            gr.Image(label="Skeleton", type="filepath"),
            gr.Textbox(label="Action sentence", lines=3),
            gr.Textbox(label="Familiarity"),
        ],
        title="Name the action",
        flagging_mode="never",
    )


if __name__ == "__main__":
    build_demo().launch()
