"""`alignboard show`: filters, formats and what it refuses, on a small store."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from harness.cli.app import main
from harness.storage.store import RunRow, ScoreRow, Store

VIEWS = {"xnli": ("de", "sw"), "tatoeba": ("de", "sw")}
METRIC = {"xnli": "accuracy", "tatoeba": "accuracy"}


def add(store: Store, method: str, seed: int, first: float, *, gap: bool = False, suite: str = "pair") -> None:
    """A run whose scores are `first`, first + 1, ... over tasks and views; `gap` leaves the last one out."""
    run = f"{method}-{seed}"
    cells = [(task, view) for task, views in VIEWS.items() for view in views][: 3 if gap else 4]
    scores = [
        ScoreRow(
            stage="s",
            task=task,
            view=view,
            language=view,
            split="test",
            protocol="mini",
            metric="accuracy",
            value=first + place,
            n=100,
            selection="english" if task == "xnli" else "",
        )
        for place, (task, view) in enumerate(cells)
    ]
    seeds = {"align_seed": seed, "finetune_seed": seed}
    store.add_run(RunRow(id=run, method=method, suite=suite, protocol="mini", status="done", **seeds))
    store.put_scores(run, scores)
    store.refresh_summary(run, VIEWS, METRIC)


@pytest.fixture
def db(tmp_path: Path) -> str:
    file = str(tmp_path / "board.db")
    store = Store.open(file, create=True)
    for seed in (0, 1):
        add(store, "mbert", seed, 40.0 + 2 * seed)
        add(store, "ml-ctl", seed, 50.0, gap=seed == 1)
    store.close()
    return file


def show(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["show", *arguments])
    printed = capsys.readouterr()
    assert (stop.value.code or 0) == code, printed.err
    return printed.err if code else printed.out


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_by_task_averages_over_languages_and_seeds(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["method"]: row for row in lines(show(capsys, "--db", db, "--format", "csv"))}
    assert list(rows) == ["mbert", "ml-ctl"]
    assert float(rows["mbert"]["xnli"]) == pytest.approx(41.5)  # seeds 40.5 and 42.5
    assert float(rows["mbert"]["average"]) == pytest.approx(42.5)
    assert rows["ml-ctl"]["tatoeba seeds"] == "1"  # the other seed lacks a view


def test_by_language_has_the_languages_of_one_task(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = show(capsys, "--db", db, "--by", "language", "--task", "xnli", "--format", "csv")
    rows = {row["method"]: row for row in lines(text)}
    assert float(rows["mbert"]["sw"]) == pytest.approx(42.0)
    assert float(rows["ml-ctl"]["average"]) == pytest.approx(50.5)


def test_subset_of_tasks_has_no_average(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    (row, _) = lines(show(capsys, "--db", db, "--task", "tatoeba", "--format", "csv"))
    assert "tatoeba" in row
    assert "average" not in row


def test_json_has_every_score(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    records = json.loads(show(capsys, "--db", db, "--format", "json"))
    assert len(records) == 4 * 4 - 1
    wanted = {"method", "seed", "base", "suite", "task", "language", "split", "metric", "value", "n"}
    assert wanted <= set(records[0])
    only = json.loads(show(capsys, "--db", db, "--format", "json", "--method", "mbert", "--task", "xnli"))
    assert {(record["method"], record["task"]) for record in only} == {("mbert", "xnli")}
    assert len(only) == 4


@pytest.mark.parametrize(
    ("form", "mark"), [("table", "pair"), ("markdown", "| mbert |"), ("latex", r"\begin{tabular}")]
)
def test_other_formats(form: str, mark: str, db: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = show(capsys, "--db", db, "--format", form)
    assert mark in text
    assert "42.5" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--method", "mbret"], 2, "did you mean 'mbert'?"),
        (["--task", "xnil"], 2, "did you mean 'xnli'?"),
        (["--suite", "pear"], 2, "did you mean 'pair'?"),
        (["--format", "json", "--by", "language"], 2, "--by has no effect"),
        (["--format", "yaml"], 2, "yaml"),
        (["--selection", "sw", "--task", "xnli"], 2, "unknown selection 'sw'"),
        (["--suite", "pair", "--selection", ""], 2, "unknown selection ''"),
    ],
)
def test_bad_filters_are_reported(
    arguments: list[str], code: int, message: str, db: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in show(capsys, "--db", db, *arguments, code=code)


def test_suite_of_listed_tasks_is_found_in_any_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(str(tmp_path / "board.db"), create=True)
    add(store, "mbert", 0, 40.0, suite="tatoeba,xnli")
    store.close()
    for text in ("tatoeba,xnli", "xnli, tatoeba,xnli"):
        assert "mbert" in show(capsys, "--db", str(tmp_path / "board.db"), "--suite", text)


@pytest.mark.parametrize("command", [["compare", "mbert", "ml-ctl"], ["report"]])
def test_other_commands_refuse_the_same_filters(
    command: list[str], db: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, value in (("--suite", "pear"), ("--selection", "sw")):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--db", db, option, value])
        assert stop.value.code == 2
        assert f"unknown {option.removeprefix('--')} '{value}'" in capsys.readouterr().err


def test_missing_store_is_not_created(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no store here yet" in show(capsys, "--db", str(tmp_path / "none.db"), code=1)
    assert not (tmp_path / "none.db").exists()
