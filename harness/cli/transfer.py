"""`alignboard export` and `alignboard import`: runs as one file for another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Db
from harness.cli.output import print_message
from harness.errors import UserError, counted
from harness.storage.home import database_url

if TYPE_CHECKING:
    from harness.storage.merging import Merged


def export_runs(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Ids of finished runs, starts of ids, or methods.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The archive to write, such as runs.tar.")],
    db: Db = None,
) -> None:
    """Export finished runs with all their artifacts as one file, which `alignboard import` reads elsewhere.

    The archive holds rows, recipe, provenance, logs, predictions, item statistics and weights, each with its SHA-256.
    Paths and the machine's description are part of the rows. The archive is as large as the artifacts together.

    \b
    Examples:
      alignboard export 3f2a91c0 --out run.tar
      alignboard export ml-ctl ml-ctl-cz --out runs.tar
    """
    from harness.experiments.stored import finished_runs
    from harness.storage.archive import write_archive
    from harness.storage.shared import open_artifacts
    from harness.storage.store import Store

    store = Store.open(db or database_url(), read_only=True)
    chosen = [str(row["id"]) for row in finished_runs(store, runs, kinds=("trained", "external"))]
    size = write_archive(out, store, open_artifacts(), chosen)
    typer.echo(f"{out}: {counted(len(chosen), 'run')}, {size / 2**20:.1f} MiB")


def import_runs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive, written by `alignboard export`.")],
    db: Db = None,
) -> None:
    """Import runs from an archive that `alignboard export` wrote.

    Every file is compared with its SHA-256, and every score with the item statistics that it comes from, before
    anything is added. Nothing is overwritten: a run whose scores or artifacts differ from those here is reported and
    left out, and the exit code is 1.

    \b
    Examples:
      alignboard import runs.tar
    """
    from harness.cli.verify import wrong_scores
    from harness.storage.archive import ARTIFACTS, BOARD, unpack_archive
    from harness.storage.artifacts import Artifacts
    from harness.storage.merging import merge
    from harness.storage.shared import open_artifacts
    from harness.storage.store import Store
    from harness.storage.store.backup import find_faults

    artifacts = open_artifacts()
    with artifacts.staging("import") as folder:
        unpack_archive(file, folder)
        others, other = Artifacts(folder / ARTIFACTS), Store.open(folder / BOARD)
        wrong = [problem.what for problem in wrong_scores(other.scores(split="test"), others)]
        if faults := [*find_faults(other), *wrong]:
            raise UserError(
                "the rows of this archive are not those of its artifacts",
                file=file,
                found="; ".join(faults[:3]),
                remedy="have it exported again, after `alignboard verify` there; nothing was imported",
            )
        store = Store.open(db or database_url(), create=True)
        merged = merge(store, artifacts, other, others)
        other.close()
    report_merge(merged)


def report_merge(merged: Merged) -> None:
    """Prints what a merge did. The exit code is 1 where something was left out."""
    for line in merged.refused:
        print_message("left out", line)
    parts = [("added", merged.added), ("completed", merged.completed), ("there already", merged.known)]
    counts = ", ".join(f"{len(names)} {what}" for what, names in parts)
    typer.echo(f"runs: {counts}, {len(merged.refused)} left out")
    typer.echo(f"artifacts copied: {merged.artifacts}, {merged.size / 2**20:.1f} MiB")
    if merged.refused:
        raise typer.Exit(1)
