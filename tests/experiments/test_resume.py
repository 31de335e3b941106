"""`alignboard resume`: what cannot go on is told, and keeps nothing else from going on."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.cli import failures
from harness.cli import resume as command
from harness.cli.app import main
from harness.experiments.plan import plan_run
from harness.experiments.recipe import make_recipe
from harness.registry import METHODS
from harness.storage.store import Store
from tests.support.fake_store import run_row, store_run


def store_interrupted_runs(place: Path, *methods: str) -> None:
    """A store with one interrupted run of each method; a method that is not registered keeps its name as its id."""
    recipe = make_recipe(
        method="info-snt", base="init:1x64", source="babel:size=small", suite="xtreme-align", protocol="mini"
    )
    store = Store.open(str(place), create=True)
    for method in methods:
        run_id = plan_run(recipe, 0, []).id if method == "info-snt" else method
        stored_recipe = {**recipe.model_dump(mode="json"), "method": method}
        store_run(store, run_row(method, 0, recipe=stored_recipe, status="interrupted", id=run_id), [])
    store.close()


def resumed(monkeypatch: pytest.MonkeyPatch, home: Path) -> tuple[list[str], int]:
    """The methods whose runs go on, and the exit code."""
    went_on: list[str] = []
    monkeypatch.setenv("ALIGNBOARD_HOME", str(home))
    monkeypatch.setattr(command, "run_plans", lambda plans, *rest: went_on.extend(p.recipe.method for p in plans))
    with pytest.raises(SystemExit) as ended:
        main(["resume"])
    code: Any = ended.value.code
    return went_on, code or 0


def test_a_run_of_a_loose_file_that_is_not_given_keeps_no_other_from_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store_interrupted_runs(tmp_path / "board.db", "near-pairs", "info-snt")
    assert resumed(monkeypatch, tmp_path) == (["info-snt"], 1)
    message = capsys.readouterr().err
    assert "1 run cannot be resumed\nnear-pairs seed 0: unknown method 'near-pairs'" in message
    assert "alignboard --plugin FILE resume" in message


def test_a_run_whose_data_have_changed_is_closed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store_interrupted_runs(tmp_path / "board.db", "info-snt")
    with sqlite3.connect(tmp_path / "board.db") as database:
        database.execute("UPDATE run SET id = 'former', data_fingerprint = 'former'")
    assert resumed(monkeypatch, tmp_path) == ([], 1)
    assert "superseded: info-snt seed 0: its data have changed" in capsys.readouterr().err
    with sqlite3.connect(tmp_path / "board.db") as database:
        ((status, error),) = database.execute("SELECT status, error FROM run")
    assert status == "superseded"
    assert error.startswith("its data have changed")
    assert resumed(monkeypatch, tmp_path) == ([], 0)
    printed = capsys.readouterr()
    assert "every run is finished" in printed.out
    assert printed.err == ""


def test_nothing_to_do_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store_interrupted_runs(tmp_path / "board.db")
    assert resumed(monkeypatch, tmp_path) == ([], 0)
    assert "every run is finished" in capsys.readouterr().out


def test_an_interruption_names_the_loose_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*anything: Any) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "my methods.py"
    file.write_text(
        "from alignboard import PairMethod, register\n\n\n@register('mine')\nclass Mine(PairMethod):\n"
        "    trains = False\n    control = None\n"
    )
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.setattr(METHODS, "_local", dict(METHODS._local))
    monkeypatch.setattr("harness.registry._plugins", [])
    monkeypatch.setattr("harness.cli.run.run_plans", stopped)
    with pytest.raises(SystemExit) as ended:
        main(["--plugin", str(file), "run", "info-snt", "--source", "babel:size=small", "--protocol", "mini"])
    assert ended.value.code == 130
    assert f"resume with `alignboard --plugin '{file}' resume`" in capsys.readouterr().err


def test_a_hint_of_one_command_is_not_that_of_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, failures.report_errors(), failures.interrupt_hint("give it again"):
        raise KeyboardInterrupt
    assert ended.value.code == failures.INTERRUPTED
    assert capsys.readouterr().err == "interrupted: give it again\n"
    with pytest.raises(SystemExit), failures.report_errors():
        raise KeyboardInterrupt
    assert "resume with `alignboard resume`" in capsys.readouterr().err
