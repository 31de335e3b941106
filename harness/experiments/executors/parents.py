"""What a process owes to the one that started it: it ends with its parent, and torchrun numbers it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

POLL = 0.5  # seconds between two looks at the parent
PARENT_DEATH_SIGNAL = 1  # the option of Linux's prctl


def end_with_parent(parent: int) -> None:
    """Ends this process when the one that started it is gone, so that no orphan keeps running."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)


def torchrun_rank() -> int | None:
    """The number of this process among those that torchrun started for one command; None without torchrun."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    return int(os.environ["RANK"])
