"""External predictions: stored completely or not at all, identified by their bytes, apart from trained runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import UsageError
from harness.experiments.external import Change, Claim, check, labels_target, submit
from harness.registry import SUITES, TASKS
from harness.results.tables import tables_by_task
from harness.storage.artifacts import Artifacts
from harness.storage.store import AVERAGE, RunRow, ScoreRow, Store
from tests.support.cli_calls import run_command
from tests.support.golden_cases import cases
from tests.support.text_files import write_files

GOLDEN = cases("end_to_end/submission.json")
OFFICIAL = GOLDEN["expected"]["seqeval-1.2.2"]["ok"]
TASK_NAMES = ("xnli", "tatoeba")  # small, one trained and one not


def parts(folder: str, *tasks: str) -> dict[str, str]:
    return {name: text for name, text in GOLDEN[folder].items() if name.split("/")[0] in tasks}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Predictions and labels of two tasks."""
    return (
        write_files(tmp_path / "p", parts("predictions", *TASK_NAMES)),
        write_files(tmp_path / "l", parts("labels", *TASK_NAMES)),
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "board.db", create=True)
    yield opened
    opened.close()


def put(store: Store, root: Path, folders: tuple[Path, Path], claim: Claim, *, replace: bool = False) -> Any:
    target = labels_target(folders[1], SUITES.get("xtreme"), "seqeval-1.2.2")
    report = check(folders[0], target)
    return submit(store, Artifacts(root), folders[0], target, claim, report, replace=replace)


def changed(folder: Path) -> None:
    """Another prediction in one file."""
    path = folder / "xnli" / "test-de.tsv"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(("neutral" if first != "neutral" else "entailment") + "\n" + rest)


def everything(home: Path) -> dict[str, bytes]:
    files = (p for p in home.rglob("*") if p.is_file() and "checked" not in p.parts)  # a memory of checks, no result
    return {str(p.relative_to(home)): p.read_bytes() for p in files}


