"""A Python process that has imported what is slow to import and runs each piece of code in a fork of itself.

Reads one JSON request a line: code, folder (working directory), environment (added variables), out and err (files).
Answers with {"pid"} at once and {"status"} when the fork is done.
"""

from __future__ import annotations

import json
import os
import sys
import traceback


def run(request: dict) -> None:
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    status = 1
    try:
        exec(compile(request["code"], "<test>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    for name in sys.argv[1:]:
        __import__(name)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


main()
