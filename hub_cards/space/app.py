"""Demo Space: the page of `llm-action app`, for one model on the Hub."""

from transformers import pipeline

import llm_action  # noqa: F401  makes pipeline() know this kind of model
from llm_action.visualization.app.page import launch_app

MODEL_ID = "user/name"


def load():
    return pipeline("skeleton-action-recognition", model=MODEL_ID)


if __name__ == "__main__":
    launch_app(load, MODEL_ID)
