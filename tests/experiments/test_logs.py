"""The log of a stage: what is in it, how long it may grow, where it lies, and that it changes nothing else."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.output import print_message
from harness.errors import UserError
from harness.experiments import logs
from harness.experiments.logs import log_stage
from harness.files import LOG
from harness.storage.store import Store
from harness.training.loop import Rate
from tests.support.stage_logs import assert_every_stage_has_its_log, log_lines
from tests.support.tiny_runs import run_plans, tiny_plans


class Nobody:
    """A watch that remembers what it is told."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def update(self, rate: Rate) -> None:
        self.steps.append(rate.step)


def rate(step: int, total: int = 100) -> Rate:
    return Rate(step, total, 2.0, 100.0, 61.0, {"mlm": 1.5} if step else {})


def test_what_is_written_is_in_the_log_and_where_it_was_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler()
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        with log_stage(tmp_path, "align a", Nobody()):
            print("first", "line")
            sys.stderr.write("half ")
            sys.stderr.write("a line\n\x1b[31mred\x1b[0m\n1%\r50%\r100%\r\n")
            logger.warning("a warning of a library")
            other = threading.Thread(target=print, args=("of a thread",))
            other.start()
            other.join()
            print("not ended", end="")
    finally:
        logger.removeHandler(handler)
    assert log_lines(tmp_path) == [
        ("start", "align a"),
        ("out", "first line"),
        ("err", "half a line"),
        ("err", "red"),
        ("err", "100%"),
        ("err", "a warning of a library"),
        ("out", "of a thread"),
        ("out", "not ended"),
    ]
    told = capsys.readouterr()
    assert told.out == "first line\nof a thread\nnot ended"
    assert told.err.startswith("half a line\n\x1b[31mred")
    assert "a warning of a library" in told.err
    assert not isinstance(sys.stdout, logs._CopiedStream)
    assert handler.stream is not None
    assert not isinstance(handler.stream, logs._CopiedStream)


