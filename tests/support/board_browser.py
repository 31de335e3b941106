"""Boards that run, and a real browser on them: what the tests of the pages share."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from leaderboard import launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

PAGES = ("", "ablation", "method", "compare", "alignment", "embeddings", "runs", "protocol")
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'


class Served(NamedTuple):
    """The address of a running board, and its store."""

    address: str
    store: Path


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium is installed")
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


def serve(store: Path, home: Path) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "ALIGNBOARD_DB"}
    environment["ALIGNBOARD_HOME"] = str(home)
    server = subprocess.Popen(launch.command(str(store), port, "/board"), env=environment, stdout=subprocess.DEVNULL)
    address = f"http://localhost:{port}/board"
    try:
        wait_for(f"{address}/_stcore/health", server)
        yield Served(address, store)
    finally:
        server.terminate()
        server.wait(20)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(480):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.URLError:
            time.sleep(0.25)
    pytest.fail("the server did not answer")


@pytest.fixture
def complaints() -> list[str]:
    """What pages of this test complain of: errors on the console, exceptions, failed requests."""
    return []


@pytest.fixture(scope="module")
def blank_pages(browser: Browser) -> list[Page]:
    """Pages that no test uses now. A used one compiles no script of the board again: half the time of a visit."""
    return []


@pytest.fixture
def visit(browser: Browser, blank_pages: list[Page], complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens an address and waits until the page is drawn."""
    pages: list[Page] = []
    listeners: dict[Any, Callable[[Any], None]] = {
        "console": lambda message: complaints.extend(complaint(message)),
        "pageerror": lambda error: complaints.append(str(error)),
        "requestfailed": lambda request: complaints.extend(failure(request)),
    }

    def open_page(address: str, width: int = 1280, scheme: Any = "light") -> Page:
        page = blank_pages.pop() if blank_pages else browser.new_page()
        page.set_default_timeout(90_000)
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        for event, listener in listeners.items():
            page.on(event, listener)
        page.goto(address)
        page.locator("h1").first.wait_for()
        wait_until_idle(page)
        return page

    yield open_page
    for page in pages:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.goto("about:blank")
    blank_pages += pages


def complaint(message: ConsoleMessage) -> list[str]:
    """An error on the console."""
    return [message.text] if message.type == "error" else []


def failure(request: Request) -> list[str]:
    """What failed; a request that the page itself gave up, as on a reload, did not."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"{request.failure}: {request.url}"]


def wait_until_idle(page: Page) -> None:
    page.locator(IDLE).wait_for()
    page.wait_for_timeout(400)
    page.locator(IDLE).wait_for()


def reads(page: Page, text: str) -> None:
    """Waits until a text can be seen. Tables hold their texts twice, once out of sight, for screen readers."""
    page.get_by_text(text).filter(visible=True).first.wait_for()


def choose(page: Page, box: str, option: str) -> None:
    """Takes an option of a select box. A click while the expander around it still opens may close the list again."""
    wanted = page.get_by_role("option", name=option)
    for _ in range(30):
        if wanted.count():
            break
        page.get_by_role("combobox", name=box).click()
        page.wait_for_timeout(1_000)
    wanted.click()


def cells(page: Page, number: int = 0) -> list[list[str]]:
    """The rows of a table as a screen reader gets them."""
    frame = page.locator('[data-testid="stDataFrame"]').nth(number)
    frame.locator("canvas table tbody tr").first.wait_for(state="attached")
    return [row.locator("td").all_inner_texts() for row in frame.locator("canvas table tbody tr").all()]


def page_url(served: Served, page: str, **query: str) -> str:
    return f"{served.address}/{page}" + (f"?{urllib.parse.urlencode(query)}" if query else "")


def grid(page: Page, number: int = 0) -> list[dict[str, str]]:
    """The rows of a table by the heads of its columns. What is out of sight to the right is not there."""
    rows = cells(page, number)
    frame = page.locator('[data-testid="stDataFrame"]').nth(number)
    heads = frame.locator("canvas table thead th").all_inner_texts()
    return [dict(zip(heads, row, strict=True)) for row in rows]


def row_count(page: Page, number: int = 0) -> int:
    """The number of rows of a table, those out of sight included."""
    frame = page.locator('[data-testid="stDataFrame"]').nth(number)
    count = frame.locator("canvas table").get_attribute("aria-rowcount")
    return int(count or 0) - 1


def assert_whole(page: Page, name: str, width: int) -> None:
    """The page has its title, what it is to show, no error, and nothing wider than the window."""
    assert page.locator("h1").inner_text() == (name or "leaderboard").capitalize()
    assert page.locator('[data-testid="stException"], [data-testid="stAlertContentError"]').count() == 0
    if name == "embeddings":
        page.locator('[data-testid="stVegaLiteChart"]').nth(1).wait_for()
    else:
        assert cells(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def download(page: Page, number: int, kind: str) -> str:
    """The text of a file of the page's downloads of tables. A click while the menu is still closing opens nothing."""
    wanted = page.get_by_role("button", name=kind, exact=True)
    for _ in range(20):
        page.get_by_role("button", name="Download", exact=True).nth(number).click()
        page.wait_for_timeout(1_500)
        if wanted.count():
            break
    with page.expect_download() as waiting:
        wanted.click()
    page.keyboard.press("Escape")
    wanted.wait_for(state="detached")
    return Path(waiting.value.path()).read_text(encoding="utf-8")
