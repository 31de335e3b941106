"""Languages and their groups: the table, group averages by the official rule, and `alignboard show --group`."""

from __future__ import annotations

import csv
import io
import json
import statistics
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.app import main
from harness.data.languages import GROUPINGS, UNKNOWN, XTREME, Alignment, groups, language
from harness.errors import UsageError, UserError
from harness.registry import SUITES, TASKS
from harness.results.grouping import group_records, tables_by_group
from harness.results.rendering import format_cell, to_csv, to_latex, to_markdown
from harness.results.tables import ResultCell, ResultTable, table_caption
from harness.storage.store import AVERAGE, Store
from tests.support.fake_store import FAR, LANGUAGES, METRIC, VIEWS, run_row, scores, store_run

ALIGNED = {"pivot": "qaa", "languages": ["qab", "qac"]}
SCRIPTS = {  # script -> first words of its letters' Unicode names
    "Han": ("CJK",),
    "Japanese": ("CJK", "HIRAGANA", "KATAKANA"),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "board.db", create=True)
    yield opened
    opened.close()


def tables(store: Store, by: str) -> dict[str, ResultTable]:
    made = tables_by_group(store.scores(split="test"), store.summaries(split="test"), by)
    assert len({table.view for table in made}) == len(made)
    return {table.view: table for table in made}


def cell(table: ResultTable, label: str, group: str) -> ResultCell:
    return next(row for row in table.rows if row.label == label).cell(group)


def test_every_language_of_the_suite_has_all_properties() -> None:
    views = {view for task in SUITES.get("xtreme").tasks for view in TASKS.get(task).spec.languages}
    assert set(XTREME) == views
    assert len(views) == 40
    assert all(tongue.name and tongue.family and tongue.script and tongue.resource for tongue in XTREME.values())


def test_families_are_as_many_as_the_paper_counts() -> None:
    families = {tongue.family for tongue in XTREME.values()}
    assert len(families - {"Basque", "Korean"}) == 12
    assert len(families) == 14


def test_scripts_are_those_of_the_test_sets(shared: Path) -> None:
    checked = 0
    for file in (shared / "data" / "open" / "panx").glob("test-*.tsv"):
        tongue = XTREME[file.stem.partition("-")[2]]
        letters = Counter(
            unicodedata.name(char, "?").split()[0]
            for char in file.read_text(encoding="utf-8")[:20_000].replace("\tO", "")
            if char.isalpha() and not (char.isascii() and tongue.script != "Latin")
        )
        assert letters.most_common(1)[0][0] in SCRIPTS.get(tongue.script, (tongue.script.upper(),)), tongue
        checked += 1
    assert checked


def test_languages_of_babel_tell_what_they_change() -> None:
    assert language("qaa").departs == ()
    assert language("qac").departs == ("cognates", "loans", "script")
    assert language("qac").script == "Cyrillic"
    assert (language("qaf").family, language("qaf", "babel:qaf.order=SVO").family) == ("babel SOV", "babel SVO")
    assert "order" not in language("qaf", "babel:qaf.order=SVO").departs
    assert language("qaf", "folder:x").family == ""


def test_resource_classes_go_from_rich_to_poor() -> None:
    assert list(groups("resource", ["sw", "jv", "en", "hi", "af", "tlh"])) == [
        *(f"class {number}" for number in (5, 4, 3, 2, 1)),
        UNKNOWN,
    ]


def test_pivot_is_apart_from_the_alignment_data() -> None:
    found = groups("aligned", ["en", "de.en", "fr", "sw"], alignment=Alignment("en", ("de", "sw")))
    assert found == {"aligned": ("de.en", "sw"), "not aligned": ("fr",), "pivot": ("en",)}


def test_unknown_grouping_is_refused() -> None:
    with pytest.raises(UsageError, match="familly"):
        groups("familly", ["en"])


@given(st.lists(st.sampled_from([*XTREME, *LANGUAGES, "xx", "en.de"])), st.sampled_from(GROUPINGS))
def test_groups_are_a_partition(views: list[str], by: str) -> None:
    found = groups(by, views, alignment=Alignment("en", ("de", "qab")))
    assert sorted(view for group in found.values() for view in group) == sorted(set(views))
    assert all(found.values())


def test_averages_follow_the_official_rule(store: Store) -> None:
    rows = scores(50.0, 1)
    store_run(store, run_row("ml-ctl", 1), rows)
    found = tables(store, "family")
    assert list(found) == [AVERAGE, *VIEWS]
    value = {(row.task, row.view): row.value for row in rows}
    late = ("qaf",)  # the one language of the made-up list whose verb comes last
    svo = [view for view in LANGUAGES if view not in ("qaf", "qag")]
    means = {task: statistics.mean(value[task, view] for view in svo if view in VIEWS[task]) for task in VIEWS}
    assert cell(found["xnli"], "ml-ctl", "babel SVO").mean == pytest.approx(means["xnli"])
    assert cell(found["tatoeba"], "ml-ctl", "babel SVO").mean == pytest.approx(means["tatoeba"])
    assert cell(found[AVERAGE], "ml-ctl", "babel SVO").mean == pytest.approx(statistics.mean(means.values()))
    assert cell(found[AVERAGE], "ml-ctl", "babel SOV").mean == pytest.approx(
        statistics.mean(value[task, view] for task in VIEWS for view in late)
    )
    whole = statistics.mean(statistics.mean(value[task, view] for view in VIEWS[task]) for task in VIEWS)
    assert cell(found[AVERAGE], "ml-ctl", AVERAGE).mean == pytest.approx(whole)
    assert "babel SOV: qaf" in found["xnli"].notes[0]
    assert table_caption(found["xnli"]).endswith("by family")


