"""`alignboard project`: maps and intrinsic measures of a finished run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.evaluation.intrinsic import MEASURES
from harness.evaluation.projection import PAIRS_SHOWN, project
from harness.files import PROJECTION
from harness.records import PoolSentence
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from harness.storage.usage import registered_stores
from tests.support.cli_calls import run_command


@pytest.fixture
def home(finished_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished_home, tmp_path / "home")
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def rows(home: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    store = Store.open(f"sqlite:///{home / 'board.db'}", read_only=True)
    scores: Any = store.scores(split="intrinsic").to_dict("records")
    stages = store.stages()
    store.close()
    return scores, stages[stages["kind"] == "project"].to_dict("records")


def test_a_run_gets_measures_and_a_map(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Store.open(f"sqlite:///{home / 'board.db'}", read_only=True).summaries()
    shutil.rmtree(home / "artifacts" / "stores")
    assert run_command("project", "mbert", "--workers", "1") == 0
    assert "1 maps computed, 0 reused, for 1 runs" in capsys.readouterr().out
    assert registered_stores(Artifacts(home / "artifacts")) == [str(home / "board.db")], "gc keeps the map"
    scores, (stage,) = rows(home)
    assert {(row["view"], row["metric"]) for row in scores} == {(f"qa{c}", m) for c in "bcdefgh" for m in MEASURES}
    found = json.loads((home / "artifacts" / stage["artifact"] / PROJECTION).read_text(encoding="utf-8"))
    assert len(found["points"]) == 7 * 2 * PAIRS_SHOWN
    assert set(found["points"][0]) == {"language", "pair", "side", "text", "pca_x", "pca_y", "tsne_x", "tsne_y"}
    after = Store.open(f"sqlite:///{home / 'board.db'}", read_only=True).summaries()
    assert str(after) == str(before), "measures enter no average"
    assert run_command("project", "--workers", "1") == 0
    assert "0 maps computed, 1 reused, for 1 runs" in capsys.readouterr().out
    assert rows(home)[0] == scores


def test_the_measured_retrieval_is_that_of_the_score(home: Path) -> None:
    """From the pivot, the encoder and pairs of the score are those of the measure; the way back is measured too."""
    assert run_command("project", "--workers", "1") == 0
    store = Store.open(f"sqlite:///{home / 'board.db'}", read_only=True)
    tatoeba: Any = store.scores(split="test", task="tatoeba").to_dict("records")
    store.close()
    measured = {row["view"]: row for row in rows(home)[0] if row["metric"] == "retrieval"}
    for row in tatoeba:
        assert measured[row["view"]]["n"] == row["n"]
        assert 2 * measured[row["view"]]["value"] >= row["value"] - 1e-9


def test_a_run_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("project", "zzz") == 1
    told = capsys.readouterr().err
    assert "no finished run" in told
    assert "(mbert seed 0)" in told


def test_an_encoder_that_is_gone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(f"sqlite:///{home / 'board.db'}", read_only=True)
    stages = store.stages()
    store.close()
    made = stages[stages["kind"] == "pretrain"].iloc[0]["artifact"]
    shutil.rmtree(home / "artifacts" / made)
    assert run_command("project") == 1
    assert "is missing" in capsys.readouterr().err


def test_points_are_the_first_pairs_of_every_language() -> None:
    pools = {
        view: [
            *(PoolSentence(f"s{i}", "source", f"{view}{i}", (f"t{i}",)) for i in range(3)),
            *(PoolSentence(f"t{i}", "target", f"pivot{i}", (f"s{2 - i}",)) for i in range(3)),
        ]
        for view in ("a", "b")
    }
    found = project(lambda texts: torch.arange(len(texts) * 4.0).reshape(-1, 4).sin(), pools)
    texts = {(p["language"], p["pair"], p["side"]): p["text"] for p in found["points"]}
    assert texts["b", 0, "target"] == "pivot0"
    assert texts["b", 0, "source"] == "b2"
    same = [(p["pca_x"], p["pca_y"]) for p in found["points"] if p["text"] == "pivot0"]
    assert len(same) == 2
    assert same[0] == same[1], "a sentence has one place"


def test_pools_without_gold_have_no_points() -> None:
    pool = [PoolSentence("s", "source", "x", None), PoolSentence("t", "target", "y", None)]
    assert project(lambda texts: torch.zeros(len(texts), 4), {"a": pool}) == {"measures": [], "points": []}
