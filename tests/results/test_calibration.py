"""The study a-a: a method against itself under disjoint seeds, and against a weaker one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.results.calibration import ANY, count_verdicts, write_study
from harness.results.item_reader import ItemReader, SelectedRun
from harness.storage.store import AVERAGE, Store
from tests.support.board_store import add_full_run
from tests.support.fake_store import METRIC, VIEWS

TASKS = ("xnli", "tatoeba")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ItemReader:
    home = tmp_path_factory.mktemp("study")
    store = Store.open(home / "board.db", create=True)
    for method, level in (("strong", 60.0), ("weak", 40.0)):
        for seed in range(6):
            run = add_full_run(store, home, method, level, seed, tasks=TASKS)
            store.refresh_summary(run.id, {task: VIEWS[task] for task in TASKS}, METRIC)
    return ItemReader(store, home / "artifacts", store.summaries(split="test"))


def runs(method: str) -> list[SelectedRun]:
    return [SelectedRun(f"run-{method}-{seed}", "english") for seed in range(6)]


def test_equal_methods_are_seldom_and_weaker_ones_mostly_told_apart(reader: ItemReader, tmp_path: Path) -> None:
    same = count_verdicts(reader, TASKS, runs("strong"), runs("strong"), 3, 40)
    weaker = count_verdicts(reader, TASKS, runs("strong"), runs("weak"), 3, 40)
    assert [one.task for one in same] == [*TASKS, AVERAGE, ANY]
    by_task = {one.task: one for one in same}
    assert by_task[AVERAGE].share <= 20
    assert {one.task: one.share for one in weaker}[AVERAGE] == 100
    assert by_task[AVERAGE].interval[0] <= by_task[AVERAGE].share <= by_task[AVERAGE].interval[1]
    paths = write_study(tmp_path / "out", "strong", 3, same, weaker, "align.steps=1")
    assert [path.name for path in paths] == ["study.md", "false-verdicts.svg", "found.svg"]
    text = paths[0].read_text(encoding="utf-8")
    assert "40 times, 3 seeds of strong were compared with 3 others" in text
    assert "| average | 40 of 40 | 100.0% |" in text


def test_sets_that_cannot_be_disjoint_are_refused(reader: ItemReader) -> None:
    with pytest.raises(UsageError, match="too few seeds"):
        count_verdicts(reader, TASKS, runs("strong"), runs("strong"), 4, 10)
    with pytest.raises(UsageError, match="too few seeds"):
        count_verdicts(reader, TASKS, runs("strong"), runs("strong"), 2, 10)
