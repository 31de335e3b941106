"""`alignboard resume`: continues unfinished runs."""

from __future__ import annotations

import typer

from harness.cli.execution import run_plans
from harness.cli.options import ExecutionOptions, MovedOptions
from harness.cli.output import print_message
from harness.errors import UserError, counted

MOVED, EXECUTION = MovedOptions(), ExecutionOptions()


def resume(moved: MovedOptions = MOVED, execution: ExecutionOptions = EXECUTION) -> None:
    """Resume every run of the database that is not finished: interrupted, failed or never started.

    Finished stages are reused; unfinished ones continue from their last checkpoint. A run whose data, base or settings
    have changed cannot be resumed and is closed as superseded. If a source or base has moved, give its new location.

    \b
    Examples:
      alignboard resume
      alignboard resume --source folder:/new/place/data
    """
    from harness.experiments.stored import Moved, describe_changes, plan_again, run_name
    from harness.registry import loaded_plugins
    from harness.storage.store.schema import SUPERSEDED, UNFINISHED

    store, places = execution.open_store(), moved.moved()
    plans, refused, closed = [], [], []
    rows = store.runs(status=list(UNFINISHED), kind="trained")
    for row in rows:
        try:
            plan = plan_again(row, places)
        except UserError as error:
            refused.append(f"{run_name(row)}: {error}")
            continue
        if plan.id == row["id"]:
            plans.append(plan)
            continue
        changes = describe_changes(row, plan)
        if places == Moved():
            store.set_status(row["id"], SUPERSEDED, changes)
            closed.append(f"{run_name(row)}: {changes}")
        else:  # what it was made from may be in a third place
            refused.append(f"{run_name(row)}: {changes}")
    store.close()
    for changes in closed:
        print_message(SUPERSEDED, f"{changes}; give the command of the run to start again")
    if plans:
        run_plans(plans, execution)
    elif not refused and not closed:
        typer.echo("Nothing to resume: every run is finished.")
    if refused:
        raise UserError(
            f"{counted(len(refused), 'run')} cannot be resumed\n" + "\n".join(dict.fromkeys(refused)),
            remedy="if the method is in a plug-in file, name that file: alignboard --plugin FILE resume"
            if not loaded_plugins() and any("unknown method" in reason for reason in refused)
            else None,
        )
    if closed:
        raise typer.Exit(1)
