"""Every page of the board in a real browser, on a store that the command line made: its figures are those of
`alignboard show --format json`."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from harness.data.languages import groups
from harness.evaluation.projection import PAIRS_SHOWN
from harness.storage.store import Store
from tests.support.board_browser import (
    Served,
    cells,
    choose,
    download,
    grid,
    page_url,
    reads,
    row_count,
    serve,
    wait_until_idle,
)
from tests.support.cli_calls import run_command
from tests.support.demo_store import WRONG

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.ui, pytest.mark.long]
METRIC = {"xnli": "accuracy", "pawsx": "accuracy", "udpos": "f1", "panx": "f1", "bucc2018": "f1", "tatoeba": "accuracy"}
BASE = "base (untrained)"
GROUPS = {"Transfer": ("xnli", "pawsx", "udpos", "panx"), "Retrieval": ("bucc2018", "tatoeba")}
ROWS = {
    BASE: ("mbert", "", None),
    "continued-mlm": ("continued-mlm", "", None),
    "ml-ctl (shuffled-pairs)": ("ml-ctl", "shuffled-pairs", None),
    "ml-ctl [align.learning_rate=0.01]": ("ml-ctl", "", 0.01),
    "ml-ctl [align.learning_rate=0.001]": ("ml-ctl", "", 0.001),
}
FAST, SLOW = "ml-ctl [align.learning_rate=0.01]", "ml-ctl [align.learning_rate=0.001]"
WIDE = 2400  # pixels at which no column of a table is out of sight


class Demo(NamedTuple):
    """The demo's board, every score as `alignboard show` tells it, and the runs of each row."""

    served: Served
    scores: list[dict[str, Any]]
    runs: dict[str, list[str]]

    def means(self, row: str, task: str, languages: set[str] | None = None) -> list[float]:
        """The mean over languages of each run of a row."""
        return [
            statistics.mean(
                score["value"]
                for score in self.scores
                if score["run"] == run
                and score["task"] == task
                and score["metric"] == METRIC[task]
                and score["selection"] in ("english", "")
                and score["split"] == "test"
                and (languages is None or score["language"] in languages)
            )
            for run in self.runs[row]
        ]

    def mean(self, row: str, task: str, languages: set[str] | None = None) -> float:
        return statistics.mean(self.means(row, task, languages))

    def average(self, row: str, group: str = "Average") -> float:
        return statistics.mean(self.mean(row, task) for task in GROUPS.get(group, METRIC))

    def figure(self, row: str, name: str) -> float:
        """The figure of a row in a column of tasks: a task, a group of tasks or the average."""
        return self.mean(row, name) if name in METRIC else self.average(row, name)


@pytest.fixture(scope="module")
def demo(demo_home: Path) -> Iterator[Demo]:
    store = demo_home / "board.db"
    with redirect_stdout(io.StringIO()) as told:
        assert run_command("show", "--format", "json", "--db", str(store)) == 0
    scores = json.loads(told.getvalue())
    opened = Store.open(store, read_only=True)
    runs = opened.runs(status="done")
    opened.close()
    of_row = {
        name: [
            run["id"]
            for run in runs
            if (run["method"], run["transform"]) == (method, transform)
            and (rate is None or rate == run["recipe"]["align"]["learning_rate"])
        ]
        for name, (method, transform, rate) in ROWS.items()
    }
    assert {name: len(found) for name, found in of_row.items()} == dict(zip(ROWS, (2, 2, 1, 2, 1), strict=True))
    for served in serve(store, demo_home):
        yield Demo(served, scores, of_row)


def number(text: str) -> float:
    """The figure of a cell, without its spread."""
    return float(text.strip("\u2007 ").split(" ")[0].replace("\u2212", "-"))


def printed(mean: float) -> str:
    return f"{mean:.1f}"


def figure(text: str) -> str:
    return text.strip("\u2007 ").split(" ")[0]


def column(row: dict[str, str], task: str) -> str:
    """The cell of a task, whose column tells its measure behind it."""
    (head,) = (head for head in row if head.partition(" ")[0] == task)
    return row[head]


def code(label: str) -> str:
    """The code of a language, whose label tells its place in the world behind it."""
    return label.partition(" ")[0]


def own(page: Page) -> dict[str, dict[str, str]]:
    """The rows of the leaderboard's first table by their label."""
    return {row["Method"]: row for row in grid(page)}


