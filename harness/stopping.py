"""Stopping work on a signal: the training loop saves its state first.

Inside `stop_on_signals` the first SIGINT, SIGTERM or SIGUSR1 (as clusters send before they take a machine away) asks
for a stop. The loop polls `requested`, saves and leaves; other work has `GRACE` seconds to finish. A second signal
leaves at once. Outside, SIGTERM and SIGUSR1 end the command with the same exit code.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

GRACE = 20.0  # seconds: clusters kill 30 seconds after they warn
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
PREEMPTED, INTERRUPTED = 75, 130  # exit codes: EX_TEMPFAIL, "try again later", and 128 + SIGINT as shells report it

_signal: int | None = None


class StopRequest(SystemExit):
    """Ends the work on a signal; its code is the exit code of the command."""

    def __init__(self, number: int) -> None:
        super().__init__(INTERRUPTED if number == signal.SIGINT else PREEMPTED)


def requested() -> bool:
    """Whether a signal has asked for a stop."""
    return _signal is not None


def leave(save: Callable[[], None] = lambda: None) -> NoReturn:
    """Saves, however long that takes, and ends the work, also where another process of the stage got the signal."""
    global _signal
    _signal = _signal or signal.SIGTERM
    signal.setitimer(signal.ITIMER_REAL, 0)
    save()
    raise StopRequest(_signal)


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Inside, a first signal asks for a stop and a second one ends the work at once."""
    global _signal
    with _handling({**dict.fromkeys(SIGNALS, _request), signal.SIGALRM: _leave}):
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.setitimer(signal.ITIMER_REAL, 0)
            _signal = None


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGUSR1 end the work at once."""
    with _handling(dict.fromkeys((signal.SIGTERM, signal.SIGUSR1), _exit)):
        yield


@contextmanager
def _handling(handlers: dict[int, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _request(number: int, frame: Any) -> None:
    global _signal
    if _signal is not None:
        raise StopRequest(number)
    _signal = number
    signal.setitimer(signal.ITIMER_REAL, GRACE)


def _leave(number: int, frame: Any) -> None:
    if _signal is not None:
        raise StopRequest(_signal)


def _exit(number: int, frame: Any) -> None:
    raise StopRequest(number)
