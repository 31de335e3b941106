"""Claims on stages: a dead or stopped holder is replaced, and what a stopped one writes when it wakes up is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.storage import locks
from harness.storage.artifacts import Artifacts

HOLDER = """
import sys
from pathlib import Path
from harness.storage import locks
from harness.storage.artifacts import Artifacts

locks.BEAT = 0.1
artifacts = Artifacts(Path(sys.argv[1]))
try:
    with artifacts.lock("abcd") as claim, artifacts.create("abcd", "align", {}, claim=claim) as folder:
        (folder / "weights").write_text("of the first holder")
        print("claimed", flush=True)
        sys.stdin.readline()
except locks.LostClaimError:
    sys.exit(3)
"""


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.1)
    monkeypatch.setattr(locks, "STALE", 2.0)


@contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the claim on a stage and has computed it, until it gets a line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], text=True, **pipes)  # type: ignore[call-overload]
    try:
        assert process.stdout.readline() == "claimed\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def publish(artifacts: Artifacts) -> None:
    with artifacts.lock("abcd") as claim, artifacts.create("abcd", "align", {}, claim=claim) as folder:
        (folder / "weights").write_text("of the second holder")


def weights(artifacts: Artifacts) -> str:
    artifact = artifacts.find("abcd", verify=True)
    assert artifact is not None
    return (artifact.path / "weights").read_text()


def test_the_stage_of_a_dead_process_is_taken_over_at_once(artifacts: Artifacts) -> None:
    with holder(artifacts.root) as process:
        process.kill()
        process.wait(30)
        publish(artifacts)
    assert weights(artifacts) == "of the second holder"


def test_a_stopped_process_is_replaced_and_its_late_result_is_refused(artifacts: Artifacts) -> None:
    with holder(artifacts.root) as process:
        os.kill(process.pid, signal.SIGSTOP)
        with artifacts.lock("abcd") as claim:  # the holder has its system lock still
            os.kill(process.pid, signal.SIGCONT)
            process.communicate("go on\n", timeout=60)
            assert process.returncode == 3, "LostClaimError"
            assert artifacts.find("abcd") is None, "nothing of it was published"
            claim.check()
            with artifacts.create("abcd", "align", {}, claim=claim) as folder:
                (folder / "weights").write_text("of the second holder")
    assert weights(artifacts) == "of the second holder"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError where the block lasts longer."""

    def end(*_: object) -> None:
        raise TimeoutError

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def test_a_process_that_beats_keeps_its_claim_however_long_it_works(artifacts: Artifacts) -> None:
    with holder(artifacts.root) as process:
        with pytest.raises(TimeoutError), time_limit(2 * locks.STALE), artifacts.lock("abcd"):
            pass
        process.communicate("go on\n", timeout=60)
        assert process.returncode == 0
    assert weights(artifacts) == "of the first holder"


def test_a_slower_waiter_does_not_break_the_claim_of_a_faster_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both saw that the holder is stopped; the slower one gets the fence when the faster has taken over."""
    path, fence = tmp_path / "stage", locks.fence
    monkeypatch.setattr(locks, "STALE", 0.2)
    stopped = locks._acquire(path)  # it never beats
    faster: list[locks.StageClaim] = []

    @contextmanager
    def fence_after_the_faster(claim: Path) -> Iterator[None]:
        if not faster:
            claim.unlink()
            faster.append(locks.StageClaim(claim, locks._acquire(claim)))
        os.utime(faster[0].handle)  # it beats
        with fence(claim):
            yield

    monkeypatch.setattr(locks, "fence", fence_after_the_faster)
    with pytest.raises(TimeoutError), time_limit(1.0), locks.claimed(path):
        pass
    faster[0].check()
    os.close(faster[0].handle)
    os.close(stopped)


def test_folder_that_is_gone_or_published_meanwhile_is_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "staging"
    with locks.try_flock(folder) as held:
        assert not held
    folder.mkdir()
    lock = locks._flock

    def publish_first(handle: int, *, wait: bool) -> bool:
        folder.rename(tmp_path / "published")
        return lock(handle, wait=wait)

    monkeypatch.setattr(locks, "_flock", publish_first)
    with locks.try_flock(folder) as held:
        assert not held
