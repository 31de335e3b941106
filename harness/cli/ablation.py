"""`alignboard ablation`: a named table of methods, each at its best learning rate."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.execution import note_missing_paper_settings, run_plans
from harness.cli.options import ExecutionOptions, RecipeOptions, Seeds
from harness.cli.output import print_message, print_table
from harness.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.experiments.executors.schedule import Executor
    from harness.experiments.plan import RunPlan
    from harness.experiments.recipe import Recipe

ROW = ("method", "config", "transform")


class Budget(StrEnum):
    """The budget of the alignment of each row."""

    STEPS = "steps"
    DEVICE_SECONDS = "device-seconds"


RECIPE, EXECUTION = RecipeOptions(protocol="mini"), ExecutionOptions()


def ablation(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A table or a method. Without it, the tables are listed.")
    ] = None,
    recipe: RecipeOptions = RECIPE,
    seeds: Seeds = 3,
    grid: Annotated[
        str, typer.Option(metavar="RATES", help="Learning rates to try, such as 1e-4,3e-4. One rate is used as it is.")
    ] = "",
    budget: Annotated[
        Budget,
        typer.Option(
            help="Budget of each row: align.steps steps, or the device seconds that continued-mlm takes for them."
        ),
    ] = Budget.STEPS,
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Run a named table: its methods and their controls, on one sample, with one budget and several seeds.

    With the matched recipe, each row first tries every learning rate of the grid with one seed. The rate with the best
    scores on the pivot's dev sets is used for all seeds. With the paper recipe, each method keeps its paper's rate.

    Steps of one method may cost several times those of another. With --budget device-seconds, rows take fewer or more
    steps, so that all cost as much as continued-mlm; the steps are measured with the first seed, on this machine.

    NAME `all` runs every registered method whose corpora the source provides. The name of a method runs that method,
    its controls, and the method on shuffled pairs. A setting such as --set config.x=1 applies to the rows whose method
    has x. To resume an interrupted ablation, give the same command again.

    \b
    Examples:
      alignboard ablation
      alignboard ablation ml-ctl --source babel
      alignboard ablation xlm-e --source babel --budget device-seconds
      alignboard --plugin near_pairs.py ablation near-pairs
      alignboard ablation all --source babel --seeds 3 --grid 1e-4,3e-4,1e-3
    """
    if name is None:
        _print_tables()
        return
    from harness.cli.failures import interrupt_hint
    from harness.experiments.ablation import get_ablation, with_changes
    from harness.experiments.recipe import parse_changes
    from harness.registry import EVERYTHING

    settings = parse_changes(recipe.recipe, recipe.changes or ())
    rows = with_changes(get_ablation(name).rows, settings.get("config", {}))
    recipes = [_row_recipe(row, recipe) for row in rows]
    rates = _rates_to_try(grid, recipe.protocol, recipes[0].kind)  # a file of settings has a kind, too
    _refuse_contradictions(settings.get("align", {}), rates, budget)
    if name == EVERYTHING:
        recipes = _with_corpora(recipes)
    note_missing_paper_settings(recipes)
    with interrupt_hint("to resume, give the same command again"):
        _run(recipes, rates, seeds, budget, execution)


def _refuse_contradictions(align: Mapping[str, Any], rates: Sequence[float], budget: Budget) -> None:
    """Raises UsageError for settings of alignment that a grid or a budget would make void."""
    fixed_rate = align.get("learning_rate")
    if rates and fixed_rate is not None:
        raise UsageError(
            "align.learning_rate has no effect where a grid of rates is tried",
            found=f"align.learning_rate={fixed_rate}",
            remedy=f"give --grid {fixed_rate}",
        )
    if budget is not Budget.STEPS and align.get("stop_step") is not None:
        raise UsageError(
            "align.stop_step contradicts a budget in device seconds",
            found=f"align.stop_step={align['stop_step']}",
            expected="alignments that take all of their steps",
            remedy="leave out one of them",
        )


def _print_tables() -> None:
    from harness.experiments.ablation import get_ablation
    from harness.registry import ABLATIONS, EVERYTHING

    tables = {name: get_ablation(name) for name in (*ABLATIONS.names(), EVERYTHING)}
    rows = [
        {"name": name, "rows": len(table.rows), "title": table.title, "reference": table.reference}
        for name, table in tables.items()
    ]
    print_table(("name", "rows", "title", "reference"), rows)


def _rates_to_try(grid: str, protocol: str, kind: str) -> tuple[float, ...]:
    """The learning rates of --grid or of the protocol; none with the paper recipe. Raises UsageError."""
    from harness.experiments.recipe import GRIDS

    if not grid:
        return GRIDS.get(protocol, ()) if kind != "paper" else ()
    if kind == "paper":
        raise UsageError(
            "a grid contradicts the paper recipe",
            found=f"--recipe paper --grid {grid}",
            expected="each method at its paper's rate",
            remedy="leave out --grid, or use --recipe matched",
        )
    try:
        rates = tuple(dict.fromkeys(float(part) for part in grid.split(",")))
    except ValueError:
        rates = ()
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise UsageError("the grid cannot be read", found=grid, expected="learning rates such as 1e-4,3e-4,1e-3")
    return rates


