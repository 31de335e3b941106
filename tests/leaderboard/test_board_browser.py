"""The board in a real browser: every page, its state in the address, its downloads, and hostile names."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.results.rendering import format_cell
from harness.results.tables import ResultTable, table_caption, tables_by_task
from harness.storage.store import Store
from tests.support.board_browser import (
    PAGES,
    Served,
    assert_whole,
    cells,
    choose,
    grid,
    page_url,
    reads,
    serve,
    wait_until_idle,
)
from tests.support.board_store import write_board_store, write_hostile_store

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.ui


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served")
    yield from serve(write_board_store(home / "board.db", home), home)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("hostile")
    yield from serve(write_hostile_store(home / "board.db", home), home)


def mini(store: Path) -> ResultTable:
    opened = Store.open(store, read_only=True)
    found = tables_by_task(opened.summaries(split="test"))
    opened.close()
    return next(table for table in found if table.key.protocol == "mini" and len(table.rows) > 3)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_leaderboard_shows_the_values(
    visit: Callable[..., Page], complaints: list[str], served: Served, width: int, scheme: str
) -> None:
    page = visit(served.address, width, scheme)
    table, on_page = mini(served.store), grid(page)
    own = [row for row in table.rows if row.badge in ("control", "")]
    assert len(on_page) == len(own)
    for row, texts in zip(own, on_page, strict=True):
        assert texts["Method"] == row.label[:60] or texts["Method"].endswith("…")
        seen = {head.partition(" ")[0].lower(): text.lstrip("\u2007 ") for head, text in texts.items()}
        assert "average" in seen
        for column in table.columns:
            figure = format_cell(row.cell(column.name), row.seeds)
            assert seen.get(column.name, figure) == figure
    assert "external figures" in page.inner_text("body").lower()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_whole(
    visit: Callable[..., Page], complaints: list[str], served: Served, name: str, width: int
) -> None:
    page = visit(page_url(served, name), width)
    assert_whole(page, name, width)
    assert complaints == []


def test_filter_changes_scores_and_its_address_restores_them(
    visit: Callable[..., Page], complaints: list[str], served: Served
) -> None:
    page = visit(served.address)
    before = cells(page)
    page.get_by_text("Languages and columns").click()
    choose(page, "Script", "Cyrillic")
    page.wait_for_url(lambda url: "script=Cyrillic" in url)
    reads(page, "1 language")
    wait_until_idle(page)
    after = cells(page)
    assert sorted(row[:2] for row in after) == sorted(row[:2] for row in before)
    assert after[0][2] != before[0][2]
    again = visit(page.url)
    reads(again, "1 language")
    assert cells(again) == after
    assert complaints == []


def test_links_between_pages_and_back(visit: Callable[..., Page], complaints: list[str], served: Served) -> None:
    page = visit(page_url(served, "method", row="ml-ctl-cz", task="panx"))
    page.get_by_role("link", name="Compare ml-ctl-cz").click()
    page.get_by_role("heading", name="Compare").wait_for()
    wait_until_idle(page)
    page.go_back()
    page.get_by_role("heading", name="Method", exact=True).wait_for()
    assert complaints == []


def test_the_download_is_the_table(visit: Callable[..., Page], served: Served) -> None:
    page = visit(page_url(served, "", columns="Languages", task="panx"))
    on_page = grid(page)
    page.get_by_role("button", name="Download", exact=True).first.click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="CSV", exact=True).click()
    lines = list(csv.DictReader(Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()))
    own = [line for line in lines if line["badge"] in ("", "control")]
    assert len(own) == len(lines)
    assert [line["method"] for line in own] == [row["Method"] for row in on_page]
    for line, row in zip(own, on_page, strict=True):
        if line["qac"]:
            assert row["qac"].strip("\u2007 ").split(" ")[0] == f"{float(line['qac']):.1f}"


def test_clicked_figure_shows_its_runs(visit: Callable[..., Page], complaints: list[str], served: Served) -> None:
    page = visit(served.address)
    cells(page)
    box = page.locator('[data-testid="stDataFrame"]').first.bounding_box()
    assert box
    page.mouse.click(box["x"] + 400, box["y"] + 36 + 34 * 2 + 10)  # the average
    page.get_by_text("Standard error: of one run").wait_for()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("link", name="Compare with").wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    wait_until_idle(page)
    page.mouse.click(box["x"] + 120, box["y"] + 36 + 34 * 2 + 10)  # a name
    page.get_by_role("heading", name="Method", exact=True).wait_for()
    page.wait_for_url(lambda url: "row=ml-ctl+%28shuffled-pairs%29" in url)
    assert page.title() == "Method · Alignboard"
    page = visit(page_url(served, "", protocol="official"))  # a name leads to the row in the group that is shown
    cells(page)
    page.mouse.click(box["x"] + 30, box["y"] + 36 + 10)
    page.get_by_role("heading", name="Method", exact=True).wait_for()
    page.wait_for_url(lambda url: "protocol=official" in url)
    assert complaints == []


def test_compare_shows_items_that_one_gets_wrong(
    visit: Callable[..., Page], complaints: list[str], served: Served
) -> None:
    place = page_url(served, "compare", a="mbert", b="ml-ctl", task="xnli", language="qac", right="only the second")
    page = visit(place)
    page.get_by_text("40 stored items").wait_for()
    frames = page.locator('[data-testid="stDataFrame"]').count()
    items = cells(page, frames - 1)
    assert items
    for row in items:
        assert row[:1] == ["only the second"]
        assert row[1].endswith("of qac")
        assert row[3:6] == ["yes", "no", "yes"]  # behind the meaning of the words
    page.get_by_role("textbox", name="Search").fill(items[0][1])
    page.get_by_role("textbox", name="Search").press("Enter")
    page.get_by_text("1 of 40 stored items").wait_for()
    wait_until_idle(page)
    assert [row[1] for row in cells(page, frames - 1)] == [items[0][1]]
    assert complaints == []


def test_a_live_run_is_followed_without_a_reload(visit: Callable[..., Page], served: Served) -> None:
    def status(value: str) -> None:
        with sqlite3.connect(served.store) as connection:
            connection.execute("UPDATE run SET status = ? WHERE id = 'run-mbert-2'", (value,))

    status("running")
    try:
        page = visit(page_url(served, "runs"))
        page.get_by_text("1 running").wait_for()
        status("done")
        page.get_by_text("1 running").wait_for(state="detached")
    finally:
        status("done")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("", "compare", "runs") else pytest.mark.long) for n in PAGES]
)
def test_hostile_names_have_no_effect(
    visit: Callable[..., Page], complaints: list[str], hostile: Served, name: str
) -> None:
    page = visit(page_url(hostile, name, row="<script>window.pwned=1</script>", columns="<img src=x>", run="failed-0"))
    for expander in page.locator('[data-testid="stExpander"] summary').all():
        expander.click()
    wait_until_idle(page)
    assert page.locator("h1").inner_text() == (name or "leaderboard").capitalize()
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("[...document.links].filter(link => link.hostname.includes('evil')).length") == 0
    assert page.locator('img[src*="evil"], img[src="x"]').count() == 0
    assert page.locator('[data-testid="stException"]').count() == 0
    assert "\u202e" not in page.content()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert [text for text in complaints if "Content Security" not in text] == []


def test_caption_of_the_table_is_on_the_page(visit: Callable[..., Page], served: Served) -> None:
    page = visit(page_url(served, "", protocol="official"))
    opened = Store.open(served.store, read_only=True)
    (official,) = [t for t in tables_by_task(opened.summaries(split="test")) if t.key.protocol == "official"]
    opened.close()
    page.get_by_text(table_caption(official)).wait_for()
