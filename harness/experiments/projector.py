"""Adds the `project` stage to runs that are in the store: after the fact, on the encoders that they made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harness.errors import UserError
from harness.experiments.executors.local import Failed, Local
from harness.experiments.plan import RunPlan, Stage, project_stage
from harness.experiments.runner import Display, Report, stage_row
from harness.files import INTRINSIC, PROJECTION
from harness.storage.artifacts import Artifacts
from harness.storage.store import ScoreRow, Store


@dataclass(frozen=True)
class Projector:
    """Adds the stage to the runs of `plans`, by id, that are in the store."""

    store: Store
    artifacts: Artifacts
    plans: Mapping[str, RunPlan]

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stage of every run; runs that share their encoder share it. Raises UserError for an encoder that is
        gone."""
        return {run: self._of(run, plan) for run, plan in self.plans.items()}

    def run(self, executor: Local, display: Display) -> Report:
        """Does what is not there yet, and gives every run its rows. Failures are in the report."""
        stages, plans = self.stages, self.plans
        distinct = {stage.fingerprint: stage for stage in stages.values()}
        report = Report()
        for end in executor.run(list(distinct.values()), display):
            stage = distinct[end.fingerprint]
            if isinstance(end, Failed):
                report.failures.append(end)
                display.failed(stage, end)
                continue
            report.hits, report.made = report.hits + end.hit, report.made + (not end.hit)
            self.store.put_stage(stage_row(stage, end))
            display.ended(stage, end)
            for run in (run for run, one in stages.items() if one.fingerprint == end.fingerprint):
                self.store.link_stage(run, end.fingerprint, end.hit)
                self.store.put_scores(run, list(_rows(stage, plans[run], self._measures(stage))))
                report.finished += 1
        return report

    def _measures(self, stage: Stage) -> list[dict[str, Any]]:
        artifact = self.artifacts.find(stage.fingerprint)
        assert artifact is not None, f"{stage.title}: its artifact is gone"
        found: list[dict[str, Any]] = json.loads((artifact.path / PROJECTION).read_text(encoding="utf-8"))["measures"]
        return found

    def _of(self, run: str, plan: RunPlan) -> Stage:
        """The stage on the encoder that the run made, whatever today's code would make."""
        stage = project_stage(plan)
        made = self.store.stages(run)
        aligned = made.loc[made["kind"].isin(["align", "pretrain"])].sort_values("kind")["fingerprint"].tolist()
        if not aligned:
            return stage
        if self.artifacts.find(aligned[0]) is None:
            raise UserError(
                f"the encoder of run {run} is not there",
                found=f"no artifact {aligned[0][:12]}",
                remedy="give the command of the run again: what is missing is made anew",
            )
        return replace(stage, inputs={"encoder": aligned[0]})


def _rows(stage: Stage, plan: RunPlan, measures: Iterable[Mapping[str, Any]]) -> Iterator[ScoreRow]:
    for found in measures:
        yield ScoreRow(
            stage=stage.fingerprint,
            task=str(stage.task),
            view=found["language"],
            language=found["language"],
            split=INTRINSIC,
            protocol=plan.recipe.protocol,
            metric=found["measure"],
            value=found["value"],
            n=found["n"],
        )


def finished(store: Store, named: Sequence[str]) -> list[Mapping[str, Any]]:
    """The finished runs of our own that are meant by ids, beginnings of ids or methods; all where none is named.

    Raises UserError where a name means none.
    """
    rows: list[Any] = store.runs(kind="trained", status="done").to_dict("records")
    for name in named:
        if not any(_meant(row, name) for row in rows):
            listed = ", ".join(f"{row['id'][:8]} ({row['method']})" for row in rows)
            raise UserError("no finished run is meant by this", found=name, expected=listed or "a run in the store")
    return [row for row in rows if not named or any(_meant(row, name) for name in named)]


def _meant(row: Mapping[str, Any], name: str) -> bool:
    return bool(row["id"].startswith(name) or row["method"] == name)
