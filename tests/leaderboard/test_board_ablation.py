"""Ablation, Compare, Alignment and Embeddings: families of rows, intervals, gain steps, tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import streamlit as st

from harness.experiments.ablation import Ablation
from harness.experiments.ablation import AblationRow as Listed
from harness.experiments.cards import ablation_cards
from harness.registry import ABLATIONS, Origin
from harness.results import findings
from harness.results.rendering import DASH
from harness.results.tables import ResultRow
from harness.storage.store import AVERAGE, Store
from leaderboard.analysis import ablation, compare, intrinsic
from leaderboard.analysis.ablation import ALL, FIELD, SAME_METHOD, TABLE, RowFamily
from leaderboard.components import downloads
from tests.support.board_browser import Served, page_url, serve, wait_until_idle
from tests.support.board_data import BoardData
from tests.support.board_pages import run_page
from tests.support.board_store import add_full_run, add_map, write_board_store

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("home")
    write_board_store(place / "board.db", place)
    return place


@pytest.fixture(autouse=True)
def _here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(home))
    monkeypatch.setenv("ALIGNBOARD_DB", str(home / "board.db"))
    st.cache_data.clear()


@pytest.fixture(scope="module")
def made(home: Path) -> BoardData:
    return BoardData(home / "board.db")


def row(label: str, method: str = "m") -> ResultRow:
    return ResultRow(label, method, "", "", 1, {}, (label,))


def test_cards_name_the_tables_that_list_the_run() -> None:
    assert set(ablation_cards("continued-mlm", {}, "")) >= {"ml-ctl", "align-mlm"}
    assert "ml-ctl" in ablation_cards("ml-ctl", {}, "shuffled-pairs")
    assert "align-mlm" in ablation_cards("dict-mlm", {"variant": "replaced-input"}, "")
    assert ablation_cards("dict-mlm", {"variant": "unheard"}, "") == {}
    assert ablation_cards("ml-ctl", {}, "unheard") == {}


def test_broken_plug_in_table_does_not_stop_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Ablation("Mine", (Listed("ml-ctl", {"layer": 3}),))
    monkeypatch.setattr(ABLATIONS, "_local", {"mine": (mine, Origin("tests", "here"))})
    monkeypatch.setattr(ABLATIONS, "broken", lambda: {"align-mlm": "no module"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ablation_cards("ml-ctl", {"layer": 3}, "") == {"mine": {"title": "Mine", "reference": ""}}
        assert "align-mlm" not in ablation_cards("mbert", {}, "")


def test_a_field_groups_rows_that_agree_in_all_other_fields() -> None:
    recipes: dict[str, dict[str, Any]] = {
        "a": {"method": "m", "align.steps": 100, "precision": "fp32", "tuning": {}},
        "b": {"method": "m", "align.steps": 200, "precision": "fp32", "tuning": {}},
        "c": {"method": "m", "align.steps": 200, "precision": "bf16", "tuning": {}},
        "d": {"method": "m", "align.steps": 300, "precision": "fp16", "tuning": {}},
        "e": {"method": "n", "align.steps": 100, "precision": "fp32", "config.layer": 3, "tuning": {}},
    }
    rows = [row(label, str(recipe["method"])) for label, recipe in recipes.items()]
    found = ablation.sets_by_field(rows, recipes)
    assert found == {
        "align.steps": [frozenset("ab")],
        "precision": [frozenset("bc")],
        "method": [frozenset("ae")],
    }
    families = ablation.row_families(rows, recipes, {})
    assert [
        one.label for one in ablation.comparable_rows(rows[1], rows, families[RowFamily(FIELD, "align.steps")])
    ] == ["a"]
    assert [one.label for one in ablation.comparable_rows(rows[1], rows, families[RowFamily(FIELD, "precision")])] == [
        "c"
    ]
    assert [one.label for one in ablation.family_rows(rows, families[RowFamily(FIELD, "precision")])] == ["b", "c"]
    assert RowFamily(SAME_METHOD, "n") not in families


def test_row_without_alignment_is_comparable_with_any_alignment() -> None:
    recipes: dict[str, dict[str, Any]] = {
        "a": {"method": "m", "align.steps": 100, "sample.size": 10, "precision": "fp32"},
        "b": {"method": "n", "align.steps": 100, "sample.size": 10, "precision": "fp32"},
        "c": {"method": "n", "align.steps": 200, "sample.size": 20, "precision": "fp32"},
        "d": {"method": "n", "align.steps": 200, "sample.size": 20, "precision": "bf16"},
        "u": {"method": "u", "align": None, "sample": None, "precision": "fp32"},
    }
    found = ablation.sets_by_field([row(label, str(recipe["method"])) for label, recipe in recipes.items()], recipes)
    assert found["method"] == [frozenset("abu"), frozenset("cu")]
    assert found["precision"] == [frozenset("cd")]
    assert set(found) == {"method", "precision"}


def test_tuned_learning_rate_is_not_a_setting() -> None:
    recipes: dict[str, dict[str, Any]] = {
        "a": {"method": "m", "align.learning_rate": 1e-4, "transform": "", "tuning.0.0001": 50.0},
        "b": {"method": "m", "align.learning_rate": 3e-4, "transform": "shuffled-pairs", "tuning.0.0003": 51.0},
    }
    assert ablation.sets_by_field([row("a"), row("b")], recipes) == {"transform": [frozenset("ab")]}
    untuned = {name: {key: each for key, each in one.items() if "tuning" not in key} for name, one in recipes.items()}
    assert ablation.sets_by_field([row("a"), row("b")], untuned) == {}


def test_named_tables_come_from_the_cards(made: BoardData) -> None:
    rows = made.table().rows
    tables = ablation.named_tables(rows, made.summaries)
    families = ablation.row_families(rows, ablation.row_recipes(rows, made.summaries), tables)
    names = [family.name for family in families if family.kind == TABLE]
    assert names == ["align-mlm", "ml-ctl"]
    (sets,) = (families[family] for family in families if family.name == "align-mlm")
    assert {one.label for one in ablation.family_rows(rows, sets)} == {"mbert", "continued-mlm"}
    assert next(family for family in families if family.name == "ml-ctl").title.startswith("ML-CTL")


def test_intervals_are_those_of_the_comparison(made: BoardData) -> None:
    base, others = made.row("mbert"), [made.row("ml-ctl"), made.row("continued-mlm")]
    names = ["xnli", "udpos", "tatoeba", AVERAGE]
    compared = {other.label: made.compare(other.label, "mbert") for other in others}
    every = ablation.row_differences(base, others, names, compared)
    assert list(dict.fromkeys(every["column"])) == names
    for name in names:
        lines = every[every["column"] == name]
        assert (lines["high"] > lines["low"]).all()
        found = [next(line for line in compared[other.label] if line.task == name) for other in others]
        assert list(lines["difference"]) == pytest.approx([line.difference.estimate for line in found])
        assert list(lines["low"]) == pytest.approx([line.difference.known_interval()[0] for line in found])
    assert ablation.row_differences(base, [row("nothing")], names, compared).empty


def test_an_interval_is_written_in_brackets_and_a_difference_signed() -> None:
    nothing = float("nan")
    assert findings.format_estimate(-0.04, -1.3, 1.26) == "0.0 [\u22121.3, 1.3]"
    assert findings.format_estimate(2.0, 0.04, 4.0) == "+2.0 [0.0, 4.0]"
    assert findings.format_estimate(2.0, nothing, nothing) == "+2.0"
    assert findings.format_estimate(nothing, nothing, nothing) == DASH
    assert [ablation.spans_zero(*ends) for ends in ((-1, 1), (0, 1), (1, 2), (nothing, nothing))] == [
        *(True, True),
        *(False, False),
    ]


def test_a_missing_control_is_part_of_the_next_step(made: BoardData) -> None:
    table = made.table()
    steps = ablation.gain_steps(table, made.summaries, [AVERAGE], {})
    kinds = steps.groupby("method")["kind"].agg(list)
    assert kinds["ml-ctl"] == ["text", "objective", "pairs"]
    assert kinds["info-snt"] == ["text", "objective and pairs"]
    for name, own in steps.groupby("method"):
        assert own["before"].iloc[0] == made.row("mbert").cell(AVERAGE).mean
        assert own["after"].iloc[-1] == pytest.approx(made.row(str(name)).cell(AVERAGE).mean)
    alone = ablation.gain_steps(table, made.summaries, [AVERAGE], {}, ["ml-ctl"])
    assert set(alone["method"]) == {"ml-ctl"}
    few = replace(table, rows=tuple(one for one in table.rows if one.method != "continued-mlm"))
    steps = ablation.gain_steps(few, made.summaries, [AVERAGE], {}, ["info-snt"])
    assert list(steps["kind"]) == ["all"]


def test_family_narrows_the_page() -> None:
    app = run_page("ablation", family="table align-mlm")
    assert app.selectbox(key="base_row").options == ["mbert", "continued-mlm"]
    assert app.selectbox(key="base_row").value == "continued-mlm"
    assert list(app.dataframe[0].value["row"]) == ["mbert"]
    app.selectbox(key="family").set_value("field align.steps").run()
    assert not app.exception
    labels = app.selectbox(key="base_row").options
    assert len(labels) == 2
    assert all(label.startswith("cz-snt") for label in labels)
    assert list(app.dataframe[0].value["row"]) == labels[1:]
    app.selectbox(key="family").set_value(str(ALL)).run()
    assert len(app.dataframe[0].value) == 7


def test_table_of_one_seed_has_no_empty_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.setenv("ALIGNBOARD_DB", str(tmp_path / "board.db"))
    store = Store.open(tmp_path / "board.db", create=True)
    for name, level in (("mbert", 40.0), ("ml-ctl", 55.0)):
        add_map(store, tmp_path, add_full_run(store, tmp_path, name, level, 1))
    store.close()
    app = run_page("compare")
    known = ["error", "low", "high"]  # over items
    assert list(app.dataframe[0].value.columns) == ["task", "first", "second", "difference", *known]
    assert "error" in app.dataframe[1].value
    app = run_page("embeddings")
    told = [*(each.value for each in app.text), *(each.value for each in app.caption)]
    assert any(text.startswith("mbert: ") and text.endswith("% are next to their translation") for text in told)
    assert not [text for text in told if "Shown are the first" in text]
    assert any("How far is each row from mbert?" in part.value for part in run_page("leaderboard").subheader)


def test_compare_of_several_seeds_shows_their_spread() -> None:
    app = run_page("compare", a="mbert", b="ml-ctl")
    assert {"first sd", "second sd"} <= set(app.dataframe[0].value.columns)


def test_lines_of_an_item_are_separated() -> None:
    assert compare.single_line("A dog runs.\nNobody moves.\n") == "A dog runs. | Nobody moves."
    assert compare.single_line("one\r\n\n two\u2028three") == "one | two | three"
    shown = pd.DataFrame({"text": ["x" * 10] * 19 + ["x" * 4000], "gold": ["yes"] * 20})
    assert compare.typical_line_count(shown, {"text": 480, "gold": 150}) == 1
    assert compare.typical_line_count(shown.assign(text="x" * 180), {"text": 480, "gold": 150}) == 3
    assert compare.typical_line_count(shown[:0], {"text": 480}) == 1


def test_percentages_and_ranks_have_one_decimal_and_other_measures_three() -> None:
    assert [intrinsic.decimal_places(name) for name in intrinsic.MEASURES] == [1, 1, 3, 3, 3, 3]
    assert intrinsic.axis_title("retrieval") == "Accuracy@1, %"
    assert intrinsic.axis_title("cka") == "CKA"
    app = run_page("alignment", task="tatoeba")
    assert any(text.value.startswith("A point is one method in one language") for text in app.text)
    app.segmented_control[0].set_value("Ranks within a language").run()
    assert any("Ranks are among the methods" in caption.value for caption in app.caption)


def test_more_methods_than_maps_are_noted() -> None:
    app = run_page("embeddings")
    box = app.multiselect(key="rows")
    box.set_value(box.options[:5]).run()
    assert not app.exception
    assert any("Shown are the first 4 of 5 chosen methods" in caption.value for caption in app.caption)


def test_zero_difference_has_no_sign_in_downloads() -> None:
    files = downloads.frame_files(pd.DataFrame({"difference": [-0.001, -1.239, 0.004]}), "t", "t")
    assert "-0.00" not in files.markdown + files.latex
    assert "-1.24" in files.markdown.replace("\\", "")


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    yield from serve(home / "board.db", home)


@pytest.mark.ui
@pytest.mark.long
def test_every_chart_can_be_saved(
    visit: Callable[..., Page],
    complaints: list[str],
    served: Served,
) -> None:
    page = visit(page_url(served, "ablation", base_row="continued-mlm"))
    buttons = page.get_by_role("button", name="Save chart")
    assert buttons.count() == page.locator('[data-testid="stVegaLiteChart"]').count() == 8
    beginnings = {"SVG": b"<svg", "PDF": b"%PDF", "PNG": b"\x89PNG"}
    page.get_by_role("button", name="Save chart").nth(3).click()
    for kind, beginning in beginnings.items():
        with page.expect_download() as waiting:
            page.get_by_role("button", name=kind, exact=True).click()
        found = Path(waiting.value.path()).read_bytes()
        assert waiting.value.suggested_filename == f"alignboard-heat-Transfer.{kind.lower()}"
        assert found.startswith(beginning)
        assert kind != "SVG" or b"ml-ctl (shuffled-pairs)" in found
    wait_until_idle(page)
    assert complaints == []
