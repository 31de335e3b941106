"""A stored run's predictions, and the gold they were scored against, as files of the official folder layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.experiments.plan import RunPlan
from harness.experiments.stages.embed import Embed
from harness.files import PREDICTIONS, read_json, write_text
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from harness.task import ENGLISH


def export(
    plan: RunPlan, fingerprints: Mapping[str, str], artifacts: Artifacts, predictions: Path, labels: Path | None = None
) -> list[Path]:
    """Writes a run's predictions, and with `labels` their gold, and returns the files.

    `fingerprints` are those of each task's predictions in the store; a plan by newer code may have others. Exports the
    headline selection, on the items that the run was scored on. Raises UserError if an artifact is missing or a folder
    is not empty; then nothing is written.
    """
    if labels is not None and labels.resolve() == predictions.resolve():
        raise UserError(
            "predictions and labels have one folder", file=labels, remedy="give --labels a folder of its own"
        )
    for folder in filter(None, (predictions, labels)):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError("the folder is not empty", file=folder, remedy="give a new folder")
    stages = [stage for stage in plan.stages if isinstance(stage, Embed)]
    texts: dict[Path, str] = {}
    for stage in stages:
        by_view = _headline_predictions(str(stage.task), fingerprints, artifacts)
        task = TASKS.get(str(stage.task))()
        for view, records in stage.gold_records().items():
            name = Path(task.spec.name) / task.file_name(view)
            texts[predictions / name] = task.format_predictions(by_view[view]["final"], records)
            if labels is not None:
                texts[labels / name] = task.format_gold(records)
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def _headline_predictions(task: str, fingerprints: Mapping[str, str], artifacts: Artifacts) -> Mapping[str, Any]:
    """The predictions of the headline selection by view."""
    artifact = artifacts.find(fingerprints[task], files=[PREDICTIONS]) if task in fingerprints else None
    if artifact is None:
        raise UserError(
            f"the predictions of {task} are missing",
            found=f"no artifact {fingerprints.get(task, '')[:12]}".rstrip(),
            remedy="repeat the command of the run: missing stages are computed again",
        )
    stored = read_json(artifact.path / PREDICTIONS)
    by_view: Mapping[str, Any] = stored.get(ENGLISH, stored.get(""))
    return by_view
