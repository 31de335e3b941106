"""Locks between processes, and claims on stages.

A lock is a file that its holder has locked; the system releases it when the holder dies. A claim is a lock that also
beats: its file's time is set every few seconds. A process that waits for a claim whose file has not changed for `STALE`
seconds of its own clock takes it over, since the holder is stopped or cut off. What such a holder writes when it wakes
up is refused: whoever publishes shows that the file in the place of the claim is still the one that it has locked.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT = 5.0  # seconds between beats
STALE = 60.0  # seconds without a beat until a claim is taken over
POLL = 0.2  # seconds between looks at a claim, at most


class LostClaimError(Exception):
    """Another process has taken over the stage, since this one was stopped for too long; its result is not kept."""


class StageClaim:
    """A claim that this process holds, unless another one took it over."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self.handle = path, handle

    def check(self) -> None:
        """Raises LostClaimError where another process has taken over."""
        if not _is_same_file(self.handle, self.path):
            raise LostClaimError(self.path.name)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock, after waiting for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def claimed(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[StageClaim]:
    """Holds a claim, after calling `on_wait` once where another process holds it, and waiting until that one releases
    it, dies, or stops beating."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _wait_for_claim(path, on_wait)
    done = threading.Event()
    beats = threading.Thread(target=_beat, args=(handle, done), daemon=True)
    beats.start()
    try:
        yield StageClaim(path, handle)
    finally:
        done.set()
        beats.join()
        with fence(path):
            if _is_same_file(handle, path):
                path.unlink()
        os.close(handle)


@contextmanager
def fence(path: Path) -> Iterator[None]:
    """Held for a moment while a claim is taken over or released, and while its holder publishes."""
    with locked(path.with_name(f".{path.name}.fence")):
        yield


@contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """Holds a lock if no other process does; whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        held = _flock(handle, wait=False) and _is_same_file(handle, path)
        yield held
        if held:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


@contextmanager
def try_flock(folder: Path) -> Iterator[bool]:
    """Locks a folder itself if it is there and no other process does."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _flock(handle, wait=False) and _is_same_file(handle, folder)  # it may have been renamed meanwhile
    finally:
        os.close(handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _flock(handle, wait=True)
            if _is_same_file(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the previous holder removed this file, so a lock on it excludes nobody


def _wait_for_claim(path: Path, on_wait: Callable[[], None] | None) -> int:
    beat = (0, 0)
    since, pause = time.monotonic(), 0.001
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _flock(handle, wait=False):
                if _is_same_file(handle, path):
                    os.utime(handle)
                    return handle
            elif on_wait is not None:
                on_wait()
                on_wait = None
            latest = _last_beat(os.fstat(handle))
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if beat != latest:
            beat, since = latest, time.monotonic()
        elif time.monotonic() - since > STALE:
            with fence(path), suppress(FileNotFoundError):
                if _last_beat(path.stat()) == beat:  # else its holder lives, or another process was faster
                    path.unlink()
        time.sleep(pause)
        pause = min(POLL, 2 * pause)


def _beat(handle: int, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with suppress(OSError):  # a disk that fails: the stage itself reports it
            os.utime(handle)


def _last_beat(state: os.stat_result) -> tuple[int, int]:
    """What changes with every beat, and with the file itself."""
    return state.st_ino, state.st_mtime_ns


def _flock(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
