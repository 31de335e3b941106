"""A stored run's predictions as files: scoring them gives the very numbers that the store holds."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.storage.store import Store
from tests.support.cli_calls import run_command


@pytest.fixture(autouse=True)
def home(finished_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(finished_home))
    return finished_home


def test_exported_predictions_score_as_the_store_says(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("export-predictions", "mbert", str(tmp_path / "p"), "--labels", str(tmp_path / "l")) == 0
    capsys.readouterr()
    folders = str(tmp_path / "p"), str(tmp_path / "l")
    assert run_command("score", *folders, "--suite", "xtreme-align", "--languages", "available", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    store = Store.open(f"sqlite:///{home / 'board.db'}", read_only=True)
    rows: list[dict[str, Any]] = store.scores(split="test", selection=["english", ""]).to_dict("records")
    store.close()
    assert len({(row["task"], row["view"]) for row in rows}) == 4 * 8 + 2 * 7
    for row in rows:
        assert printed["detailed"][row["task"]][row["metric"]][row["view"]] == pytest.approx(row["value"], abs=1e-9)


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert run_command("export-predictions", "mbert", str(tmp_path)) == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_gold_is_not_written_over_the_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = tmp_path / "p"
    assert run_command("export-predictions", "mbert", str(one), "--labels", str(tmp_path / "x" / ".." / "p")) == 1
    assert "predictions and labels have one folder" in capsys.readouterr().err
    assert not one.exists()


def test_predictions_of_changed_data_are_not_exported(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home, tmp_path / "home")
    with sqlite3.connect(tmp_path / "home" / "board.db") as database:
        database.execute("""UPDATE run SET data_fingerprint = 'former',
            card = json_set(card, '$.data."xnli/qab/test"', 'former')""")
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    assert run_command("export-predictions", "mbert", str(tmp_path / "p"), "--labels", str(tmp_path / "l")) == 1
    assert "xnli/qab/test" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_run_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("export-predictions", "zzz", str(tmp_path / "p")) == 1
    told = capsys.readouterr().err
    assert "no finished run" in told
    assert "mbert seed 0" in told
    assert run_command("export-predictions", "", str(tmp_path / "p")) == 1  # as of a variable that is not set
    assert "no finished run" in capsys.readouterr().err