def test_leaderboard_shows_the_scores(visit: Callable[..., Page], demo: Demo) -> None:
    rows = own(visit(page_url(demo.served, ""), WIDE))
    assert set(rows) == set(ROWS)
    for name, row in rows.items():
        for task in METRIC:
            values = demo.means(name, task)
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            assert column(row, task).strip("\u2007 ") == printed(statistics.mean(values)) + spread
        assert figure(row["Average"]) == printed(demo.average(name))
        assert row["Seeds"] == str(len(demo.runs[name]))
    assert [name for name in rows if rows[name][""] == "control"] == list(ROWS)[:3]


def test_a_filter_changes_scores_and_its_address_brings_them_back(
    visit: Callable[..., Page], complaints: list[str], demo: Demo
) -> None:
    codes = {score["language"] for score in demo.scores if score["split"] == "test"}
    kept = set(groups("script", codes, "babel")["Cyrillic"])
    assert 0 < len(kept) < len(codes)
    page = visit(page_url(demo.served, ""), WIDE)
    before = own(page)
    page.get_by_text("Languages and columns").click()
    choose(page, "Script", "Cyrillic")
    page.wait_for_url(lambda url: "script=Cyrillic" in url)
    reads(page, "1 language")
    wait_until_idle(page)
    after = own(page)
    for name, row in after.items():
        assert figure(column(row, "udpos")) == printed(demo.mean(name, "udpos", kept))
        assert figure(column(row, "tatoeba")) == printed(demo.mean(name, "tatoeba", kept))
    assert {name: column(row, "udpos") for name, row in before.items()} != {
        n: column(r, "udpos") for n, r in after.items()
    }
    again = visit(page.url, WIDE)
    reads(again, "1 language")
    assert own(again) == after
    assert complaints == []


def test_every_download_of_the_leaderboard_is_its_table(visit: Callable[..., Page], demo: Demo) -> None:
    page = visit(page_url(demo.served, "", columns="Languages", task="panx"), WIDE)
    on_page = own(page)
    views = [head for head in next(iter(on_page.values())) if len(head) == 3]
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(download(page, 0, "CSV")))}
    record = json.loads(download(page, 0, "JSON"))
    figures = {row["method"]: row["figures"] for row in record["rows"]}
    markdown, latex = (table_of(download(page, 0, kind)) for kind in ("Markdown", "LaTeX"))
    assert list(lines) == list(figures) == list(on_page)
    for name, row in on_page.items():
        for view in views:
            assert printed(float(lines[name][view])) == printed(figures[name][view]["mean"]) == figure(row[view])
        for text in (markdown, latex):
            wanted = [row[head].strip("\u2007 ") for head in (*views, "Average")]
            assert [cell for cell in text[name] if "." in cell][:9] == wanted


def table_of(text: str) -> dict[str, list[str]]:
    """The lines of a Markdown or LaTeX table by their first cell, as one reads them."""
    found = {}
    for line in text.splitlines():
        mark = "|" if line.startswith("|") else "&" if "&" in line else ""
        if mark:
            plain = (
                line.replace("$\\pm$", "±").replace("\\_", "_").replace("\\", "").translate(str.maketrans("", "", "{}"))
            )
            first, *rest = (cell.strip() for cell in plain.strip("| ").split(mark))
            found[first] = rest
    return found


def test_back_returns_to_the_filters(visit: Callable[..., Page], complaints: list[str], demo: Demo) -> None:
    page = visit(page_url(demo.served, "", columns="Languages", task="panx", script="Cyrillic"))
    left, before = page.url, cells(page)
    page.get_by_role("link", name="Ablation", exact=True).click()
    page.get_by_role("heading", name="Ablation", exact=True).wait_for()
    wait_until_idle(page)
    for _ in range(2):  # between the two pages Streamlit leaves the former one's address without its filters
        page.go_back()
        page.get_by_role("heading", name="Leaderboard", exact=True).wait_for()
        wait_until_idle(page)
    assert page.url == left
    reads(page, "1 language")
    assert cells(page) == before
    assert complaints == []


COLUMNS = {
    "method": {"Language": "view", "Score, %": "score", "Seeds": "seeds", "Items": "items"},
    "compare": {"Task": "task", "Difference": "difference"},
    "alignment": {"Method": "row", "Language": "view", "Accuracy@1, %": "measure", "panx, %": "transfer"},
    "runs": {
        "Status": "status",
        "Method": "method",
        "Seed": "seed",
        "Stages": "stages",
        "Views": "views",
        "Run": "run",
    },
    "protocol": {"Task": "task", "Title": "title", "Languages": "languages", "Training": "trained"},
}  # heads of a table of each page, and what its files call them
FIRST = {"method": 1}  # the number of that table on its page