def test_bars_are_no_part_of_a_log_but_messages_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The display holds its stream before a stage begins; warnings of the command line look theirs up."""
    display = Console(file=sys.stderr, force_terminal=True)
    with display.status("a bar that turns"), log_stage(tmp_path, "align a", Nobody()):
        display.print("a line of the display")
        print("a line of the stage")
        print_message("warning", "a plug-in is broken")
    assert log_lines(tmp_path)[1:] == [("out", "a line of the stage"), ("err", "warning: a plug-in is broken")]
    told = "".join(capsys.readouterr())
    assert all(text in told for text in ("a bar that turns", "a line of the display", "a line of the stage", "broken"))


def test_a_process_without_streams_has_logs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with log_stage(tmp_path, "align a", Nobody()):
        print("on")
    assert log_lines(tmp_path) == [("start", "align a"), ("out", "on")]
    assert sys.stderr is None


def test_progress_is_told_now_and_then_and_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 1))
    monkeypatch.setattr(logs.time, "monotonic", lambda: float(next(clock)))
    watch = Nobody()
    with log_stage(tmp_path, "align a", watch) as log:
        for step in range(0, 101):
            log.update(rate(step))
    told = [text for kind, text in log_lines(tmp_path) if kind == "step"]
    assert watch.steps == list(range(101))
    assert told[0] == "0/100"
    assert told[-1] == "100/100  2.0 steps/s  1 min 01 s left  mlm 1.5"
    assert 40 < len(told) < 60


def test_progress_grows_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    with log_stage(tmp_path, "align a", Nobody()) as log:
        for step in range(1, 86_400, 10):
            now[0] += 10.0
            log.update(rate(step, 100_000))
    assert len(log_lines(tmp_path)) < 500


def test_a_resumed_stage_goes_on_in_the_same_log(tmp_path: Path) -> None:
    def interrupted() -> None:
        with log_stage(tmp_path, "align a", Nobody()) as log:
            log.update(rate(20))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with log_stage(tmp_path, "align a", Nobody()) as log:
        log.update(rate(40))
        (tmp_path / "artifact").mkdir()
        log.finish(tmp_path / "artifact")
    found = [kind for kind, _ in log_lines(tmp_path)]
    assert found == ["start", "step", "step", "stop", "start", "step", "step", "end"]
    assert log_lines(tmp_path / "artifact") == log_lines(tmp_path)
    assert ("step", "resumes from the checkpoint of step 40") in log_lines(tmp_path)


def test_evaluations_are_told_once(tmp_path: Path) -> None:
    curve = tmp_path / logs.CURVE
    curve.parent.mkdir()
    with log_stage(tmp_path, "finetune xnli", Nobody()) as log:
        log.update(rate(0))
        curve.write_text(json.dumps([[20, "qaa", {"accuracy": 41.25}], [20, "qab", {"accuracy": 33.0}]]))
        log.update(rate(40))
        log.update(rate(60))
        curve.write_text(json.dumps([[20, "qaa", {"accuracy": 41.25}], [100, "qaa", {"accuracy": 50.0}]]))
        log.finish(curve.parent)
    told = [text for kind, text in log_lines(tmp_path) if kind == "dev"]
    assert told == ["step 20: qaa accuracy 41.2, qab accuracy 33.0", "step 100: qaa accuracy 50.0"]


def test_what_stops_a_stage_is_in_its_log(tmp_path: Path) -> None:
    with pytest.raises(UserError), log_stage(tmp_path, "align a", Nobody()):
        raise UserError("the loss is no longer finite", remedy="lower the learning rate")
    assert log_lines(tmp_path)[1:] == [
        ("fail", "the loss is no longer finite"),
        ("fail", "  remedy:   lower the learning rate"),
    ]
    with pytest.raises(ZeroDivisionError), log_stage(tmp_path, "align a", Nobody()):
        1 / 0  # noqa: B018
    assert log_lines(tmp_path)[-1] == ("fail", "ZeroDivisionError: division by zero")
    assert ("fail", "Traceback (most recent call last):") in log_lines(tmp_path)


def test_a_log_has_a_limit_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    written = 30_000
    with log_stage(tmp_path, "align a", Nobody()) as log:
        for number in range(written):
            log.write(logs.OUT, f"line {number} " + "x" * 60)
        log.write(logs.OUT, "y" * 100_000)
    file = tmp_path / LOG
    assert file.stat().st_size <= logs.LIMIT
    lines = file.read_text().splitlines()
    (note,) = [line for line in lines if line.startswith("...")]
    assert len(lines) - 1 + int(note.split()[1].replace(",", "")) == written + 2
    assert "line 0 " in lines[1]
    assert f"line {written - 1} " in lines[-2]
    assert len(lines[-1]) <= logs.WIDTH + 30


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    with log_stage(tmp_path / "not there", "align a", Nobody()) as log:
        print("on")
        log.update(rate(20))
        log.finish(tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_stage_of_a_run_leaves_its_log(tmp_path: Path) -> None:
    """Those of several workers: test_runner.py."""
    (plan,) = tiny_plans("continued-mlm")
    report, _ = run_plans(tmp_path, [plan])
    assert not report.failures
    assert_every_stage_has_its_log(tmp_path, plan)
    (row,) = Store.open(tmp_path / "board.db").runs()
    assert row["card"]["stages"] == [[s.fingerprint, s.kind, s.task] for s in plan.stages]


def test_a_stage_that_fails_leaves_its_log_in_the_work_folder(tmp_path: Path) -> None:
    (plan,) = tiny_plans("ml-ctl-cz", changes=("align.learning_rate=1e30",))
    with warnings.catch_warnings():
        run_plans(tmp_path, [plan])
    align = next(stage for stage in plan.stages if stage.kind == "align")
    found = log_lines(tmp_path / "artifacts" / "work" / align.fingerprint)
    assert any(kind == "fail" and "no longer finite" in text for kind, text in found)


@pytest.mark.parametrize("content", ["[1, 2]", "3", '[[1, "de", 5]]', '[["x", "de", {}]]', '[[1, "de", {"f1": "x"}]]'])
def test_damaged_evaluations_are_not_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "state-a").mkdir()
    (tmp_path / "state-a" / "curve.json").write_text(content)
    assert logs._evaluations(tmp_path) == {}
