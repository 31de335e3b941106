"""Ablations: a named list of rows that belong together, each at the learning rate that suits it.

Under `matched`, rows share sample, steps and seeds; what they may not share is a learning rate, since one that suits a
method handicaps another. So every row that trains gets the same number of trials: an alignment with the first seed at
each rate of a declared grid, fine-tuned on the trained tasks of the suite and measured on the pivot's dev sets, never
on test data or on another language. The best rate is used for all seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from harness.data.transforms import ShuffledPairs
from harness.errors import UserError, counted, unknown
from harness.experiments.executors.local import Local
from harness.experiments.plan import RunPlan, plan_run
from harness.experiments.recipe import Recipe
from harness.experiments.runner import Display, execute_stages
from harness.experiments.stage import Stage, read_json
from harness.experiments.stages.finetune import CURVE, Finetune
from harness.experiments.stages.inputs import cached_source
from harness.experiments.trials import pivot_score
from harness.records import Corpus
from harness.registry import ABLATIONS, EVERYTHING, METHODS, TASKS
from harness.storage.artifacts import Artifacts

CONTROL = "continued-mlm"  # costs are told relative to it: the same text and steps
TUNED = ("sample", "pretrain", "align", "finetune")  # the stages of a trial: nothing of it reads a test set


@dataclass(frozen=True)
class Row:
    """One row of the table: a method, changes of its configuration, and a transform of what it trains on."""

    method: str
    config: Mapping[str, Any] = field(default_factory=dict)
    transform: str = ""


@dataclass(frozen=True)
class Ablation:
    """A named table. `reference` is the paper whose table it is, if any."""

    title: str
    rows: tuple[Row, ...]
    reference: str = ""


def named(name: str) -> Ablation:
    """The ablation registered as `name`; `all`, every method that can be loaded; or a method beside its controls.

    Raises UsageError for others.
    """
    if name in ABLATIONS:
        return ABLATIONS.get(name)
    if name in METHODS:
        return controlled(name)
    if name != EVERYTHING:
        known = {*ABLATIONS.names(), EVERYTHING, *METHODS.names()}
        raise unknown("ablation", name, known, remedy="`alignboard ablation` lists them")
    broken = METHODS.broken()
    return Ablation("Every registered method", tuple(Row(method) for method in METHODS.names() if method not in broken))


def controlled(name: str) -> Ablation:
    """A method beside what its gain is measured against: the untrained base, its control and what that is measured
    against in turn, and itself on shuffled pairs where it reads pairs."""
    rows, method = [Row(name)], METHODS.get(name)
    if Corpus.PARALLEL in method.needs and method.trains:
        rows += shuffled(rows)
    while method.control and Row(method.control) not in rows:
        rows.insert(0, Row(method.control))
        method = METHODS.get(method.control)
    return Ablation(f"{name} beside its controls", tuple(rows))


def shuffled(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The same rows on shuffled partners: what is left of their gains is not due to the pairing."""
    return tuple(Row(row.method, row.config, ShuffledPairs.name) for row in rows)


def with_changes(rows: Sequence[Row], config: Mapping[str, Any]) -> list[Row]:
    """The rows with settings of methods changed in every row whose method has them; the rows' own settings win.

    Raises UsageError for a setting that no row's method has.
    """
    fields = [METHODS.get(row.method).Config.model_fields for row in rows]
    known = {name for each in fields for name in each}
    for name in config:
        if name not in known:
            raise unknown("setting of these methods", name, known)
    return [
        replace(row, config={**{name: value for name, value in config.items() if name in own}, **row.config})
        for row, own in zip(rows, fields, strict=True)
    ]


def lacking(recipe: Recipe) -> list[Corpus]:
    """The corpora that the recipe's method needs and its source does not have."""
    return cached_source(recipe.source).manifest([]).lacking(METHODS.get(recipe.method).needs)


class Trial(NamedTuple):
    """A recipe at one learning rate of the grid, and the stages that measure it."""

    recipe: Recipe
    stages: tuple[Stage, ...]

    @property
    def rate(self) -> float:
        return rate_of(self.recipe)


@dataclass(frozen=True)
class Tuned:
    """The outcome of a row's trials: its recipe at the best rate, and the score of every rate (percent, mean of the
    trained tasks on the pivot's dev sets). Without trials `scores` is empty."""

    recipe: Recipe
    scores: Mapping[float, float]


