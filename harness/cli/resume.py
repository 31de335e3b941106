"""`alignboard resume`: continues unfinished runs."""

from __future__ import annotations

import typer
from pydantic import ValidationError

from harness.cli.execution import run_plans
from harness.cli.options import ExecutionOptions
from harness.errors import UserError, counted

EXECUTION = ExecutionOptions()


def resume(execution: ExecutionOptions = EXECUTION) -> None:
    """Resume every run of the database that is not finished: interrupted, failed or never started.

    Finished stages are reused; unfinished ones continue from their last checkpoint.

    \b
    Example:
      alignboard resume
    """
    from harness.experiments.plan import plan_run
    from harness.experiments.recipe import Recipe
    from harness.registry import loaded_plugins

    store = execution.open_store()
    unfinished = store.runs(status=["planned", "running", "failed", "interrupted"], kind="trained")
    store.close()
    plans, refused = [], []
    for row in unfinished.to_dict("records"):
        try:
            recipe = Recipe.model_validate(row["recipe"])
            plan = plan_run(recipe, int(row["align_seed"]), loaded_plugins())
        except (UserError, ValidationError) as error:
            refused.append(f"{row['method']} seed {int(row['align_seed'])}: {error}")
            continue
        if plan.id == row["id"]:
            plans.append(plan)
        else:
            refused.append(
                f"{row['method']} seed {int(row['align_seed'])}: its base, data or settings have changed; "
                "give the command of the run again"
            )
    if plans:
        run_plans(plans, execution)
    elif not refused:
        typer.echo("Nothing to resume: every run is finished.")
    if refused:
        raise UserError(
            f"{counted(len(refused), 'run')} cannot be resumed\n" + "\n".join(dict.fromkeys(refused)),
            remedy="if the method is in a plug-in file, name that file: alignboard --plugin FILE resume",
        )
