"""`alignboard gc`: deletes artifacts that no run needs."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import Db
from harness.storage.artifacts import Artifacts
from harness.storage.home import database_url
from harness.storage.shared import open_artifacts
from harness.storage.store import Store
from harness.storage.store.database import NoStoreError, hide_secrets
from harness.storage.usage import collect, forget_store, in_use, registered_stores


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, delete nothing.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Also delete artifacts that none of these databases knows.")
    ] = False,
    trials: Annotated[bool, typer.Option("--trials", help="Also delete the trials of ablations.")] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="DB", help="Forget a database: its runs keep nothing."),
    ] = None,
    db: Db = None,
) -> None:
    """Delete artifacts that no run needs.

    Keeps every artifact that a run uses, in any of the databases that were used with these artifacts, those of running
    commands, and the trials of ablations, which the same ablation reuses. Deletes the others that these databases know:
    those of deleted runs and of earlier versions of code and data; also damaged ones, and files that killed processes
    left unfinished. What no database knows may belong to one that is not here, so it is kept unless --unknown is given.
    Keeps checkpoints while any run is unfinished, so that `alignboard resume` can use them. Prints the freed space in
    MiB.

    \b
    Examples:
      alignboard gc --dry-run
      alignboard gc
    """
    artifacts = open_artifacts()
    for location in dict.fromkeys(forget or ()):
        forget_store(artifacts, location)
    locations = _databases(artifacts, db)
    if len(locations) > 1:
        typer.echo(f"databases: {', '.join(map(hide_secrets, locations))}")
    if dry_run:
        kept = in_use(artifacts, locations, trials=not trials, unknown=unknown)
        doomed = [found for name in artifacts.fingerprints() if name not in kept and (found := artifacts.listed(name))]
        for artifact in doomed:
            typer.echo(f"{artifact.fingerprint[:12]}  {artifact.kind:<9} {artifact.size / 2**20:8.1f} MiB")
        typer.echo(f"artifacts to remove: {len(doomed)}, {sum(artifact.size for artifact in doomed) / 2**20:.1f} MiB")
        return
    gone = collect(artifacts, locations, trials=trials, unknown=unknown)
    typer.echo(f"artifacts removed: {len(gone.fingerprints)}, {gone.size / 2**20:.1f} MiB")


def _databases(artifacts: Artifacts, db: str | None) -> list[str]:
    """The databases of these artifacts: those registered, and the one that this command names or defaults to."""
    registered = registered_stores(artifacts)
    try:
        store = Store.open(db or database_url(), read_only=True)
    except NoStoreError:
        if db or not registered:
            raise
        return registered
    store.close()
    return [db or database_url(), *(location for location in registered if location != store.location)]
