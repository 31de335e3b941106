"""Places where a test can kill the process, to see what a crash there leaves.

`ALIGNBOARD_KILL_AT=NAME:N` kills the process when it comes to the place NAME for the Nth time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

BARRIERS = (
    "stage started",
    "stage computed",
    "manifest written",
    "artifact flushed",
    "artifact published",
    "file written",
    "file renamed",
    "checkpoint written",
    "folder set aside",
    "folder replaced",
    "stage recorded",
    "stage linked",
    "scores recorded",
    "averages recorded",
    "run complete",
)

_times_left: dict[str, int] = {}
_actions: dict[str, Callable[[], object]] = {}


def set_barrier(place: str, action: Callable[[], object]) -> None:
    """Has `action` called once this process comes to a place, `NAME:N`, for the Nth time."""
    name, _, times = place.partition(":")
    assert name in BARRIERS, name
    _times_left[name], _actions[name] = int(times or 1), action


def reach(name: str) -> None:
    """Marks a place. Does nothing outside of tests."""
    if name in _times_left:
        _times_left[name] -= 1
        if not _times_left[name]:
            _actions[name]()


if _place := os.environ.get("ALIGNBOARD_KILL_AT"):
    set_barrier(_place, lambda: os.kill(os.getpid(), signal.SIGKILL))
