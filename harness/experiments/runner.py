"""Runs plans: each stage once, its rows after its artifact, and the status of the runs kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from harness import provenance
from harness.data.source import cached_source
from harness.experiments.bases import base_name
from harness.experiments.cards import ablation_cards, task_cards
from harness.experiments.executors.local import Listener, Local, StageFailure
from harness.experiments.method_card import method_card
from harness.experiments.plan import RunPlan
from harness.experiments.recipe import full_config
from harness.experiments.stage import Stage, StageResult
from harness.experiments.stored import describe_changes, run_name
from harness.files import json_digest
from harness.results.versions import shorten_fingerprints
from harness.storage.artifacts import Artifacts, artifact_folder
from harness.storage.store import RunRow, StageRow, Store
from harness.storage.store.schema import SUPERSEDED
from harness.storage.usage import register_store


class Display(Listener, Protocol):
    """What a person sees of a run."""

    def note(self, text: str) -> None: ...
    def ended(self, stage: Stage, result: StageResult) -> None: ...
    def failed(self, stage: Stage, failure: StageFailure) -> None: ...


@dataclass
class RunReport:
    """How it ended: stages reused and computed, failures, and how many runs are complete."""

    reused: int = 0
    computed: int = 0
    failures: list[StageFailure] = field(default_factory=list)
    finished: int = 0


def execute_stages(
    stages: Mapping[str, Stage],
    executor: Local,
    display: Display,
    on_result: Callable[[Stage, StageResult], None] | None = None,
    on_failure: Callable[[Stage, StageFailure], None] | None = None,
) -> RunReport:
    """Runs stages, given by fingerprint, and reports each to the display after its callback."""
    report = RunReport()
    with closing(executor.run(list(stages.values()), display)) as ends:  # ends its workers whatever a callback raises
        for end in ends:
            stage = stages[end.fingerprint]
            if isinstance(end, StageFailure):
                report.failures.append(end)
                if on_failure is not None:
                    on_failure(stage, end)
                display.failed(stage, end)
            else:
                report.reused, report.computed = report.reused + end.reused, report.computed + (not end.reused)
                if on_result is not None:
                    on_result(stage, end)
                display.ended(stage, end)
    return report


class Runner:
    """Runs plans with one executor into one store."""

    def __init__(self, store: Store, artifacts: Artifacts, executor: Local, display: Display) -> None:
        self.store, self.artifacts, self.executor, self.display = store, artifacts, executor, display

    def run(self, plans: Sequence[RunPlan]) -> RunReport:
        """Runs all stages of all plans, shared ones once. Interrupted runs are marked so and can be resumed."""
        stages = {stage.fingerprint: stage for plan in plans for stage in plan.stages}
        left: dict[str, set[str]] = {}
        users: dict[str, list[tuple[RunPlan, Stage]]] = {}
        register_store(self.artifacts, self.store)
        finished = 0

        def on_result(stage: Stage, result: StageResult) -> None:
            nonlocal finished
            self.store.put_stage(stage_row(stage, result))
            for plan, own in users[result.fingerprint]:
                self.store.link_stage(plan.id, result.fingerprint, result.reused)
                self._put_rows(plan, own)
                waiting = left.get(plan.id)
                if waiting is not None:
                    waiting.discard(result.fingerprint)
                    if not waiting:
                        self.store.keep_stages(plan.id, [stage.fingerprint for stage in plan.stages])
                        self.store.set_status(plan.id, "done")
                        del left[plan.id]
                        finished += 1

        def on_failure(stage: Stage, failure: StageFailure) -> None:
            for plan, _ in users[failure.fingerprint]:
                if left.pop(plan.id, None) is not None:
                    self.store.set_status(plan.id, "failed", failure.message)

        with self._status_on_exit(left):
            for plan in plans:
                self._add_run(plan)
                left[plan.id] = {stage.fingerprint for stage in plan.stages}
                for stage in plan.stages:
                    users.setdefault(stage.fingerprint, []).append((plan, stage))
            report = execute_stages(stages, self.executor, self.display, on_result, on_failure)
        report.finished = finished
        return report

    def _add_run(self, plan: RunPlan) -> None:
        """Adds the row of a run, and closes the runs that it supersedes."""
        row = _run_row(plan)
        for former in self.store.unfinished_versions(row):
            changes = describe_changes(former, plan)
            self.store.set_status(former["id"], SUPERSEDED, changes)
            self.display.note(f"{run_name(former)}, which was {former['status']}, is superseded: {changes}")
        self.store.add_run(row)

    @contextmanager
    def _status_on_exit(self, left: Mapping[str, set[str]]) -> Iterator[None]:
        """Marks the runs that are left as interrupted or failed, where an exception ends the work."""
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            for run in left:
                self.store.set_status(run, *(("interrupted", None) if stopped else ("failed", str(error))))
            raise

    def _put_rows(self, plan: RunPlan, stage: Stage) -> None:
        artifact = self.artifacts.find(stage.fingerprint)
        assert artifact is not None, f"{stage.title}: its artifact is gone"
        rows = stage.rows(artifact.path, plan.recipe.protocol)
        if rows.alignment is not None:
            self.store.add_alignment(plan.id, dict(rows.alignment))
        if rows.scores:
            self.store.put_scores(plan.id, list(rows.scores))
        if any(row.split == "test" for row in rows.scores):
            self.store.refresh_summary(plan.id, plan.expected, plan.metric)


def _run_row(plan: RunPlan) -> RunRow:
    recipe, version = plan.recipe, provenance.code_version()
    return RunRow(
        id=plan.id,
        method=recipe.method,
        suite=recipe.suite,
        protocol=recipe.protocol,
        source=cached_source(recipe.source).name,
        config=full_config(recipe),
        base=base_name(recipe.base),
        base_fingerprint=plan.base_fingerprint,
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=recipe.hash,
        recipe_kind=recipe.kind,
        data_fingerprint=plan.data_fingerprint,
        languages=plan.languages,
        languages_hash=json_digest(sorted(plan.expected.items())),
        align_seed=plan.align_seed,
        finetune_seed=plan.finetune_seed,
        transform=recipe.transform,
        status="running",
        code_version=version.commit,
        dirty=version.dirty,
        packages=provenance.package_versions(),
        host=provenance.host(),
        card={
            **board_card(recipe.method),
            "settings": {str(s.task): s.parameters["settings"] for s in plan.stages if s.kind == "score"},
            "tasks": task_cards(plan.expected),
            "data": shorten_fingerprints(plan.data),
            "stages": [[stage.fingerprint, stage.kind, stage.task] for stage in plan.stages],
            "ablations": ablation_cards(
                recipe.method,
                recipe.config,
                recipe.transform,
                method_card(recipe.method).paper_config if recipe.kind == "paper" else None,
            ),
        },
    )


def board_card(method: str) -> dict[str, Any]:
    """What the board shows of a method, so that it needs no plug-in code."""
    shown = {"docstring", "reference", "objective", "formula", "symbols", "control", "needs"}
    return method_card(method).model_dump(include=shown)


def stage_row(stage: Stage, result: StageResult) -> StageRow:
    """A finished stage as the store keeps it."""
    cost = dict(result.cost)
    times: dict[str, Any] = {name: datetime.fromtimestamp(cost.pop(name), UTC) for name in ("started", "finished")}
    return StageRow(
        fingerprint=stage.fingerprint,
        kind=stage.kind,
        task=stage.task,
        status="done",
        artifact=artifact_folder(stage.fingerprint),
        **times,
        **cost,
    )
