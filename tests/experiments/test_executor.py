"""The executor when workers die, when artifacts are damaged, and when its own process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.experiments.executors.local import Local
from harness.experiments.executors.schedule import TRIES
from harness.experiments.stage import Stage, StageFailure, StageResult
from harness.storage.artifacts import Artifacts
from tests.support.tiny_runs import RecordingDisplay
from tests.support.toy_stages import note


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def run(artifacts: Artifacts, stages: Sequence[Stage], workers: int = 1) -> list[StageResult | StageFailure]:
    return list(Local(artifacts, workers, "cpu", threads=1, all_threads=1).run(stages, RecordingDisplay()))


def text_of(artifacts: Artifacts, stage: Stage) -> str:
    found = artifacts.find(stage.fingerprint, verify=True)
    assert found is not None
    return (found.path / "note.txt").read_text()


def computed(ends: Sequence[StageResult | StageFailure], stages: Sequence[Stage]) -> list[str]:
    """The titles of the stages that were computed, in the order of the plan."""
    names = {end.fingerprint for end in ends if isinstance(end, StageResult) and not end.reused}
    return [stage.title for stage in stages if stage.fingerprint in names]


def flip_bit(artifacts: Artifacts, stage: Stage, *, unnoticed: bool = False) -> None:
    """Changes a bit of an artifact; `unnoticed` as the disk would, without a trace in the times of the file."""
    found = artifacts.find(stage.fingerprint)
    assert found is not None
    file = found.path / "note.txt"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    if unnoticed:
        state = file.stat()
        mark = [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, found.files["note.txt"].sha256]
        memory = artifacts.root / "checked" / f"{stage.fingerprint}.json"
        memory.parent.mkdir(exist_ok=True)
        memory.write_text(json.dumps({name: mark if name == "note.txt" else [] for name in found.files}))
        assert artifacts.find(stage.fingerprint) is not None


def test_a_stage_whose_worker_was_killed_is_tried_again_and_others_go_on(artifacts: Artifacts, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    fragile, slow = note("fragile", journal=str(journal), deaths=2), note("slow", journal=str(journal), seconds=2.0)
    last = note("last", fragile, slow)
    ends = run(artifacts, [fragile, slow, last], workers=2)
    assert [type(end) for end in ends] == [StageResult] * 3
    attempts = journal.read_text().splitlines()
    assert [line.split()[0] for line in attempts].count("fragile") == 3
    assert [line.split()[0] for line in attempts].count("slow") == 1
    assert text_of(artifacts, last) == "fragile slow last"


def test_a_stage_that_kills_every_worker_fails_alone(artifacts: Artifacts, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    deadly, sound = note("deadly", journal=str(journal), deaths=9), note("sound")
    ends = run(artifacts, [deadly, sound, note("after", deadly)], workers=2)
    failures = [end for end in ends if isinstance(end, StageFailure)]
    assert [failure.fingerprint for failure in failures] == [deadly.fingerprint]
    assert "a worker process was killed" in failures[0].message
    assert "signal 9" in failures[0].message
    assert len(journal.read_text().splitlines()) == TRIES
    assert {end.fingerprint for end in ends} == {deadly.fingerprint, sound.fingerprint}


@pytest.mark.parametrize("unnoticed", [False, True])
def test_a_damaged_input_is_computed_again_before_it_is_used(artifacts: Artifacts, unnoticed: bool) -> None:
    first = note("first")
    old, new = note("old", first), note("new", first)
    run(artifacts, [first, old])
    flip_bit(artifacts, first, unnoticed=unnoticed)
    ends = run(artifacts, [first, old, new])
    assert not [end for end in ends if isinstance(end, StageFailure)]
    assert computed(ends, [first, old, new]) == ["first", "new"]
    assert text_of(artifacts, new) == "first new"
    assert len(list(artifacts.root.glob("damaged/*"))) == 1


def test_what_was_made_from_another_version_of_its_input_is_computed_again(artifacts: Artifacts) -> None:
    first = note("first", random=True)
    second = note("second", first)
    plan = [first, second, note("third", second)]
    run(artifacts, plan)
    before = text_of(artifacts, plan[2])
    flip_bit(artifacts, first)
    ends = run(artifacts, plan)
    assert computed(ends, plan) == ["first", "second", "third"]
    assert text_of(artifacts, plan[2]) != before
    assert text_of(artifacts, plan[2]) == f"{text_of(artifacts, first)} second third"
    assert computed(run(artifacts, plan), plan) == []


def test_a_damaged_input_that_is_no_stage_of_the_plan_is_reported(artifacts: Artifacts) -> None:
    first = note("first")
    run(artifacts, [first])
    flip_bit(artifacts, first, unnoticed=True)
    (end,) = run(artifacts, [note("second", first)])
    assert isinstance(end, StageFailure)
    assert end.fixable
    assert "give the command of its run again" in end.message


def processes_of(group: int) -> list[int]:
    """The processes of a process group that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are listed from /proc")
def test_no_process_outlives_its_parent(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tests.support.executor_to_kill", str(tmp_path)]
    parent = subprocess.Popen(command, env=environment, start_new_session=True)
    journal, deadline = tmp_path / "journal", time.monotonic() + 120
    while not journal.exists() or journal.read_text().count("\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(processes_of(parent.pid)) >= 3
    parent.send_signal(signal.SIGKILL)
    assert parent.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while processes_of(parent.pid):
        assert time.monotonic() < deadline, processes_of(parent.pid)
        time.sleep(0.1)
    Artifacts(tmp_path / "artifacts").sweep()
    assert not list((tmp_path / "artifacts" / "staging").iterdir())
