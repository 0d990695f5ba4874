"""Judges one hostile input: an answer or one clear error, in time, in memory, and nothing outside its folder touched.

Each input is tried in a forked process of its own. A file opened for writing outside the folder, a program started, a
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 5  # of the processor, so that a busy machine changes no verdict
_WAITING = 60.0  # seconds of the clock, for what sleeps or waits
BYTES = 1 << 30
# The errors that the package documents; a subclass of these, UnicodeDecodeError for one, is somebody else's.
DOCUMENTED = ("ValueError", "FileNotFoundError", "OSError", "NotADirectoryError", "IsADirectoryError")
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pty.spawn", "code.__new__")
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


def judge(read: Callable[[Path], Any], path: Path, folder: Path) -> Verdict:
    """Calls `read(path)` in a process of its own, which may write in `folder` alone."""
    out, into = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(out)
        try:
            _try(read, path, folder, into)
        finally:
            os._exit(0)
    os.close(into)
    said, late = _said(out, time.monotonic() + _WAITING)
    if late:
        os.kill(process, signal.SIGKILL)
    _, status, used = os.wait4(process, 0)
    taken = used.ru_utime + used.ru_stime
    if late or os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Verdict(f"hangs: more than {SECONDS} s", "", taken)
    if os.WIFSIGNALED(status):
        return Verdict(f"crashes: signal {os.WTERMSIG(status)}", "", taken)
    if not said:
        return Verdict("crashes: ends the process", "", taken)
    return Verdict(**json.loads(said), seconds=taken)


def _said(out: int, until: float) -> tuple[str, bool]:
    chunks = []
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([out], [], [], left)[0]:
            os.close(out)
            return "", True
        chunk = os.read(out, 1 << 16)
        if not chunk:
            os.close(out)
            return b"".join(chunks).decode(), False
        chunks.append(chunk)


def _try(read: Callable[[Path], Any], path: Path, folder: Path, into: int) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    had = _resident()
    limit = _address_space() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    touched = _watch(folder.resolve())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        kind, detail = "answer", ""
    except BaseException as error:
        kind, detail = _of_error(error)
    if touched:
        kind, detail = f"touches {touched[0][0]}", f"{touched[:5]} {kind} {detail}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - had
    os.write(into, json.dumps({"kind": kind, "detail": detail[-3000:], "peak": max(0, peak)}).encode())


def _of_error(error: BaseException) -> tuple[str, str]:
    name, text = type(error).__name__, str(error)
    if isinstance(error, WrongAnswerError):
        return f"wrong answer: {text.partition(':')[0]}", text
    if name not in DOCUMENTED:
        where = traceback.extract_tb(error.__traceback__)
        last = next((one for one in reversed(where) if "llm_action" in one.filename or "modeling" in one.filename), where[-1])
        return f"{name} in {Path(last.filename).name}:{last.name}", "".join(traceback.format_exception(error))
    if len(text) < 20:
        return f"says nothing: {text!r}", "".join(traceback.format_exception(error))
    if len(text) > 2000:
        return f"says too much ({name})", text
    return "error", text


class WrongAnswerError(Exception):
    """An answer that cannot be right; the text begins with what is wrong, up to a colon."""


def _watch(folder: Path) -> list[tuple[str, str]]:
    """Notes what is done outside a folder."""
    touched: list[tuple[str, str]] = []
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
            writes = any(letter in (mode or "") for letter in "wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
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
    return touched


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
