"""Disks that are full, read-only or broken: the run ends with a message that says what, where and what to do; after the
same command again, on a disk that is as it should be, every score is equal to the bit.

A few of each kind run in CI, all with `make test-faults`. Each test first asserts that the fault happened.
"""

from __future__ import annotations

import errno
import itertools
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.barriers import BARRIERS
from harness.storage.artifacts import Artifacts
from tests.support.failing_calls import CALLS, can_fail
from tests.support.fault_checks import ALL, Finished, Server, long, resume
from tests.support.fault_runs import Ended, Job

SOON = {"stage started": 4, "stage computed": 4, "artifact published": 4, "file written": 25, "checkpoint written": 4}
FEW = ("write, checkpoint written", "flush, artifact published")  # in CI; the other cases are long


def assert_explained(ended: Ended, home: Path) -> None:
    """The run failed, and says what, where (below `home`, if that is given) and what to do."""
    assert ended.errors, ended
    for error in ended.errors:
        assert "Traceback" not in error, error
        assert home == Path() or str(home) in error, error
        assert "remedy:" in error, error


def mount(*arguments: str | Path) -> None:
    """Mounts something. Skips the test where this user may not."""
    mounted = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"file systems can be mounted by root alone: {mounted.stderr.strip()}")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Makes a folder, and all below it, read-only for everybody, root as well."""
    mount("--bind", folder, folder)
    try:
        mount("-o", "remount,ro,bind", folder)
        with pytest.raises(OSError, match="Read-only"):
            (folder / "probe").touch()
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("where", [long("."), "artifacts"])
@pytest.mark.parametrize("start", ["stage started:1", *map(long, ("stage computed:1", "checkpoint written:4"))])
def test_a_read_only_folder_is_reported_and_nothing_is_lost(
    start: str, where: str, server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    assert server.run(Job(str(home), kill_at=start)).code == -signal.SIGKILL
    with read_only(home / where):
        before = {path: path.stat().st_mtime_ns for path in (home / where).rglob("*")}
        assert_explained(server.run(Job(str(home))), home)
        assert {path: path.stat().st_mtime_ns for path in (home / where).rglob("*")} == before
    resume("a read-only folder", server, home, undisturbed)


def places() -> Iterator[Any]:
    for calls, barrier in itertools.product(CALLS, BARRIERS):
        yield f"{calls}, {barrier}" if f"{calls}, {barrier}" in FEW else long(f"{calls}, {barrier}")


@pytest.mark.skipif(not can_fail(), reason="Linux on x86-64 or 64-bit ARM alone can have calls fail")
@pytest.mark.parametrize("place", list(places()))
def test_a_disk_that_fails_is_reported_and_nothing_is_lost(
    place: str, server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    home, (calls, barrier) = tmp_path / "home", place.split(", ")
    ended = server.run(Job(str(home), fail_at=f"{barrier}:{SOON.get(barrier, 1)}", calls=calls, error=errno.EIO))
    if ended.error == 0 and ended.finished and ALL:
        pytest.skip("a run does not come to this place")
    assert ended.error == errno.EIO
    if not ended.finished:
        assert_explained(ended, home if calls != "read" else Path())  # what is read may be in /proc
    artifacts = Artifacts(home / "artifacts")
    assert not [name for name in artifacts.fingerprints() if artifacts.fault(name)]
    assert not list(home.rglob(".part-*"))
    resume("a disk that cannot be read or written", server, home, undisturbed)


@pytest.mark.long
def test_a_full_disk_is_reported_and_leaves_nothing_broken(
    server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    whole = sum(path.stat().st_size for path in undisturbed.home.rglob("*") if path.is_file())
    rng = random.Random(4)
    for number in range(12 if ALL else 2):
        place, size = tmp_path / str(number), int(whole * rng.uniform(0.05, 0.7))
        place.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size // 1024}k", "none", place)
        try:
            assert_explained(server.run(Job(str(place / "home"))), place)
            subprocess.run(["mount", "-o", "remount,size=512m", place], check=True)
            resume("a full disk", server, place / "home", undisturbed)
        finally:
            subprocess.run(["umount", place], check=True)