@pytest.mark.parametrize("name", COLUMNS)
def test_the_downloads_of_each_page_are_its_table(visit: Callable[..., Page], demo: Demo, name: str) -> None:
    page = visit(page_url(demo.served, name, task="panx"), WIDE)
    rows, count = grid(page, FIRST.get(name, 0)), row_count(page, FIRST.get(name, 0))
    assert 0 < len(rows) <= count
    lines = list(csv.DictReader(io.StringIO(download(page, 0, "CSV"))))
    records = json.loads(download(page, 0, "JSON"))["rows"]
    assert len(lines) == len(records) == count
    for row, line, record in zip(rows, lines, records, strict=False):
        for head, column in COLUMNS[name].items():
            seen = code(row[head]) if head == "Language" else row[head]
            assert same(seen, line[column]), (seen, line[column])
            assert same(seen, "" if record[column] is None else str(record[column]))
    assert sum(text.startswith("|") for text in download(page, 0, "Markdown").splitlines()) == count + 2
    latex = download(page, 0, "LaTeX")
    assert latex.count("toprule") == latex.count("bottomrule") == 1
    assert sum(text.endswith("\\\\") for text in latex.splitlines()) == count + 1


def same(seen: str, told: str) -> bool:
    """Whether what stands on the page is what a file tells; the page may round it, and tell its interval with it."""
    try:
        return abs(float(told) - number(seen)) <= 0.0501
    except ValueError:
        return told == seen


def test_method_shows_scores_by_language_and_costs(visit: Callable[..., Page], demo: Demo) -> None:
    page = visit(page_url(demo.served, "method", row=FAST, task="panx"), WIDE)
    page.get_by_role("heading", name=FAST).wait_for()
    strip = {row[""]: row for row in grid(page)}
    for name in (*METRIC, *GROUPS, "Average"):
        assert number(strip["Score, %"][name]) == pytest.approx(demo.figure(FAST, name), abs=0.051)
    rows = grid(page, 1)
    assert len(rows) == 8
    for row in rows:
        assert number(row["Score, %"]) == pytest.approx(demo.mean(FAST, "panx", {code(row["Language"])}), abs=0.051)
        assert row["Seeds"] == "2"
    (align,) = (row for row in grid(page, 2) if row["Stage"] == "align")
    assert align["Stages"] == "2"
    assert number(align["Device seconds"]) > 0


def test_compare_shows_differences_and_examples(visit: Callable[..., Page], complaints: list[str], demo: Demo) -> None:
    one, two = BASE, "continued-mlm"
    page = visit(page_url(demo.served, "compare", a=one, b=two, task="tatoeba", language="qab"), WIDE)
    for row in grid(page):
        wanted = demo.figure(two, row["Task"]) - demo.figure(one, row["Task"])
        assert number(row["Difference"]) == pytest.approx(wanted, abs=0.051)
    for row in grid(page, 1):
        kept = {code(row["Language"])}
        wanted = demo.mean(two, "tatoeba", kept) - demo.mean(one, "tatoeba", kept)
        assert number(row["Difference"]) == pytest.approx(wanted, abs=0.051)
    examples(page, one, two)
    assert complaints == []


def examples(page: Page, one: str, two: str) -> None:
    """The items of the page Compare: what is right is what is gold, and a search narrows them."""
    last = page.locator('[data-testid="stDataFrame"]').count() - 1
    items = grid(page, last)
    right = {"only the first": (True, False), "only the second": (False, True)}
    assert {"only the first"} <= {item["Right"] for item in items} <= set(right)
    for item in items:
        assert all(item[head] for head in ("Text", "Gold", one, two))
        hits = tuple(item[head] == item["Gold"] for head in (one, two))
        assert hits == right[item["Right"]]
    wanted = next(item for item in items if item["Right"] == "only the first")
    page.get_by_role("textbox", name="Search").fill(wanted["Item"])
    page.get_by_role("textbox", name="Search").press("Enter")
    page.get_by_text("1 of 40 stored items").wait_for()
    wait_until_idle(page)
    assert grid(page, last) == [wanted]


def test_ablation_shows_differences_and_recipes(visit: Callable[..., Page], demo: Demo) -> None:
    page = visit(page_url(demo.served, "ablation", base_row="continued-mlm", beside=SLOW), WIDE)
    rows = {row["Method"]: row for row in grid(page)}
    assert set(rows) == set(ROWS) - {"continued-mlm"}
    for name, row in rows.items():
        for column in (*METRIC, *GROUPS, "Average"):
            wanted = demo.figure(name, column) - demo.figure("continued-mlm", column)
            assert number(row[column]) == pytest.approx(wanted, abs=0.051)
    lines = list(csv.DictReader(io.StringIO(download(page, 1, "CSV"))))
    assert {(line["row"], line["column"].capitalize()) for line in lines} >= {(name, "Average") for name in rows}
    for line in lines:
        shown = rows[line["row"]]
        assert same(shown.get(line["column"]) or shown[line["column"].capitalize()], line["difference"])
    beside = visit(page_url(demo.served, "ablation", base_row=FAST, beside=SLOW), WIDE)
    last = beside.locator('[data-testid="stDataFrame"]').count() - 1
    assert [list(row.values()) for row in grid(beside, last)] == [["align.learning_rate", "0.01", "0.001"]]


