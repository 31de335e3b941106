"""The report: a page without outside resources, LaTeX tables, hostile names escaped; nothing without scores."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.results.figures import Estimate, interval_figure
from harness.results.report import PAGE, TABLES, write_report
from harness.storage.store import AVERAGE, Store
from tests.support.board_store import add_full_run
from tests.support.cli_calls import run_command
from tests.support.fake_store import METRIC, VIEWS

TASKS = ("xnli", "tatoeba")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    store = Store.open(tmp_path / "board.db", create=True)
    for method, level, seeds in (
        ("mbert", 40.0, 3),
        ("continued-mlm", 42.0, 3),
        ("ml-ctl", 80.0, 3),
        (HOSTILE, 50.0, 1),
    ):
        for seed in range(1, seeds + 1):
            run = add_full_run(store, tmp_path, method, level, seed, tasks=TASKS)
            store.refresh_summary(run.id, {task: VIEWS[task] for task in TASKS}, METRIC)
    store.close()
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    return tmp_path


class Balanced(HTMLParser):
    """Collects the tags that are open and the attributes that load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [tag] if tag != "meta" else []
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_one_page_with_latex_tables(home: Path) -> None:
    out = home / "report"
    assert run_command("report", "--out", str(out)) == 0
    page = (out / PAGE).read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.loads == [], "nothing is loaded from elsewhere"
    assert HOSTILE not in page
    assert "Where the gains come from" in page
    assert "ml-ctl is better than continued-mlm by" in page
    assert "No runs of shuffled-pairs: <code>alignboard run ml-ctl" in page
    assert "gain from the objective on the true pairs" in page, "the finding"
    assert "Satterthwaite" in page
    assert "run-ml-ctl-1" in page, "provenance names every run"
    assert page.count("<svg") == 3, "the averages, and the steps of two rows"
    tables = (out / TABLES).read_text(encoding="utf-8")
    assert tables.count(r"\begin{tabular}") == tables.count(r"\end{tabular}") == 2
    assert "the objective on the true pairs" in tables
    assert not re.search("[\u2212▲]", re.sub("(?m)^%.*$", "", tables)), "signs are LaTeX"


def test_report_of_some_rows(home: Path) -> None:
    out = home / "some"
    assert run_command("report", "ml-ctl", "mbert", "--out", str(out)) == 0
    page = (out / PAGE).read_text(encoding="utf-8")
    assert "run-mbert-1" in page
    assert "run-continued-mlm-1" not in page
    assert run_command("report", "nobody", "--out", str(out)) == 2


def test_report_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no score"):
        write_report(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


def test_figure_shows_every_estimate_within_its_width() -> None:
    marks = [Estimate("a & b", 1.0, (-0.5, 2.5)), Estimate("c", -2.0, (-3.0, -1.0)), Estimate("d", 0.25, None)]
    svg = interval_figure(marks, "gain", signed=True)
    assert svg.count("<circle") == 3
    assert "a &amp; b" in svg
    positions = [float(value) for value in re.findall(r'(?:x1|x2|cx)="([-.\d]+)"', svg)]
    assert all(250 <= value <= 760 for value in positions)
    for flat in (0.0, 1e-4, 55.0):
        assert interval_figure([Estimate("x", flat, None)], AVERAGE).count("<circle") == 1
