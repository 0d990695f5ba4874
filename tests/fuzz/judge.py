"""Judges one hostile input: an answer or one clear error, in time, in memory, and nothing outside its folder touched.

Inputs are tried in forked processes. A file opened for writing outside the folder, a program started, a
connection made: all are seen by an audit hook, so nothing depends on what a reader leaves behind.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 5  # of the processor, so that a busy machine changes no verdict
_WAITING = 300.0  # seconds of the clock, for what sleeps or waits
_BATCH = 100  # inputs that share a process
BYTES = 1 << 30
# The errors that the package documents; a subclass of these, UnicodeDecodeError for one, is somebody else's.
DOCUMENTED = ("ValueError", "FileNotFoundError", "OSError", "NotADirectoryError", "IsADirectoryError")
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pty.spawn",
    "code.__new__",
)
_CHANGING = {"os.remove": (0,), "os.rename": (0, 1), "os.mkdir": (0,), "os.rmdir": (0,), "os.symlink": (1,),
             "os.link": (1,), "os.truncate": (0,), "os.chmod": (0,), "shutil.rmtree": (0,)}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What came of an input.

    Attributes:
        kind: "answer" or "error" where all is well; else what went wrong, the same text for the same fault.
        detail: the error's text, or the traceback of what should not have come out.
        seconds: of the processor.
        peak: bytes of memory above what the process had.
    """

    kind: str
    detail: str = ""
    seconds: float = 0.0
    peak: int = 0

    @property
    def well(self) -> bool:
        return self.kind in ("answer", "error")


def verdicts(
    numbers: range, trial: Callable[[int], tuple[str, Any, Path]], folder: Path
) -> Iterator[tuple[int, str, Verdict]]:
    """Judges inputs by number, in forked processes that may write in `folder` alone; one that dies costs one input.

    Args:
        trial: writes the input of a number; gives a name for it, what reads it and its path.

    Yields:
        number, name, verdict.
    """
    following = numbers.start
    while following < numbers.stop:
        batch = range(following, min(following + _BATCH, numbers.stop))
        out, into = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(out)
            try:
                _judge_batch(batch, trial, folder, into)
            finally:
                os._exit(0)
        os.close(into)
        begun, status = "", None
        for line in _lines(out):
            if line is None:
                os.kill(process, signal.SIGKILL)
                break
            if line.startswith("?"):
                begun = line[1:]
            else:
                yield following, begun, Verdict(**json.loads(line))
                following, begun = following + 1, ""
        status = os.waitpid(process, 0)[1]
        if following < batch.stop:
            yield following, begun, _of_death(status)
            following += 1


def _of_death(status: int) -> Verdict:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGKILL):
        return Verdict(f"hangs: more than {SECONDS} s", "", SECONDS)
    return Verdict(f"crashes: signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "crashes: ends the process")


def _lines(out: int) -> Iterator[str | None]:
    """The lines that a process writes, to its end; None when it waits for too long."""
    left = b""
    while select.select([out], [], [], _WAITING)[0]:
        chunk = os.read(out, 1 << 16)
        if not chunk:
            os.close(out)
            return
        *lines, left = (left + chunk).split(b"\n")
        for line in lines:
            yield line.decode()
    os.close(out)
    yield None


def _judge_batch(numbers: range, trial: Callable[[int], tuple[str, Any, Path]], folder: Path, into: int) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    limit = _address_space() + BYTES
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    touched: list[tuple[str, str]] = []
    _watch(folder.resolve(), touched)
    warnings.simplefilter("ignore")
    for number in numbers:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        name, read, path = trial(number)
        os.write(into, f"?{name}\n".encode())
        had, started = _resident(), time.process_time()
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        touched.clear()
        try:
            read(path)
            kind, detail = "answer", ""
        except BaseException as error:
            kind, detail = _of_error(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if touched:
            kind, detail = f"touches {touched[0][0]}", f"{touched[:5]} {kind} {detail}"
        peak = max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - had)
        said = {"kind": kind, "detail": detail[-3000:], "seconds": time.process_time() - started, "peak": peak}
        os.write(into, (json.dumps(said) + "\n").encode())


def _of_error(error: BaseException) -> tuple[str, str]:
    name, text = type(error).__name__, str(error)
    if isinstance(error, WrongAnswerError):
        return f"wrong answer: {text.partition(':')[0]}", text
    if name not in DOCUMENTED:
        where = traceback.extract_tb(error.__traceback__)
        last = next(
            (one for one in reversed(where) if "llm_action" in one.filename or "modeling" in one.filename), where[-1]
        )
        return f"{name} in {Path(last.filename).name}:{last.name}", "".join(traceback.format_exception(error))
    if len(text) < 20:
        return f"says nothing: {text!r}", "".join(traceback.format_exception(error))
    if len(text) > 2000:
        return f"says too much ({name})", text
    return "error", text


class WrongAnswerError(Exception):
    """An answer that cannot be right; the text begins with what is wrong, up to a colon."""


def _watch(folder: Path, touched: list[tuple[str, str]]) -> None:
    """Notes what is done outside a folder."""
    allowed = (str(folder), "/dev/", "/proc/")

    def inside(name: Any) -> bool:
        if isinstance(name, int):
            return True
        try:
            return os.path.realpath(os.fsdecode(name)).startswith(allowed)
        except (TypeError, ValueError):
            return True  # no name at all: it cannot be opened

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            name, mode, flags = arguments
            writes = any(letter in (mode or "") for letter in "wax+") or (flags or 0) & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            )
            if writes and not inside(name):
                touched.append(("a file outside", str(name)))
            elif "canary" in str(name):
                touched.append(("the canary", str(name)))
        elif event in _CHANGING:
            for place in _CHANGING[event]:
                if not inside(arguments[place]):
                    touched.append((f"a file outside ({event})", str(arguments[place])))
        elif event in _FORBIDDEN:
            touched.append((event, str(arguments)[:200]))

    sys.addaudithook(hook)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
