"""The board in a real browser while the store changes, and before there is one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.storage.store import Store
from leaderboard.components.messages import FIRST_ROWS
from tests.support.board_browser import PAGES, Served, cells, grid, page_url, serve, wait_for
from tests.support.cli_calls import MBERT_RUN
from tests.support.tiny_runs import TINY

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.ui
ADDED = "l2-align"


@pytest.fixture
def growing(finished_home: Path, tmp_path: Path) -> Iterator[Served]:
    """A board of its own on a copy of a home with one run."""
    home = tmp_path / "home"
    shutil.copytree(finished_home, home)
    yield from serve(home / "board.db", home)


@pytest.fixture(scope="module", params=["missing", pytest.param("no runs", marks=pytest.mark.long)])
def empty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("empty")
    if request.param == "no runs":
        Store.open(home / "board.db", create=True).close()
    yield from serve(home / "board.db", home)


def has_row(page: Page, name: str) -> None:
    """Waits until a table of the page has a row, which it must get by itself."""
    for _ in range(120):
        if any(name in row[:2] for row in cells(page)):  # a badge may stand before the name
            return
        page.wait_for_timeout(1_000)
    pytest.fail(f"no row {name} came")


@pytest.mark.long
def test_rows_of_a_live_run_appear_without_a_reload(
    visit: Callable[..., Page], complaints: list[str], growing: Served
) -> None:
    board = visit(page_url(growing, "", columns="Languages", task="udpos", script="Cyrillic"))
    ablation = visit(page_url(growing, "ablation"))
    for page in (board, ablation):
        page.evaluate("window.kept = true")
    columns = set(grid(board)[0]) - {""}  # a badge comes with the first row that is no control
    environment = {**os.environ, "ALIGNBOARD_HOME": str(growing.store.parent)}
    settings = [word for change in TINY for word in ("--set", change)]
    command = [str(Path(sys.executable).with_name("alignboard")), "run", ADDED, *MBERT_RUN[2:], *settings]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        has_row(board, ADDED)
        has_row(ablation, ADDED)
    finally:
        assert run.wait(240) == 0
    for page in (board, ablation):
        assert page.evaluate("window.kept") is True, "the page was loaded anew"
    assert "script=Cyrillic" in board.url
    assert set(grid(board)[0]) - {""} == columns, "the filter is gone"
    assert complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_empty_board_shows_the_command_for_the_first_rows(
    visit: Callable[..., Page], complaints: list[str], empty: Served, name: str
) -> None:
    page = visit(page_url(empty, name), 390)
    assert page.locator("h1").inner_text() == (name or "leaderboard").capitalize()
    page.get_by_text(FIRST_ROWS).wait_for()
    assert page.locator('[data-testid="stException"], [data-testid="stAlertContentError"]').count() == 0
    assert page.locator('[role="dialog"]').count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert complaints == []


def test_first_page_is_also_found_under_its_name(
    visit: Callable[..., Page], complaints: list[str], empty: Served
) -> None:
    page = visit(f"{empty.address}/leaderboard?suite=mini")
    assert page.url.startswith(f"{empty.address}/?suite=mini")
    assert page.locator("h1").inner_text() == "Leaderboard"
    assert complaints == []


def test_sigterm_ends_the_command_and_its_server(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("alignboard")), "board", "--port", str(port)]
    environment = {**os.environ, "ALIGNBOARD_HOME": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as board:
        wait_for(f"http://localhost:{port}/_stcore/health", board)
        board.terminate()
        board.wait(30)
    with socket.socket() as probe:
        assert probe.connect_ex(("localhost", port)) != 0
