"""Attribution of a gain to text, objective and pairs; the regret of selection on English dev data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from harness.errors import UserError
from harness.evaluation.item_statistics import write_statistics
from harness.evaluation.statistics import holm
from harness.files import STATISTICS
from harness.results.attribution import SHUFFLED, attribute_gain, gain_chain, selection_regret
from harness.results.item_reader import ItemReader
from harness.results.tables import ResultTable, tables_by_task
from harness.results.verdicts import compare_rows, score_estimates, table_verdicts
from harness.storage.artifacts import artifact_folder
from harness.storage.store import AVERAGE, ScoreRow, Store
from tests.support.board_store import RATIOS, add_full_run, artifact_path, fingerprint
from tests.support.cli_calls import run_command
from tests.support.fake_store import METRIC, VIEWS

TASKS = ("xnli", "tatoeba")
VIEWS_OF = {task: VIEWS[task] for task in TASKS}
ROWS = (("mbert", "", 40.0), ("continued-mlm", "", 42.0), ("ml-ctl", SHUFFLED, 43.0), ("ml-ctl", "", 80.0))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("attribution")
    with_store = Store.open(home / "board.db", create=True)
    for method, transform, level in ROWS:
        for seed in (1, 2, 3):
            changes = {"transform": transform} if transform else {}
            run = add_full_run(with_store, home, method, level, seed, tasks=TASKS, **changes)
            with_store.refresh_summary(run.id, VIEWS_OF, METRIC)
    with_store.close()
    return home


@pytest.fixture(autouse=True)
def use_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(home))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    opened = Store.open(home / "board.db")
    yield opened
    opened.close()


def read(store: Store, home: Path) -> tuple[ResultTable, ItemReader]:
    summaries = store.summaries(split="test")
    (table,) = tables_by_task(summaries)
    return table, ItemReader(store, home / "artifacts", summaries)


def test_steps_of_a_gain_add_up_and_are_corrected_together(store: Store, home: Path) -> None:
    table, reader = read(store, home)
    found = attribute_gain(reader, table, "ml-ctl")
    assert [step.kind for step in found.steps] == ["text", "objective", "pairs"]
    assert not found.missing
    whole = compare_rows(reader, table, ("ml-ctl", "mbert"), by_view=False)
    for at, line in enumerate(whole):
        parts = [lines[at].difference.estimate for lines in found.steps.values()]
        assert sum(parts) == pytest.approx(line.difference.estimate)
    pairs = next(lines for step, lines in found.steps.items() if step.kind == "pairs")
    alone = compare_rows(reader, table, ("ml-ctl", f"ml-ctl ({SHUFFLED})"), by_view=False)
    assert [line.difference for line in pairs] == [line.difference for line in alone]
    lines = [line for own in found.steps.values() for line in own if line.task != AVERAGE]
    assert [line.p for line in lines] == pytest.approx(list(holm([line.difference.p for line in lines])))  # type: ignore[arg-type]
    averages = [own[-1] for own in found.steps.values()]
    assert [line.p for line in averages] == pytest.approx(list(holm([line.difference.p for line in averages])))  # type: ignore[arg-type]


def test_steps_are_attributed_by_language(store: Store, home: Path) -> None:
    table, reader = read(store, home)
    found = attribute_gain(reader, table, "ml-ctl", by_view=True)
    for lines in found.steps.values():
        assert [(line.task, line.view) for line in lines] == [(task, view) for task in TASKS for view in VIEWS[task]]


def test_a_missing_control_is_skipped_and_its_command_named(store: Store, home: Path) -> None:
    table, reader = read(store, home)
    table = replace(table, rows=tuple(row for row in table.rows if row.transform != SHUFFLED))
    found = attribute_gain(reader, table, "ml-ctl")
    assert [step.kind for step in found.steps] == ["text", "objective and pairs"]
    command = found.missing[SHUFFLED]
    assert command == "alignboard run ml-ctl --like run-ml-ctl-1 --transform shuffled-pairs --seeds 3"
    alone = replace(table, rows=tuple(row for row in table.rows if row.label == "ml-ctl"))
    with pytest.raises(UserError, match="no control") as raised:
        attribute_gain(reader, alone, "ml-ctl")
    assert "alignboard run mbert" in str(raised.value)


def test_a_control_has_its_own_chain(store: Store, home: Path) -> None:
    table, reader = read(store, home)
    assert list(gain_chain(table, "continued-mlm", reader.runs)) == ["mbert", "continued-mlm"]
    assert list(gain_chain(table, f"ml-ctl ({SHUFFLED})", reader.runs)) == ["mbert", "continued-mlm", SHUFFLED]


def add_oracle(store: Store, home: Path, run: str) -> None:
    """Scores of xnli under the oracle: in every view two more items are correct."""
    cells = store.cells(split="test", task="xnli", run=[run])
    items = pd.read_parquet(home / "artifacts" / artifact_folder(cells["stage"].iloc[0]) / STATISTICS)
    wrong = items[items["correct"] == 0].groupby("view").head(2).index
    items.loc[wrong, "correct"] = 1
    stage = fingerprint("oracle", run)
    table = pa.Table.from_pandas(items.assign(selection="oracle"), preserve_index=False)
    write_statistics(artifact_path(home, stage) / STATISTICS, table, RATIOS)
    rows = [
        ScoreRow(
            stage=stage,
            task="xnli",
            view=str(view),
            language=str(view),
            split="test",
            protocol="mini",
            metric="accuracy",
            value=100 * float(own["correct"].mean()),
            n=len(own),
            selection="oracle",
        )
        for view, own in items.groupby("view")
    ]
    store.put_scores(run, rows)
    store.refresh_summary(run, VIEWS_OF, METRIC)


def test_regret_is_oracle_minus_english_and_other_comparisons_keep_their_selection(home: Path) -> None:
    store = Store.open(home / "oracle.db", create=True)
    for method, _transform, level in ROWS[:2]:
        for seed in (1, 2, 3):
            run = add_full_run(store, home, method, level, seed, tasks=TASKS)
            store.refresh_summary(run.id, VIEWS_OF, METRIC)
    table, reader = read(store, home)
    rows = ("continued-mlm", "mbert")
    before = compare_rows(reader, table, rows, by_view=False)
    marks = table_verdicts(reader, table).columns
    assert not selection_regret(reader, table, "mbert")
    for run_id in table.rows[0].runs:
        add_oracle(store, home, run_id)
    table, reader = read(store, home)
    (xnli,) = selection_regret(reader, table, "mbert")
    assert xnli.task == "xnli"
    assert xnli.difference.estimate == pytest.approx(5.0), "two of forty items in every language"
    by_view = selection_regret(reader, table, "mbert", by_view=True)
    assert {line.view: round(line.difference.estimate, 6) for line in by_view} == dict.fromkeys(VIEWS["xnli"], 5.0)
    assert compare_rows(reader, table, rows, by_view=False) == before
    after = table_verdicts(reader, table).columns
    assert after["xnli"].difference(*rows) == marks["xnli"].difference(*rows)
    store.close()


def test_rows_of_other_test_items_are_not_compared(store: Store, home: Path) -> None:
    table, reader = read(store, home)
    versions = {"mbert": "old", "continued-mlm": "new", "ml-ctl": "new", f"ml-ctl ({SHUFFLED})": "new"}
    rows = [replace(row, data={"xnli/qab/test": versions[row.label], "xnli/qab/dev": row.label}) for row in table.rows]
    changed = replace(table, rows=tuple(rows))
    with pytest.raises(UserError, match="other test items") as raised:
        compare_rows(reader, changed, ("ml-ctl", "mbert"), by_view=False)
    assert "xnli/qab/test" in str(raised.value)
    only = ("ml-ctl", "mbert")
    assert len(compare_rows(reader, changed, only, by_view=False, tasks=["tatoeba"])) == 1
    columns = table_verdicts(reader, changed).columns
    assert set(columns["xnli"].labels) == set(versions) - {"mbert"}
    assert set(columns["tatoeba"].labels) == set(versions)


def test_rows_that_cannot_be_told_apart_are_one_group(store: Store, home: Path) -> None:
    table, reader = read(store, home)
    verdicts = table_verdicts(reader, table)
    groups = verdicts.columns[AVERAGE].tie_groups()
    assert groups == {"ml-ctl": 0, f"ml-ctl ({SHUFFLED})": 1, "continued-mlm": 1, "mbert": 1}
    assert next(iter(groups)) == "ml-ctl"


def test_every_figure_has_an_interval_over_its_items(store: Store, home: Path) -> None:
    table, reader = read(store, home)
    found = score_estimates(reader, table)
    for row in table.rows:
        for column in table.columns:
            one, mean = found[row.label, column.name], row.cell(column.name).mean
            assert one.estimate == pytest.approx(mean)
            wide, narrow = one.interval(), one.item_interval()
            assert wide is not None
            assert narrow is not None
            assert narrow[0] < one.estimate < narrow[1]
    single = [row for row in store.summaries(split="test") if row["align_seed"] == 1]
    (table,) = tables_by_task(single)
    one = score_estimates(ItemReader(store, home / "artifacts", single), table)["ml-ctl", "xnli"]
    assert one.interval() is None
    assert one.item_interval() is not None


def test_compare_prints_attribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("compare", "ml-ctl", "--attribution") == 0
    printed = capsys.readouterr().out
    assert "ml-ctl − ml-ctl (shuffled-pairs): the true pairs" in printed
    assert "On average ml-ctl is better than ml-ctl (shuffled-pairs) by" in printed
    assert run_command("compare", "ml-ctl", "--regret") == 0
    assert "No score of an oracle" in capsys.readouterr().out
    assert run_command("compare", "ml-ctl", "mbert", "--attribution") == 2
    assert run_command("compare", "ml-ctl") == 2