@dataclass(frozen=True)
class Search:
    """A recipe whose learning rate is to be chosen among its trials; without trials it is as it should be."""

    recipe: Recipe
    trials: tuple[Trial, ...] = ()

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages of all trials by fingerprint."""
        return {stage.fingerprint: stage for trial in self.trials for stage in trial.stages}


def rate_of(recipe: Recipe) -> float:
    """The learning rate of alignment, of a recipe that trains."""
    assert recipe.align is not None
    return recipe.align.learning_rate


def at_rate(recipe: Recipe, rate: float) -> Recipe:
    """The recipe, which trains, with another learning rate of alignment."""
    assert recipe.align is not None
    return recipe.model_copy(update={"align": recipe.align.model_copy(update={"learning_rate": rate})})


def search(recipe: Recipe, grid: Sequence[float], seed: int = 0, plugins: Sequence[Path] = ()) -> Search:
    """One trial per rate of the grid. A single rate is taken without one, and a method that does not train has none.

    Raises UserError for data that the recipe asks for and the source lacks.
    """
    if not grid or recipe.align is None:
        return Search(recipe)
    if len(grid) == 1:
        return Search(at_rate(recipe, grid[0]))
    plans = [(tried := at_rate(recipe, rate), plan_run(tried, seed, plugins)) for rate in grid]
    return Search(recipe, tuple(Trial(tried, tuple(filter(_measures, plan.stages))) for tried, plan in plans))


def _measures(stage: Stage) -> bool:
    """Whether a trial needs the stage. A task without a dev set has no say in the choice."""
    return stage.kind in TUNED and (not isinstance(stage, Finetune) or bool(stage.dev))


def tune(searches: Sequence[Search], executor: Local, display: Display) -> list[Tuned]:
    """Each recipe at its best rate. Stages that are there already are found, so an interrupted grid goes on.

    Raises UserError where a trial fails, after all others are done.
    """
    stages = {fingerprint: stage for row in searches for fingerprint, stage in row.stages.items()}
    failures = execute_stages(stages, executor, display).failures
    if failures:
        reasons = "\n".join(sorted({failure.message for failure in failures}))
        raise UserError(
            f"{counted(len(failures), 'stage')} of the grid failed; give the same command to try again\n{reasons}"
        )
    return [_best(row, executor.artifacts) for row in searches]


def _best(row: Search, artifacts: Artifacts) -> Tuned:
    if not row.trials:
        return Tuned(row.recipe, {})
    scores = {trial.rate: dev_score(trial.stages, artifacts) for trial in row.trials}
    best = max(row.trials, key=lambda trial: scores[trial.rate])
    record = {f"{rate:g}": round(score, 2) for rate, score in scores.items()}
    return Tuned(best.recipe.model_copy(update={"tuning": record}), scores)


def dev_score(stages: Iterable[Stage], artifacts: Artifacts) -> float:
    """Percent, mean over the fine-tuned tasks: the best score of each on the pivot's dev set, at its best rate."""
    tasks: dict[str, list[float]] = {}
    for stage in stages:
        if isinstance(stage, Finetune):
            artifact = artifacts.find(stage.fingerprint)
            assert artifact is not None, f"{stage.title}: its artifact is gone"
            metric = TASKS.get(str(stage.task)).spec.metric
            tasks.setdefault(str(stage.task), []).append(pivot_score(read_json(artifact.path / CURVE), metric))
    return fmean(max(scores) for scores in tasks.values())


class Cost(NamedTuple):
    """What the alignments of a row cost: tokens seen per seed, seconds per 1,000 pairs."""

    tokens: float
    seconds: float


def alignment_cost(plans: Sequence[RunPlan], stages: Mapping[str, Mapping[str, Any]]) -> Cost | None:
    """The mean cost over a row's seeds from the stage rows by fingerprint; None where nothing was trained."""
    rows = [
        stages[s.fingerprint] for plan in plans for s in plan.stages if s.kind == "align" and s.fingerprint in stages
    ]
    rows = [row for row in rows if row["examples"] and row["device_seconds"]]
    if not rows:
        return None
    return Cost(
        fmean(float(row["tokens"]) for row in rows),
        fmean(1000 * float(row["device_seconds"]) / float(row["examples"]) for row in rows),
    )