def test_incomplete_group_is_a_dash_and_complete_ones_stay(store: Store) -> None:
    rows = [row for row in scores(50.0, 1) if (row.task, row.view) != ("xnli", "qac")]
    store_run(store, run_row("ml-ctl", 1), rows)
    found = tables(store, "script")
    assert format_cell(cell(found["xnli"], "ml-ctl", "Latin"), 1)[0].isdigit()
    assert cell(found["xnli"], "ml-ctl", "Cyrillic") == ResultCell((), 0, 1)
    lacking = cell(found[AVERAGE], "ml-ctl", "Cyrillic")
    assert (lacking.mean, lacking.have, lacking.expected) == (None, len(VIEWS) - 1, len(VIEWS))
    assert cell(found[AVERAGE], "ml-ctl", "Greek").mean is not None
    assert cell(found[AVERAGE], "ml-ctl", AVERAGE).mean is None
    assert to_markdown([found[AVERAGE]]).count("– (5/6)") == 1
    records = group_records(store.scores(split="test"), store.summaries(split="test"), "script")
    gaps = {(row["task"], row["group"]) for row in records if row["value"] is None}
    assert gaps == {("xnli", "Cyrillic"), (AVERAGE, "Cyrillic")}


def test_run_stored_without_its_views_is_not_averaged_over_a_gap(store: Store) -> None:
    import sqlalchemy as sa

    rows = [row for row in scores(50.0, 1) if (row.task, row.view) != ("xnli", "qac")]
    store_run(store, run_row("ml-ctl", 1), rows)
    with store.transaction() as connection:
        connection.execute(sa.text("UPDATE run SET views = '{}'"))
    found = tables(store, "script")
    assert cell(found["xnli"], "ml-ctl", "Cyrillic").mean is None
    assert cell(found["xnli"], "ml-ctl", "Greek").mean is not None
    assert cell(found["pawsx"], "ml-ctl", "Cyrillic").mean is not None


def test_runs_aligned_on_other_languages_stand_apart_with_the_control_in_both(store: Store) -> None:
    store_run(store, run_row("mbert", 1), scores(40.0, 1))
    with pytest.raises(UserError, match="aligned"):
        tables(store, "aligned")
    for method, languages in (("ml-ctl", ["qab", "qac"]), ("info-snt", list(FAR))):
        run = run_row(method, 1)
        store_run(store, run, scores(50.0, 1))
        store.add_alignment(run.id, {"pivot": "qaa", "languages": languages})
    made = tables_by_group(store.scores(split="test"), store.summaries(split="test"), "aligned")
    suites = [table for table in made if table.view == AVERAGE]
    assert {tuple(row.label for row in table.rows) for table in suites} == {("mbert", "info-snt"), ("mbert", "ml-ctl")}
    names = {tuple(column.name for column in table.columns) for table in suites}
    assert names == {("aligned", "pivot", AVERAGE), ("aligned", "not aligned", "pivot", AVERAGE)}


def test_resumed_run_keeps_what_it_was_aligned_on(store: Store) -> None:
    run = run_row("ml-ctl", 1)
    store_run(store, run, scores(50.0, 1))
    store.add_alignment(run.id, ALIGNED)
    store.add_run(run)
    (row,) = store.runs()
    assert row["alignment"] == ALIGNED
    assert row["views"]["tatoeba"] == list(FAR)


def show(capsys: pytest.CaptureFixture[str], place: str, *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["show", "--db", place, *arguments])
    told = capsys.readouterr()
    assert (stop.value.code or 0) == code, told.err
    return told.err if code else told.out


@pytest.mark.parametrize("by", GROUPINGS)
def test_command_prints_groups_in_every_format(store: Store, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_row("ml-ctl", 1)
    store_run(store, run, scores(50.0, 1))
    store.add_alignment(run.id, ALIGNED)
    expected = tables(store, by)
    assert to_latex(list(expected.values())) == show(capsys, store.place, "--group", by, "--format", "latex")
    assert to_markdown(list(expected.values())) == show(capsys, store.place, "--group", by, "--format", "markdown")
    text = show(capsys, store.place, "--group", by, "--format", "csv")
    assert to_csv(list(expected.values())) == text
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["view"] for line in lines] == [AVERAGE, *VIEWS]
    records = json.loads(show(capsys, store.place, "--group", by, "--format", "json"))
    told = {(row["task"], row["group"]): row["value"] for row in records}
    for view, table in expected.items():
        for column in table.columns[:-1]:
            assert told[view, column.name] == pytest.approx(cell(table, "ml-ctl", column.name).mean)
    assert by in show(capsys, store.place, "--group", by)


def test_one_task_has_no_average_over_tasks(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store_run(store, run_row("ml-ctl", 1), scores(50.0, 1))
    text = show(capsys, store.place, "--group", "script", "--task", "xnli", "--format", "csv")
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["view"], line["grouping"]) == ("xnli", "script")
    assert "--by" in show(capsys, store.place, "--group", "script", "--by", "language", code=2)


def test_groups_need_no_torch() -> None:
    code = "import harness.data.languages, harness.results.grouping, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_metric_of_each_task_is_the_unit(store: Store) -> None:
    store_run(store, run_row("ml-ctl", 1), scores(50.0, 1))
    for task, table in tables(store, "resource").items():
        assert {column.metric for column in table.columns} == {METRIC.get(task, "")}
