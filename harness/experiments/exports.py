"""A stored run's predictions, and the gold they were scored against, as files of the official folder layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.experiments.plan import RunPlan
from harness.experiments.stages.embed import PREDICTIONS, Embed
from harness.files import write_text
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from harness.task import ENGLISH


def export(
    plan: RunPlan, made_by: Mapping[str, str], artifacts: Artifacts, predictions: Path, labels: Path | None = None
) -> list[Path]:
    """Writes a run's predictions, and with `labels` their gold, and returns the files.

    `made_by` has the fingerprint of each task's predictions in the store: the plan of today's code may have others.
    The headline's selection is written, on the items that the run was scored on. Raises UserError where an artifact is
    gone, and where a folder is not empty; then nothing is written.
    """
    for folder in filter(None, (predictions, labels)):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError("the folder is not empty", file=folder, remedy="give a new folder")
    stages = [stage for stage in plan.stages if isinstance(stage, Embed)]
    texts: dict[Path, str] = {}
    for stage in stages:
        made = _made(str(stage.task), made_by, artifacts)
        gold = stage.gold_records()
        task = TASKS.get(str(stage.task))()
        for view, records in gold.items():
            name = Path(task.spec.name) / task.file_name(view)
            texts[predictions / name] = task.format_predictions(made[view]["final"], records)
            if labels is not None:
                texts[labels / name] = task.format_gold(records)
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def _made(task: str, made_by: Mapping[str, str], artifacts: Artifacts) -> Mapping[str, Any]:
    """The predictions of the headline's selection by view."""
    artifact = artifacts.find(made_by[task]) if task in made_by else None
    if artifact is None:
        raise UserError(
            f"the predictions of {task} are not there",
            found=f"no artifact {made_by.get(task, '')[:12]}".rstrip(),
            remedy="give the command of the run again: what is missing is made anew",
        )
    stored = json.loads((artifact.path / PREDICTIONS).read_text(encoding="utf-8"))
    made: Mapping[str, Any] = stored.get(ENGLISH, stored.get(""))
    return made
