"""The page in the browser: `llm-action app MODEL` serves it on this machine, the demo Space on the Hub."""

from .page import build_app, launch_app

__all__ = ["build_app", "launch_app"]
