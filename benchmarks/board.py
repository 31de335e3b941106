"""How fast the board is on a large store: first table, changes of filters, memory; beside the same on a small store.

    python -m benchmarks.board [--runs 10000] [--scores 3000000] [--visits 5] [--keep FOLDER]

Makes a store of each size, serves it, and opens it in Chromium: one visit warms the server, then each visit is a new
browser session with an empty cache. A table is there when its figures are painted: the pixels of its canvas are looked
at in every frame. The small store has one group of runs, of the size of the large store's groups, so the ratio tells
what the runs cost that are not shown. Needs Playwright and Chromium; memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sqlalchemy as sa

from harness.results.item_reader import ItemReader, SelectedRun
from harness.results.tables import group_by_run, tables_by_task
from harness.results.verdicts import table_verdicts
from harness.storage.store import AVERAGE, RunRow, StageRow, Store, schema
from harness.storage.store.database import connect, parse
from leaderboard import launch

METHODS, SEEDS = 25, 10  # of each group of runs that share a table
TASKS = {
    "xnli": "accuracy",
    "pawsx": "accuracy",
    "udpos": "f1",
    "panx": "f1",
    "bucc2018": "f1",
    "tatoeba": "accuracy",
}
LANGUAGES = 40
ITEMS = 400  # of each task
BORN = datetime(2026, 1, 1, tzinfo=UTC)
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'


# notes the time of each frame in which the figures of the first table are other than in the frame before
WATCH = """(() => {
    window.paints = [];
    let last = 0;
    const look = () => {
        requestAnimationFrame(look);
        const canvas = document.querySelector('[data-testid="stDataFrame"] canvas[data-testid="data-grid-canvas"]');
        if (canvas && canvas.width > 0 && canvas.height > 150) {
            const seen = canvas.getContext("2d").getImageData(0, 0, Math.min(canvas.width, 600), 150).data;
            let ink = 0, sum = 0;
            for (let at = 0; at < seen.length; at += 4) {
                const dark = seen[at] + seen[at + 1] + seen[at + 2] < 500 && seen[at + 3] > 100;
                if (dark) { ink += 1; sum = (sum * 31 + at) | 0; }
            }
            if (ink > 400 && sum !== last) { window.paints.push(performance.now()); last = sum; }
        }
    };
    requestAnimationFrame(look);
})()"""


class Visit(NamedTuple):
    """Seconds from the address to the first table, from a click on a language to the table over it alone, and from a
    click on other columns to their table."""

    first: float
    filter: float
    columns: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--scores", type=int, default=3_000_000)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the stores, used again where they are there")
    chosen = parser.parse_args()
    each = max(1, chosen.scores // chosen.runs)
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = {
            runs: measured(made(folder / f"board-{runs}.db", runs, each), chosen.visits)
            for runs in (METHODS * SEEDS, chosen.runs)
        }
    print(table(found))


def made(file: Path, runs: int, each: int) -> Path:
    """A store of so many runs with so many scores each."""
    if file.exists():
        return file
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    Store.open(part, create=True).close()
    engine = connect(parse(part), create=False, read_only=False)
    writing = engine.connect().execution_options(writes=True)
    with writing as connection, connection.begin():
        for first in range(0, runs, METHODS * SEEDS):
            rows = [run_row(number) for number in range(first, min(runs, first + METHODS * SEEDS))]
            connection.execute(sa.insert(schema.run), [stored(row) for row in rows])
            connection.execute(sa.insert(schema.stage), [asdict(stage) for row in rows for stage in stages(row)])
            links = [
                {"run": row.id, "fingerprint": one.fingerprint, "hit": False} for row in rows for one in stages(row)
            ]
            connection.execute(sa.insert(schema.run_stage), links)
            connection.execute(sa.insert(schema.score), [score for row in rows for score in scores(row, each)])
            connection.execute(sa.insert(schema.summary), [mean for row in rows for mean in means(row)])
    engine.dispose()
    put_items(part)
    part.rename(file)
    return file


def put_items(file: Path) -> None:
    """What the items of the tests add to the variances of all differences, which runs leave in a store."""
    store = Store.open(file)
    summaries = group_by_run(store.summaries(split="test"))
    for table in tables_by_task([row for rows in summaries.values() for row in rows]):
        own = [row for line in table.rows for run in line.runs for row in summaries[run]]
        table_verdicts(MadeItems(store, Path(), own), table)
    store.close()


class MadeItems(ItemReader):
    """Random items in place of those that artifacts hold."""

    def _read_tables(
        self, task: str, rows: Sequence[Sequence[SelectedRun]], view: str | None
    ) -> list[list[pd.DataFrame]]:
        rng = np.random.default_rng(0)
        names = pd.DataFrame({"view": "l00", "item": map(str, range(ITEMS)), "cluster": map(str, range(ITEMS))})
        hard = rng.random(ITEMS)  # the same items for all

        def items(level: float) -> pd.DataFrame:
            return names.assign(above=(rng.random(ITEMS) + level > hard).astype(float), below=1.0)

        return [[items(place / len(rows)) for _ in own] for place, own in enumerate(rows)]


def run_row(number: int) -> RunRow:
    """Runs of a group stand together; groups differ by base and source."""
    group, place = divmod(number, METHODS * SEEDS)
    method, seed = divmod(place, SEEDS)
    return RunRow(
        id=f"run-{number}",
        method=f"method-{method:02}" if method > 1 else ("mbert", "continued-mlm")[method],
        suite="xtreme-align",
        protocol="official",
        source=f"folder-{group // 10}",
        base=f"base-{group % 10}",
        languages=tuple(f"l{number:02}" for number in range(LANGUAGES)),
        languages_hash="l",
        recipe_hash=f"recipe-{method}",
        align_seed=seed,
        finetune_seed=seed,
        status="done",
        created=BORN + timedelta(seconds=number),
        card={"docstring": "What a method does, in words. " * 130},  # as long as real ones with their tasks
    )


def stored(run: RunRow) -> dict[str, Any]:
    """The run as its table holds it."""
    views = {task: list(run.languages) for task in TASKS}
    return {**asdict(run), "languages": list(run.languages), "views": views, "alignment": {}}


def stages(run: RunRow) -> Iterator[StageRow]:
    """The stages that gave a run's scores."""
    for task in TASKS:
        yield StageRow(fingerprint=f"{run.id}-{task}", kind="score", task=task, status="done", started=run.created)


