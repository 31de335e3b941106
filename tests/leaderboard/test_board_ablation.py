"""Ablation, Compare, Alignment and Embeddings: families of rows, intervals, steps, and what their tables say."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import streamlit as st

from harness.experiments.ablation import Ablation
from harness.experiments.ablation import Row as Listed
from harness.experiments.cards import ablation_cards
from harness.registry import ABLATIONS, Origin
from harness.results.rendering import DASH
from harness.results.tables import ResultRow
from harness.storage.store import AVERAGE, Store
from leaderboard.analysis import ablation, compare, intrinsic, method
from leaderboard.analysis.ablation import ALL, FIELD, SAME_METHOD, TABLE, Family
from leaderboard.components import downloads
from tests.support.board_browser import Served, browser, complaints, page_url, serve, visit, wait_until_idle  # noqa: F401
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


def test_runs_know_the_named_tables_that_list_them() -> None:
    assert set(ablation_cards("continued-mlm", {}, "")) >= {"ml-ctl", "align-mlm"}
    assert "ml-ctl" in ablation_cards("ml-ctl", {}, "shuffled-pairs")
    assert "align-mlm" in ablation_cards("dict-mlm", {"variant": "replaced-input"}, "")
    assert ablation_cards("dict-mlm", {"variant": "unheard"}, "") == {}
    assert ablation_cards("ml-ctl", {}, "unheard") == {}


def test_a_broken_table_of_a_plug_in_stops_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Ablation("Mine", (Listed("ml-ctl", {"layer": 3}),))
    monkeypatch.setattr(ABLATIONS, "_local", {"mine": (mine, Origin("tests", "here"))})
    monkeypatch.setattr(ABLATIONS, "broken", lambda: {"align-mlm": "no module"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ablation_cards("ml-ctl", {"layer": 3}, "") == {"mine": {"title": "Mine", "reference": ""}}
        assert "align-mlm" not in ablation_cards("mbert", {}, "")


def test_a_field_joins_rows_that_agree_in_all_else() -> None:
    recipes: dict[str, dict[str, Any]] = {
        "a": {"method": "m", "align.steps": 100, "precision": "fp32", "tuning": {}},
        "b": {"method": "m", "align.steps": 200, "precision": "fp32", "tuning": {}},
        "c": {"method": "m", "align.steps": 200, "precision": "bf16", "tuning": {}},
        "d": {"method": "m", "align.steps": 300, "precision": "fp16", "tuning": {}},
        "e": {"method": "n", "align.steps": 100, "precision": "fp32", "config.layer": 3, "tuning": {}},
    }
    rows = [row(label, str(recipe["method"])) for label, recipe in recipes.items()]
    found = ablation.alike(rows, recipes)
    assert found == {
        "align.steps": [frozenset("ab")],
        "precision": [frozenset("bc")],
        "method": [frozenset("ae")],
    }
    families = ablation.families(rows, recipes, {})
    assert [one.label for one in ablation.members(rows[1], rows, families[Family(FIELD, "align.steps")])] == ["a"]
    assert [one.label for one in ablation.members(rows[1], rows, families[Family(FIELD, "precision")])] == ["c"]
    assert [one.label for one in ablation.of_family(rows, families[Family(FIELD, "precision")])] == ["b", "c"]
    assert Family(SAME_METHOD, "n") not in families


def test_a_row_without_alignment_stands_beside_rows_of_any() -> None:
    recipes: dict[str, dict[str, Any]] = {
        "a": {"method": "m", "align.steps": 100, "sample.size": 10, "precision": "fp32"},
        "b": {"method": "n", "align.steps": 100, "sample.size": 10, "precision": "fp32"},
        "c": {"method": "n", "align.steps": 200, "sample.size": 20, "precision": "fp32"},
        "d": {"method": "n", "align.steps": 200, "sample.size": 20, "precision": "bf16"},
        "u": {"method": "u", "align": None, "sample": None, "precision": "fp32"},
    }
    found = ablation.alike([row(label, str(recipe["method"])) for label, recipe in recipes.items()], recipes)
    assert found["method"] == [frozenset("abu"), frozenset("cu")]
    assert found["precision"] == [frozenset("cd")]
    assert set(found) == {"method", "precision"}


def test_a_rate_that_was_tuned_is_no_setting() -> None:
    recipes: dict[str, dict[str, Any]] = {
        "a": {"method": "m", "align.learning_rate": 1e-4, "transform": "", "tuning.0.0001": 50.0},
        "b": {"method": "m", "align.learning_rate": 3e-4, "transform": "shuffled-pairs", "tuning.0.0003": 51.0},
    }
    assert ablation.alike([row("a"), row("b")], recipes) == {"transform": [frozenset("ab")]}
    untuned = {name: {key: each for key, each in one.items() if "tuning" not in key} for name, one in recipes.items()}
    assert ablation.alike([row("a"), row("b")], untuned) == {}


def test_named_tables_are_those_that_the_cards_tell(made: BoardData) -> None:
    rows = made.table().rows
    tables = ablation.tables(rows, made.summaries)
    families = ablation.families(rows, ablation.recipes(rows, made.summaries), tables)
    names = [family.name for family in families if family.kind == TABLE]
    assert names == ["align-mlm", "ml-ctl"]
    (sets,) = (families[family] for family in families if family.name == "align-mlm")
    assert {one.label for one in ablation.of_family(rows, sets)} == {"mbert", "continued-mlm"}
    assert next(family for family in families if family.name == "ml-ctl").title.startswith("ML-CTL")


def test_every_task_has_the_interval_of_its_difference(made: BoardData) -> None:
    base, others = made.row("mbert"), [made.row("ml-ctl"), made.row("continued-mlm")]
    tasks = ["xnli", "udpos", "tatoeba"]
    metrics = {task: method.metric_of(made.summaries, task) for task in tasks}
    widths = ablation.widths(base, others, made.cells, metrics, "english")
    assert list(widths.columns) == [*tasks, AVERAGE]
    for task in tasks:
        lines = ablation.intervals(base, others, made.cells, task, "english", metrics[task])
        half = (lines["high"] - lines["low"]) / 2
        assert list(widths[task]) == pytest.approx(list(half))
        assert (half > 0).all()
    total = (widths[tasks] ** 2).sum(axis="columns").map(math.sqrt) / len(tasks)
    assert list(widths[AVERAGE]) == pytest.approx(list(total))
    assert ablation.widths(base, [row("nothing")], made.cells, metrics, "english").isna().all(axis=None)


def test_differences_in_words() -> None:
    assert ablation.told(-0.04, 1.26) == "0.0 ± 1.3"
    assert ablation.told(2.0, None) == "+2.0"
    assert ablation.told(None, 1.0) == DASH
    assert ablation.told(float("nan"), float("nan")) == DASH


def test_steps_that_lack_a_control_say_what_they_hold(made: BoardData) -> None:
    table = made.table()
    kinds = {name: [step.kind for step in steps] for name, steps in ablation.attributions(table).items()}
    assert kinds["ml-ctl"] == ["text", "objective", "pairs"]
    assert kinds["info-snt"] == ["text", "objective and pairs"]
    for name, steps in ablation.attributions(table).items():
        ends = made.row("mbert").cell(AVERAGE).mean, next(r for r in table.rows if r.method == name and not r.transform)
        assert steps[0].before == ends[0]
        assert steps[-1].after == pytest.approx(ends[1].cell(AVERAGE).mean)
    assert list(ablation.attributions(table, ["ml-ctl"])) == ["ml-ctl"]
    few = tuple(one for one in table.rows if one.method != "continued-mlm")
    (step,) = ablation.attributions(table.__class__(**{**table.__dict__, "rows": few}))["info-snt"]
    assert step.kind == "all"


def test_a_family_narrows_the_page() -> None:
    app = run_page("ablation", family="table align-mlm")
    assert app.selectbox(key="base_row").options == ["mbert", "continued-mlm"]
    assert app.selectbox(key="base_row").value == "continued-mlm"
    assert list(app.dataframe[0].value["row"]) == ["mbert"]
    app.selectbox(key="family").set_value("recipe field align.steps").run()
    assert not app.exception
    labels = app.selectbox(key="base_row").options
    assert len(labels) == 2
    assert all(label.startswith("cz-snt") for label in labels)
    assert list(app.dataframe[0].value["row"]) == labels[1:]
    app.selectbox(key="family").set_value(str(ALL)).run()
    assert len(app.dataframe[0].value) == 7


def test_a_table_of_one_seed_has_no_empty_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.setenv("ALIGNBOARD_DB", str(tmp_path / "board.db"))
    store = Store.open(tmp_path / "board.db", create=True)
    for name, level in (("mbert", 40.0), ("ml-ctl", 55.0)):
        add_map(store, tmp_path, add_full_run(store, tmp_path, name, level, 1))
    store.close()
    app = run_page("compare")
    assert list(app.dataframe[0].value.columns) == ["task", "first", "second", "difference"]
    assert "error" in app.dataframe[1].value
    app = run_page("embeddings")
    told = [*(each.value for each in app.text), *(each.value for each in app.caption)]
    assert "mbert" in told
    assert not [text for text in told if "Shown are the first" in text]


def test_compare_of_several_seeds_tells_their_spread() -> None:
    app = run_page("compare", a="mbert", b="ml-ctl")
    assert {"first sd", "second sd"} <= set(app.dataframe[0].value.columns)


def test_lines_of_an_item_stay_apart() -> None:
    assert compare.in_line("A dog runs.\nNobody moves.\n") == "A dog runs. | Nobody moves."
    assert compare.in_line("one\r\n\n two\u2028three") == "one | two | three"
    shown = pd.DataFrame({"text": ["x" * 10] * 19 + ["x" * 4000], "gold": ["yes"] * 20})
    assert compare.lines_of(shown, {"text": 480, "gold": 150}) == 1
    assert compare.lines_of(shown.assign(text="x" * 180), {"text": 480, "gold": 150}) == 3
    assert compare.lines_of(shown[:0], {"text": 480}) == 1


def test_percentages_have_one_place_and_the_rest_three() -> None:
    assert [intrinsic.digits(name) for name in intrinsic.MEASURES] == [1, 3, 3, 3, 3]
    assert intrinsic.axis("retrieval") == "Retrieval, %"
    assert intrinsic.axis("cka") == "CKA"
    app = run_page("alignment", task="tatoeba")
    assert any(text.value.startswith("A point is one method in one language") for text in app.text)
    app.segmented_control[0].set_value("Ranks within a language").run()
    assert any("Ranks are among the methods" in caption.value for caption in app.caption)


def test_more_languages_than_colours_are_told() -> None:
    app = run_page("embeddings")
    box = app.multiselect(key="rows")
    box.set_value(box.options[:5]).run()
    assert not app.exception
    assert any("Shown are the first 4 of 5 methods" in caption.value for caption in app.caption)


def test_a_difference_of_nothing_has_no_sign_in_downloads() -> None:
    files = downloads.of_frame(pd.DataFrame({"difference": [-0.001, -1.239, 0.004]}), "t", "t")
    assert "-0.00" not in files.markdown + files.latex
    assert "-1.24" in files.markdown.replace("\\", "")


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    yield from serve(home / "board.db", home)


@pytest.mark.ui
def test_every_chart_is_there_as_a_file(
    visit: Callable[..., Page],  # noqa: F811
    complaints: list[str],  # noqa: F811
    served: Served,
) -> None:
    page = visit(page_url(served, "ablation", base_row="continued-mlm"))
    buttons = page.get_by_role("button", name="Save chart")
    assert buttons.count() == page.locator('[data-testid="stVegaLiteChart"]').count() == 5
    beginnings = {"SVG": b"<svg", "PDF": b"%PDF", "PNG": b"\x89PNG"}
    buttons.nth(1).click()
    for kind, beginning in beginnings.items():
        with page.expect_download() as waiting:
            page.get_by_role("button", name=kind, exact=True).click()
        found = Path(waiting.value.path()).read_bytes()
        assert waiting.value.suggested_filename == f"alignboard-heat.{kind.lower()}"
        assert found.startswith(beginning)
        assert kind != "SVG" or b"ml-ctl (shuffled-pairs)" in found
    wait_until_idle(page)
    assert complaints == []
