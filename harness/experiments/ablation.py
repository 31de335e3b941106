"""Ablations: named tables of methods, each row at its best learning rate.

Under `matched`, rows share sample, steps and seeds but not the learning rate: a rate that suits one method can cripple
another. So every row that trains gets the same number of trials: one alignment with the first seed at each rate of a
declared grid, fine-tuned on the trained tasks of the suite and evaluated on the pivot's dev sets, never on test data or
on another language. The best rate is used for all seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from harness.data.source import cached_source
from harness.data.transforms import ShuffledPairs
from harness.errors import UserError, counted, unknown
from harness.experiments.executors.schedule import Executor
from harness.experiments.method_card import method_card
from harness.experiments.plan import plan_run
from harness.experiments.recipe import Recipe
from harness.experiments.runner import Display, execute_stages
from harness.experiments.stage import LostInputError, Stage
from harness.experiments.stages.finetune import CURVE, Finetune
from harness.experiments.trials import pivot_score
from harness.files import read_json
from harness.records import Corpus
from harness.registry import ABLATIONS, EVERYTHING, METHODS, TASKS
from harness.storage.artifacts import Artifacts
from harness.storage.usage import keep_trials

TRIAL_KINDS = ("sample", "pretrain", "align", "finetune")  # the stages of a trial; none reads a test set


@dataclass(frozen=True)
class AblationRow:
    """One row of the table: a method, changes of its configuration, and a transform of what it trains on."""

    method: str
    config: Mapping[str, Any] = field(default_factory=dict)
    transform: str = ""


@dataclass(frozen=True)
class Ablation:
    """A named table. `reference` is the paper whose table it is, if any."""

    title: str
    rows: tuple[AblationRow, ...]
    reference: str = ""


def get_ablation(name: str) -> Ablation:
    """The ablation registered as `name`; for `all`, every method that loads; for a method, itself and its controls.

    Raises UsageError for others.
    """
    if name in ABLATIONS:
        return ABLATIONS.get(name)
    if name in METHODS:
        return with_controls(name)
    if name != EVERYTHING:
        known = {*ABLATIONS.names(), EVERYTHING, *METHODS.names()}
        raise unknown("ablation", name, known, remedy="`alignboard ablation` lists them")
    broken = METHODS.broken(method_card)
    return Ablation(
        "Every registered method", tuple(AblationRow(method) for method in METHODS.names() if method not in broken)
    )


def with_controls(name: str) -> Ablation:
    """A method and its baselines: its control and the control of that in turn, up to the untrained base, and the method
    itself on shuffled pairs where it reads pairs."""
    rows, method = [AblationRow(name)], method_card(name)
    if Corpus.PARALLEL in method.corpora and method.trains:
        rows += on_shuffled_pairs(rows)
    while method.control and AblationRow(method.control) not in rows:
        rows.insert(0, AblationRow(method.control))
        method = method_card(method.control)
    return Ablation(f"{name} and its controls", tuple(rows))


def on_shuffled_pairs(rows: Iterable[AblationRow]) -> tuple[AblationRow, ...]:
    """The same rows on shuffled partners: the gain that remains is not due to the pairing."""
    return tuple(AblationRow(row.method, row.config, ShuffledPairs.name) for row in rows)


def with_changes(rows: Sequence[AblationRow], config: Mapping[str, Any]) -> list[AblationRow]:
    """The rows with settings of methods changed in every row whose method has them; the rows' own settings win.

    Raises UsageError for a setting that no row's method has.
    """
    fields = [[setting.field for setting in method_card(row.method).settings] for row in rows]
    known = {name for each in fields for name in each}
    for name in config:
        if name not in known:
            raise unknown("setting of these methods", name, known)
    return [
        replace(row, config={**{name: value for name, value in config.items() if name in own}, **row.config})
        for row, own in zip(rows, fields, strict=True)
    ]


def missing_corpora(recipe: Recipe) -> list[Corpus]:
    """The corpora that the recipe's method needs and its source does not have."""
    return cached_source(recipe.source).manifest([]).lacking(method_card(recipe.method).corpora)


class RateTrial(NamedTuple):
    """A recipe at one learning rate of the grid, and the stages that measure it."""

    recipe: Recipe
    stages: tuple[Stage, ...]

    @property
    def rate(self) -> float:
        return rate_of(self.recipe)


