"""One writer at a time: whoever comes second is refused, never let in."""

import os
import subprocess
import sys

from llm_action.config.folder_lock import lock_beside, sole_writer

TRIES = """
import os, sys
from pathlib import Path
from llm_action.config.folder_lock import lock_beside, sole_writer
folder, entered = Path(sys.argv[1]), 0
for _ in range(2000):
    try:
        with sole_writer(folder, lock_beside(folder)):
            inside = folder.with_name("inside")
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails where another one is inside
            inside.unlink()
            entered += 1
    except BlockingIOError:
        pass
print(entered)
"""


def test_processes_that_come_and_go_are_never_inside_together(tmp_path):
    command = [sys.executable, "-c", TRIES, tmp_path / "folder"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    entered = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert all(int(number) > 0 for number in entered)
    assert list(tmp_path.iterdir()) == [], "no lock is left"


def test_the_holder_may_take_it_again(tmp_path):
    with sole_writer(tmp_path):
        with sole_writer(tmp_path):
            pass
        assert os.listdir(tmp_path) == [".lock"], "the inner end is not the outer one"
    assert os.listdir(tmp_path) == []


def test_a_lock_that_was_left_blocks_nothing(tmp_path):
    lock_beside(tmp_path / "folder").write_text("process 1 on elsewhere\n")
    with sole_writer(tmp_path / "folder", lock_beside(tmp_path / "folder")):
        pass
