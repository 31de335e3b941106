"""`alignboard gc`: deletes artifacts that no run needs."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import Db
from harness.storage.artifacts import Artifacts
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import Store

UNFINISHED = ("planned", "running", "interrupted", "failed")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, delete nothing.")] = False,
    db: Db = None,
) -> None:
    """Delete artifacts that no run needs.

    Keeps every artifact that a run in the database uses. Deletes the others: those of deleted runs and of earlier
    versions of code and data, damaged ones, and files that killed processes left unfinished. Keeps checkpoints while
    any run is unfinished, so that `alignboard resume` can use them. Prints the freed space in MiB.

    \b
    Examples:
      alignboard gc --dry-run
      alignboard gc
    """
    store = Store.open(db or database_url(), read_only=True)
    artifacts = Artifacts(artifacts_root())
    keep = needed(store, artifacts)
    if dry_run:
        doomed = [found for name in artifacts.fingerprints() if name not in keep and (found := artifacts.find(name))]
        for artifact in doomed:
            typer.echo(f"{artifact.fingerprint[:12]}  {artifact.kind:<9} {artifact.size / 2**20:8.1f} MiB")
        typer.echo(f"artifacts to remove: {len(doomed)}, {sum(artifact.size for artifact in doomed) / 2**20:.1f} MiB")
        return
    gone = artifacts.gc(keep)
    typer.echo(f"artifacts removed: {len(gone.fingerprints)}, {gone.size / 2**20:.1f} MiB")


def needed(store: Store, artifacts: Artifacts) -> set[str]:
    """Fingerprints of the stages that runs used and, while a run is unfinished, of all stages with a checkpoint."""
    runs = store.runs()
    used = {fingerprint for run in runs["id"] for fingerprint in store.stages(run)["fingerprint"]}
    if runs["status"].isin(UNFINISHED).any():
        used |= {folder.name for folder in artifacts.root.glob("work/*")}
    return used
