"""Verdicts from a store: ranks and marks in tables, the comparison of two rows, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from harness.errors import UserError
from harness.files import STATISTICS
from harness.results import verdicts
from harness.results.item_reader import ItemReader
from harness.results.marks import judged_tables
from harness.results.rendering import to_csv, to_latex, to_markdown
from harness.results.tables import HEADLINE, ResultRow, tables_by_task
from harness.results.verdicts import Verdicts, compare_rows, describe, table_verdicts
from harness.storage.artifacts import artifact_folder
from harness.storage.store import AVERAGE, Store, schema
from tests.support.board_store import add_full_run
from tests.support.cli_calls import run_command
from tests.support.fake_store import METRIC, VIEWS

TASKS = ("xnli", "panx", "tatoeba")
LEVELS = {"mbert": 40.0, "continued-mlm": 42.0, "ml-ctl": 80.0, "ml-ctl-cz": 80.0}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("filled")
    fill(home, "board.db", LEVELS, (1, 2, 3))
    return home


def fill(home: Path, name: str, methods: Iterable[str], seeds: Sequence[int]) -> Store:
    store = Store.open(home / name, create=True)
    for method in methods:
        for seed in seeds:
            add_run(store, home, method, seed)
    return store


def add_run(store: Store, home: Path, method: str, seed: int) -> None:
    run = add_full_run(store, home, method, LEVELS[method], seed, tasks=TASKS)
    store.refresh_summary(run.id, {task: VIEWS[task] for task in TASKS}, METRIC)


@pytest.fixture
def home(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    shutil.copytree(filled, home)
    monkeypatch.setenv("ALIGNBOARD_HOME", str(home))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    return home


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    opened = Store.open(home / "board.db")
    yield opened
    opened.close()


def rows(store: Store, home: Path) -> dict[str, ResultRow]:
    (table,) = judged_tables(store, store.summaries(split="test"), home / "artifacts", HEADLINE)
    return {row.label: row for row in table.rows}


def test_table_has_ranks_and_marks_against_the_control(store: Store, home: Path) -> None:
    found = rows(store, home)
    assert found["ml-ctl"].rank is not None
    assert found["ml-ctl"].rank[1] == 2
    assert found["mbert"].rank is not None
    assert found["mbert"].rank[0] == 3
    assert found["ml-ctl"].cell(AVERAGE).sign == 1
    assert {cell.sign for cell in found["continued-mlm"].cells.values()} == {None}, "its control is itself"
    (table,) = judged_tables(store, store.summaries(split="test"), home / "artifacts", HEADLINE)
    assert table.notes[0].startswith("Rank: simultaneous 95% interval of the row's place")
    assert "▲" in to_markdown([table])
    assert r"\blacktriangle" in to_latex([table])
    header, *lines = (line.split(",") for line in to_csv([table]).splitlines())
    ranks = {line[0]: line[header.index("best rank")] for line in lines}
    assert ranks["mbert"] == str(found["mbert"].rank[0])


def test_the_order_of_rows_changes_no_verdict(home: Path) -> None:
    judged = []
    for name, methods, seeds in (("a.db", list(LEVELS), (1, 2, 3)), ("b.db", list(LEVELS)[::-1], (3, 1, 2))):
        found = rows(fill(home, name, methods, seeds), home)
        judged.append({label: (row.rank, {n: c.sign for n, c in row.cells.items()}) for label, row in found.items()})
    assert judged[0] == judged[1]


def test_a_second_reading_needs_no_artifact(store: Store, home: Path) -> None:
    before = rows(store, home)
    for file in (home / "artifacts").rglob(STATISTICS):
        file.unlink()
    after = rows(store, home)
    assert {label: row.rank for label, row in after.items()} == {label: row.rank for label, row in before.items()}


def test_without_item_statistics_there_is_no_rank(store: Store, home: Path) -> None:
    for file in (home / "artifacts").rglob(STATISTICS):
        file.unlink()
    assert {cell.sign for row in rows(store, home).values() for cell in row.cells.values()} == {None}


def test_marks_are_computed_again_only_where_what_they_depend_on_has_changed(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def count(*given: object) -> Verdicts:
        computed.append(given)
        return table_verdicts(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(verdicts, "table_verdicts", count)
    before = rows(store, home)
    assert rows(store, home) == before
    assert len(computed) == 1
    with store.transaction() as connection:  # one score by another version of its stage, of the same value
        connection.execute(sa.update(schema.summary).where(schema.summary.c.task == "xnli").values(origin="new"))
    rows(store, home)
    assert len(computed) == 2
    add_run(store, home, "ml-ctl", 4)
    rows(store, home)
    assert len(computed) == 3
    assert rows(store, home)["ml-ctl"].seeds == 4
    assert len(computed) == 3


def test_two_seeds_give_no_verdict(home: Path) -> None:
    store = fill(home, "two.db", ("mbert", "ml-ctl"), (1, 2))
    assert {row.rank for row in rows(store, home).values()} == {None}
    summaries = store.summaries(split="test")
    (table,) = tables_by_task(summaries)
    reader = ItemReader(store, home / "artifacts", summaries)
    assert "3 seeds" in table_verdicts(reader, table).reason
    lines = compare_rows(reader, table, ("ml-ctl", "mbert"), by_view=False)
    assert {line.p for line in lines} == {None}
    assert describe(lines[-1], "ml-ctl", "mbert") == "On average there is no verdict: fewer than 3 seeds."


def test_difference_is_the_mean_over_seeds_and_the_variance_that_of_the_items(store: Store, home: Path) -> None:
    summaries = store.summaries(split="test")
    (table,) = tables_by_task(summaries)
    reader = ItemReader(store, home / "artifacts", summaries)
    lines = compare_rows(reader, table, ("ml-ctl", "mbert"), by_view=False)
    xnli = next(line for line in lines if line.task == "xnli")
    frame = pd.DataFrame(summaries)
    values = frame[frame["task"] == "xnli"].groupby("method")["value"].mean()
    assert xnli.difference.estimate == pytest.approx(values["ml-ctl"] - values["mbert"])
    frames = []
    cells = store.cells(split="test", task="xnli").merge(frame[["run", "method", "align_seed"]].drop_duplicates())
    for stage, own in cells.groupby("stage"):
        items = pd.read_parquet(home / "artifacts" / artifact_folder(str(stage)) / STATISTICS)
        sign = {"ml-ctl": 1, "mbert": -1}.get(own["method"].iloc[0], 0)
        share = sign * 100 * items["correct"] / items.groupby("view")["correct"].transform("size")
        frames.append(items.assign(move=share / items["view"].nunique(), seed=own["align_seed"].iloc[0]))
    moves = pd.concat(frames).pivot_table(index="seed", columns="cluster", values="move", aggfunc="sum").to_numpy()
    mean = moves.mean(0)
    n = len(mean)
    assert xnli.difference.clusters == n
    assert xnli.difference.between == pytest.approx(n / (n - 1) * ((mean - mean.mean()) ** 2).sum())
    assert xnli.difference.seed_variance == pytest.approx(moves.sum(1).var(ddof=1))


def test_languages_are_compared_one_by_one(store: Store, home: Path) -> None:
    summaries = store.summaries(split="test")
    (table,) = tables_by_task(summaries)
    reader = ItemReader(store, home / "artifacts", summaries)
    lines = compare_rows(reader, table, ("ml-ctl", "mbert"), by_view=True)
    by_task = compare_rows(reader, table, ("ml-ctl", "mbert"), by_view=False)
    for whole in by_task[:-1]:
        parts = [line.difference.estimate for line in lines if line.task == whole.task]
        assert np.mean(parts) == pytest.approx(whole.difference.estimate)
    assert all(line.view for line in lines)


def test_rows_of_other_seeds_are_refused(store: Store, home: Path) -> None:
    add_run(store, home, "ml-ctl", 4)
    summaries = store.summaries(split="test")
    (table,) = tables_by_task(summaries)
    reader = ItemReader(store, home / "artifacts", summaries)
    with pytest.raises(UserError, match="other seeds") as raised:
        compare_rows(reader, table, ("ml-ctl", "mbert"), by_view=False)
    assert "ml-ctl: 1, 2, 3, 4; mbert: 1, 2, 3" in str(raised.value)
    assert rows(store, home)["ml-ctl"].rank is not None, "the table uses the seeds that all share"


def test_statistics_of_another_score_are_refused(store: Store, home: Path) -> None:
    file = next((home / "artifacts").rglob(STATISTICS))
    other = next(path for path in (home / "artifacts").rglob(STATISTICS) if path.read_bytes() != file.read_bytes())
    file.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match="alignboard verify"):
        rows(store, home)


def test_compare_prints_differences_and_a_verdict(store: Store, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("compare", "ml-ctl", "continued-mlm") == 0
    printed = capsys.readouterr().out
    assert "On average ml-ctl is better than continued-mlm by" in printed
    assert "95% interval" in printed
    assert run_command("compare", "ml-ctl", "ml-ctl-cz") == 0
    assert "cannot be told apart with 3 seeds, which find differences from" in capsys.readouterr().out
    assert run_command("compare", "ml-ctl", "ml-clt") == 2
    assert "did you mean" in capsys.readouterr().err.lower() or "ml-ctl" in capsys.readouterr().err
