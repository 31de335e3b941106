"""Places where a test can kill the process, to see what a crash there leaves.

`ALIGNBOARD_KILL_AT=NAME:N` kills the process when it comes to the place NAME for the Nth time.
"""

from __future__ import annotations

import os
import signal

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


def kill_at(place: str) -> None:
    """Has this process killed at a place, `NAME:N`; nowhere where that is empty."""
    name, _, times = place.partition(":")
    assert not name or name in BARRIERS, name
    _times_left.clear()
    if name:
        _times_left[name] = int(times or 1)


def reach(name: str) -> None:
    """Marks a place. Does nothing outside of tests."""
    if name in _times_left:
        _times_left[name] -= 1
        if not _times_left[name]:
            os.kill(os.getpid(), signal.SIGKILL)


kill_at(os.environ.get("ALIGNBOARD_KILL_AT", ""))
