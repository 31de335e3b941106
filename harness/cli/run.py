"""`alignboard run`: trains methods and scores them."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.execution import note_missing_paper_settings, run_plans
from harness.cli.options import ExecutionOptions, RecipeOptions, Seeds
from harness.errors import unique_names

RECIPE, EXECUTION = RecipeOptions(), ExecutionOptions()


def run(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD...", help="Methods, see `alignboard methods`.")],
    recipe: RecipeOptions = RECIPE,
    seeds: Seeds = 3,
    transform: Annotated[str, typer.Option(help="Change of the data: shuffled-pairs, or one of docs/data.md.")] = "",
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Train methods, score a suite of tasks with each, and add the scores to the board.

    Finished stages are reused. To resume an interrupted run, give the same command again.

    \b
    Examples:
      alignboard run mbert ml-ctl-cz --source babel --protocol mini --seeds 1
      alignboard run ml-ctl-cz --source folder:data --base my-checkpoint --languages available --set align.steps=500
      alignboard run ml-ctl --transform shuffled-pairs --protocol mini
    """
    from harness.experiments.plan import plan_runs
    from harness.registry import METHODS, loaded_plugins

    methods = unique_names("method", methods, METHODS.names())  # an unknown name is reported before any is loaded
    recipes = [recipe.build(method, transform) for method in methods]
    note_missing_paper_settings(recipes)
    run_plans(plan_runs(recipes, range(seeds), loaded_plugins()), execution)
