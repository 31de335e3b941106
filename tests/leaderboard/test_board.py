"""The board: the same table as `alignboard show`, filters in the URL, and helpful empty states."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
import streamlit as st
from streamlit.testing.v1 import AppTest

from harness.data.languages import GROUPINGS
from harness.results.rendering import format_cell, to_csv
from harness.results.tables import ResultTable, table_caption, tables_by_language, tables_by_task
from harness.storage.store import AVERAGE, Store
from leaderboard import launch
from leaderboard.analysis import board as boards
from leaderboard.components import downloads, score_charts, tables
from tests.support.board_pages import page_text, run_page
from tests.support.board_store import add_full_run, add_map
from tests.support.fake_store import LANGUAGES, run_row, scores, store_run, write_store

NARROWING = ("languages", "columns_shown", *GROUPINGS)  # filters in the expander of the page Leaderboard
HEAVY = ("torch", "transformers", "evaluate")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the board looks for its store; none exists yet."""
    place = tmp_path / "board.db"
    monkeypatch.setenv("ALIGNBOARD_DB", str(place))
    st.cache_data.clear()
    return place


@pytest.fixture
def filled(path: Path) -> Path:
    return write_store(path)


def stored_tables(path: Path) -> list[ResultTable]:
    store = Store.open(path, read_only=True)
    found = tables_by_task(store.summaries(split="test"))
    store.close()
    return found


