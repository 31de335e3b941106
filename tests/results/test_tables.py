"""The results table: means over seeds, gaps, order of rows, and every format."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from harness.results.rendering import TerminalTable, clean, format_cell, to_csv, to_latex, to_markdown
from harness.results.score_json import score_json
from harness.results.tables import (
    ResultCell,
    ResultTable,
    table_caption,
    tables_by_language,
    tables_by_task,
)
from harness.storage.store import AVERAGE, ScoreRow, Store
from tests.support.fake_store import LANGUAGES, METRIC, VIEWS, fill_store, run_row, scores, store_run, write_store

EVIL = "=cmd()|\u202e\x1b[31mred_&{}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "board.db", create=True)
    yield opened
    opened.close()


@pytest.fixture
def results(store: Store) -> ResultTable:
    fill_store(store)
    (table,) = tables_by_task(store.summaries(split="test"))
    return table


def row_of(results: ResultTable, label: str):  # type: ignore[no-untyped-def]
    return next(row for row in results.rows if row.label == label)


def mean_of(rows: list[ScoreRow], task: str) -> float:
    return statistics.mean(row.value for row in rows if row.task == task)


def test_cells_are_means_and_deviations_over_seeds(results: ResultTable) -> None:
    runs = [scores(52.0, seed) for seed in (1, 2)]
    values = [mean_of(rows, "panx") for rows in runs]
    cell = row_of(results, "cz-snt").cell("panx")
    assert (cell.mean, cell.sd) == (pytest.approx(statistics.mean(values)), pytest.approx(statistics.stdev(values)))
    averages = [statistics.mean(mean_of(rows, task) for task in VIEWS) for rows in runs]
    average = row_of(results, "cz-snt").cell(AVERAGE)
    assert (average.mean, average.sd) == (
        pytest.approx(statistics.mean(averages)),
        pytest.approx(statistics.stdev(averages)),
    )
    assert average.seeds == 2


def test_columns_follow_the_suite_and_the_average_is_last(results: ResultTable) -> None:
    assert [column.name for column in results.columns] == [*VIEWS, AVERAGE]
    assert [column.metric for column in results.columns] == [*METRIC.values(), ""]


def test_controls_come_first_then_the_best_average(results: ResultTable) -> None:
    labels = [(row.label, row.badge) for row in results.rows]
    controls = ["mbert", "continued-mlm", "ml-ctl (shuffled-pairs)"]
    methods = ["ml-ctl-cz", "ml-ctl", "cz-snt", "info-snt"]
    assert labels == [*((name, "control") for name in controls), *((name, "") for name in methods)]


def test_incomplete_seed_is_left_out_of_the_mean_and_counted(results: ResultTable) -> None:
    row = row_of(results, "ml-ctl-cz")
    assert format_cell(row.cell("xnli"), row.seeds) == f"{row.cell('xnli').mean:.1f} ± {row.cell('xnli').sd:.1f}"
    assert row.cell("panx").mean == pytest.approx(mean_of(scores(56.0, 1), "panx"))
    assert format_cell(row.cell(AVERAGE), row.seeds).endswith("(1 seed)")
    assert results.notes == ("Fewer than 3 seeds: differences carry no verdict.", "1 run not finished.")


def test_gap_in_every_seed_is_a_dash_with_a_count(store: Store) -> None:
    store_run(store, run_row("ml-ctl", 1), scores(50.0, 1)[:24])
    (table,) = tables_by_task(store.summaries())
    row = table.rows[0]
    told = [format_cell(row.cell(column.name), 1) for column in table.columns]
    assert told[3:] == ["– (3/7)", "– (0/6)", "– (0/6)", "– (24/40)"]


def test_runs_with_different_keys_are_in_different_tables(store: Store, tmp_path: Path) -> None:
    for name in ("suite", "protocol", "base", "source", "languages_hash"):
        store_run(store, run_row("mbert", 1, **{name: "other"}), scores(1.0, 1))
    store_run(store, run_row("mbert", 1, recipe_kind="paper"), scores(1.0, 1))
    store_run(store, run_row("mbert", 1), scores(1.0, 1))
    tables = tables_by_task(store.summaries())
    assert len(tables) == 7
    assert all(len(table.rows) == 1 and table.rows[0].seeds == 1 for table in tables)


def test_configurations_of_one_method_are_separate_rows(store: Store) -> None:
    for heat in (0.1, 0.2):
        store_run(store, run_row("ml-ctl", 1, config={"temperature": heat, "layer": 8}), scores(heat, 1))
    store_run(store, run_row("cz-snt", 1, recipe_hash="aaaaaaaaaa"), scores(3.0, 1))
    store_run(store, run_row("cz-snt", 1, recipe_hash="bbbbbbbbbb"), scores(2.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert [row.label for row in table.rows] == [
        "cz-snt [recipe=aaaaaaaa]",
        "cz-snt [recipe=bbbbbbbb]",
        "ml-ctl [temperature=0.2]",
        "ml-ctl [temperature=0.1]",
    ]


def steps(number: int, **changes: object) -> dict[str, object]:
    return {"base": "here", "source": "babel", "align": {"steps": number, "schedule": "linear"}, **changes}


def test_recipes_of_one_method_are_labelled_by_their_differences(store: Store) -> None:
    store_run(store, run_row("ml-ctl", 1, recipe=steps(100), id="a"), scores(3.0, 1))
    store_run(store, run_row("ml-ctl", 2, recipe=steps(100, base="./here", source="/x"), id="b"), scores(3.0, 2))
    store_run(store, run_row("ml-ctl", 1, recipe=steps(900), id="c"), scores(9.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert [(row.label, row.seeds) for row in table.rows] == [
        ("ml-ctl [align.steps=900]", 1),
        ("ml-ctl [align.steps=100]", 2),
    ]


def test_a_setting_that_earlier_versions_lacked_makes_no_other_row(store: Store) -> None:
    newer = {"steps": 100, "schedule": "linear", "recompute_tokens": None}
    store_run(store, run_row("ml-ctl", 1, recipe=steps(100), id="a"), scores(3.0, 1))
    store_run(store, run_row("ml-ctl", 2, recipe=steps(100, align=newer), id="b"), scores(5.0, 2))
    (table,) = tables_by_task(store.summaries())
    assert [(row.label, row.seeds) for row in table.rows] == [("ml-ctl", 2)]


def test_unequal_budgets_are_noted(store: Store) -> None:
    store_run(store, run_row("ml-ctl", 1, recipe=steps(100), id="a", base_fingerprint="b1"), scores(3.0, 1))
    store_run(store, run_row("cz-snt", 1, recipe=steps(900), id="b", base_fingerprint="b2"), scores(9.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert [row.label for row in table.rows] == ["cz-snt", "ml-ctl"]
    assert "Not the same recipe in all rows: align.steps=900, but 100 in ml-ctl." in table.notes
    assert "These runs used 2 different versions of the base encoder." in table.notes


def test_tuned_learning_rates_are_not_a_mismatch(store: Store) -> None:
    for name, rate, tuning in (("ml-ctl", 1e-3, {"0.001": 70.0}), ("cz-snt", 1e-4, {"0.0001": 71.0})):
        recipe = {**steps(100, tuning=tuning), "align": {"steps": 100, "learning_rate": rate}}
        store_run(store, run_row(name, 1, recipe=recipe, id=name), scores(3.0, 1))
    store_run(store, run_row("mbert", 1, recipe=steps(1, align=None, sample=None), id="mbert"), scores(3.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert "Each row at the learning rate that pivot dev chose." in table.notes
    assert not [note for note in table.notes if note.startswith("Not the same recipe")], "mbert has no alignment"
    recipe = {**steps(100), "align": {"steps": 100, "learning_rate": 1e-5}}
    store_run(store, run_row("xlm", 1, recipe=recipe, id="xlm"), scores(3.0, 1))
    (table,) = tables_by_task(store.summaries())
    (note,) = (note for note in table.notes if note.startswith("Not the same recipe"))
    assert "align.learning_rate=" in note
    assert "Each row at the learning rate that pivot dev chose." not in table.notes


def test_contamination_removed_in_one_row_is_noted(store: Store) -> None:
    store_run(store, run_row("ml-ctl", 1, recipe=steps(100), id="a"), scores(3.0, 1))
    store_run(store, run_row("xlm", 1, recipe=steps(100), id="b"), scores(3.0, 1))
    store_run(store, run_row("cz-snt", 1, recipe=steps(100, contamination="remove"), id="c"), scores(3.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert "Not the same recipe in all rows: contamination=null, but remove in cz-snt." in table.notes


def test_newest_of_two_equal_runs_is_used(store: Store) -> None:
    store_run(store, run_row("mbert", 1, id="b", data_fingerprint="d2"), scores(10.0, 1))
    store_run(store, run_row("mbert", 1, id="a", created=run_row("mbert", 9).created), scores(20.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert (table.rows[0].seeds, table.rows[0].cell("xnli").mean > 20) == (1, True)
    (table,) = tables_by_language(store.scores(), store.summaries(), "xnli")
    assert table.rows[0].cell("qaa").mean > 20


def test_different_data_under_one_name_is_noted(store: Store) -> None:
    for seed in (1, 2):
        store_run(store, run_row("mbert", seed, data_fingerprint=f"d{seed}"), scores(10.0, seed))
    assert "These runs used 2 different versions of the data." in tables_by_task(store.summaries())[0].notes


def test_the_run_that_was_added_last_is_shown_whatever_the_clock_said(store: Store) -> None:
    store_run(store, run_row("mbert", 1, id="b", created=run_row("mbert", 9).created), scores(10.0, 1))
    store_run(store, run_row("mbert", 1, id="a"), scores(20.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert [row.runs for row in table.rows] == [("a",)]


def test_seeds_on_different_data_or_bases_are_not_averaged(store: Store) -> None:
    for seed, cells in ((1, {"xnli/qaa/test": "1", "xnli/qab/test": "1"}), (2, {"xnli/qab/test": "2"})):
        versions = {"data_fingerprint": f"d{seed}", "card": {"data": cells}}
        store_run(store, run_row("mbert", seed, id=f"r{seed}", **versions), scores(10.0, seed))
        store_run(store, run_row("ml-ctl", seed, base_fingerprint=f"b{seed}"), scores(30.0, seed))
    (table,) = tables_by_task(store.summaries())
    assert {(row.label, row.seeds) for row in table.rows} == {
        ("mbert [data=d1]", 1),
        ("mbert [data=d2]", 1),
        ("ml-ctl [base=b1]", 1),
        ("ml-ctl [base=b2]", 1),
    }
    assert "These runs used 2 different versions of the data: xnli/qab/test." in table.notes
    assert "These runs used 2 different versions of the base encoder." in table.notes


def test_oracle_is_a_separate_table(store: Store) -> None:
    store_run(store, run_row("mbert", 1), [*scores(50.0, 1), *_oracle(scores(51.0, 1))])
    (english,), (oracle,) = tables_by_task(store.summaries()), tables_by_task(store.summaries(), "oracle")
    assert english.rows[0].cell("tatoeba") == oracle.rows[0].cell("tatoeba")
    assert oracle.rows[0].cell("xnli").mean > english.rows[0].cell("xnli").mean
    assert "oracle selection" in table_caption(oracle)


def _oracle(rows: list[ScoreRow]) -> list[ScoreRow]:
    from dataclasses import replace

    return [replace(row, selection="oracle") for row in rows if row.selection]


def test_languages_of_a_task(store: Store, results: ResultTable) -> None:
    (table,) = tables_by_language(store.scores(split="test"), store.summaries(split="test"), "panx")
    assert [column.name for column in table.columns] == [*LANGUAGES, AVERAGE]
    assert {column.metric for column in table.columns} == {"f1"}
    row, whole = row_of(table, "cz-snt"), row_of(results, "cz-snt")
    assert row.cell(AVERAGE) == whole.cell("panx")
    values = [r.value for seed in (1, 2) for r in scores(52.0, seed) if (r.task, r.view) == ("panx", "qac")]
    assert row.cell("qac").mean == pytest.approx(statistics.mean(values))
    short = row_of(table, "ml-ctl-cz")
    assert format_cell(short.cell("qag"), short.seeds).endswith("(1 seed)")


def test_table_caption(results: ResultTable) -> None:
    assert table_caption(results) == (
        "7 rows of 6 methods, xtreme-align, protocol mini, matched recipe, source babel, base mini-mbert, 7 languages, "
        "1 to 2 seeds"
    )


def test_score_records_have_the_documented_fields(store: Store) -> None:
    store_run(store, run_row("mbert", 1), scores(50.0, 1))
    store_run(store, run_row("cz-snt", 1, finetune_seed=2), scores(50.0, 2))
    store_run(store, run_row("given", 1, align_seed=None, finetune_seed=None, kind="published"), scores(50.0, 3))
    records = json.loads("".join(score_json(store)))
    promised = {"method", "seed", "base", "suite", "task", "language", "split", "metric", "value", "n"}
    more = {"view", "protocol", "recipe", "selection", "source", "transform", "run"}
    assert all(promised | more <= set(record) for record in records)
    assert {record["method"]: record["seed"] for record in records} == {"mbert": 1, "cz-snt": "1/2", "given": None}
    assert len(records) == 120


def test_empty_store_gives_no_tables(store: Store) -> None:
    assert tables_by_task(store.summaries()) == []
    assert tables_by_language(store.scores(), store.summaries(), "xnli") == []
    assert "".join(score_json(store)) == "[]\n"
    assert to_csv([]).count("\n") == 1


# formats


def test_csv_reads_back(results: ResultTable) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv([results]))))
    assert [line["method"] for line in lines] == [row.label for row in results.rows]
    cell = row_of(results, "cz-snt").cell("panx")
    line = next(line for line in lines if line["method"] == "cz-snt")
    assert float(line["panx"]) == pytest.approx(cell.mean, abs=1e-4)
    assert (line["panx seeds"], line["missing"], line["protocol"]) == ("2", "", "mini")


def test_csv_lists_missing_figures(store: Store) -> None:
    store_run(store, run_row("ml-ctl", 1), scores(50.0, 1)[:24])
    (line,) = csv.DictReader(io.StringIO(to_csv(tables_by_task(store.summaries()))))
    assert (line["panx"], line["xnli sd"]) == ("", "")
    assert line["missing"] == "panx 3/7; bucc2018 0/6; tatoeba 0/6; average 24/40"


def evil(store: Store) -> ResultTable:
    store_run(store, run_row(EVIL, 1, base="@base"), scores(50.0, 1))
    (table,) = tables_by_task(store.summaries())
    return table


def test_csv_cells_are_not_formulas(store: Store) -> None:
    (line,) = csv.DictReader(io.StringIO(to_csv([evil(store)])))
    assert line["method"] == "'=cmd()|[31mred_&{}"
    assert line["base"] == "'@base"
    assert float(line["xnli"]) > 0


def printed(results: ResultTable, width: int = 150) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(TerminalTable(results))
    return stream.getvalue()


def test_terminal_output_has_no_control_characters(store: Store) -> None:
    text = printed(evil(store))
    assert "=cmd()|[31mred_&{}" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_terminal_table_has_all_figures(results: ResultTable) -> None:
    text = printed(results)
    for row in results.rows:
        line = next(line for line in text.splitlines() if line.strip().startswith(row.label + "  "))
        assert all(format_cell(row.cell(column.name), row.seeds) in line for column in results.columns)
    assert "Fewer than 3 seeds" in text


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_narrow_terminal_cuts_no_figure(results: ResultTable, width: int) -> None:
    text = printed(results, width)
    assert "…" not in text
    assert "Spread left out" in text
    assert text.count("ml-ctl-cz") == text.count("seeds", 0, text.index("Fewer")) - 1 > 0
    figures = text.replace("*", "").split()
    assert f"{row_of(results, 'ml-ctl-cz').cell(AVERAGE).mean:.1f}*" in text
    for row in results.rows:
        for column in results.columns:
            assert f"{row.cell(column.name).mean:.1f}" in figures


def test_markdown_is_one_table_with_escaped_names(store: Store) -> None:
    lines = to_markdown([evil(store)]).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 3
    assert r"=cmd()\|\[31mred\_\&{}" in table[2]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1


def test_names_in_notes_are_escaped(store: Store) -> None:
    store_run(store, run_row("ml-ctl", 1, recipe=steps(900), id="a"), scores(3.0, 1))
    store_run(store, run_row("xlm", 1, recipe=steps(900), id="c"), scores(3.0, 1))
    store_run(store, run_row("[x](y)\x1b[31m\n\\input{z}", 1, recipe=steps(100), id="b"), scores(3.0, 1))
    (table,) = tables_by_task(store.summaries())
    assert any("[x](y)" in note for note in table.notes)
    assert "\x1b" not in printed(table)
    assert "[x](y)" not in to_markdown([table])
    for line in to_latex([table]).splitlines():
        assert line.startswith("%") or "\\input{z}" not in line


def test_latex_is_escaped_and_ruled(store: Store, results: ResultTable) -> None:
    text = to_latex([results])
    assert text.count(r"\midrule") == 2
    assert r"\begin{tabular}{lrrrrrrrr}" in text
    assert r" $\pm$ " in text
    assert "±" not in text
    store_run(store, run_row("a_b&c", 1, suite="evil"), scores(50.0, 1))
    assert r"a\_b\&c & 1 & " in to_latex(tables_by_task(store.summaries(suite="evil")))


@pytest.mark.parametrize("name", ["plain", "ünï-コード", "עברית"])
def test_clean_keeps_ordinary_names(name: str) -> None:
    assert clean(name) == name


def test_single_missing_figure_is_a_plain_dash() -> None:
    assert format_cell(ResultCell((), 0, 1), 3) == "–"


def test_fake_store_has_two_tables(tmp_path: Path) -> None:
    store = Store.open(write_store(tmp_path / "b.db"), read_only=True)
    assert [table.key.protocol for table in tables_by_task(store.summaries())] == ["mini", "official"]


def test_base_without_a_masked_lm_head_is_noted(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "board.db", create=True)
    store_run(store, run_row("ml-ctl", 1), scores(50.0, 1))
    store.add_alignment(run_row("ml-ctl", 1).id, {"pivot": "qaa", "languages": ["qab"]})
    store.add_alignment(run_row("ml-ctl", 1).id, {"initialised": ["cls.predictions.bias"]})
    (row,) = store.runs()
    assert row["alignment"] == {"pivot": "qaa", "languages": ["qab"], "initialised": ["cls.predictions.bias"]}
    (table,) = tables_by_task(store.summaries(split="test"))
    assert "The base of 1 run has no masked-LM head; one was initialised from the run's seed." in table.notes
