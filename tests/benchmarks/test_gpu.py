"""The GPU script runs at toy size on a CPU, keeps its figures part by part, and goes on after a part that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu


def test_every_speed_part_gives_figures(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    names = ["matmul", "steps", "utilisation", "suite", "mining"]
    assert gpu.main(["--device", "cpu", "--toy", "--out", str(out), "--only", *names]) == 0
    figures = json.loads(out.read_text())
    assert list(figures) == names
    assert figures["steps"]["finetuning"]["harness"] > 0
    assert figures["suite"]["total"] == pytest.approx(sum(figures["suite"]["minutes"].values()))
    assert figures["utilisation"]["share of products"] > 0


def test_resumed_training_is_bit_exact(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    assert gpu.main(["--device", "cpu", "--toy", "--out", str(out), "--only", "resume"]) == 0
    assert json.loads(out.read_text())["resume"]["largest difference"] == 0


def test_a_part_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(machine: gpu.Machine) -> dict[str, float]:
        raise RuntimeError("out of memory")

    monkeypatch.setitem(gpu.PARTS, "steps", broken)
    out = tmp_path / "figures.json"
    assert gpu.main(["--device", "cpu", "--toy", "--out", str(out), "--only", "steps", "mining"]) == 1
    assert list(json.loads(out.read_text())) == ["mining"]
    assert "failed or skipped: steps" in capsys.readouterr().out


def test_benchmarks_are_listed_with_a_line_each() -> None:
    listed = subprocess.run([sys.executable, "-m", "benchmarks"], capture_output=True, text=True, check=True).stdout
    for name in ("board", "gpu", "objectives", "retrieval", "scale", "training"):
        assert f"benchmarks.{name} " in listed