def open_page(**query: str) -> AppTest:
    app = AppTest.from_file(str(launch.APP), default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def method_names(frame: pd.DataFrame) -> list[str]:
    """The names in the table, which are drawn as labels."""
    return [name for (name,) in frame["method"]]


def words(column: Iterable[str]) -> list[str]:
    return [text.lstrip(" ") for text in column]


def test_page_shows_the_same_table_as_show(filled: Path) -> None:
    app = open_page()
    (mini, _official) = stored_tables(filled)
    assert table_caption(mini) in page_text(app)
    frame = app.dataframe[0].value
    assert method_names(frame) == [row.label for row in mini.rows]
    for column in mini.columns:
        assert words(frame[column.name]) == [format_cell(row.cell(column.name), row.seeds) for row in mini.rows]
    assert [list(roles) for roles in frame["role"]][:4] == [["control"]] * 3 + [[]]
    assert all(note in page_text(app) for note in mini.notes)


def test_figures_sort_as_numbers_and_gaps_have_counts(path: Path) -> None:
    store = Store.open(path, create=True)
    for method, level in (("a", 9.0), ("b", 55.0), ("c", 99.5)):
        store_run(store, run_row(method, 1), [replace(row, value=level) for row in scores(level, 1)])
    store_run(store, run_row("d", 1), scores(50.0, 1)[:24])
    frame = tables.table_frame(stored_tables(path)[0]).sort_values("panx")
    assert words(frame["panx"]) == ["9.0", "55.0", "99.5", "– (3/7)"]


def test_languages_of_a_task(filled: Path) -> None:
    app = open_page(columns="Languages", task="panx")
    store = Store.open(filled, read_only=True)
    table = tables_by_language(store.scores(split="test"), store.summaries(split="test"), "panx")[0]
    frame = app.dataframe[0].value
    assert list(frame.columns) == ["role", "method", AVERAGE, *LANGUAGES, "seeds"]
    assert words(frame["qac"]) == [format_cell(row.cell("qac"), row.seeds) for row in table.rows]
    app.selectbox(key="task").set_value("bucc2018").run()
    assert "bucc2018 of xtreme-align" in page_text(app)
    assert "qaa" not in app.dataframe[0].value


def test_filters_with_a_choice_are_drawn_and_bound_to_the_url(filled: Path) -> None:
    app = open_page()
    assert [box.key for box in app.selectbox if box.key not in NARROWING] == ["protocol"]
    assert open_page(protocol="official").selectbox(key="protocol").value == "official"
    app.selectbox(key="protocol").set_value("official").run()
    assert len(app.dataframe[0].value) == 1
    assert "protocol official" in page_text(app)


@pytest.mark.parametrize(
    "query", [{"protocol": "<script>"}, {"columns": "Planets"}, {"columns": "Languages", "task": "x"}, {"family": "q"}]
)
def test_invalid_url_values_are_ignored_with_a_notice(filled: Path, query: dict[str, str]) -> None:
    app = open_page(**query)
    assert "protocol mini" in page_text(app)
    assert len(app.dataframe[0].value) == 7
    (notice,) = app.warning
    assert "which the address asks for" in notice.value
    assert "<script>" not in notice.value


def test_oracle_can_be_chosen_if_it_was_scored(filled: Path) -> None:
    assert len(open_page(selection="oracle").dataframe[0].value) == 7  # not there: the headline
    store = Store.open(filled)
    english = scores(40.0, 1)
    oracle = [replace(row, selection="oracle", value=row.value + 1) for row in english if row.selection]
    store_run(store, run_row("mbert", 1), [*english, *oracle])
    st.cache_data.clear()
    app = open_page(selection="oracle")
    assert method_names(app.dataframe[0].value) == ["mbert"]
    assert "oracle selection" in page_text(app)
    app.selectbox(key="selection").set_value("english").run()
    assert len(app.dataframe[0].value) == 7


def test_every_part_of_the_table_key_is_a_filter(filled: Path) -> None:
    store = Store.open(filled)
    for name in ("suite", "base", "source", "languages_hash"):
        store_run(store, run_row("mbert", 1, **{name: "other"}), scores(1.0, 1))
    store_run(store, run_row("mbert", 1, recipe_kind="paper"), scores(1.0, 1))
    st.cache_data.clear()
    assert len(stored_tables(filled)) == 7
    for found in stored_tables(filled):
        query = {facet.name: value[:6] for facet, value in zip(boards.FACETS, found.key, strict=True)}
        full = {facet.name: value for facet, value in zip(boards.FACETS, found.key, strict=True)}
        query = {name: query[name] if name == "languages_hash" else full[name] for name in full}
        assert table_caption(found) in page_text(open_page(**query))


def test_missing_store_shows_the_command_for_the_first_rows(path: Path) -> None:
    app = open_page()
    assert "alignboard run" in page_text(app)
    assert str(path) in page_text(app)
    assert not app.error
    assert not path.exists()


def test_store_without_scores_shows_the_same_command(path: Path) -> None:
    store = Store.open(path, create=True)
    assert "alignboard run" in page_text(open_page())
    store.add_run(run_row("mbert", 1, status="running"))
    st.cache_data.clear()
    assert "1 run in progress" in page_text(open_page())


def test_newer_schema_is_reported(filled: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{filled}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9001'"))
    engine.dispose()
    app = open_page()
    assert "schema revision 9001" in page_text(app)
    assert "remedy" in page_text(app)
    assert not app.dataframe


def test_board_changes_nothing(filled: Path) -> None:
    before = filled.read_bytes()
    open_page()
    open_page(columns="Languages", task="xnli")
    assert filled.read_bytes() == before


def test_third_party_names_are_escaped(path: Path) -> None:
    store = Store.open(path, create=True)
    store_run(store, run_row("# [x](http://evil) \u202e$a$", 1, base="**bold** `code`"), scores(50.0, 1))
    app = open_page()
    assert not app.markdown or all("evil" not in element.value for element in app.markdown)
    assert "\u202e" not in method_names(app.dataframe[0].value)[0]
    assert "**bold** `code`" in page_text(app)


def test_download_is_the_same_csv_as_show(filled: Path) -> None:
    (mini, _official) = stored_tables(filled)
    files = downloads.table_files(mini)
    assert files.stem == "alignboard-xtreme-align-mini-by-task"
    assert files.csv == to_csv([mini])


def test_chart_has_a_dot_for_each_seed(filled: Path) -> None:
    (mini, official) = stored_tables(filled)
    chart = score_charts.seed_dots(mini)
    assert chart is not None
    (data,) = chart.to_dict()["datasets"].values()
    assert len(data) == 12
    assert {record["mean"] for record in data} == {row.cell(AVERAGE).mean for row in mini.rows}
    assert score_charts.seed_dots(official) is None


@pytest.fixture
def furnished(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with two methods that have been mapped."""
    monkeypatch.setenv("ALIGNBOARD_HOME", str(path.parent))
    store = Store.open(path, create=True)
    for method, level in (("mbert", 40.0), ("ml-ctl", 55.0)):
        run = add_full_run(store, path.parent, method, level, 1)
        add_map(store, path.parent, run)
    store.close()
    return path


def test_alignment_against_transfer(furnished: Path) -> None:
    app = run_page("alignment", task="tatoeba")
    assert "12 points" in page_text(app)
    assert "Spearman" in page_text(app)
    frame = app.dataframe[0].value
    assert set(frame["row"]) == {"mbert", "ml-ctl"}
    app.segmented_control[0].set_value("Ranks within a language").run()
    assert set(app.dataframe[0].value["measure"]) == {1.0, 2.0}


def test_maps_are_side_by_side(furnished: Path) -> None:
    app = run_page("embeddings")
    assert "Translation pairs of qab, qac, qad" in page_text(app)
    app.multiselect(key="languages").set_value(["qaf"]).run()
    assert "Translation pairs of qaf" in page_text(app)


@pytest.mark.parametrize(
    ("source", "languages", "closed"), [("babel", "official", True), ("hub", ["de"], True), ("hub", "official", False)]
)
def test_published_figures_are_beside_a_table_of_the_same_data_only(
    path: Path, source: str, languages: object, closed: bool
) -> None:
    store = Store.open(path, create=True)
    row = run_row("ml-ctl", 1, suite="xtreme", source=source, recipe={"languages": languages})
    store_run(store, row, scores(50.0, 1))
    store.close()
    app = open_page()
    assert ("Published figures" in [heading.value for heading in app.subheader]) is not closed
    assert any(label.startswith("Published figures:") for label in [box.label for box in app.expander]) is closed
    assert any("XLM (xlm-mlm-100-1280)" in str(frame.value) for frame in app.dataframe)


def test_shared_board_asks_to_sign_in(filled: Path) -> None:
    app = AppTest.from_file(str(launch.APP), default_timeout=30)
    app.secrets["auth"] = {"redirect_uri": "https://board.example/oauth2callback"}
    app.run()
    assert [button.label for button in app.button] == ["Sign in"]
    assert not app.dataframe


@pytest.mark.long
def test_board_imports_nothing_heavy(furnished: Path) -> None:
    program = f"""
import sys
from streamlit.testing.v1 import AppTest
from leaderboard import launch
app = AppTest.from_file(str(launch.APP), default_timeout=60).run()
assert not app.exception and app.dataframe
for name in ("ablation", "method", "compare", "alignment", "embeddings", "runs", "protocol"):
    app = AppTest.from_file(str(launch.APP), default_timeout=60).run()
    app.switch_page(f"../pages/{{name}}.py").run()
    assert not app.exception, name
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"


def test_command_line_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_DB", "postgresql://me:secret@host/board")
    assert launch.command("here.db", 8600, "/board/")[-2:] == ["--", "here.db"]
    line = launch.command("postgresql://me:secret@host/board", 8600, "/board/")
    assert not any("secret" in word for word in line)
    assert {"--server.port=8600", "--server.baseUrlPath=board", "--server.address=localhost"} <= set(line)


def test_rows_with_three_seeds_have_ranks_and_marks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(path.parent))
    store = Store.open(path, create=True)
    for method, level in (("mbert", 40.0), ("continued-mlm", 42.0), ("ml-ctl", 80.0)):
        for seed in (1, 2, 3):
            add_full_run(store, path.parent, method, level, seed)
    store.close()
    app = open_page()
    frame = app.dataframe[0].value
    best = frame.iloc[method_names(frame).index("ml-ctl")]
    assert (best["rank"], list(best["places"])) == ("1", [1, 0, 0])
    assert all(best[name].endswith("▲") for name in (AVERAGE, "Transfer", "Retrieval"))
    assert "Gain: the average minus that of continued-mlm, with its 95% interval" in page_text(app)
    assert re.fullmatch(r"\+\d+\.\d \[\d+\.\d, \d+\.\d\]", best["gain"])
    assert list(frame.columns)[2:8] == ["rank", AVERAGE, "places", "gain", "Transfer", "Retrieval"]
    assert "Rank: simultaneous 95% interval of the row's place" in page_text(app)
    finding = "On transfer ml-ctl beats its control; on retrieval ml-ctl beats its control. 3 seeds."
    assert finding in app.markdown[0].value.replace("\\", "")
