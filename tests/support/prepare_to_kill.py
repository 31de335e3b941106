"""A process that prepares data and sends itself a signal when it has touched a folder for the N-th time.

`python -m tests.support.prepare_to_kill SIGKILL N DOWNLOADS FOLDER [OPTION...]`; with N = 0 it ends by itself and
prints on its last line how often the folder was touched: files opened for writing, folders made, renames, removals.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree"}


def main() -> None:
    number, at, downloads, folder = signal.Signals[sys.argv[1]], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in TOUCHES or not any(str(argument).startswith(folder) for argument in arguments):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        count += 1
        if count == at:
            os.kill(os.getpid(), number)

    from harness.cli.app import main as command

    sys.addaudithook(hook)
    try:
        command(["prepare", "--from", downloads, "--to", folder, "--any-release", *sys.argv[5:]])
    finally:
        print(count, flush=True)


if __name__ == "__main__":
    main()
