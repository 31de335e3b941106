"""The logs of stages on the page Runs: which exist, their state, and live ones as they grow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import streamlit as st

from harness.files import LOG
from harness.storage.store import Store
from leaderboard.analysis import logs
from tests.support.board_browser import Served, page_url, serve, wait_until_idle
from tests.support.board_pages import page_text, run_page
from tests.support.board_store import add_full_run, artifact_path, fingerprint
from tests.support.fake_store import run_row

if TYPE_CHECKING:
    from playwright.sync_api import Page

ALIGN, TUNE, TUNED_TOO = (fingerprint("a stage", name) for name in ("align", "xnli", "xnli again"))
STAGES = [[ALIGN, "align", None], [TUNE, "finetune", "xnli"], [TUNED_TOO, "finetune", "xnli"]]
STAMP = "2026-01-01 10:00:00Z"


def write(home: Path, name: str, *lines: str, when: float, done: bool = False) -> Path:
    """A log in the artifact of a stage that is done, or in its work folder."""
    place = artifact_path(home, name) if done else home / "artifacts" / "work" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / LOG).write_text("".join(f"{STAMP} {line}\n" for line in lines), encoding="utf-8")
    os.utime(place / LOG, (when, when))
    return place / LOG


def furnished(home: Path, status: str = "running") -> Path:
    """A store with one run: its alignment is done, and the first of two fine-tunings is at work."""
    store = Store.open(home / "board.db", create=True)
    run = run_row("ml-ctl", 1, status=status)
    store.add_run(replace(run, id="live", card={"stages": STAGES}))
    add_full_run(store, home, "mbert", 40.0, 1)
    store.close()
    write(home, ALIGN, "start align ml-ctl", "end   done in 3 s", when=100.0, done=True)
    write(home, TUNE, "start finetune xnli", *(f"step  {n}/300" for n in range(300)), when=200.0)
    return home / "board.db"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.setenv("ALIGNBOARD_DB", str(tmp_path / "board.db"))
    st.cache_data.clear()
    return tmp_path


def record(**card: Any) -> dict[str, Any]:
    return {"card": card}


def links(*names: str) -> pd.DataFrame:
    """The stages of these fingerprints as the store has them."""
    return pd.DataFrame([s for s in STAGES if s[0] in names], columns=["fingerprint", "kind", "task"])


def test_logs_of_planned_stages_on_this_machine_are_listed(home: Path) -> None:
    furnished(home)
    found = logs.find_logs(record(stages=STAGES), links(ALIGN))
    assert [(log.stage, log.done) for log in found] == [("align", True), ("finetune xnli", False)]
    write(home, TUNED_TOO, "start finetune xnli", when=50.0)
    names = [log.stage for log in logs.find_logs(record(stages=STAGES), links(ALIGN))]
    assert names == ["align", f"finetune xnli {TUNE[:6]}", f"finetune xnli {TUNED_TOO[:6]}"]


def test_card_without_stages_lists_logs_of_finished_stages(home: Path) -> None:
    furnished(home)
    assert [log.stage for log in logs.find_logs(record(), links(ALIGN, TUNED_TOO))] == ["align"]
    assert logs.find_logs(record(stages=[["../../etc/passwd", "align", None], ["x"]]), links()) == []


def test_running_stage_comes_first(home: Path) -> None:
    furnished(home)
    write(home, ALIGN, "end   done", when=900.0, done=True)
    found = logs.find_logs(record(stages=STAGES), links(ALIGN))
    assert logs.newest_log(found).stage == "finetune xnli"
    write(home, TUNE, "end   done", when=100.0, done=True)
    assert logs.newest_log(logs.find_logs(record(stages=STAGES), links(ALIGN, TUNE))).stage == "align"


@pytest.mark.parametrize(
    ("line", "running", "state"),
    [
        ("end   done in 3 s", True, "done"),
        ("fail  UserError: no", True, "failed"),
        ("stop  interrupted", False, "interrupted"),
        ("step  20/300", False, "stopped without a final line"),
        ("out   end   of it", False, "stopped without a final line"),
    ],
)
def test_state_of_a_stage(home: Path, line: str, running: bool, state: str) -> None:
    path = write(home, TUNE, "start x", line, when=1.0)
    assert logs.read_log(logs.LogFile("x", path, False, 1.0), running).state == state


def test_running_stage_shows_the_age_of_its_last_line(home: Path) -> None:
    path = write(home, TUNE, "step  20/300", when=1.0)
    assert logs.read_log(logs.LogFile("x", path, False, 1.0), running=True).state.startswith("running, last line ")
    path.unlink()
    assert logs.read_log(logs.LogFile("x", path, False, 1.0), running=True) == logs.LogText("just ended", [])


def test_page_shows_the_last_lines(home: Path) -> None:
    furnished(home)
    app = run_page("runs", run="live")
    assert "finetune xnli: running" in page_text(app)
    assert "the last 200 of 301 lines" in page_text(app)
    shown = next(element.value for element in app.code if "step  299/300" in element.value)
    assert len(shown.splitlines()) == 200
    app.selectbox(key="log").set_value("align").run()
    assert not app.exception
    assert "align: done, 2 lines" in page_text(app)


def test_missing_log_is_reported(home: Path) -> None:
    furnished(home)
    for file in (home / "artifacts").rglob(LOG):
        file.unlink()
    assert "not on this machine" not in page_text(run_page("runs", run="live"))  # nothing is done yet
    store = Store.open(home / "board.db")
    add_full_run(store, home, "cz-snt", 40.0, 1)
    store.close()
    for file in (home / "artifacts").rglob(LOG):
        file.unlink()
    st.cache_data.clear()
    assert "not on this machine" in page_text(run_page("runs", run="run-cz-snt-1"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("logs")
    yield from serve(furnished(place), place)


@pytest.mark.ui
def test_live_log_grows_without_a_reload(
    visit: Callable[..., Page], complaints: list[str], served: Served, tmp_path: Path
) -> None:
    page = visit(page_url(served, "runs", run="live"))
    page.get_by_text("What is happening?").wait_for()
    page.get_by_text("step 299/300").wait_for()
    write(served.store.parent, TUNE, "step  300/300", "out   <img src=x onerror=window.pwned=1>", when=300.0)
    page.get_by_text("<img src=x onerror=window.pwned=1>").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the log").click()
    download.value.save_as(tmp_path / "log.txt")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines == [f"{STAMP} step  300/300", f"{STAMP} out   <img src=x onerror=window.pwned=1>"]
    wait_until_idle(page)
    assert page.evaluate("window.pwned") is None
    assert complaints == []
