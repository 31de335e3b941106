"""The logs of stages, and that every stage of a run has left one."""

from __future__ import annotations

from pathlib import Path

from harness.experiments.plan import RunPlan
from harness.files import LOG
from harness.storage.artifacts import Artifacts


def log_lines(folder: Path) -> list[tuple[str, str]]:
    """The kind and the text of each line of a log, without its time."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return [(line[21:26].strip(), line[27:]) for line in lines]


def assert_every_stage_has_its_log(home: Path, plan: RunPlan) -> None:
    artifacts = Artifacts(home / "artifacts")
    for stage in plan.stages:
        artifact = artifacts.find(stage.fingerprint, verify=True)
        assert artifact is not None
        assert LOG in artifact.files
        found = log_lines(artifact.path)
        assert found[0][1].startswith(f"{stage.title}: cpu, 1 threads, process ")
        assert found[-1][0] == "end"
        trained = stage.kind in ("pretrain", "align", "finetune")
        assert any(kind == "step" and " steps/s" in text for kind, text in found) == trained
        assert any(kind == "dev" for kind, _ in found) == (stage.kind == "finetune")
    assert not list((home / "artifacts" / "work").iterdir())
