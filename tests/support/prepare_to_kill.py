"""A process that prepares data and sends itself a signal when it has touched a folder for the N-th time."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree"}


def prepare(number: signal.Signals, at: int, downloads: str, folder: str, options: list[str], printed: str) -> None:
    """What the process does. What it prints goes to the files `printed`.out and `printed`.err.

    With `at` = 0 it ends by itself and prints on its last line how often the folder was touched: files opened for
    writing, folders made, renames, removals.
    """
    for stream, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{printed}.{suffix}", os.O_CREAT | os.O_WRONLY), stream)
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
        command(["prepare", "--from", downloads, "--to", folder, "--any-release", *options])
    finally:
        print(count, flush=True)
