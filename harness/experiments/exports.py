"""A stored run's predictions, and the gold they were scored against, as files of the official folder layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.formats import file_name
from harness.errors import UserError
from harness.experiments.plan import RunPlan
from harness.experiments.stages import gold_records
from harness.files import write_text
from harness.records import Family
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from harness.task import ENGLISH, TaskSpec

Writer = Callable[[Sequence[Any], Sequence[Any]], str]  # (final predictions or gold, records) -> the file's text


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
    stages = [stage for stage in plan.stages if stage.kind in ("predict", "embed")]
    texts: dict[Path, str] = {}
    for stage in stages:
        made = _made(str(stage.task), made_by, artifacts)
        gold = gold_records(stage)
        spec: TaskSpec = TASKS.get(str(stage.task)).spec
        told, true = WRITERS["pairs" if spec.calibrated else spec.family.value]
        for view, records in gold.items():
            name = Path(spec.name) / file_name(spec, view)
            texts[predictions / name] = told(made[view]["final"], records)
            if labels is not None:
                texts[labels / name] = true([], records)
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
    stored = json.loads((artifact.path / "predictions.json").read_text(encoding="utf-8"))
    made: Mapping[str, Any] = stored.get(ENGLISH, stored.get(""))
    return made


def _column(values: Sequence[Any]) -> str:
    return "".join(f"{value}\n" for value in values)


def _blocks(sentences: Sequence[Sequence[str]]) -> str:
    return "\n".join(_column(tags) for tags in sentences)


def _line_numbers(records: Sequence[Any], ids: Sequence[str]) -> str:
    """The places of foreign sentences in their file."""
    places = {record.id: place for place, record in enumerate(r for r in records if r.side == "source")}
    return _column([places[name] for name in ids])


def _partners(records: Sequence[Any], side: str) -> list[tuple[str, str]]:
    return [(record.id, partner) for record in records if record.side == side for partner in record.partners]


def _pairs(pairs: Sequence[Sequence[str]]) -> str:
    return _column(["\t".join(pair[:2]) for pair in pairs])


def _squad(records: Sequence[Any]) -> str:
    """Questions in the shape of SQuAD v1.1, each in a paragraph of its own."""
    paragraphs = [
        {
            "context": record.context,
            "qas": [
                {
                    "id": record.id,
                    "question": record.question,
                    "answers": [{"text": a.text, "answer_start": max(a.start, 0)} for a in record.answers],
                }
            ],
        }
        for record in records
    ]
    return json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}, ensure_ascii=False)


WRITERS: dict[str, tuple[Writer, Writer]] = {
    Family.CLASSIFICATION.value: (
        lambda made, _: _column(made),
        lambda _, records: _column([r.label for r in records]),
    ),
    Family.TAGGING.value: (lambda made, _: _blocks(made), lambda _, records: _blocks([r.tags for r in records])),
    Family.RETRIEVAL.value: (
        lambda made, records: _line_numbers(
            records, [answer if isinstance(answer, str) else answer[0] for answer in made]
        ),
        lambda _, records: _line_numbers(records, [partner for _, partner in _partners(records, "target")]),
    ),
    "pairs": (lambda made, _: _pairs(made), lambda _, records: _pairs(_partners(records, "source"))),
    Family.QA.value: (
        lambda made, records: json.dumps({r.id: m for r, m in zip(records, made, strict=True)}, ensure_ascii=False),
        lambda _, records: _squad(records),
    ),
}
