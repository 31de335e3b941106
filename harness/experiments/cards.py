"""What the board shows of tasks and of named tables, so that it needs neither their code nor their data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.registry import ABLATIONS, TASKS
from harness.task import TaskSpec


def task_cards(tasks: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What each task is: its metadata without labels, locations and protocols."""
    return {name: _card(TASKS.get(name).spec) for name in tasks}


def _card(spec: TaskSpec) -> dict[str, Any]:
    return {
        "title": spec.title,
        "family": spec.family.name,
        "how": spec.family.how,
        "metric": spec.metric,
        "description": spec.description,
        "licence": spec.licence,
        "citation": spec.citation,
        "deviations": list(spec.deviations),
        "choices": [choice._asdict() for choice in spec.choices],
        "sizes": dict(spec.sizes),
        "trained": spec.trained,
        "calibrated": spec.calibrated,
    }


def ablation_cards(
    method: str, config: Mapping[str, Any], transform: str, published: Mapping[str, Any] | None = None
) -> dict[str, dict[str, str]]:
    """The named tables that have a row of this method, of these changes of its configuration, on this transform.

    `published` are changes that the paper recipe makes in every table.
    """
    broken = ABLATIONS.broken()
    found = {name: ABLATIONS.get(name) for name in ABLATIONS.names() if name not in broken}
    return {
        name: {"title": table.title, "reference": table.reference}
        for name, table in found.items()
        if any(
            (row.method, {**(published or {}), **row.config}, row.transform) == (method, dict(config), transform)
            for row in table.rows
        )
    }
