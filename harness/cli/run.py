"""`alignboard run`: trains methods and scores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.execution import note_missing_paper_settings, run_plans
from harness.cli.options import ExecutionOptions, RecipeOptions, Seeds
from harness.errors import UsageError, unique_names

if TYPE_CHECKING:
    from harness.experiments.recipe import Recipe

RECIPE, EXECUTION = RecipeOptions(), ExecutionOptions()


def run(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD...", help="Methods, see `alignboard methods`.")],
    recipe: RecipeOptions = RECIPE,
    seeds: Seeds = 3,
    transform: Annotated[str, typer.Option(help="Change of the data: shuffled-pairs, or one of docs/data.md.")] = "",
    like: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Use the data, base, budget and tasks of this run: an id, its start, or a method."
        ),
    ] = None,
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Train methods, score a suite of tasks with each, and add the scores to the board.

    Finished stages are reused. To resume an interrupted run, give the same command again. With --like, methods run
    under the settings of a run on the board, so that they can be compared with it.

    \b
    Examples:
      alignboard run mbert ml-ctl-cz --source babel --protocol mini --seeds 1
      alignboard run ml-ctl-cz --source folder:data --base my-checkpoint --languages available --set align.steps=500
      alignboard run ml-ctl --transform shuffled-pairs --protocol mini
      alignboard run continued-mlm --like ml-ctl
    """
    from harness.experiments.plan import plan_runs
    from harness.registry import METHODS, loaded_plugins

    methods = unique_names("method", methods, METHODS.names())  # an unknown name is reported before any is loaded
    if like is None:
        recipes = [recipe.build(method, transform) for method in methods]
    else:
        recipes = _recipes_like(like, methods, transform, recipe, execution)
    note_missing_paper_settings(recipes)
    run_plans(plan_runs(recipes, range(seeds), loaded_plugins()), execution)


def _recipes_like(
    like: str, methods: Sequence[str], transform: str, given: RecipeOptions, execution: ExecutionOptions
) -> list[Recipe]:
    """The recipes of methods beside the run `like`. Raises UsageError for options that the run sets."""
    from harness.experiments.recipe import recipe_like
    from harness.experiments.stored import recipe_of

    decided = [f for f in fields(given) if f.name != "changes" and getattr(given, f.name) != getattr(RECIPE, f.name)]
    if decided:
        names = ", ".join(f"--{f.name} {getattr(given, f.name)}" for f in decided)
        raise UsageError("--like sets these options already", found=names, remedy="leave them out, or --like")
    store = execution.open_store()
    known = recipe_of(store, like)
    store.close()
    return [recipe_like(known, method, transform, given.changes or ()) for method in methods]
