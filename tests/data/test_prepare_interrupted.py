"""`alignboard prepare` stopped at any instant: the same command goes on and ends in the same bytes."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.downloads import content_of, write_packed
from tests.support.prepare_to_kill import prepare
from tests.support.processes import SERVED

STEPS = 8


def run(signal_name: str, at: int, downloads: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as place:
        printed = Path(place, "printed")
        arguments = (signal.Signals[signal_name], at, str(downloads), str(folder), list(options), str(printed))
        process = SERVED.Process(target=prepare, args=arguments)
        process.start()
        process.join(120)
        assert process.exitcode is not None
        out, err = (printed.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".out", ".err"))
        return subprocess.CompletedProcess([], process.exitcode, out, err)


def touches(done: subprocess.CompletedProcess[str]) -> int:
    return int(done.stdout.splitlines()[-1])


def finished(folder: Path) -> dict[str, int]:
    """The prepared folders, each with the time at which its record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/prepared.json")}


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("downloads")
    write_packed(folder)
    return folder


@pytest.fixture(scope="module")
def whole(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """What an uninterrupted run writes, and how often it touches its folder."""
    folder = tmp_path_factory.mktemp("whole") / "xtreme"
    done = run("SIGKILL", 0, downloads, folder)
    assert done.returncode == 0, done.stderr
    return content_of(folder), touches(done)


@pytest.mark.parametrize("step", [0, 3, 6, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2, 4, 5, 7))])
def test_a_kill(step: int, downloads: Path, whole: tuple[dict[str, bytes], int], tmp_path: Path) -> None:
    content, total = whole
    folder = tmp_path / "xtreme"
    at = 1 + round((total - 1) * (step + 0.5) / STEPS)
    assert run("SIGKILL", at, downloads, folder).returncode == -signal.SIGKILL
    before = finished(folder)
    for name, file in content_of(folder).items():  # what is in place is whole
        if not name.startswith("."):
            assert file == content[name]
    done = run("SIGKILL", 0, downloads, folder)
    assert done.returncode == 0, done.stderr
    assert content_of(folder) == content
    assert {name: time for name, time in finished(folder).items() if name in before} == before
    for name in before:
        assert f"converting {name}\n" not in done.stderr


def test_a_kill_while_a_folder_is_replaced(downloads: Path, tmp_path: Path) -> None:
    """At every few touches of a small run that replaces what another option has made."""
    folder, hidden = tmp_path / "xtreme", tmp_path / "hidden"
    assert run("SIGKILL", 0, downloads, hidden, "--official", "tatoeba").returncode == 0
    assert run("SIGKILL", 0, downloads, folder, "tatoeba").returncode == 0
    first, second = content_of(folder), content_of(hidden)
    total = touches(run("SIGKILL", 0, downloads, folder, "--official", "tatoeba"))
    for at in range(2, total + 1, 12):
        assert run("SIGKILL", 0, downloads, folder, "tatoeba").returncode == 0
        assert content_of(folder) == first
        assert run("SIGKILL", at, downloads, folder, "--official", "tatoeba").returncode == -signal.SIGKILL
        seen = {name: file for name, file in content_of(folder).items() if not name.startswith(".")}
        assert seen in (first, second, {})
        done = run("SIGKILL", 0, downloads, folder, "--official", "tatoeba")
        assert done.returncode == 0, done.stderr
        assert content_of(folder) == second


def test_an_archive_that_was_read_is_not_read_again(
    downloads: Path, whole: tuple[dict[str, bytes], int], tmp_path: Path
) -> None:
    folder = tmp_path / "xtreme"
    total = touches(run("SIGKILL", 0, downloads, tmp_path / "udpos", "udpos"))
    assert run("SIGKILL", total * 2 // 3, downloads, folder, "udpos").returncode == -signal.SIGKILL
    assert list(folder.glob(".prepare/udpos/raw/*.json"))
    done = run("SIGKILL", 0, downloads, folder, "udpos")
    assert "converting udpos" in done.stderr
    assert "extracting" not in done.stderr
    written = content_of(folder)
    assert written == {name: file for name, file in whole[0].items() if name.startswith("udpos/")}


def test_ctrl_c(downloads: Path, whole: tuple[dict[str, bytes], int], tmp_path: Path) -> None:
    content, total = whole
    folder = tmp_path / "xtreme"
    stopped = run("SIGINT", total // 2, downloads, folder)
    assert stopped.returncode == 130, stopped.stderr
    assert re.search(
        r"interrupted\n  found: +finished: .*\n  remedy: +to resume, give the same command again", stopped.stderr
    )
    assert "Traceback" not in stopped.stderr
    assert finished(folder)
    assert run("SIGINT", 0, downloads, folder).returncode == 0
    assert content_of(folder) == content


def test_two_at_once(downloads: Path, tmp_path: Path) -> None:
    folder = tmp_path / "xtreme"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = run("SIGKILL", 0, downloads, folder, "xquad")
    finally:
        os.close(handle)
    assert done.returncode == 1
    assert "another `alignboard prepare` is using this folder" in done.stderr
    assert run("SIGKILL", 0, downloads, folder, "xquad").returncode == 0