@dataclass(frozen=True)
class TunedRecipe:
    """The outcome of a row's trials: its recipe at the best rate, and the score of every rate (percent, mean of the
    trained tasks on the pivot's dev sets). Without trials `scores` is empty."""

    recipe: Recipe
    scores: Mapping[float, float]


@dataclass(frozen=True)
class RateSearch:
    """A recipe and the trials among which its learning rate is chosen; without trials the rate is fixed."""

    recipe: Recipe
    trials: tuple[RateTrial, ...] = ()

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages of all trials by fingerprint."""
        return {stage.fingerprint: stage for trial in self.trials for stage in trial.stages}


def rate_of(recipe: Recipe) -> float:
    """The learning rate of alignment, of a recipe that trains."""
    assert recipe.align is not None
    return recipe.align.learning_rate


def with_rate(recipe: Recipe, rate: float) -> Recipe:
    """The recipe, which trains, with another learning rate of alignment."""
    return recipe.with_align(learning_rate=rate)


def plan_search(recipe: Recipe, grid: Sequence[float], seed: int = 0, plugins: Sequence[Path] = ()) -> RateSearch:
    """One trial per rate of the grid; none for a single rate or for a method that does not train.

    Raises UserError for data that the recipe asks for and the source lacks, and for a suite without a fine-tuned task
    that has a dev set.
    """
    if not grid or recipe.align is None:
        return RateSearch(recipe)
    if len(grid) == 1:
        return RateSearch(with_rate(recipe, grid[0]))
    plans = [(tried := with_rate(recipe, rate), plan_run(tried, seed, plugins)) for rate in grid]
    trials = tuple(RateTrial(tried, tuple(filter(_in_trial, plan.stages))) for tried, plan in plans)
    if not any(isinstance(stage, Finetune) for stage in trials[0].stages):
        raise UserError(
            "no learning rate can be chosen: no task of the suite is fine-tuned and has a dev set",
            found=f"the suite {recipe.suite}",
            remedy="give a single rate, such as --grid 3e-4, or another suite",
        )
    return RateSearch(recipe, trials)


def _in_trial(stage: Stage) -> bool:
    """Whether a trial needs the stage. A task without a dev set does not affect the choice."""
    return stage.kind in TRIAL_KINDS and (not isinstance(stage, Finetune) or bool(stage.dev))


def tune(searches: Sequence[RateSearch], executor: Executor, display: Display) -> list[TunedRecipe]:
    """Runs the trials and returns each recipe at its best rate. Finished stages are reused.

    Raises UserError where a trial fails, after all others have ended.
    """
    run_trials({fingerprint: stage for row in searches for fingerprint, stage in row.stages.items()}, executor, display)
    return [_best_rate(row, executor.artifacts) for row in searches]


def run_trials(stages: Mapping[str, Stage], executor: Executor, display: Display) -> None:
    """Runs stages that no run may ever use, and has them kept. Raises UserError where one fails, after all others."""
    keep_trials(executor.artifacts, stages)
    failures = execute_stages(stages, executor, display).failures
    if failures:
        reasons = "\n".join(sorted({failure.message for failure in failures}))
        raise UserError(
            f"{counted(len(failures), 'stage')} of the trials failed; give the same command to try again\n{reasons}"
        )


def _best_rate(row: RateSearch, artifacts: Artifacts) -> TunedRecipe:
    if not row.trials:
        return TunedRecipe(row.recipe, {})
    scores = {trial.rate: mean_dev_score(trial.stages, artifacts) for trial in row.trials}
    best = max(row.trials, key=lambda trial: scores[trial.rate])
    record = {f"{rate:g}": round(score, 2) for rate, score in scores.items()}
    return TunedRecipe(best.recipe.model_copy(update={"tuning": record}), scores)


def mean_dev_score(stages: Iterable[Stage], artifacts: Artifacts) -> float:
    """Percent, mean over the fine-tuned tasks: the best score of each on the pivot's dev set, at its best rate."""
    tasks: dict[str, list[float]] = {}
    for stage in stages:
        if isinstance(stage, Finetune):
            artifact = artifacts.find(stage.fingerprint, files=[CURVE])
            if artifact is None:
                raise LostInputError(stage.fingerprint, stage.title)
            metric = TASKS.get(str(stage.task)).spec.metric
            tasks.setdefault(str(stage.task), []).append(pivot_score(read_json(artifact.path / CURVE), metric))
    return fmean(max(scores) for scores in tasks.values())
