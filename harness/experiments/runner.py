"""Runs plans: each stage once, its rows after its artifact, the runs' rows kept up to date whatever happens."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import provenance
from harness.evaluation.item_statistics import SCORES
from harness.experiments.cards import ablation_cards, task_cards
from harness.experiments.executors.local import Failed, Listener, Local
from harness.experiments.guard import OVERLAP
from harness.experiments.plan import RunPlan, Stage, opened
from harness.experiments.recipe import method_config
from harness.experiments.stages import CURVE, Done
from harness.experiments.trials import CHOICE, Trial
from harness.files import json_digest
from harness.registry import METHODS
from harness.storage.artifacts import Artifacts, artifact_folder
from harness.storage.store import RunRow, ScoreRow, StageRow, Store
from harness.task import ENGLISH

CURVE_ROWS = "curve"  # the selection of dev scores; with a learning rate behind it where several are tried


class Display(Listener, Protocol):
    """What a person sees of a run."""

    def ended(self, stage: Stage, done: Done) -> None: ...
    def failed(self, stage: Stage, failure: Failed) -> None: ...


@dataclass
class Report:
    """How it ended: stages found and made, and the failures."""

    hits: int = 0
    made: int = 0
    failures: list[Failed] = field(default_factory=list)
    finished: int = 0


class Runner:
    """Runs plans with one executor into one store."""

    def __init__(self, store: Store, artifacts: Artifacts, executor: Local, display: Display) -> None:
        self.store, self.artifacts, self.executor, self.display = store, artifacts, executor, display

    def run(self, plans: Sequence[RunPlan]) -> Report:
        """Does all stages of all plans, shared ones once. Interrupted runs are marked so and can be resumed."""
        stages = _unique(plans)
        users = _users(plans)
        left = {plan.id: {stage.fingerprint for stage in plan.stages} for plan in plans}
        by_id = {plan.id: plan for plan in plans}
        report = Report()
        for plan in plans:
            self.store.add_run(_run_row(plan))
        with self._interruptible(left):
            for end in self.executor.run(list(stages.values()), self.display):
                stage = stages[end.fingerprint]
                if isinstance(end, Failed):
                    self._fail(stage, end, users, left, report)
                    continue
                report.hits, report.made = report.hits + end.hit, report.made + (not end.hit)
                self.store.put_stage(stage_row(stage, end))
                self.display.ended(stage, end)
                for run in users[end.fingerprint]:
                    self.store.link_stage(run, end.fingerprint, end.hit)
                    self._rows(by_id[run], stage)
                    if run in left:
                        left[run].discard(end.fingerprint)
                        self._finish(by_id[run], left, report)
        return report

    @contextmanager
    def _interruptible(self, left: dict[str, set[str]]) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            for run in left:
                self.store.set_status(run, *(("interrupted", None) if stopped else ("failed", str(error))))
            raise

    def _fail(
        self, stage: Stage, failure: Failed, users: dict[str, list[str]], left: dict[str, set[str]], report: Report
    ) -> None:
        report.failures.append(failure)
        self.display.failed(stage, failure)
        for run in users[stage.fingerprint]:
            if left.pop(run, None) is not None:
                self.store.set_status(run, "failed", failure.message)

    def _rows(self, plan: RunPlan, stage: Stage) -> None:
        """The score rows that a stage's artifact holds for a run: test scores, and the dev curve of a fine-tuning."""
        if stage.kind == "score":
            scores = _scores(plan, stage, self._read(stage, SCORES), self._kept(plan, stage))
            self.store.put_scores(plan.id, list(scores))
            self.store.refresh_summary(plan.id, plan.expected, plan.metric)
        elif stage.kind == "overlap":
            self.store.set_alignment(plan.id, self._read(stage, OVERLAP))
        elif stage.kind == "finetune":
            tried = len(_tried(plan, stage.task)) > 1
            name = f"{CURVE_ROWS} {stage.params['settings']['learning_rate']:g}" if tried else CURVE_ROWS
            self.store.put_scores(plan.id, list(_curve(plan, stage, self._read(stage, CURVE), name)))
        elif stage.kind == "predict" and len(_tried(plan, stage.task)) > 1:
            chosen = self._model(plan, stage.task)
            assert chosen is not None
            self.store.put_scores(plan.id, list(_curve(plan, chosen, self._read(chosen, CURVE), CURVE_ROWS)))

    def _kept(self, plan: RunPlan, stage: Stage) -> dict[str, int]:
        """The steps that the selections of this task kept; {} for a task without training."""
        model = self._model(plan, stage.task)
        return {} if model is None else self._read(model, CURVE)["kept"]

    def _model(self, plan: RunPlan, task: str | None) -> Stage | None:
        """The fine-tuning that a task's predictions are from, once they are there."""
        tried = _tried(plan, task)
        if len(tried) < 2:
            return next(iter(tried.values()), None)
        predict = next(s for s in plan.stages if s.kind == "predict" and s.task == task)
        return tried[Trial(*self._read(predict, CHOICE)[0]).fingerprint]

    def _finish(self, plan: RunPlan, left: dict[str, set[str]], report: Report) -> None:
        """Closes a run that has no stage left to do."""
        if left[plan.id]:
            return
        self.store.set_status(plan.id, "done")
        del left[plan.id]
        report.finished += 1

    def _read(self, stage: Stage, name: str) -> Any:
        artifact = self.artifacts.find(stage.fingerprint)
        assert artifact is not None, f"{stage.title}: its artifact is gone"
        return json.loads((Path(artifact.path) / name).read_text(encoding="utf-8"))


