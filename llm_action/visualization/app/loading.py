"""A model that is loaded while the page is already there."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any


class LoadingModel:
    """A pipeline that a thread loads; it begins at once.

    Args:
        load: makes the pipeline.
    """

    def __init__(self, load: Callable[[], Any]):
        self._load, self._pipeline, self._error = load, None, ""
        self._done = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def is_loading(self) -> bool:
        return not self._done.is_set()

    @property
    def error(self) -> str:
        """Why there is no model; empty while it is loading and when it is there."""
        return self._error

    def wait(self, seconds: float | None = None) -> Any:
        """The pipeline, as soon as it is there; None if it is not after so many seconds.

        Raises:
            RuntimeError: it cannot be loaded; the text says why.
        """
        if not self._done.wait(seconds):
            return None
        if self._error:
            raise RuntimeError(self._error)
        return self._pipeline

    def _run(self) -> None:
        try:
            self._pipeline = self._load()
        except Exception as error:  # whatever it is, the page says it
            traceback.print_exc()
            self._error = " ".join(str(error).split()) or type(error).__name__
        self._done.set()