def scores(run: RunRow, each: int) -> Iterator[dict[str, Any]]:
    """Test scores of every task and language, and dev curves up to the number asked for."""
    rng = random.Random(run.id)
    same = {"run": run.id, "protocol": run.protocol, "n": 1000}
    for number in range(each):
        task = tuple(TASKS)[number % len(TASKS)]
        step, place = divmod(number // len(TASKS), LANGUAGES)
        view, selection = f"l{place:02}", "" if task in ("bucc2018", "tatoeba") else "english"
        split, selection = ("test", selection) if step == 0 else ("dev", "curve")
        key = {"stage": f"{run.id}-{task}", "task": task, "view": view, "language": view, "split": split}
        yield {
            **same,
            **key,
            "selection": selection,
            "step": step,
            "point": step,
            "metric": TASKS[task],
            "value": 100 * rng.random(),
        }


def means(run: RunRow) -> Iterator[dict[str, Any]]:
    """Averages, as the store keeps them beside the scores."""
    rng = random.Random(run.id)
    values = {task: 100 * rng.random() for task in TASKS}
    views = dict.fromkeys(TASKS, LANGUAGES)
    for position, task in enumerate((*TASKS, AVERAGE)):
        value = values.get(task, fmean(values.values()))
        count = views.get(task, sum(views.values()))
        same = {"run": run.id, "split": "test", "selection": "english", "metric": TASKS.get(task, "")}
        counts = {"n_views": count, "expected_views": count, "complete": True, "origin": f"{run.id}-{task}"}
        yield {**same, "task": task, "position": position, "value": value, **counts}


def measured(store: Path, visits: int) -> dict[str, Any]:
    """Medians over visits, and the server's resident memory at the end, in MiB."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with served(store) as (address, server), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        found = [visit(browser, address) for _ in range(visits + 1)][1:]
        browser.close()
        memory = resident(server.pid)
    return {
        "first": median(one.first for one in found),
        "slowest": max(one.first for one in found),
        "filter": median(one.filter for one in found),
        "columns": median(one.columns for one in found),
        "memory": memory,
    }


def visit(browser: Any, address: str) -> Visit:
    """One new session: the table of tasks, the same over one language, the table of one task's languages."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.add_init_script(WATCH)
    page.goto(address)
    drawn(page, "Average")
    page.locator(IDLE).wait_for()
    first = painted(page, 0.0)
    page.get_by_text("Languages and columns").click()
    page.get_by_role("combobox", name="Languages").click()
    one = page.get_by_role("option", name="l01")
    one.wait_for()
    narrowed = clicked(page, one)
    page.keyboard.press("Escape")  # the open list, then the popover, behind which nothing can be reached
    page.keyboard.press("Escape")
    columns = page.get_by_role("button", name="Languages", exact=True).or_(
        page.get_by_role("radio", name="Languages", exact=True)
    )
    changed = clicked(page, columns.first)
    drawn(page, "l01")
    page.close()
    return Visit(first / 1000, narrowed / 1000, changed / 1000)


def clicked(page: Any, what: Any) -> float:
    """Milliseconds from a click to the table that it leads to."""
    began = now(page)
    what.click()
    return painted(page, began) - began


def drawn(page: Any, head: str) -> None:
    """Waits until a table has a column of this name, as screen readers get it, which is later than it is painted."""
    page.locator('[data-testid="stDataFrame"] canvas table th', has_text=head).first.wait_for(state="attached")


def now(page: Any) -> float:
    """Milliseconds since the page was asked for."""
    return float(page.evaluate("performance.now()"))


def painted(page: Any, since: float) -> float:
    """When the first table was last painted anew, where no paint came after it for a while."""
    found: list[float] = []
    began = now(page)
    while not found or now(page) - found[-1] < 500:
        if now(page) - began > 60_000:
            raise SystemExit("no new table was painted in a minute")
        page.wait_for_timeout(100)
        found = [at for at in page.evaluate("window.paints") if at > since]
    return found[-1]


@contextmanager
def served(store: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A board of this store, and its address."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "ALIGNBOARD_HOME": str(store.parent / "home")}
    server = subprocess.Popen(launch.command(str(store), port, ""), env=environment, stdout=subprocess.DEVNULL)
    try:
        wait(f"http://localhost:{port}/_stcore/health", server)
        yield f"http://localhost:{port}", server
    finally:
        server.terminate()
        server.wait(20)


def wait(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.URLError:
            time.sleep(0.25)
    raise SystemExit("the server ended")


def resident(process: int) -> float:
    """MiB of a process in memory."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def table(found: dict[int, dict[str, Any]]) -> str:
    lines = [
        "| runs | first table, s (slowest) | a language chosen, s | other columns, s | memory, MiB |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for runs, one in found.items():
        seconds = f"{one['first']:.2f} ({one['slowest']:.2f}) | {one['filter']:.2f} | {one['columns']:.2f}"
        lines.append(f"| {runs:,} | {seconds} | {one['memory']:.0f} |")
    small, large = found.values() if len(found) == 2 else (next(iter(found.values())),) * 2
    ratios = {name: round(large[name] / small[name], 2) for name in ("first", "filter", "columns", "memory")}
    return "\n".join([*lines, f"ratios of the large store to the small one: {json.dumps(ratios)}"])


if __name__ == "__main__":
    main()
