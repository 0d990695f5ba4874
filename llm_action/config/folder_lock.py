"""One writer at a time for a folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def sole_writer(folder: str | os.PathLike[str], lock: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Keeps other processes, and other machines on a shared disk, from writing a folder too.

    The lock is the system's: it ends with the process, however that ends. A file that a killed process leaves blocks
    nothing. A process that holds the lock may take it again.

    Args:
        folder: what is written.
        lock: the lock's file, default `.lock` in the folder; elsewhere for a folder that is replaced while it is held.

    Raises:
        BlockingIOError: another process holds it.
    """
    path = Path(folder) / ".lock" if lock is None else Path(lock)
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path.resolve(), timeout=0, thread_local=False, is_singleton=True)
    try:
        held.acquire()
    except Timeout:
        who = "another process"
        with suppress(OSError):  # gone in this moment
            who = path.read_text(encoding="utf-8").strip() or who
        raise BlockingIOError(f"{folder}: {who} is writing here; wait for its end, or choose another --out") from None
    try:
        with suppress(OSError):  # on a full disk the refusal of others is less precise
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        if held.lock_counter == 1:
            with suppress(OSError):  # where open files cannot be removed, it stays
                path.unlink()  # while it is locked: filelock lets nobody take the lock of a file that is gone
        held.release()


def lock_beside(folder: Path) -> Path:
    """Names the lock's file of a folder that comes and goes: a hidden one beside it."""
    return folder.with_name(f".{folder.name}.lock")
