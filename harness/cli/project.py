"""`alignboard project`: sentence maps and intrinsic measures of finished runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.options import ExecutionOptions
from harness.errors import UserError

EXECUTION = ExecutionOptions()


def project(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Run ids, starts of ids, or methods. Default: all finished runs."),
    ] = None,
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Measure how well the sentences of finished runs are aligned, and map them for the board.

    Embeds translation pairs of the suite's retrieval task. From up to 500 pairs per language it computes retrieval in
    both directions (percent), the cosine gap, CKA, language separation and anisotropy; from 30 pairs, a map (PCA and
    t-SNE). The board shows them on the pages Alignment and Embeddings. Trains nothing.

    \b
    Examples:
      alignboard project
      alignboard project mbert ml-ctl-cz
    """
    from harness.cli.progress import StageProgress
    from harness.experiments.plan import plan_run
    from harness.experiments.projector import Projector, finished_runs
    from harness.experiments.recipe import Recipe
    from harness.registry import loaded_plugins

    store, executor = execution.open_store(create=True), execution.executor()
    chosen = finished_runs(store, runs or ())
    if not chosen:
        typer.echo("Nothing to do: no run is finished.")
        return
    plans = {
        row["id"]: plan_run(Recipe.model_validate(row["recipe"]), int(row["align_seed"]), loaded_plugins())
        for row in chosen
    }
    projector = Projector(store, executor.artifacts, plans)
    titles = {stage.fingerprint: f"project {plans[run].recipe.method}" for run, stage in projector.stages.items()}
    with StageProgress(titles, Console(file=sys.stderr)) as progress:
        report = projector.run(executor, progress)
    typer.echo(f"{report.computed} maps computed, {report.reused} reused, for {report.finished} runs")
    if report.failures:
        raise UserError("\n".join(failure.message for failure in report.failures))