def _unique(plans: Iterable[RunPlan]) -> dict[str, Stage]:
    return {stage.fingerprint: stage for plan in plans for stage in plan.stages}


def _tried(plan: RunPlan, task: str | None) -> dict[str, Stage]:
    """The fine-tunings of a task by fingerprint, one for each learning rate."""
    return {s.fingerprint: s for s in plan.stages if s.kind == "finetune" and s.task == task}


def _users(plans: Iterable[RunPlan]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for plan in plans:
        for stage in plan.stages:
            users.setdefault(stage.fingerprint, []).append(plan.id)
    return users


def _scores(plan: RunPlan, stage: Stage, scores: list[dict[str, Any]], kept: dict[str, int]) -> Iterator[ScoreRow]:
    assert stage.task is not None
    for score in scores:
        selection, view = score["selection"], score["view"]
        step = kept.get(ENGLISH if selection in (ENGLISH, "") else view, 0)
        yield ScoreRow(
            stage=stage.fingerprint,
            task=stage.task,
            view=view,
            language=view.partition(".")[0],
            split="test",
            protocol=plan.recipe.protocol,
            selection=selection,
            step=step,
            metric=score["metric"],
            value=score["value"],
            n=score["n"],
        )


def _curve(plan: RunPlan, stage: Stage, fit: dict[str, Any], selection: str) -> Iterator[ScoreRow]:
    assert stage.task is not None
    for point in fit["curve"]:
        for metric, value in point["metrics"].items():
            yield ScoreRow(
                stage=stage.fingerprint,
                task=stage.task,
                view=point["view"],
                language=point["view"].partition(".")[0],
                split="dev",
                protocol=plan.recipe.protocol,
                selection=selection,
                step=point["step"],
                metric=metric,
                value=value,
                n=fit["sizes"][point["view"]],
            )


def _run_row(plan: RunPlan) -> RunRow:
    recipe, version = plan.recipe, provenance.code_version()
    return RunRow(
        id=plan.id,
        method=recipe.method,
        suite=recipe.suite,
        protocol=recipe.protocol,
        source=opened(recipe.source).name,
        config=method_config(recipe).model_dump(mode="json"),
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
            **card(recipe.method),
            "settings": _settings(plan),
            "tasks": task_cards(plan.expected),
            "stages": [[stage.fingerprint, stage.kind, stage.task] for stage in plan.stages],
            "ablations": ablation_cards(recipe.method, recipe.config, recipe.transform),
        },
    )


def _settings(plan: RunPlan) -> dict[str, Any]:
    """The settings that each task runs with: the protocol's, for this kind of base, with the recipe's changes."""
    return {str(stage.task): stage.params["settings"] for stage in plan.stages if stage.kind == "score"}


def base_name(base: str) -> str:
    """A base as the board shows it: a folder by its own name, no path."""
    return Path(base).expanduser().resolve().name if Path(base).expanduser().is_dir() else base


def card(method: str) -> dict[str, Any]:
    """What the board tells of a method, so that it needs no plug-in code."""
    cls = METHODS.get(method)
    return {
        "docstring": (cls.__doc__ or "").strip(),
        "reference": cls.reference,
        "objective": cls.objective,
        "formula": inspect.cleandoc(cls.formula),
        "symbols": cls.symbols,
        "control": cls.control,
        "needs": sorted(cls.needs),
    }


def stage_row(stage: Stage, done: Done) -> StageRow:
    """A stage that ended well as the store keeps it."""
    cost = dict(done.cost)
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