def _row_recipe(row: Any, options: RecipeOptions) -> Recipe:
    """A row's recipe. `row.config` already holds the config changes that apply to its method."""
    others = [change for change in options.changes or () if not change.strip().startswith("config.")]
    own = [f"config.{field}={json.dumps(value)}" for field, value in row.config.items()]
    return options.build(row.method, row.transform, changes=[*others, *own])


def _with_corpora(recipes: Sequence[Recipe]) -> list[Recipe]:
    """The recipes whose corpora the source provides; the others are reported and left out."""
    from harness.experiments.ablation import missing_corpora

    missing = [(recipe, missing_corpora(recipe)) for recipe in recipes]
    for recipe, kinds in missing:
        if kinds:
            print_message("left out", f"{recipe.method} needs {', '.join(kinds)}; {recipe.source} has none")
    return [recipe for recipe, kinds in missing if not kinds]


def _run(
    recipes: Sequence[Recipe], rates: Sequence[float], seeds: int, budget: Budget, execution: ExecutionOptions
) -> None:
    """Chooses each row's learning rate and steps, then runs all rows with all seeds."""
    from rich.console import Console

    from harness.cli.progress import StageProgress
    from harness.experiments.ablation import plan_search, rate_of, tune
    from harness.experiments.budgets import check_control
    from harness.experiments.plan import plan_runs
    from harness.registry import loaded_plugins

    if budget is Budget.DEVICE_SECONDS:
        check_control(recipes)
    executor = execution.make_executor()
    searches = [plan_search(recipe, rates, plugins=loaded_plugins()) for recipe in recipes]
    trials = sum(len(row.trials) for row in searches)
    console = Console(file=sys.stderr)
    if trials:
        console.print(f"Trying {len(rates)} learning rates on the pivot's dev sets: {trials} alignments")
    titles = {fingerprint: stage.title for row in searches for fingerprint, stage in row.stages.items()}
    with StageProgress(titles, console) as progress:
        tuned = tune(searches, executor, progress)
    if trials:
        rows = [
            {
                **_row_columns(row.recipe),
                **{f"{rate:g}": f"{score:.1f}" for rate, score in row.scores.items()},
                "chosen": f"{rate_of(row.recipe):g}" if row.scores else None,
            }
            for row in tuned
        ]
        print_table((*ROW, *(f"{rate:g}" for rate in rates), "chosen"), rows)
    chosen = [row.recipe for row in tuned]
    if budget is Budget.DEVICE_SECONDS:
        chosen = _match_seconds(chosen, executor, console)
    plans = plan_runs(chosen, range(seeds), loaded_plugins())
    run_plans(plans, execution)
    _print_costs(plans, execution)


def _match_seconds(recipes: Sequence[Recipe], executor: Executor, console: Console) -> list[Recipe]:
    """The recipes with the steps that the control's device seconds allow, measured where they are not known yet."""
    from harness.cli.progress import StageProgress
    from harness.experiments.ablation import run_trials
    from harness.experiments.budgets import match_seconds, plan_alignments
    from harness.registry import loaded_plugins

    alignments = plan_alignments(recipes, loaded_plugins())
    stages = {fingerprint: stage for row in alignments for fingerprint, stage in row.items()}
    console.print("Measuring the device seconds of an alignment of each row")
    with StageProgress({fingerprint: stage.title for fingerprint, stage in stages.items()}, console) as progress:
        run_trials(stages, executor, progress)
    matched = match_seconds(recipes, alignments, executor.artifacts)
    print_table((*ROW, "steps"), [{**_row_columns(r), "steps": f"{r.align.steps:,}"} for r in matched if r.align])
    return matched


def _row_columns(recipe: Recipe) -> dict[str, str]:
    config = ", ".join(f"{field}={value}" for field, value in recipe.config.items())
    return {"method": recipe.method, "config": config, "transform": recipe.transform}


def _print_costs(plans: Sequence[RunPlan], execution: ExecutionOptions) -> None:
    """The alignment cost of each row, and its ratio to the cost of the control that reads the same text."""
    from harness.experiments.budgets import CONTROL, alignment_cost, is_control

    store = execution.open_store()
    stages: dict[str, Any] = {row["fingerprint"]: row for row in store.stages().to_dict("records")}
    store.close()
    by_recipe: dict[str, list[RunPlan]] = {}
    for plan in plans:
        by_recipe.setdefault(plan.recipe.hash, []).append(plan)
    costs = [(group[0].recipe, alignment_cost(group, stages)) for group in by_recipe.values()]
    control = next((cost for recipe, cost in costs if cost and is_control(recipe)), None)
    records = [
        {
            **_row_columns(recipe),
            "tokens_seen": f"{cost.tokens:,.0f}",
            "device_seconds": f"{cost.seconds:,.1f}",
            "seconds_per_1,000_pairs": f"{cost.per_thousand:.2f}",
            f"times_{CONTROL}": f"{cost.per_thousand / control.per_thousand:.2f}" if control else None,
        }
        for recipe, cost in costs
        if cost is not None
    ]
    if records:
        print_table(tuple(records[0]), records)