def test_alignment_shows_measures_and_scores(visit: Callable[..., Page], demo: Demo) -> None:
    rows = grid(visit(page_url(demo.served, "alignment", task="panx"), WIDE))
    measured = {
        (score["run"], score["language"]): score["value"]
        for score in demo.scores
        if score["metric"] == "retrieval" and score["split"] == "intrinsic"
    }
    assert {row["Method"] for row in rows} == {BASE, "continued-mlm"}
    for row in rows:
        name, view = row["Method"], code(row["Language"])
        values = [measured[run, view] for run in demo.runs[name] if (run, view) in measured]
        assert number(row["Accuracy@1, %"]) == pytest.approx(statistics.mean(values), abs=0.051)
        assert number(row["panx, %"]) == pytest.approx(demo.mean(name, "panx", {view}), abs=0.051)


def test_embeddings_are_those_of_project(visit: Callable[..., Page], demo: Demo) -> None:
    page = visit(page_url(demo.served, "embeddings", languages="qab"), WIDE)
    page.get_by_text("Translation pairs of qab").wait_for()
    page.locator('[data-testid="stVegaLiteChart"]').nth(1).wait_for()
    points = json.loads(download(page, 0, "JSON"))["rows"]
    kept = [
        point
        for folder in (demo.served.store.parent / "artifacts" / "objects").glob("*/*/projection.json")
        for point in json.loads(folder.read_text(encoding="utf-8"))["points"]
        if point["language"] == "qab"
    ]
    assert {point["method"] for point in points} == {BASE, "continued-mlm"}
    assert len(points) == 2 * 2 * PAIRS_SHOWN, "two methods, two sides"
    places = {(point["text"], point["side"], round(point["tsne_x"], 6)) for point in kept}
    assert {(point["text"], point["side"], round(point["tsne_x"], 6)) for point in points} <= places


def test_runs_shows_failures_and_stage_times(visit: Callable[..., Page], demo: Demo) -> None:
    opened = Store.open(demo.served.store, read_only=True)
    every, links = opened.runs(), opened.links(run=demo.runs[FAST][0])
    opened.close()
    page = visit(page_url(demo.served, "runs"), WIDE)
    page.get_by_text("1 failed, 8 done").wait_for()
    assert sorted(row["Run"] for row in grid(page)) == sorted(run["id"] for run in every)
    (told,) = (row["What failed"] for row in grid(page) if row["Status"] == "failed")
    assert told == f"align never-trains seed 0: RuntimeError: {WRONG}"
    box = page.locator('[data-testid="stDataFrame"]').first.bounding_box()
    assert box
    page.mouse.click(box["x"] + 16, box["y"] + 36 + 17)
    page.get_by_text("A stage failed").wait_for()
    (lost,) = (run["id"] for run in every if run["status"] == "failed")
    failed = visit(page_url(demo.served, "runs", run=lost), WIDE)
    failed.get_by_text("A stage failed").wait_for()
    reads(failed, f"RuntimeError: {WRONG}")
    done = visit(page_url(demo.served, "runs", run=demo.runs[FAST][0]), WIDE)
    stages = {row["Artifact"]: row for row in grid(done, 1)}
    assert set(stages) == set(links["fingerprint"])
    for stage in links.to_dict("records"):
        seconds = (stage["finished"] - stage["started"]).total_seconds()
        assert number(stages[stage["fingerprint"]]["Seconds"]) == pytest.approx(seconds, abs=0.051)
        assert stages[stage["fingerprint"]]["Result"] == ("reused" if stage["hit"] else "computed")


def test_protocol_lists_every_task(visit: Callable[..., Page], demo: Demo) -> None:
    rows = {row["Task"]: row for row in grid(visit(page_url(demo.served, "protocol"), WIDE))}
    assert list(rows) == list(METRIC)
    for task, row in rows.items():
        views = {score["view"] for score in demo.scores if score["task"] == task and score["split"] == "test"}
        assert row["Languages"] == str(len(views))
        assert row["Metric"].lower() == METRIC[task]
        assert row["Licence of XTREME's data"]
