"""`alignboard submit --like`: external predictions scored on the items of a stored run."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from harness.registry import SUITES
from harness.results.tables import tables_by_task
from harness.storage.artifacts import Artifacts
from harness.storage.store import AVERAGE, Store
from tests.support.cli_calls import run_command


@pytest.fixture(scope="module")
def exported(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home with one finished run of our own, and that run's predictions as files."""
    root = tmp_path_factory.mktemp("exported")
    shutil.copytree(finished_home, root / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNBOARD_HOME", str(root / "home"))
        patch.delenv("ALIGNBOARD_DB", raising=False)
        assert run_command("export-predictions", "mbert", str(root / "p")) == 0
    return root / "home", root / "p"


@pytest.fixture
def like(exported: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Copies of both that a test may change."""
    for folder in exported:
        shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home", tmp_path / "p"


def evidence(home: Path, store: Store, run: str, task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Statistics and examples of a run's task under its headline, item by item."""
    stages = store.stages(run)
    (fingerprint,) = stages[(stages["kind"] == "score") & (stages["task"] == task)]["fingerprint"]
    artifact = Artifacts(home / "artifacts").find(fingerprint)
    assert artifact is not None
    tables = (pd.read_parquet(artifact.path / name) for name in ("statistics.parquet", "examples.parquet"))
    first, second = (table[table["selection"] != "oracle"].drop(columns="selection") for table in tables)
    return first.set_index(["view", "item"]).sort_index(), second.set_index(["view", "item"]).sort_index()


def test_exported_predictions_give_the_same_item_statistics(
    like: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    home, predictions = like
    assert run_command("submit", str(predictions), "--name", "mbert", "--like", "mbert", "--seed", "0") == 0
    store = Store.open(home / "board.db", read_only=True)
    own, theirs = ({row["kind"]: row["id"] for row in store.runs()}[k] for k in ("trained", "external"))
    (table,) = tables_by_task(store.summaries(split="test"))
    assert [row.label for row in table.rows] == ["mbert", "mbert (external)"]
    for name in (*SUITES.get("xtreme-align").tasks, AVERAGE):
        first, second = (row.cell(name).mean for row in table.rows)
        assert first == pytest.approx(second, abs=1e-9), name
    for task in SUITES.get("xtreme-align").tasks:
        (counts, shown), (other, others) = (evidence(home, store, run, task) for run in (own, theirs))
        assert counts.index.equals(other.index), task
        common = [name for name in counts if name in other]
        assert set(common) > {"cluster"}
        assert counts[common].equals(other[common]), task
        assert shown.equals(others), task
    store.close()
    assert run_command("verify") == 0


def test_incomplete_submission_expects_the_views_of_the_run(
    like: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    home, predictions = like
    for task in ("xnli", "pawsx", "udpos", "panx"):
        shutil.rmtree(predictions / task)
    assert run_command("submit", str(predictions), "--name", "part", "--like", "mbert", "--base", "other") == 0
    store = Store.open(home / "board.db", read_only=True)
    assert sorted(table.key.base for table in tables_by_task(store.summaries(split="test"))) == ["init:1x64", "other"]
    rows = {row["task"]: row for row in store.summaries(kind="external")}
    assert [task for task, row in rows.items() if row["complete"]] == ["bucc2018", "tatoeba"]
    assert rows["xnli"]["expected_views"] == 8
    store.close()


def test_ids_outside_the_pool_are_reported(like: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    home, predictions = like
    before = (home / "board.db").read_bytes()
    search, mined = (next((predictions / task).glob("test-*.tsv")) for task in ("tatoeba", "bucc2018"))
    search.write_text("999999999999999999999\n" + search.read_text().split("\n", 1)[1])
    mined.write_text(mined.read_text() + "no\twhere\n")
    assert run_command("submit", str(predictions), "--name", "theirs", "--like", "mbert") == 1
    printed = capsys.readouterr().err
    assert f"{search}:1: '999999999999999999999' is no line of the" in printed
    assert "'no' is no id of the foreign sentences" in printed
    assert "'where' is no id of the English sentences" in printed
    assert (home / "board.db").read_bytes() == before


def test_run_with_changed_data_is_refused(like: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    home, predictions = like
    with sqlite3.connect(home / "board.db") as database:
        database.execute("UPDATE run SET data_fingerprint = 'former'")
    assert run_command("submit", str(predictions), "--name", "theirs", "--like", "mbert") == 1
    assert "the data of this run have changed" in capsys.readouterr().err
    assert run_command("submit", str(predictions), "--name", "theirs", "--like", "nobody") == 1
    assert "no finished run" in capsys.readouterr().err
