"""`alignboard project`: sentence maps and intrinsic measures of finished runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.options import ExecutionOptions, MovedOptions
from harness.cli.output import print_message
from harness.errors import UserError

MOVED, EXECUTION = MovedOptions(), ExecutionOptions()


def project(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Run ids, starts of ids, or methods. Default: all finished runs."),
    ] = None,
    moved: MovedOptions = MOVED,
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
    from harness.experiments.projector import Projector
    from harness.experiments.stored import finished_runs, plan_unchanged

    store, executor = execution.open_store(create=True), execution.make_executor()
    chosen = finished_runs(store, runs or ())
    if not chosen:
        typer.echo("Nothing to do: no run is finished.")
        return
    unchanged, refused = plan_unchanged(chosen, moved.moved())
    for error in refused:
        print_message("left out", str(error))
    plans = {row["id"]: plan for row, plan in unchanged}
    projector = Projector(store, executor.artifacts, plans)
    titles = {stage.fingerprint: f"project {plans[run].recipe.method}" for run, stage in projector.stages.items()}
    with StageProgress(titles, Console(file=sys.stderr)) as progress:
        report = projector.run(executor, progress)
    typer.echo(f"{report.computed} maps computed, {report.reused} reused, for {report.finished} runs")
    if report.failures:
        raise UserError("\n".join(failure.message for failure in report.failures))