def test_submit_reproduces_the_official_scores(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write_files(tmp_path / "p", GOLDEN["predictions"]), write_files(tmp_path / "l", GOLDEN["labels"])
    words = (
        "--name",
        "theirs",
        "--by",
        "someone",
        "--note",
        "a system",
        "--url",
        "https://example.org/x",
        "--seed",
        "3",
    )
    assert run_command("submit", *map(str, given), *words) == 0
    assert f"average {OFFICIAL['overall']['all_task']:.2f}" in capsys.readouterr().out
    store = Store.open(home / "board.db", read_only=True)
    (run,) = store.runs()
    assert (run["kind"], run["method"], run["status"], run["align_seed"]) == ("external", "theirs", "done", 3)
    external = run["card"]["external"]
    assert (external["by"], external["note"], external["url"]) == ("someone", "a system", "https://example.org/x")
    assert set(external["files"]) == set(GOLDEN["predictions"])
    assert all(len(value) == 64 for value in external["files"].values())
    assert run["packages"]["alignboard"]
    figures = {row["task"]: row["value"] for row in store.summaries()}
    assert figures[AVERAGE] == pytest.approx(OFFICIAL["overall"]["all_task"], abs=1e-9)
    for task, scores in OFFICIAL["detailed"].items():
        assert figures[task] == pytest.approx(scores["avg_metric"], abs=1e-9), task
    store.close()
    assert run_command("verify") == 0
    assert "problems 0" in capsys.readouterr().out
    assert run_command("gc") == 0
    assert "artifacts removed: 0" in capsys.readouterr().out


def test_missing_tasks_are_listed_and_prevent_an_average(
    folders: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("submit", *map(str, folders), "--name", "part") == 0
    assert "no average; missing: pawsx, udpos, panx, xquad, mlqa, tydiqa, bucc2018" in capsys.readouterr().out
    store = Store.open(home / "board.db", read_only=True)
    rows = {row["task"]: row for row in store.summaries()}
    store.close()
    assert {task for task, row in rows.items() if row["complete"]} == set(TASK_NAMES)
    assert (rows["panx"]["n_views"], rows["panx"]["expected_views"]) == (0, 40)
    assert run_command("show", "--format", "markdown") == 0
    assert "– (51/162)" in capsys.readouterr().out  # the average has a dash: 15 + 36 of all views


def test_submission_stores_statistics_and_predictions_of_every_item(
    folders: tuple[Path, Path], tmp_path: Path, store: Store
) -> None:
    run = put(store, tmp_path, folders, Claim("theirs")).run
    stages = {(row["kind"], row["task"]): row["fingerprint"] for row in store.stages(run).to_dict("records")}
    assert set(stages) == {("predict", "xnli"), ("score", "xnli"), ("embed", "tatoeba"), ("score", "tatoeba")}
    artifacts = Artifacts(tmp_path)
    for row in store.scores(run=run).to_dict("records"):
        artifact = artifacts.find(row["stage"], verify=True)
        assert artifact is not None
        table = pd.read_parquet(artifact.path / "statistics.parquet")
        items = table[table["view"] == row["view"]]
        assert len(items) == row["n"] == items["item"].nunique()
        sums = {
            name: float(items[name].sum()) for name in items if name not in ("selection", "view", "item", "cluster")
        }
        assert TASKS.get(row["task"])().metric(sums)[row["metric"]] == pytest.approx(row["value"], abs=1e-9)
    predicted = artifacts.find(stages["predict", "xnli"])
    assert predicted is not None
    made = json.loads((predicted.path / "predictions.json").read_text(encoding="utf-8"))[""]
    assert made["de"]["final"] == GOLDEN["predictions"]["xnli/test-de.tsv"].split()


@pytest.mark.parametrize("damage", ["a label", "a file", "nothing"])
def test_damaged_submission_writes_nothing(
    damage: str, folders: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folders[0] / "tatoeba" / "test-zh.tsv"
    if damage == "a label":
        path.write_text(path.read_text() + "x\n")
    elif damage == "a file":
        path.unlink()
    else:
        shutil.rmtree(folders[0])
        (folders[0] / "other").mkdir(parents=True)
    assert run_command("submit", *map(str, folders), "--name", "theirs") == 1
    assert everything(home) == {}
    printed = capsys.readouterr().err
    assert ("nothing to score" if damage == "nothing" else "nothing was written") in printed


def test_resubmission_of_other_files_needs_replace(
    folders: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ("submit", *map(str, folders), "--name", "theirs")
    assert run_command(*again) == 0
    before = everything(home)
    assert run_command(*again, "--note", "said anew") == 0
    assert "already there" in capsys.readouterr().out
    assert everything(home) == before
    changed(folders[0])
    assert run_command(*again) == 1
    assert "xnli/test-de.tsv" in capsys.readouterr().err
    assert everything(home) == before
    assert run_command(*again, "--replace") == 0
    assert "replaced" in capsys.readouterr().out
    store = Store.open(home / "board.db", read_only=True)
    assert len(store.runs()) == 1
    store.close()
    assert run_command("gc") == 0
    assert "artifacts removed: 2" in capsys.readouterr().out  # the former predictions of xnli and their scores
    assert run_command("verify") == 0


def test_other_labels_under_the_same_name_are_refused(
    folders: tuple[Path, Path], tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ("submit", *map(str, folders), "--name", "theirs")
    assert run_command(*again) == 0
    changed(folders[1])
    assert run_command(*again) == 1
    assert "with other labels" in capsys.readouterr().err


def test_replace_removes_all_former_tasks(folders: tuple[Path, Path], tmp_path: Path, store: Store) -> None:
    only = write_files(tmp_path / "only", parts("predictions", "tatoeba"))
    whole = put(store, tmp_path, folders, Claim("theirs"))
    part = put(store, tmp_path, (only, folders[1]), Claim("theirs"), replace=True)
    assert (whole.run, part.change) == (part.run, Change.REPLACED)
    assert set(store.scores()["task"]) == {"tatoeba"}
    assert set(store.stages(part.run)["task"]) == {"tatoeba"}


def test_killed_submission_is_written_again(folders: tuple[Path, Path], tmp_path: Path, store: Store) -> None:
    run = put(store, tmp_path, folders, Claim("theirs")).run
    store.set_status(run, "running")
    assert put(store, tmp_path, folders, Claim("theirs")) == (run, Change.NEW)
    assert [row["status"] for row in store.runs()] == ["done"]


def test_lost_artifact_is_restored_by_the_same_files(folders: tuple[Path, Path], tmp_path: Path, store: Store) -> None:
    run = put(store, tmp_path, folders, Claim("theirs")).run
    lost = store.stages(run)["fingerprint"].iloc[0]
    shutil.rmtree(tmp_path / "objects" / lost[:2] / lost)
    assert put(store, tmp_path, folders, Claim("theirs")) == (run, Change.RESTORED)
    assert Artifacts(tmp_path).find(lost, verify=True) is not None
    assert put(store, tmp_path, folders, Claim("theirs")).change is Change.SAME


def test_seeds_of_one_name_form_one_row(folders: tuple[Path, Path], tmp_path: Path, store: Store) -> None:
    put(store, tmp_path, folders, Claim("theirs", seed=0))
    changed(folders[0])
    put(store, tmp_path, folders, Claim("theirs", seed=1))
    (table,) = tables_by_task(store.summaries(split="test"))
    (row,) = table.rows
    assert (row.label, row.badge, row.seeds) == ("theirs (external)", "external", 2)
    assert row.cell("xnli").sd


def test_external_row_is_separate_from_a_trained_method_of_the_same_name(
    folders: tuple[Path, Path], tmp_path: Path, store: Store
) -> None:
    run = put(store, tmp_path, folders, Claim("mbert", seed=0)).run
    (theirs,) = store.runs(id=run)
    same = ("suite", "protocol", "recipe_kind", "base", "source", "languages_hash")
    store.add_run(
        RunRow(id="own", method="mbert", align_seed=1, finetune_seed=1, **{name: theirs[name] for name in same})
    )
    score = {"stage": "s", "split": "test", "protocol": "official", "metric": "accuracy", "value": 1.0, "n": 9}
    views = TASKS.get("xnli").spec.languages
    store.put_scores("own", [ScoreRow(task="xnli", view=view, language=view, **score) for view in views])
    store.refresh_summary("own", theirs["views"], {task: TASKS.get(task).spec.metric for task in theirs["views"]})
    (table,) = tables_by_task(store.summaries(split="test"))
    assert [(row.label, row.badge) for row in table.rows] == [("mbert", "control"), ("mbert (external)", "external")]
    own, other = (row.cell("xnli").mean for row in table.rows)
    assert own == 1.0
    assert other == pytest.approx(OFFICIAL["detailed"]["xnli"]["avg_metric"])


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv"])
def test_every_format_marks_external_rows(
    form: str, folders: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("submit", *map(str, folders), "--name", "theirs") == 0
    capsys.readouterr()
    for by in (("--by", "task"), ("--by", "language", "--task", "xnli")):
        assert run_command("show", "--format", form, *by) == 0
        assert "theirs (external)" in capsys.readouterr().out


def test_json_marks_external_scores(folders: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("submit", *map(str, folders), "--name", "theirs") == 0
    capsys.readouterr()
    assert run_command("show", "--format", "json") == 0
    assert {record["kind"] for record in json.loads(capsys.readouterr().out)} == {"external"}


@pytest.mark.parametrize(
    "bad",
    [
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\nb"},
        {"name": "\u202eevil"},
        {"name": " x"},
        {"name": "x", "url": "javascript:alert(1)"},
        {"name": "x", "note": "y" * 2001},
        {"name": "x", "by": "\x1b[31m"},
    ],
)
def test_claim_fields_are_validated(bad: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Claim(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "labels are missing"),
        (("{labels}", "--like", "mbert"), "contradicts --like"),
        (("--like", "mbert", "--suite", "xtreme"), "--suite has no effect"),
        (("{labels}", "--seqeval", "0.0.15"), "unknown version"),
        (("{labels}", "--languages", "some"), "unknown choice"),
        (("{labels}", "--suite", "xtrem"), "xtreme"),
    ],
)
def test_contradicting_options_are_refused(
    words: tuple[str, ...], message: str, folders: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(labels=folders[1]) for word in words]
    assert run_command("submit", str(folders[0]), "--name", "x", *given) == 2
    assert message in capsys.readouterr().err
    assert everything(home) == {}
