"""Which process runs a run, and whether it lives."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from harness.errors import UserError
from harness.files import text_digest
from harness.storage.store.schema import now

BEAT_SECONDS = 15.0  # between two signs of life
STALE = timedelta(seconds=120)  # without a sign of life, for processes of other machines


class LostRunError(UserError):
    """A run that another command has planned again: what this one still writes is refused."""

    def __init__(self, run: str) -> None:
        remedy = "give the command again, with the code that is to be used"
        super().__init__(
            "another command has taken over this run with other code or settings", found=run, remedy=remedy
        )


def this_process() -> str:
    """This process as a run names its owner: machine, process id, and when it started."""
    return f"{_machine()} {os.getpid()} {_started(os.getpid())}"


def lives(owner: str, heartbeat: datetime | None) -> bool:
    """Whether the process that owns a run lives: a process of this machine is looked for; one of another machine has to
    have said so lately. An owner that is not known is taken to live."""
    machine, _, process = owner.partition(" ")
    if not process:
        return True
    if machine != _machine():
        return heartbeat is not None and now() - heartbeat < STALE
    number, _, started = process.partition(" ")
    return _started(int(number)) == started


@cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        boot = ""
    return text_digest(f"{platform.node()} {boot}")[:16]  # a shared board shows no host names


def _started(process: int) -> str:
    """When a process started, in ticks since the machine did; "" where it is gone, "?" where that cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "" if Path("/proc/self/stat").exists() else "?"
    return "" if fields[0] == "Z" else fields[19]
