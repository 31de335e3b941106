"""`alignboard project`: maps and intrinsic measures of finished runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.run import Db, Device, Workers, plugins
from harness.errors import UserError
from harness.storage.home import artifacts_root, database_url


def project(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Ids of runs, beginnings of ids, or methods. Default: all finished."),
    ] = None,
    workers: Workers = None,
    device: Device = "auto",
    db: Db = None,
) -> None:
    """Map the sentences of finished runs for the board, and measure how well they are aligned.

    Translation pairs of the suite's retrieval task are embedded as for its score. For each language the board's pages
    Alignment and Embeddings get retrieval in both directions (percent), the gap of cosines, CKA, the separation of the
    languages and the anisotropy from up to 500 pairs, and a map (PCA and t-SNE) of 30. Nothing is trained.

    \b
    Examples:
      alignboard project
      alignboard project mbert ml-ctl-cz
    """
    from harness.cli.progress import Show
    from harness.experiments.executors.local import Local
    from harness.experiments.plan import plan_run
    from harness.experiments.projector import Projector, finished
    from harness.experiments.recipe import Recipe
    from harness.storage.artifacts import Artifacts
    from harness.storage.store import Store

    store = Store.open(db or database_url(), create=True)
    artifacts = Artifacts(artifacts_root())
    chosen = finished(store, runs or ())
    if not chosen:
        typer.echo("Nothing to map: no run is finished.")
        return
    plans = {
        row["id"]: plan_run(Recipe.model_validate(row["recipe"]), int(row["align_seed"]), plugins()) for row in chosen
    }
    projector = Projector(store, artifacts, plans)
    titles = {stage.fingerprint: f"project {plans[run].recipe.method}" for run, stage in projector.stages.items()}
    with Show(titles, Console(file=sys.stderr)) as display:
        report = projector.run(Local.on(artifacts, workers, device), display)
    typer.echo(f"{report.made} maps made, {report.hits} found, for {report.finished} runs")
    if report.failures:
        raise UserError("\n".join(failure.message for failure in report.failures))
