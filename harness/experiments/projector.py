"""Adds the `project` stage to runs that are in the store, on the encoders that they trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from harness.errors import UserError
from harness.experiments.executors.schedule import Executor
from harness.experiments.plan import RunPlan, project_stage
from harness.experiments.runner import Display, RunReport, execute_stages, stage_row
from harness.experiments.stage import LostInputError, Stage, StageResult
from harness.experiments.stages.project import Project
from harness.experiments.stored import check_base
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from harness.storage.usage import register_store


@dataclass(frozen=True)
class Projector:
    """Adds the stage to the runs of `plans`, by id, that are in the store."""

    store: Store
    artifacts: Artifacts
    plans: Mapping[str, RunPlan]

    @cached_property
    def stages(self) -> dict[str, Project]:
        """The stage of every run; runs that share their encoder share it. Raises UserError for an encoder that is
        gone, and for a base that has changed."""
        return {run: self._stage_of(run, plan) for run, plan in self.plans.items()}

    def run(self, executor: Executor, display: Display) -> RunReport:
        """Computes what is not there yet, and gives every run its rows. Failures are in the report."""
        register_store(self.artifacts, self.store)
        distinct: dict[str, Stage] = {stage.fingerprint: stage for stage in self.stages.values()}
        finished: set[str] = set()

        def on_result(stage: Stage, result: StageResult) -> None:
            self.store.retry(lambda: record(stage, result))

        def record(stage: Stage, result: StageResult) -> None:
            artifact = self.artifacts.find(stage.fingerprint, files=stage.row_files)
            if artifact is None:
                raise LostInputError(stage.fingerprint, stage.title)
            self.store.put_stage(stage_row(stage, result))
            for run in (run for run, one in self.stages.items() if one.fingerprint == stage.fingerprint):
                self.store.link_stage(run, stage.fingerprint, result.reused)
                self.store.put_scores(run, list(stage.rows(artifact.path, self.plans[run].recipe.protocol).scores))
                finished.add(run)

        report = execute_stages(distinct, executor, display, on_result)
        report.finished = len(finished)
        return report

    def _stage_of(self, run: str, plan: RunPlan) -> Project:
        """The stage on the encoder that the run trained, even where today's code would train another."""
        stage = project_stage(plan)
        made = self.store.stages(run)
        aligned = made.loc[made["kind"].isin(["align", "pretrain"])].sort_values("kind")["fingerprint"].tolist()
        if not aligned:
            rows = self.store.runs(id=run)
            check_base(rows[0], plan)
            return stage
        if self.artifacts.find(aligned[0], files=[]) is None:
            raise UserError(
                f"the encoder of run {run} is missing",
                found=f"no artifact {aligned[0][:12]}",
                remedy="give the command of the run again: missing stages are computed again",
            )
        return replace(stage, inputs={"encoder": aligned[0]})
