"""Loss curves go to the program that was chosen, and a program that fails costs nothing but its curves."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.errors import UsageError
from harness.experiments.logs import log_stage
from harness.experiments.sinks import LOG_TO, choose_sink
from harness.training.loop import Rate

RATES = [
    Rate(0, 40, 0.0, 0.0, 9.0, {}),
    Rate(20, 40, 2.0, 300.0, 10.0, {"mlm": 3.5}),
    Rate(40, 40, 2.0, 310.0, 0.0, {"mlm": 2.5}),
]
EXPECTED = [
    (20, {"mlm": 3.5, "steps_per_second": 2.0, "tokens_per_second": 300.0}),
    (40, {"mlm": 2.5, "steps_per_second": 2.0, "tokens_per_second": 310.0}),
]


class SilentWatch:
    def update(self, rate: Rate) -> None:
        """Shows nothing."""


class Program(ModuleType):
    """Stands for wandb or trackio: keeps what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.opened: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.closed = 0
        self.broken = False

    def init(self, **options: Any) -> Program:
        self.opened.append(options)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        if self.broken:
            raise ConnectionError("no route to host")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.closed += 1


def run_stage(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with log_stage(folder, "align ml-ctl seed 0: cpu, 1 threads, process 7", SilentWatch()) as log:
        for rate in RATES:
            log.update(rate)


@pytest.fixture(autouse=True)
def _no_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOG_TO, "")  # restored after the test, whatever `choose_sink` sets


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
def test_a_stage_is_one_run_of_the_program(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(kind)
    monkeypatch.setitem(sys.modules, kind, program)
    run_stage(tmp_path / "0123456789abcdef")
    assert program.opened == []
    choose_sink(f"{kind}:my project")
    run_stage(tmp_path / "0123456789abcdef")
    (opened,) = program.opened
    assert (opened["project"], opened["name"]) == ("my project", "align ml-ctl seed 0 01234567")
    assert (program.logged, program.closed) == (EXPECTED, 1)


def test_a_program_that_fails_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = Program("wandb")
    program.broken = True
    monkeypatch.setitem(sys.modules, "wandb", program)
    choose_sink("wandb:x")
    run_stage(tmp_path / "work")
    assert capsys.readouterr().err == "nothing more is logged to wandb: no route to host\n"


def test_tensorboard_reads_the_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    choose_sink(f"tensorboard:{tmp_path / 'curves'}")
    run_stage(tmp_path / "0123456789abcdef")
    (folder,) = (tmp_path / "curves").iterdir()
    assert folder.name == "align-ml-ctl-seed-0-01234567"
    curve = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in curve.Scalars("mlm")] == [(20, 3.5), (40, 2.5)]


@pytest.mark.parametrize("choice", ["wand:x", "wandb", "wandb: ", ""])
def test_a_choice_that_cannot_be_meant_is_refused(choice: str) -> None:
    with pytest.raises(UsageError):
        choose_sink(choice)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs a package") as caught:
        choose_sink("trackio:x")
    assert "pip install trackio" in str(caught.value)
