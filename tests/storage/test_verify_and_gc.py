"""`alignboard verify` and `gc` on a small store with real artifacts, intact and with each kind of damage."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from harness.cli.app import main
from harness.evaluation.item_statistics import write_statistics
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from harness.storage.store import RunRow, ScoreRow, Store
from harness.storage.store.schema import StageRow

CORRECT = {"de": [1, 1, 0, 1], "sw": [0, 1, 0, 0]}
SCORE, ENCODER = "ab" * 20, "cd" * 20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """One finished run with an encoder, and a score stage of two views."""
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    artifacts = Artifacts(tmp_path / "artifacts")
    with artifacts.create(ENCODER, "align", {}) as folder:
        (folder / "weights").write_bytes(b"weights")
    with artifacts.create(SCORE, "score", {}) as folder:
        write_statistics(folder / "statistics.parquet", statistics(), TASKS.get("xnli")().ratios())
    made = Store.open(tmp_path / "board.db", create=True)
    made.add_run(RunRow(id="r", method="mbert", suite="s", protocol="mini", status="done"))
    made.put_scores("r", [score("de", 75.0), score("sw", 25.0)])
    for fingerprint, kind, task in ((ENCODER, "align", None), (SCORE, "score", "xnli")):
        made.put_stage(StageRow(fingerprint=fingerprint, kind=kind, task=task, status="done"))
        made.link_stage("r", fingerprint, hit=False)
    return made


def statistics() -> pa.Table:
    rows = [(view, f"{view}-{i}", hit) for view, hits in CORRECT.items() for i, hit in enumerate(hits)]
    views, items, correct = zip(*rows, strict=True)
    key = {"selection": ["english"] * len(rows), "view": views, "item": items, "cluster": items}
    return pa.table({**key, "correct": correct, "items": [1] * len(rows)})


def score(view: str, value: float) -> ScoreRow:
    return ScoreRow(
        stage=SCORE,
        task="xnli",
        view=view,
        language=view,
        split="test",
        protocol="mini",
        selection="english",
        metric="accuracy",
        value=value,
        n=4,
    )


def command(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    printed = capsys.readouterr()
    assert (stop.value.code or 0) == code, printed
    return printed.out


def problems(capsys: pytest.CaptureFixture[str]) -> list[str]:
    found = json.loads(command(capsys, "verify", "--json", code=1))["problems"]
    return [problem["what"] for problem in found]


def test_verify_finds_no_problem(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "verify") == "artifacts 2, scores 2, problems 0\n"


def test_verify_finds_a_changed_score(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.put_scores("r", [score("sw", 26.0)])
    assert problems(capsys) == ["r xnli english sw accuracy: 26.0 in the database, 25.0 from the statistics"]


def test_verify_finds_a_changed_byte(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "artifacts" / "objects" / ENCODER[:2] / ENCODER / "weights").write_bytes(b"weighty")
    assert problems(capsys) == ["missing or damaged: align"]
    assert Artifacts(tmp_path / "artifacts").find(ENCODER) is None


def test_gc_keeps_artifacts_of_runs(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    with artifacts.create("ef" * 20, "align", {}) as folder:
        (folder / "weights").write_bytes(b"unused")
    assert "artifacts to remove: 0," in command(capsys, "gc", "--dry-run")
    assert "artifacts removed: 0," in command(capsys, "gc"), "another database may use it"
    assert "artifacts to remove: 1," in command(capsys, "gc", "--dry-run", "--unknown")
    assert len(artifacts.fingerprints()) == 3
    assert "artifacts removed: 1," in command(capsys, "gc", "--unknown")
    assert set(artifacts.fingerprints()) == {ENCODER, SCORE}
    command(capsys, "db", "delete", "r")
    command(capsys, "gc")
    assert artifacts.fingerprints() == []


def test_gc_keeps_checkpoints_of_unfinished_runs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Artifacts(tmp_path / "artifacts").work("12" * 20) / "state"
    checkpoint.mkdir()
    store.set_status("r", "interrupted")
    command(capsys, "gc")
    assert checkpoint.is_dir()
    store.set_status("r", "done")
    command(capsys, "gc")
    assert not checkpoint.exists()
