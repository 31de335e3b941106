"""What alignments cost, and budgets in device seconds.

Under `matched` all rows take the same number of steps, but a step of one method may cost four times that of another:
some read both sides joined, train a generator or translate. With a budget in device seconds, every row takes as many
steps as fit into the seconds that the control, continued masked LM on the same text, needs for all of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from harness.errors import UsageError
from harness.experiments.plan import RunPlan, plan_run
from harness.experiments.recipe import Recipe
from harness.experiments.stage import LostInputError, Stage
from harness.files import json_digest
from harness.storage.artifacts import Artifacts

MEASURED = ("sample", "pretrain", "align")  # the stages that an alignment needs, and itself
CONTROL = "continued-mlm"  # costs are relative to it: the same text and steps


class AlignmentCost(NamedTuple):
    """What the alignments of a row cost: tokens seen and device seconds per seed, and seconds per 1,000 pairs."""

    tokens: float
    seconds: float
    per_thousand: float


def alignment_cost(plans: Sequence[RunPlan], stages: Mapping[str, Mapping[str, Any]]) -> AlignmentCost | None:
    """The mean cost over a row's seeds from the stage rows by fingerprint; None where nothing was trained."""
    names = [stage.fingerprint for plan in plans for stage in plan.stages if stage.kind == "align"]
    rows = [stages[name] for name in names if name in stages]
    rows = [row for row in rows if row["examples"] and row["device_seconds"]]
    if not rows:
        return None
    return AlignmentCost(
        fmean(float(row["tokens"]) for row in rows),
        fmean(float(row["device_seconds"]) for row in rows),
        fmean(1000 * float(row["device_seconds"]) / float(row["examples"]) for row in rows),
    )


def is_control(recipe: Recipe) -> bool:
    """Whether other rows' costs are relative to this one."""
    return (recipe.method, recipe.transform) == (CONTROL, "")


def check_control(recipes: Sequence[Recipe]) -> None:
    """Raises UsageError where a budget in device seconds has no measure."""
    if not any(map(is_control, recipes)):
        raise UsageError(
            "a budget in device seconds is that of continued masked LM, which is no row here",
            expected=f"a row {CONTROL}",
            remedy="choose an ablation that has one, such as `alignboard ablation METHOD`",
        )


def plan_alignments(recipes: Sequence[Recipe], plugins: Sequence[Path] = ()) -> list[dict[str, Stage]]:
    """The stages by fingerprint of each recipe's alignment with the first seed; none where nothing is trained."""
    plans = [plan_run(recipe, 0, plugins).stages if recipe.align else () for recipe in recipes]
    return [{stage.fingerprint: stage for stage in stages if stage.kind in MEASURED} for stages in plans]


def match_seconds(
    recipes: Sequence[Recipe], alignments: Sequence[Mapping[str, Stage]], artifacts: Artifacts
) -> list[Recipe]:
    """The recipes with as many steps each as fit into the control's device seconds; warm-up is scaled with them.

    `alignments` are those of `plan_alignments`, finished. They are kept, so the same command finds the same steps. Rows
    on shuffled pairs get the steps of their method on true pairs, whose control they are.
    """
    seconds: dict[str, float] = {}
    for recipe, stages in sorted(zip(recipes, alignments, strict=True), key=lambda row: bool(row[0].transform)):
        for stage in stages.values():
            if stage.kind == "align":
                seconds.setdefault(_row(recipe), _seconds(stage, artifacts))
    own = next(seconds[_row(recipe)] for recipe in recipes if is_control(recipe))
    return [_with_steps(recipe, own / seconds[_row(recipe)]) if recipe.align else recipe for recipe in recipes]


def _row(recipe: Recipe) -> str:
    """The method and its settings, on whatever pairs."""
    return json_digest([recipe.method, recipe.config])


def _seconds(stage: Stage, artifacts: Artifacts) -> float:
    """What a stage cost."""
    result = stage.find(artifacts)
    if result is None:
        raise LostInputError(stage.fingerprint, stage.title)
    return float(result.cost["device_seconds"])


def _with_steps(recipe: Recipe, times: float) -> Recipe:
    """The recipe, which trains, with so many times its steps."""
    align = recipe.align
    assert align is not None
    steps, warmup = max(1, round(times * align.steps)), int(times * align.warmup_steps)
    return recipe.with_align(steps=steps, warmup_steps=warmup)
