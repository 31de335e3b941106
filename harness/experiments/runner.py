"""Runs plans: each stage once, its rows after its artifact, and the status of the runs kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Event, Thread
from typing import Any, NamedTuple, Protocol

from harness import provenance
from harness.barriers import reach
from harness.data.source import cached_source
from harness.errors import UserError
from harness.experiments.bases import base_name
from harness.experiments.cards import ablation_cards, task_cards
from harness.experiments.executors.schedule import TRIES, Executor
from harness.experiments.executors.workers import Listener
from harness.experiments.method_card import method_card
from harness.experiments.plan import RunPlan
from harness.experiments.recipe import full_config
from harness.experiments.stage import LostInputError, Stage, StageFailure, StageResult
from harness.experiments.stored import describe_changes, run_name
from harness.files import json_digest
from harness.results.versions import shorten_fingerprints
from harness.stopping import stop_on_signals
from harness.storage.artifacts import Artifacts, artifact_folder
from harness.storage.store import RunRow, StageRow, Store
from harness.storage.store.leases import BEAT_SECONDS, LostRunError
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
    executor: Executor,
    display: Display,
    on_result: Callable[[Stage, StageResult], None] | None = None,
    on_failure: Callable[[Stage, StageFailure], None] | None = None,
) -> RunReport:
    """Runs stages, given by fingerprint, and reports each to the display, what was computed after its callback.

    Starts again where a callback finds an artifact damaged. A signal stops the work as `harness.stopping` says.
    """
    failures: dict[str, StageFailure] = {}
    reused: dict[str, bool] = {}
    for tries in range(TRIES):
        lost: LostInputError | None = None
        with stop_on_signals(), closing(executor.run(list(stages.values()), display)) as ends:  # ends its workers, too
            for end in ends:
                stage = stages[end.fingerprint]
                if isinstance(end, StageFailure):
                    failures[end.fingerprint] = end
                    display.failed(stage, end)  # first, since the callback fails too where the disk is broken
                    if on_failure is not None:
                        on_failure(stage, end)
                    continue
                reused[end.fingerprint] = reused.get(end.fingerprint, True) and end.reused
                try:
                    if on_result is not None:
                        on_result(stage, end)
                except LostInputError as error:
                    if tries + 1 == TRIES:
                        raise
                    lost = error
                else:
                    display.ended(stage, end)
        if lost is None:
            break
    count = sum(reused.values())
    return RunReport(count, len(reused) - count, list(failures.values()))


class Runner:
    """Runs plans with one executor into one store."""

    def __init__(self, store: Store, artifacts: Artifacts, executor: Executor, display: Display) -> None:
        self.store, self.artifacts, self.executor, self.display = store, artifacts, executor, display

    def run(self, plans: Sequence[RunPlan]) -> RunReport:
        """Runs all stages of all plans, shared ones once. Interrupted runs are marked so and can be resumed."""
        stages = {stage.fingerprint: stage for plan in plans for stage in plan.stages}
        left: dict[str, set[str]] = {}
        users: dict[str, list[tuple[RunPlan, Stage]]] = {}
        register_store(self.artifacts, self.store)
        finished = 0
        origin = Provenance(provenance.code_version(), provenance.package_versions())

        def on_result(stage: Stage, result: StageResult) -> None:
            self.store.retry(lambda: record(stage, result))

        def record(stage: Stage, result: StageResult) -> None:
            nonlocal finished
            self.store.put_stage(stage_row(stage, result))
            reach("stage recorded")
            for plan, own in users[result.fingerprint]:
                try:
                    self._put_rows(plan, own, result)
                    waiting = left.get(plan.id, {""})
                    waiting.discard(result.fingerprint)
                    if not waiting:
                        names = [stage.fingerprint for stage in plan.stages]
                        self.store.keep_stages(plan.id, names, version=plan.version)
                        reach("run complete")
                        self.store.set_status(plan.id, "done", version=plan.version)
                        del left[plan.id]
                        finished += 1
                except LostRunError as error:
                    if left.pop(plan.id, None) is not None:
                        self.display.note(str(error))

        def on_failure(stage: Stage, failure: StageFailure) -> None:
            for plan, _ in users[failure.fingerprint]:
                if left.pop(plan.id, None) is not None:
                    self.store.retry(partial(self.store.give_up, plan.id, "failed", failure.message))

        with self._status_on_exit(left), self._heartbeat():
            for plan in plans:
                self.store.retry(partial(self._add_run, _run_row(plan, origin), plan))
                left[plan.id] = {stage.fingerprint for stage in plan.stages}
                for stage in plan.stages:
                    users.setdefault(stage.fingerprint, []).append((plan, stage))
            report = execute_stages(stages, self.executor, self.display, on_result, on_failure)
        report.finished = finished
        return report

    def _add_run(self, row: RunRow, plan: RunPlan) -> None:
        """Adds the row of a run, and closes the runs that it supersedes."""
        for former in self.store.unfinished_versions(row):
            changes = describe_changes(former, plan)
            self.store.set_status(former["id"], SUPERSEDED, changes)
            self.display.note(f"{run_name(former)}, which was {former['status']}, is superseded: {changes}")
        self.store.add_run(row)

    @contextmanager
    def _status_on_exit(self, left: Mapping[str, set[str]]) -> Iterator[None]:
        """Marks the runs that are left as interrupted or failed, where an exception ends the work; as far as the store
        can be written, since it may be the reason."""
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            status, reason = ("interrupted", None) if stopped else ("failed", str(error))

            def give_up() -> None:
                for run in left:
                    self.store.give_up(run, status, reason)

            with suppress(UserError):
                self.store.retry(give_up)
            raise

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        """Has a thread say that this process lives, for the runs that it has."""
        done = Event()

        def beat() -> None:
            while not done.wait(BEAT_SECONDS):
                with suppress(UserError):  # whoever writes results waits for the server
                    self.store.beat()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _put_rows(self, plan: RunPlan, stage: Stage, result: StageResult) -> None:
        self.store.link_stage(plan.id, result.fingerprint, result.reused, version=plan.version)
        reach("stage linked")
        artifact = self.artifacts.find(stage.fingerprint, files=stage.row_files)
        if artifact is None:
            raise LostInputError(stage.fingerprint, stage.title)
        rows = stage.rows(artifact.path, plan.recipe.protocol)
        if rows.alignment is not None:
            self.store.add_alignment(plan.id, dict(rows.alignment), version=plan.version)
        if rows.scores:
            self.store.put_scores(plan.id, list(rows.scores), version=plan.version)
            reach("scores recorded")
        if any(row.split == "test" for row in rows.scores):
            self.store.refresh_summary(plan.id, plan.expected, plan.metric, version=plan.version)
            reach("averages recorded")


class Provenance(NamedTuple):
    """What all runs of a command share."""

    code: provenance.CodeVersion
    packages: dict[str, str]


def _run_row(plan: RunPlan, origin: Provenance) -> RunRow:
    recipe = plan.recipe
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
        version=plan.version,
        code_version=origin.code.commit,
        dirty=origin.code.dirty,
        packages=origin.packages,
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
