"""`alignboard verify` and `gc` on a small store with real artifacts, intact and with each kind of damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from tests.support.cli_calls import printed_by as command
from tests.support.scored_store import ENCODER, SCORE, make_scored_store, score


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    return make_scored_store(tmp_path)


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
