"""`alignboard export-predictions`: a stored run's predictions in XTREME's official layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError
from harness.storage.home import artifacts_root, database_url


def export_predictions(
    run: Annotated[str, typer.Argument(help="The run's id, or its beginning; a method's name where it has one run.")],
    folder: Annotated[Path, typer.Argument(help="The folder to write, new or empty.")],
    labels: Annotated[Path | None, typer.Option(help="Write the gold there, in the same layout.")] = None,
    db: Annotated[str | None, typer.Option(help="Database: a path or URL. Default: ALIGNBOARD_DB, or home.")] = None,
) -> None:
    """Write a run's predictions as files of XTREME's official layout.

    They are those of the headline's selection, on the items that the run was scored on. With --labels the gold of the
    same items is written too, and `alignboard score FOLDER LABELS --languages available` gives the stored scores again.

    \b
    Examples:
      alignboard export-predictions mbert predictions --labels labels
      alignboard export-predictions 3f2a91c0 predictions
    """
    from harness.cli.run import plugins
    from harness.experiments.exports import export
    from harness.experiments.plan import plan_run
    from harness.experiments.recipe import Recipe
    from harness.storage.artifacts import Artifacts
    from harness.storage.store import Store

    store = Store.open(db or database_url(), read_only=True)
    rows = store.runs(kind="trained", status="done").to_dict("records")
    chosen = [row for row in rows if row["id"].startswith(run) or row["method"] == run]
    if len(chosen) != 1:
        raise UserError(
            "no finished run is meant by this" if not chosen else f"{len(chosen)} finished runs are meant by this",
            found=run,
            expected=", ".join(f"{row['id']} ({row['method']} seed {row['align_seed']})" for row in chosen or rows),
            remedy="give the id, or enough of its beginning",
        )
    stages = store.stages(chosen[0]["id"])
    stages = stages[stages["kind"].isin(["predict", "embed"])]
    made_by = dict(zip(stages["task"], stages["fingerprint"], strict=True))
    plan = plan_run(Recipe.model_validate(chosen[0]["recipe"]), int(chosen[0]["align_seed"]), plugins())
    files = export(plan, made_by, Artifacts(artifacts_root()), folder, labels)
    typer.echo(f"{len(files)} files written")
