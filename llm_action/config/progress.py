"""Progress bars that say in words how long it still takes."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from tqdm import tqdm

_FORMAT = "{desc}: {percentage:3.0f} %|{bar:24}| {n_fmt} of {total_fmt}, {time_left}{postfix}"
_OPEN_FORMAT = "{desc}: {n_fmt}{unit}, {elapsed}{postfix}"
_LINE_FORMAT = "{desc}: {n_fmt} of {total_fmt}, {time_left}{postfix}"
_SECONDS_A_LINE = 10


class ProgressBar(tqdm):
    """tqdm's bar with "about 3 minutes left" in the place of clocks; of an unknown length it counts alone.

    Where it is not written to a terminal it is a line every ten seconds, and nothing if all is done before.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        file = kwargs.get("file") or sys.stderr
        in_a_terminal = file.isatty()
        if not in_a_terminal:
            kwargs = {"mininterval": _SECONDS_A_LINE, "delay": _SECONDS_A_LINE, **kwargs, "file": _Lines(file)}
        super().__init__(*args, **kwargs)
        if kwargs.get("bar_format") is None:
            self.bar_format = (_FORMAT if in_a_terminal else _LINE_FORMAT) if self.total else _OPEN_FORMAT

    @property
    def format_dict(self) -> dict[str, Any]:
        facts = super().format_dict
        rate, total, done = facts["rate"], facts["total"], facts["n"]
        begun = facts.get("initial") or 0
        if not rate and facts["elapsed"] and done > begun:
            rate = (done - begun) / facts["elapsed"]
        left = None if not rate or not total else (total - done) / rate
        return {**facts, "time_left": time_left(left)}


class _Lines:
    """A file that gets a line in the place of each picture of a bar."""

    def __init__(self, file: TextIO):
        self._file, self._last = file, ""

    def write(self, text: str) -> None:
        text = text.strip()
        if text and text != self._last:  # a bar says its end twice
            self._file.write(f"{text}\n")
            self._last = text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def quiet_libraries() -> None:
    """Hides the bars that transformers and datasets show for a second where they read or write a file.

    Downloads keep theirs.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # read when datasets loads, which few commands need
    if "datasets" in sys.modules:
        sys.modules["datasets"].disable_progress_bars()
    downloads_have_none = are_progress_bars_disabled()
    disable_progress_bar()  # those of downloads as well
    if not downloads_have_none:
        enable_progress_bars()


def time_left(seconds: float | None) -> str:
    """How long is left, as one says it: "about 3 minutes left"; None is not known yet."""
    if seconds is None:
        return "time left not known yet"
    return "done" if seconds <= 0 else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """A length of time as one says it: "40 seconds", "3 minutes", "2 hours 10 minutes", "1 day 4 hours"."""
    if seconds < 45:
        whole = max(1, round(seconds) if seconds < 10 else 5 * round(seconds / 5))
        return _counted(whole, "second")
    minutes = round(seconds / 60)
    if minutes < 60:
        return _counted(max(1, minutes), "minute")
    if minutes < 24 * 60:
        hours, rest = divmod(5 * round(minutes / 5), 60)
        return _counted(hours, "hour") + (f" {_counted(rest, 'minute')}" if rest else "")
    days, hours = divmod(round(minutes / 60), 24)
    return _counted(days, "day") + (f" {_counted(hours, 'hour')}" if hours else "")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
