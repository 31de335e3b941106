"""The smoke benchmark: it passes on a bare machine, and fails where half precision or a back end goes wrong."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.registry import METHODS
from tests.support.small_babel import encoder, isolated, method_class
from validation import smoke

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("pyarrow", "pandas", "scipy", "sklearn", "sqlalchemy", "alembic", "streamlit", "altair", "typer", "rich")
BARE = f"""
import importlib.metadata, sys
for name in {ABSENT}:
    sys.modules[name] = None
everything = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **wanted: everything(group="nothing is installed")
from validation import smoke
assert smoke.METHODS.names() == []
sys.exit(smoke.main())
"""
SMALLEST = ("--steps", "2", "--batch", "2")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


@pytest.mark.long  # benchmarks.gpu, which is tested too, trains every method
def test_it_passes_on_a_bare_machine(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BARE, *SMALLEST, "--out", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "variable-length attention is not checked" in done.stdout
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    trained = [name for name in METHODS.names() if METHODS.get(name).trains]
    assert {row["name"] for row in rows} >= {*trained, "fine-tuning (pawsx)"}
    for row in rows:
        assert row["ok"]
        assert row["fp32"]["loss"] != 0
        assert all(row[precision][rate] > 0 for precision in smoke.PRECISIONS for rate in ("tokens_per_second",))


def test_a_method_that_goes_wrong_in_half_precision_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = method_class("continued-mlm")

    class Wrong(right):  # type: ignore[misc, valid-type]
        def loss(self, *arguments: Any) -> Any:
            terms = super().loss(*arguments)
            factor = 1.05 if torch.is_autocast_enabled("cpu") else 1.0
            return {name: type(term)(term.sum * factor, term.count, term.weight) for name, term in terms.items()}

    encoder().save(tmp_path / "base")
    monkeypatch.setattr(smoke, "methods", lambda: {"right": right, "wrong": Wrong})
    assert smoke.main([*SMALLEST, "--base", str(tmp_path / "base")]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "FAILED: wrong"
    assert [text.split()[-1] for text in shown.splitlines() if text.startswith(("right", "wrong"))] == ["ok", "FAILED"]


@pytest.mark.parametrize(
    ("full", "half", "ok"),
    [
        (5.0, 5.09, True),
        (5.0, 5.11, False),
        (-0.01, 0.009, True),
        (-0.01, 0.011, False),
        (-9.0, -9.2, False),
        (5.0, math.nan, False),
    ],
)
def test_the_allowed_gap(full: float, half: float, ok: bool) -> None:
    assert smoke.SmokeRow("", *(smoke.TrainingMeasure(loss, 1, 1, 1) for loss in (full, half))).ok is ok


def test_the_attention_checks_hold_for_the_padded_back_end() -> None:
    checks = smoke.attention_checks(torch.device("cpu"), "padded", torch.float32)
    assert [check.ok for check in checks] == [True] * 3
    assert max(check.gap for check in checks) < 1e-5
    world = smoke.SmokeWorld(smoke.parse_arguments(SMALLEST))
    checks = smoke.encoder_checks(world, "padded", "fp32") + smoke.encoder_checks(world, "padded", "bf16")
    assert all(check.ok for check in checks)
    assert checks[-1].gap > 1e-4, "bf16 rounds"


def test_the_attention_checks_detect_a_wrong_back_end(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = smoke.attend

    def forgets_the_mask(q: Any, k: Any, v: Any, ql: Any, kl: Any, causal: bool) -> Any:
        return attend(q, k, v, ql, kl, causal and smoke.attention._backend.get() == "block")

    monkeypatch.setattr(smoke, "attend", forgets_the_mask)
    checks = smoke.attention_checks(torch.device("cpu"), "padded", torch.float32)
    assert [check.name.removeprefix("padded ") for check in checks if not check.ok] == ["causal"]


@pytest.mark.parametrize("arguments", [("--steps", "1"), ("--device", "tpu"), ("--device", "cuda")])
def test_wrong_usage(arguments: tuple[str, str]) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit) as ended:
        smoke.parse_arguments(arguments)
    assert ended.value.code == 2
