"""Time left, as one says it."""

import io
import re

import pytest

from llm_action.config.progress import ProgressBar, duration, time_left


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 second"),
        (3, "3 seconds"),
        (38, "40 seconds"),
        (61, "1 minute"),
        (170, "3 minutes"),
        (3600, "1 hour"),
        (2 * 3600 + 620, "2 hours 10 minutes"),
        (28 * 3600, "1 day 4 hours"),
    ],
)
def test_lengths_of_time(seconds, said):
    assert duration(seconds) == said
    assert time_left(seconds) == f"about {said} left"


def test_what_is_not_known_is_said_to_be_unknown():
    assert time_left(None) == "time left not known yet"
    assert time_left(0) == "done"


def test_the_bar_says_its_title_its_count_and_the_time_left():
    written = io.StringIO()
    written.isatty = lambda: True
    bar = ProgressBar(range(3), desc="reading", file=written, mininterval=0, disable=False)
    assert list(bar) == [0, 1, 2]
    last = written.getvalue().split("\r")[-1]
    assert "reading" in last and "3 of 3" in last and "done" in last
    assert re.search(r"about \d+ seconds? left|not known yet", written.getvalue())


def test_in_a_log_it_is_a_line_now_and_then():
    log = io.StringIO()
    assert list(ProgressBar(range(500), desc="reading", file=log)) == list(range(500))
    assert log.getvalue() == "", "what is done at once is not worth a line"
    bar = ProgressBar(range(3), desc="reading", file=log, mininterval=0, delay=0)
    assert list(bar) == [0, 1, 2]
    *lines, end = log.getvalue().split("\n")
    assert end == "" and all(line.startswith("reading: ") for line in lines)
    assert len(set(lines)) == len(lines), "nothing is said twice"
    assert lines[-1] == "reading: 3 of 3, done" and "\r" not in log.getvalue() and "\x1b" not in log.getvalue()
