"""`alignboard export-predictions`: writes a run's predictions in XTREME's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Db, MovedOptions
from harness.cli.output import print_message
from harness.errors import UserError
from harness.storage.home import database_url

MOVED = MovedOptions()


def export_predictions(
    run: Annotated[str, typer.Argument(help="A run's id or the start of it, or a method that has one run.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write to, new or empty.")],
    labels: Annotated[Path | None, typer.Option(help="Folder to write the gold labels to.")] = None,
    moved: MovedOptions = MOVED,
    db: Db = None,
) -> None:
    """Export a run's predictions as files in XTREME's official layout.

    Writes the predictions behind the headline scores, for the items that the run was scored on. With --labels, the gold
    labels of the same items are written too. `alignboard score FOLDER LABELS --languages available` then reproduces the
    stored scores. A run whose test data have changed is refused.

    \b
    Examples:
      alignboard export-predictions mbert predictions --labels labels
      alignboard export-predictions 3f2a91c0 predictions
    """
    from harness.experiments.exports import export
    from harness.experiments.stored import describe_changes, finished_runs, plan_unchanged, prefer_current, run_name
    from harness.storage.shared import open_artifacts
    from harness.storage.store import Store

    store = Store.open(db or database_url(), read_only=True)
    unchanged, _ = plan_unchanged(finished_runs(store, [run]), moved.moved())
    chosen = prefer_current(unchanged)
    if len(chosen) > 1:
        raise UserError(
            f"{len(chosen)} finished runs match",
            found=run,
            expected=", ".join(f"{row['id']} ({run_name(row)})" for row, _ in chosen),
            remedy="give the id, or more of its start",
        )
    ((row, plan),) = chosen
    if plan.id != row["id"]:
        changes = describe_changes(row, plan)
        print_message("note", f"since {run_name(row)} was made, {changes}; its stored predictions are exported")
    stages = store.stages(row["id"])
    stages = stages[stages["kind"].isin(["predict", "embed"])]
    fingerprints = dict(zip(stages["task"], stages["fingerprint"], strict=True))
    files = export(plan, fingerprints, open_artifacts(), folder, labels)
    typer.echo(f"Wrote {len(files)} files to {folder}")
