"""A stage whose data or base change while it works leaves no artifact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from harness.errors import UserError
from harness.experiments import stage as stages
from harness.experiments.stage import Stage, StagePlace, Workbench
from harness.files import LOG
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from tests.support.folder_specs import PAIR, Write


@dataclass(frozen=True, kw_only=True)
class Writing(Stage):
    """Writes a text into a file, such as one of those that it reads."""

    kind: ClassVar[str] = "writing"
    file: str
    text: str

    def run(self, bench: Workbench, folder: Path) -> None:
        Path(self.file).write_text(self.text, encoding="utf-8")
        bench.checkpoint(self).mkdir(parents=True, exist_ok=True)
        (bench.artifacts.work(self.fingerprint) / "pool").touch()


def execute(stage: Stage, home: Path) -> bool:
    """Runs a stage; whether it left an artifact."""
    artifacts, watch = Artifacts(home / "artifacts"), SimpleNamespace(update=lambda rate: None)
    stage.execute(Workbench(artifacts, torch.device("cpu"), watch))
    return artifacts.find(stage.fingerprint) is not None


def test_data_that_change_while_a_stage_works_leave_no_artifact(write: Write, tmp_path: Path) -> None:
    folder = write({"xnli/test-de.tsv": PAIR, "xnli/test-en.tsv": PAIR, "mono/de.txt": "ein Satz\n"})
    manifest = folder.manifest([TASKS.get("xnli").spec])
    cells = {cell.name: cell.fingerprint for cell in (*manifest.tasks, *manifest.corpora)}
    assert set(cells) == {"xnli/de/test", "xnli/en/test", "mono/de"}
    place = StagePlace(f"folder:{folder.root}")
    for file, name in (("xnli/test-de.tsv", "xnli/de/test"), ("mono/de.txt", "mono/de")):
        path = folder.root / file
        before = path.read_text(encoding="utf-8")
        stage = Writing(place=place, data=cells, file=str(path), text=before + before)
        with pytest.raises(UserError, match=rf"has changed since the run was planned(.|\n)*found: *{name}\n"):
            execute(stage, tmp_path)
        assert Artifacts(tmp_path / "artifacts").find(stage.fingerprint) is None
        assert {file.name for file in tmp_path.glob("artifacts/work/*/*")} == {LOG}, "no checkpoint of other data"
        with pytest.raises(UserError, match="has changed since the run was planned"):
            execute(replace(stage, file=str(tmp_path / "never")), tmp_path)
        assert not (tmp_path / "never").exists(), "it is not begun"
        path.write_text(before, encoding="utf-8")
        assert execute(Writing(place=place, data=cells, file=str(path), text=before), tmp_path)
    other = {name: cells[name] for name in ("xnli/en/test",)}
    assert execute(Writing(place=place, data=other, file=str(folder.root / "xnli/test-de.tsv"), text="x"), tmp_path)


def test_a_base_that_changes_while_a_stage_works_leaves_no_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(base: str) -> Any:
        return Path(base).read_text(encoding="utf-8")

    monkeypatch.setattr(stages, "base_fingerprint", fingerprint)
    base = tmp_path / "base"
    for text, kept in (("other", False), ("same", True)):
        base.write_text("same")
        stage = Writing(place=StagePlace("babel", str(base)), inputs={"base": "same"}, file=str(base), text=text)
        if kept:
            assert execute(stage, tmp_path)
        else:
            with pytest.raises(UserError, match=f"the base {base}"):
                execute(stage, tmp_path)
